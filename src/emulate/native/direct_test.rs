//! Any instruction, run by the processor itself at the guest's linear addresses, with the exception it raises.
//!
//! This shares nothing with the stub: it has code, signal handler and memory of its own.

use std::arch::global_asm;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use crate::emulate::LONGEST_INSTRUCTION;
use crate::emulate::cpu::Extended;
use crate::emulate::native::processor;
use crate::emulate::native::stub::Stub;

/// Linear address of the code, in one page.
pub const CODE: u64 = 0x2000_0000_0000;
/// Linear address of [`DATA_SIZE`] bytes of memory. There is none around it.
pub const DATA: u64 = CODE + 0x1_0000;
/// Two pages.
pub const DATA_SIZE: usize = 0x2000;
/// Bytes of all that no other memory is mapped into.
const RESERVED: usize = 0x2_0000;

/// An exception: vector, error code and the address of a page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised {
    pub vector: u8,
    pub code: u32,
    pub address: u64,
}

/// Everything an instruction works on. Its layout is known to the assembly below.
#[repr(C, align(64))]
#[derive(Clone)]
pub struct DirectState {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub general: [u64; 16],
    pub flags: u64,
    components: u64,
    host_rsp: u64,
    host_controls: u64,
    unused: [u64; 4],
    pub extended: Extended,
}

global_asm!(
    ".pushsection .bss.native_direct, \"aw\", @nobits",
    ".balign 16",
    "native_direct_state: .skip 8",
    "native_direct_rdi: .skip 8",
    ".popsection",
    "native_direct:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rip + native_direct_state], rdi",
    "mov [rdi + 144], rsp",
    "stmxcsr [rdi + 152]",
    "fnstcw [rdi + 156]",
    "mov eax, [rdi + 136]",
    "xor edx, edx",
    "xrstor64 [rdi + 192]",
    "push [rdi + 128]",
    "popfq",
    "mov rax, [rdi]",
    "mov rcx, [rdi + 8]",
    "mov rdx, [rdi + 16]",
    "mov rbx, [rdi + 24]",
    "mov rsp, [rdi + 32]",
    "mov rbp, [rdi + 40]",
    "mov rsi, [rdi + 48]",
    "mov r8, [rdi + 64]",
    "mov r9, [rdi + 72]",
    "mov r10, [rdi + 80]",
    "mov r11, [rdi + 88]",
    "mov r12, [rdi + 96]",
    "mov r13, [rdi + 104]",
    "mov r14, [rdi + 112]",
    "mov r15, [rdi + 120]",
    "mov rdi, [rdi + 56]",
    // `CODE`, an instruction that fits a jump.
    "jmp [rip + native_direct_code]",
    "native_direct_back:",
    "mov [rip + native_direct_rdi], rdi",
    "mov rdi, [rip + native_direct_state]",
    "mov [rdi], rax",
    "mov [rdi + 8], rcx",
    "mov [rdi + 16], rdx",
    "mov [rdi + 24], rbx",
    "mov [rdi + 32], rsp",
    "mov [rdi + 40], rbp",
    "mov [rdi + 48], rsi",
    "mov [rdi + 64], r8",
    "mov [rdi + 72], r9",
    "mov [rdi + 80], r10",
    "mov [rdi + 88], r11",
    "mov [rdi + 96], r12",
    "mov [rdi + 104], r13",
    "mov [rdi + 112], r14",
    "mov [rdi + 120], r15",
    "mov rsp, [rdi + 144]",
    "pushfq",
    "pop [rdi + 128]",
    "mov rax, [rip + native_direct_rdi]",
    "mov [rdi + 56], rax",
    "mov eax, [rdi + 136]",
    "xor edx, edx",
    "xsave64 [rdi + 192]",
    "fninit",
    "fldcw [rdi + 156]",
    "ldmxcsr [rdi + 152]",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    "native_direct_code: .quad {code}",
    code = const CODE,
);

unsafe extern "C" {
    fn native_direct(state: *mut DirectState);
    static native_direct_back: [u8; 0];
}

static VECTOR: AtomicU64 = AtomicU64::new(u64::MAX);
static ERROR: AtomicU64 = AtomicU64::new(0);
static ADDRESS: AtomicU64 = AtomicU64::new(0);

/// Exclusive access to code and data at [`CODE`] and [`DATA`].
pub struct Direct(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

impl Direct {
    pub fn lock() -> Direct {
        static LOCK: Mutex<()> = Mutex::new(());
        static PREPARED: Once = Once::new();
        let guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        PREPARED.call_once(prepare);
        Direct(guard)
    }

    /// The memory at [`DATA`].
    pub fn data(&mut self) -> &mut [u8; DATA_SIZE] {
        // SAFETY: `prepare` has mapped it, and `self` is the only way to it.
        unsafe { &mut *(DATA as *mut [u8; DATA_SIZE]) }
    }

    /// Executes `code`, one instruction, and returns the exception that it raises.
    pub fn run(&mut self, code: &[u8], state: &mut DirectState) -> Option<Raised> {
        let mut bytes = [0x90; LONGEST_INSTRUCTION + 14];
        bytes[..code.len()].copy_from_slice(code);
        // jmp [rip + 0]
        bytes[code.len()..code.len() + 6].copy_from_slice(&[0xFF, 0x25, 0, 0, 0, 0]);
        let back = (&raw const native_direct_back).addr();
        bytes[code.len() + 6..code.len() + 14].copy_from_slice(&back.to_le_bytes());
        state.components = processor::components();
        VECTOR.store(u64::MAX, Ordering::Relaxed);
        // SAFETY: the page has been mapped. The test runs only instructions that change registers and the
        // data; all registers are given back, also after an exception.
        unsafe {
            let page = CODE as *mut libc::c_void;
            assert_eq!(libc::mprotect(page, 0x1000, libc::PROT_READ | libc::PROT_WRITE), 0);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), page.cast(), bytes.len());
            assert_eq!(libc::mprotect(page, 0x1000, libc::PROT_READ | libc::PROT_EXEC), 0);
            let (mut blocked, mut before): (libc::sigset_t, libc::sigset_t) =
                (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&mut blocked);
            for signal in SIGNALS {
                libc::sigdelset(&mut blocked, signal);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &blocked, &mut before);
            native_direct(state);
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        }
        let vector = u8::try_from(VECTOR.load(Ordering::Relaxed)).ok()?;
        let (code, address) = (ERROR.load(Ordering::Relaxed) as u32, ADDRESS.load(Ordering::Relaxed));
        Some(Raised { vector, code, address })
    }
}

impl DirectState {
    pub fn new(extended: Extended) -> DirectState {
        DirectState {
            general: [0; 16],
            flags: 2,
            components: 0,
            host_rsp: 0,
            host_controls: 0,
            unused: [0; 4],
            extended,
        }
    }
}

const SIGNALS: [libc::c_int; 4] = [libc::SIGFPE, libc::SIGILL, libc::SIGSEGV, libc::SIGBUS];

static mut PREVIOUS: [std::mem::MaybeUninit<libc::sigaction>; 4] = [std::mem::MaybeUninit::uninit(); 4];

fn prepare() {
    // Its handler comes first, so that this one comes before it.
    drop(Stub::lock().unwrap());
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE | libc::MAP_NORESERVE;
    // SAFETY: nothing is mapped at these addresses, or it fails. The handler has the type SA_SIGINFO asks for.
    unsafe {
        let reserved = libc::mmap(CODE as *mut libc::c_void, RESERVED, libc::PROT_NONE, flags, -1, 0);
        assert_eq!(reserved as u64, CODE, "{}", std::io::Error::last_os_error());
        let access = libc::PROT_READ | libc::PROT_WRITE;
        assert_eq!(libc::mprotect(DATA as *mut libc::c_void, DATA_SIZE, access), 0);
        for (number, signal) in SIGNALS.into_iter().enumerate() {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handle as extern "C" fn(_, _, _) as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            let previous = (&raw mut PREVIOUS[number]).cast::<libc::sigaction>();
            assert_eq!(libc::sigaction(signal, &action, previous), 0);
        }
    }
}

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes both structures. The previous handler is that of `signals.rs`.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        if registers[libc::REG_RIP as usize] as u64 == CODE {
            VECTOR.store(registers[libc::REG_TRAPNO as usize] as u64, Ordering::Relaxed);
            ERROR.store(registers[libc::REG_ERR as usize] as u64, Ordering::Relaxed);
            ADDRESS.store(registers[libc::REG_CR2 as usize] as u64, Ordering::Relaxed);
            registers[libc::REG_RIP as usize] = (&raw const native_direct_back).addr() as i64;
            return;
        }
        let number = SIGNALS.iter().position(|&known| known == signal).unwrap_or(0);
        let previous = (*(&raw const PREVIOUS[number]).cast::<libc::sigaction>()).sa_sigaction;
        let previous: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
            std::mem::transmute(previous);
        previous(signal, info, context);
    }
}
