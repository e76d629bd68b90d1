// Tests for a kernel in Rust, to be run by `kvm test` (docs/testing.md). Copy this file into a kernel, and use it with
//
//     mod kernel_test;
//
//     kernel_test! { fn addition() { assert!(1 + 1 == 2) } }
//
// Each kernel_test! puts an entry into the section kvm_tests, which the runner reads. Attributes such as
// #[should_panic] and #[ignore] stand before `fn`. Once the kernel has started up, it calls kernel_test::run.

use core::arch::asm;

/// Reading it asks the runner for a test; without one it reads as all ones.
const TEST_PORT: u16 = 0xF8;
const EXIT_PORT: u16 = 0xF4;
/// The value for success at the debug exit port: the exit status of the run is 33.
const SUCCESS: u32 = 0x10;
const FAILURE: u32 = 0x11;

pub const IGNORE: usize = 1;
pub const SHOULD_PANIC: usize = 2;

/// An entry of the section kvm_tests.
#[repr(C)]
pub struct KernelTest {
    name: *const u8,
    name_length: usize,
    run: fn(),
    flags: usize,
}

// SAFETY: it is never changed.
unsafe impl Sync for KernelTest {}

impl KernelTest {
    pub const fn new(name: &'static str, run: fn(), flags: usize) -> KernelTest {
        KernelTest { name: name.as_ptr(), name_length: name.len(), run, flags }
    }
}

#[macro_export]
macro_rules! kernel_test {
    ($(#[$attribute:ident])* fn $name:ident() $body:block) => {
        fn $name() $body

        const _: () = {
            #[used]
            #[unsafe(link_section = "kvm_tests")]
            static ENTRY: $crate::kernel_test::KernelTest = $crate::kernel_test::KernelTest::new(
                stringify!($name),
                $name,
                0 $(| $crate::kernel_test_flag!($attribute))*,
            );
        };
    };
}

#[macro_export]
macro_rules! kernel_test_flag {
    (ignore) => { $crate::kernel_test::IGNORE };
    (should_panic) => { $crate::kernel_test::SHOULD_PANIC };
}

unsafe extern "C" {
    // Defined by the linker.
    static __start_kvm_tests: KernelTest;
    static __stop_kvm_tests: KernelTest;
}

/// Runs the test that the runner asks for, or all tests if there is no runner, and ends the run.
pub fn run() -> ! {
    let (start, stop) = (&raw const __start_kvm_tests, &raw const __stop_kvm_tests);
    let count = (stop as usize - start as usize) / size_of::<KernelTest>();
    // SAFETY: the linker has put the entries side by side.
    let test = |index: usize| unsafe { &*start.add(index) };
    let wanted: u32;
    // SAFETY: the read has no effect but the answer.
    unsafe { asm!("in eax, dx", in("dx") TEST_PORT, out("eax") wanted, options(nomem, nostack)) };
    if wanted == u32::MAX {
        (0..count).map(test).filter(|test| test.flags == 0).for_each(|test| (test.run)());
    } else {
        (test(wanted as usize).run)();
    }
    exit(true)
}

/// Ends the run, or the test; a panic handler calls it with `false`.
pub fn exit(success: bool) -> ! {
    let value = if success { SUCCESS } else { FAILURE };
    loop {
        // SAFETY: where there is no such port, the processor halts.
        unsafe { asm!("out dx, eax", "cli", "hlt", in("dx") EXIT_PORT, in("eax") value, options(nomem, nostack)) }
    }
}
