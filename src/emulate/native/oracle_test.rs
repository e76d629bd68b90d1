//! The same instruction, run by the processor itself: assembled here, called as a function.

use std::arch::global_asm;
use std::ffi::{CStr, c_char};

use crate::emulate::cpu::Extended;
use crate::emulate::native::processor;

/// An instruction of the list in `forms.rs`, followed by `ret`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Form {
    code: *const u8,
    length: usize,
    name: *const c_char,
}

/// Everything an instruction works on.
#[repr(C, align(64))]
#[derive(Clone)]
pub struct State {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15; RSP is not used.
    pub general: [u64; 16],
    pub flags: u64,
    components: u64,
    form: *const u8,
    controls: u64,
    unused: [u64; 4],
    pub extended: Extended,
}

/// Adds one instruction to the list, given in pieces.
macro_rules! form {
    ($($piece:literal)+) => {
        std::arch::global_asm!(concat!(
            "77: ", $($piece,)+ "\n ret\n 78:\n",
            ".pushsection .rodata.native_form_names, \"a\", @progbits\n",
            "79: .asciz \"", $($piece,)+ "\"\n",
            ".popsection\n",
            ".pushsection native_forms, \"awR\", @progbits\n",
            ".quad 77b, 78b - 77b - 1, 79b\n",
            ".popsection\n",
        ));
    };
}
pub(super) use form;

global_asm!(
    "native_oracle:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "push rdi",
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
    "push [rdi + 144]",
    "mov rdi, [rdi + 56]",
    "call [rsp]",
    "lea rsp, [rsp + 8]",
    "push rdi",
    "mov rdi, [rsp + 8]",
    "pop [rdi + 56]",
    "pushfq",
    "pop [rdi + 128]",
    "mov [rdi], rax",
    "mov [rdi + 8], rcx",
    "mov [rdi + 16], rdx",
    "mov [rdi + 24], rbx",
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
    "mov eax, [rdi + 136]",
    "xor edx, edx",
    "xsave64 [rdi + 192]",
    "fninit",
    "fldcw [rdi + 156]",
    "ldmxcsr [rdi + 152]",
    "pop rdi",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
);

unsafe extern "C" {
    fn native_oracle(state: *mut State);
    #[link_name = "__start_native_forms"]
    static FIRST: [Form; 0];
    #[link_name = "__stop_native_forms"]
    static LAST: [Form; 0];
}

/// All instructions of the list.
pub fn forms() -> &'static [Form] {
    let (first, last) = ((&raw const FIRST).cast::<Form>(), (&raw const LAST).cast::<Form>());
    // SAFETY: the linker makes one array of all that `form!` puts in the section.
    unsafe { std::slice::from_raw_parts(first, last.offset_from_unsigned(first)) }
}

impl Form {
    pub fn code(&self) -> &'static [u8] {
        // SAFETY: `form!` writes down where the instruction is and how long it is.
        unsafe { std::slice::from_raw_parts(self.code, self.length) }
    }

    pub fn name(&self) -> &'static str {
        // SAFETY: `form!` writes the name with a zero behind it.
        unsafe { CStr::from_ptr(self.name) }.to_str().unwrap()
    }

    /// Executes it on the processor, with `state`.
    pub fn run(&self, state: &mut State) {
        state.form = self.code;
        state.components = processor::components();
        // SAFETY: the forms change registers and the memory at RDI, which the test owns; all
        // registers are given back.
        unsafe { native_oracle(state) }
    }
}

impl State {
    pub fn new(extended: Extended) -> State {
        State {
            general: [0; 16],
            flags: 2,
            components: 0,
            form: std::ptr::null(),
            controls: 0,
            unused: [0; 4],
            extended,
        }
    }
}
