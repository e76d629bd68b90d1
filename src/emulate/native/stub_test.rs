use super::*;
use crate::emulate::native::tests::{decode, guest};
use crate::emulate::testing::Device;

#[test]
fn processors_without_xsave_are_served_by_fxsave() {
    let addps = [0x0F, 0x58, 0xC1]; // addps xmm0, xmm1
    let fake = guest(&addps);
    let mut extended = *fake.xsave.borrow();
    for register in [0, 1] {
        let at = image::XMM + 16 * register;
        extended[at..at + 4].copy_from_slice(&1.25_f32.to_le_bytes());
    }
    let mut device = Device::default();
    let mut cpu = Cpu::new(&fake, &fake.memory, &mut device).unwrap();
    cpu.code[..3].copy_from_slice(&addps);

    let mut stub = Stub::lock().unwrap();
    stub.stub().data().components = 0;
    let instruction = stub.program(&cpu, &decode(&addps)).unwrap();
    stub.set_general(&cpu.registers.general);
    stub.set_extended(&extended);
    stub.run(instruction).unwrap();
    stub.stub().data().components = processor::components();

    stub.extended_to(&mut extended);
    assert_eq!(extended[image::XMM..image::XMM + 4], 2.5_f32.to_le_bytes());
    assert_eq!(image::quad(&extended, image::IN_USE), image::X87 | image::SSE);
}

#[test]
fn the_page_is_never_writable_and_executable() {
    let stub = Stub::lock().unwrap();
    let page = stub.0.as_ref().unwrap().pages.addr().get();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mine = maps.lines().find(|line| line.starts_with(&format!("{page:x}-"))).unwrap();
    assert!(mine.contains(" r-xp "), "{mine}");
}

/// Puts `code` in a slot without a check, and runs it with the general registers `general`.
fn run_unchecked(code: &[u8], names_rsp: bool, general: &GeneralRegisters) -> Option<u8> {
    let mut stub = Stub::lock().unwrap();
    let slot = stub.stub().first_slot;
    stub.stub().slots[0] = Program::default();
    stub.stub().write(slot, code).unwrap();
    stub.set_general(general);
    let address = stub.stub().pages.addr().get() + slot;
    let raised = stub.run(StubInstruction { slot, names_rsp }).err();
    raised
        .inspect(|raised| assert!((address..address + SLOT).contains(&raised.rip)))
        .map(|raised| raised.vector)
}

#[test]
fn exceptions_inside_the_stub_are_caught() {
    const NOP: &[u8] = &[0x90];
    let registers = GeneralRegisters { rsp: 1 << 63, rdi: 1 << 63, ..Default::default() };
    let cases: [(&[u8], u8); 6] = [
        (&[0x0F, 0x0B], 6),                          // ud2
        (&[0x48, 0xF7, 0xF1], 0),                    // div rcx
        (&[0xF4], 13),                               // hlt
        (&[0x48, 0x8B, 0x07], 13),                   // mov rax, [rdi]
        (&[0x50], 12),                               // push rax
        (&[0x48, 0xA1, 0, 0, 0, 0, 0, 0, 0, 0], 14), // mov rax, [0]
    ];
    for (code, vector) in cases {
        for names_rsp in [true, false] {
            if vector != 12 || names_rsp {
                assert_eq!(run_unchecked(code, names_rsp, &registers), Some(vector), "{code:x?}");
            }
            assert_eq!(run_unchecked(NOP, names_rsp, &registers), None);
        }
    }
    // int3, a trap.
    assert_eq!(run_unchecked(&[0xCC], false, &registers), Some(3));
}

#[test]
fn exceptions_are_caught_on_every_thread_whatever_signals_are_blocked() {
    let blocked = std::thread::spawn(|| {
        // SAFETY: the set is written before it is read.
        unsafe {
            let mut all = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, null_mut());
            let none = libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
            libc::sigaltstack(&none, null_mut());
        }
        run_unchecked(&[0x0F, 0x0B], true, &GeneralRegisters::default())
    });
    assert_eq!(blocked.join().unwrap(), Some(6));
}

#[test]
fn signals_from_elsewhere_reach_the_handler_that_was_there_before() {
    let status = |name: &str| {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "--ignored", "--nocapture", name]);
        child.output().unwrap()
    };
    let name = |test: &str| format!("{}::{test}", module_path!().trim_start_matches("kvm::"));
    use std::os::unix::process::ExitStatusExt;
    let overflow = status(&name("overflows_the_stack"));
    assert!(String::from_utf8_lossy(&overflow.stderr).contains("has overflowed its stack"), "{overflow:?}");
    assert_eq!(overflow.status.signal(), Some(libc::SIGABRT));
    assert_eq!(status(&name("divides_by_zero")).status.signal(), Some(libc::SIGFPE));
    assert_eq!(status(&name("sends_itself_a_signal")).status.signal(), Some(libc::SIGFPE));
}

#[test]
#[ignore = "ends the process: for the test above"]
fn overflows_the_stack() {
    #[expect(unconditional_recursion, reason = "that is the test")]
    fn recurse(bytes: &[u8; 256]) -> u8 {
        let mut more = [bytes[0]; 256];
        more[1] = 1;
        recurse(std::hint::black_box(&more)) + more[1]
    }
    assert_eq!(run_unchecked(&[0x0F, 0x0B], false, &GeneralRegisters::default()), Some(6));
    recurse(&[0; 256]);
}

#[test]
#[ignore = "ends the process: for the test above"]
fn divides_by_zero() {
    drop(Stub::lock().unwrap());
    // SAFETY: raises an exception, which is the test.
    unsafe { std::arch::asm!("div {0:e}", in(reg) 0, inout("eax") 1 => _, inout("edx") 0 => _) };
}

#[test]
#[ignore = "ends the process: for the test above"]
fn sends_itself_a_signal() {
    drop(Stub::lock().unwrap());
    // SAFETY: ends the process, which is the test.
    unsafe { libc::raise(libc::SIGFPE) };
}
