//! The page in which guest instructions run.
//!
//! Three pages: one with code, followed by two with data. The code loads the guest's registers from the data,
//! jumps to the instruction in one of the slots of the same page, and stores the registers. An instruction
//! stays in its slot, so that a loop of the guest reuses it. The page is never writable and executable at the
//! same time. An exception that the instruction raises is caught, see `signals.rs`.

use std::arch::global_asm;
use std::arch::x86_64::{__cpuid, _fxsave, _xgetbv};
use std::ptr::{NonNull, null_mut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::arch::{GeneralRegisters, PAGE_SIZE};
use iced_x86::{Instruction, Register};

use super::encoding::Program;
use super::signals::{self, HostException};
use super::{image, processor};
use crate::emulate::LONGEST_INSTRUCTION;
use crate::emulate::ProcessorStateError;
use crate::emulate::cpu::{Cpu, Extended};
use crate::emulate::exception::EmulationError;

/// Longest memory operand, in bytes.
pub const BUFFER: usize = 128;

const PAGE: usize = PAGE_SIZE as usize;
const PAGES: usize = 3;
/// Bytes of a slot: the instruction, and a jump back of five bytes.
const SLOT: usize = 32;
/// Opcode of a jump with 32 bits of displacement.
const JUMP: u8 = 0xE9;
/// Opcode of `int3`.
const INT3: u8 = 0xCC;
/// CPUID leaf 1, ECX: the operating system has switched `xsave` on.
const OSXSAVE: u32 = 1 << 27;
/// Offset of MXCSR_MASK in what `fxsave` stores.
const MXCSR_MASK: usize = 28;
/// RFLAGS that instructions compute with: CF, PF, AF, ZF, SF and OF.
const STATUS_FLAGS: u64 = 0x8D5;
/// RFLAGS of a program: the bit that is always set, and interrupts on.
const PROGRAM_FLAGS: u64 = 0x202;
/// What the host is asked for.
const WHAT: &str = "make a page of memory executable";

/// What the code works on. Its layout is known to the assembly below.
#[repr(C, align(64))]
struct Data {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    general: [u64; 16],
    flags: u64,
    /// RSP of this process.
    host_rsp: u64,
    /// RSP while the instruction runs.
    run_rsp: u64,
    /// One of the `USE_` constants.
    vectors: u64,
    /// Not 0 if the instruction names RSP.
    guest_rsp: u64,
    /// Components that `xsave` and `xrstor` process.
    components: u64,
    /// Where the instruction is.
    slot: u64,
    host_mxcsr: u32,
    host_fcw: u32,
    unused: [u64; 8],
    buffer: [u8; BUFFER],
    unused_too: [u64; 8],
    extended: Extended,
}

/// The instruction needs no vector registers.
const USE_NONE: u64 = 0;
/// They are loaded and stored by `fxrstor` and `fxsave`.
const USE_FXSAVE: u64 = 1;
/// They are loaded and stored by `xrstor` and `xsave`.
const USE_XSAVE: u64 = 2;

const _: () = {
    assert!(std::mem::offset_of!(Data, flags) == 128);
    assert!(std::mem::offset_of!(Data, host_fcw) == 188);
    assert!(std::mem::offset_of!(Data, buffer) == 256);
    assert!(std::mem::offset_of!(Data, extended) == 448);
    assert!(size_of::<Data>() <= (PAGES - 1) * PAGE);
};

// Position-independent: it is copied to the start of the first page, with `Data` in the second. Called with
// the slot's address in RDI, by the C calling convention, which preserves no vector register. The control
// words of x87 and SSE are preserved.
global_asm!(
    ".pushsection .rodata.native_stub, \"a\", @progbits",
    ".balign 16",
    ".globl native_stub_start, native_stub_saved, native_stub_leave, native_stub_end",
    "native_stub_start:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rip + native_stub_start + 4096 + 136], rsp",
    "mov [rip + native_stub_start + 4096 + 176], rdi",
    "native_stub_saved:",
    "mov rcx, [rip + native_stub_start + 4096 + 152]",
    "jrcxz 3f",
    "stmxcsr [rip + native_stub_start + 4096 + 184]",
    "fnstcw [rip + native_stub_start + 4096 + 188]",
    "mov eax, [rip + native_stub_start + 4096 + 168]",
    "mov edx, [rip + native_stub_start + 4096 + 172]",
    "cmp rcx, 1",
    "je 2f",
    "xrstor64 [rip + native_stub_start + 4096 + 448]",
    "jmp 3f",
    "2: fxrstor64 [rip + native_stub_start + 4096 + 448]",
    "3: mov rax, rsp",
    "cmp qword ptr [rip + native_stub_start + 4096 + 160], 0",
    "cmovne rax, [rip + native_stub_start + 4096 + 32]",
    "mov [rip + native_stub_start + 4096 + 144], rax",
    "push qword ptr [rip + native_stub_start + 4096 + 128]",
    "popfq",
    "mov rax, [rip + native_stub_start + 4096 + 0]",
    "mov rcx, [rip + native_stub_start + 4096 + 8]",
    "mov rdx, [rip + native_stub_start + 4096 + 16]",
    "mov rbx, [rip + native_stub_start + 4096 + 24]",
    "mov rbp, [rip + native_stub_start + 4096 + 40]",
    "mov rsi, [rip + native_stub_start + 4096 + 48]",
    "mov rdi, [rip + native_stub_start + 4096 + 56]",
    "mov r8, [rip + native_stub_start + 4096 + 64]",
    "mov r9, [rip + native_stub_start + 4096 + 72]",
    "mov r10, [rip + native_stub_start + 4096 + 80]",
    "mov r11, [rip + native_stub_start + 4096 + 88]",
    "mov r12, [rip + native_stub_start + 4096 + 96]",
    "mov r13, [rip + native_stub_start + 4096 + 104]",
    "mov r14, [rip + native_stub_start + 4096 + 112]",
    "mov r15, [rip + native_stub_start + 4096 + 120]",
    "mov rsp, [rip + native_stub_start + 4096 + 144]",
    "jmp qword ptr [rip + native_stub_start + 4096 + 176]",
    "native_stub_leave:",
    "mov [rip + native_stub_start + 4096 + 0], rax",
    "mov [rip + native_stub_start + 4096 + 8], rcx",
    "mov [rip + native_stub_start + 4096 + 16], rdx",
    "mov [rip + native_stub_start + 4096 + 24], rbx",
    "mov [rip + native_stub_start + 4096 + 144], rsp",
    "mov [rip + native_stub_start + 4096 + 40], rbp",
    "mov [rip + native_stub_start + 4096 + 48], rsi",
    "mov [rip + native_stub_start + 4096 + 56], rdi",
    "mov [rip + native_stub_start + 4096 + 64], r8",
    "mov [rip + native_stub_start + 4096 + 72], r9",
    "mov [rip + native_stub_start + 4096 + 80], r10",
    "mov [rip + native_stub_start + 4096 + 88], r11",
    "mov [rip + native_stub_start + 4096 + 96], r12",
    "mov [rip + native_stub_start + 4096 + 104], r13",
    "mov [rip + native_stub_start + 4096 + 112], r14",
    "mov [rip + native_stub_start + 4096 + 120], r15",
    "mov rsp, [rip + native_stub_start + 4096 + 136]",
    "pushfq",
    "pop qword ptr [rip + native_stub_start + 4096 + 128]",
    "mov rcx, [rip + native_stub_start + 4096 + 152]",
    "jrcxz 6f",
    "mov eax, [rip + native_stub_start + 4096 + 168]",
    "mov edx, [rip + native_stub_start + 4096 + 172]",
    "cmp rcx, 1",
    "je 4f",
    "xsave64 [rip + native_stub_start + 4096 + 448]",
    "test eax, 4",
    "jz 5f",
    "vzeroupper",
    "jmp 5f",
    "4: fxsave64 [rip + native_stub_start + 4096 + 448]",
    "5: fninit",
    "fldcw [rip + native_stub_start + 4096 + 188]",
    "ldmxcsr [rip + native_stub_start + 4096 + 184]",
    "6: pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    "native_stub_end:",
    ".popsection",
);

unsafe extern "C" {
    static native_stub_start: [u8; 0];
    static native_stub_saved: [u8; 0];
    static native_stub_leave: [u8; 0];
    static native_stub_end: [u8; 0];
}

/// The pages, and the contents of the slots.
pub struct Stub {
    pages: NonNull<u8>,
    slots: Box<[Program]>,
    first_slot: usize,
    leave: usize,
}

// SAFETY: nothing else owns the pages.
unsafe impl Send for Stub {}

/// An instruction in a slot of the stub, ready to run.
#[derive(Clone, Copy)]
pub struct StubInstruction {
    /// Offset of the slot.
    slot: usize,
    /// RSP is one of its operands.
    names_rsp: bool,
}

/// The only stub, once it has been created.
static STUB: Mutex<Option<Stub>> = Mutex::new(None);

/// Exclusive access to the stub.
pub struct Locked(MutexGuard<'static, Option<Stub>>);

impl Stub {
    /// Locks the stub; creates it if necessary.
    ///
    /// # Errors
    ///
    /// [`ProcessorStateError`] if the host provides no executable memory.
    pub fn lock() -> Result<Locked, ProcessorStateError> {
        let mut stub = STUB.lock().unwrap_or_else(PoisonError::into_inner);
        if stub.is_none() {
            *stub = Some(Stub::new()?);
        }
        Ok(Locked(stub))
    }

    fn new() -> Result<Stub, ProcessorStateError> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: new memory, anywhere.
        let pages = unsafe { libc::mmap(null_mut(), PAGES * PAGE, protection, flags, -1, 0) };
        let Some(pages) = NonNull::new(pages.cast::<u8>()).filter(|_| pages != libc::MAP_FAILED) else {
            return Err(refused());
        };
        let start = (&raw const native_stub_start).addr();
        let length = (&raw const native_stub_end).addr() - start;
        // SAFETY: the code between the two symbols is shorter than a page, and the page is new.
        unsafe { pages.copy_from_nonoverlapping(NonNull::from(&native_stub_start).cast(), length) };
        let first_slot = length.next_multiple_of(SLOT);
        // The last slot is for `Locked::unchecked`.
        let slots = vec![Program::default(); (PAGE - first_slot) / SLOT - 1].into_boxed_slice();
        let leave = (&raw const native_stub_leave).addr() - start;
        let saved = (&raw const native_stub_saved).addr() - start;
        let mut stub = Stub { pages, slots, first_slot, leave };
        stub.protect(libc::PROT_READ | libc::PROT_EXEC)?;
        let page = pages.addr().get();
        signals::install(page + saved..page + leave, page + first_slot..page + PAGE)?;
        stub.data().components = processor::components();
        Ok(stub)
    }

    fn protect(&mut self, protection: i32) -> Result<(), ProcessorStateError> {
        // SAFETY: the page belongs to the stub, and nothing runs in it now.
        match unsafe { libc::mprotect(self.pages.as_ptr().cast(), PAGE, protection) } {
            0 => Ok(()),
            _ => Err(refused()),
        }
    }

    fn data(&mut self) -> &mut Data {
        // SAFETY: the second page begins with it: zeros are a valid value, and `&mut self` is the
        // only way to it.
        unsafe { self.pages.add(PAGE).cast::<Data>().as_mut() }
    }
}

impl Locked {
    fn stub(&mut self) -> &mut Stub {
        // `Stub::lock` has made one.
        self.0.as_mut().expect("a locked stub exists")
    }

    /// Puts `instruction`, which is at the guest's RIP, in a slot.
    ///
    /// # Errors
    ///
    /// [`super::super::Obstacle::NotAllowed`] if it cannot run here, [`ProcessorStateError`] if the host does not let
    /// the page be written.
    pub fn program(
        &mut self,
        cpu: &Cpu,
        instruction: &Instruction,
    ) -> Result<StubInstruction, EmulationError> {
        let program = Program::new(instruction, &cpu.code, cpu.registers.bitness())?;
        let names_rsp = (0..instruction.op_count())
            .any(|operand| instruction.op_register(operand).full_register() == Register::RSP);
        let stub = self.stub();
        let number = program.hash() % stub.slots.len();
        let slot = stub.first_slot + number * SLOT;
        let address = stub.pages.addr().get() + slot;
        let buffer = stub.pages.addr().get() + PAGE + std::mem::offset_of!(Data, buffer);
        let (bytes, length) = program.place(instruction, address as u64, buffer as u64)?;
        if stub.slots[number] != program {
            stub.write(slot, &bytes[..length])?;
            stub.slots[number] = program;
        }
        Ok(StubInstruction { slot, names_rsp })
    }

    /// The memory operand.
    pub fn buffer(&mut self) -> &mut [u8; BUFFER] {
        &mut self.stub().data().buffer
    }

    /// Sets general registers and flags for the instruction.
    pub fn set_general(&mut self, from: &GeneralRegisters) {
        let data = self.stub().data();
        data.general = [
            from.rax, from.rcx, from.rdx, from.rbx, from.rsp, from.rbp, from.rsi, from.rdi, from.r8, from.r9,
            from.r10, from.r11, from.r12, from.r13, from.r14, from.r15,
        ];
        data.flags = from.rflags & STATUS_FLAGS | PROGRAM_FLAGS;
        data.vectors = USE_NONE;
    }

    /// General registers and flags after the instruction.
    pub fn general_to(&mut self, to: &mut GeneralRegisters) {
        let data = self.stub().data();
        [
            to.rax, to.rcx, to.rdx, to.rbx, to.rsp, to.rbp, to.rsi, to.rdi, to.r8, to.r9, to.r10, to.r11,
            to.r12, to.r13, to.r14, to.r15,
        ] = data.general;
        to.rflags = to.rflags & !STATUS_FLAGS | data.flags & STATUS_FLAGS;
    }

    /// Sets extended registers for the instruction. Components that the host cannot load are omitted.
    pub fn set_extended(&mut self, from: &Extended) {
        let data = self.stub().data();
        data.extended.copy_from_slice(from);
        data.vectors = if data.components == 0 { USE_FXSAVE } else { USE_XSAVE };
        let mxcsr = image::mxcsr(from) & processor::mxcsr_mask();
        if data.components == 0 {
            image::bring_into_use(&mut data.extended);
        }
        image::set_mxcsr(&mut data.extended, mxcsr);
        let in_use = image::quad(from, image::IN_USE) & data.components;
        image::set_quad(&mut data.extended, image::IN_USE, in_use);
        data.extended[image::REST_OF_HEADER].fill(0);
    }

    /// The extended registers in the stub.
    pub fn extended(&mut self) -> &mut Extended {
        &mut self.stub().data().extended
    }

    /// Extended registers after the instruction.
    pub fn extended_to(&mut self, to: &mut Extended) {
        let data = self.stub().data();
        let components = data.components | image::X87 | image::SSE;
        let in_use = image::quad(to, image::IN_USE) & !components
            | image::quad(&data.extended, image::IN_USE) & components
            // Their fields count now, whatever is in them.
            | image::X87
            | image::SSE;
        let rest: [u8; 56] = to[image::REST_OF_HEADER].try_into().unwrap_or([0; 56]);
        to.copy_from_slice(&data.extended);
        to[image::REST_OF_HEADER].copy_from_slice(&rest);
        image::set_quad(to, image::IN_USE, in_use);
    }

    /// Runs an instruction.
    ///
    /// # Errors
    ///
    /// The exception that it raises. The extended registers are then those at the exception; the others
    /// are undefined.
    pub fn run(&mut self, instruction: StubInstruction) -> Result<(), HostException> {
        let stub = self.stub();
        stub.data().guest_rsp = u64::from(instruction.names_rsp);
        signals::prepare_thread();
        // While RSP is the guest's, signal handlers that do not use the alternate stack have none.
        let signals = if instruction.names_rsp { Some(signals::block_others()) } else { None };
        // SAFETY: the first page begins with a function of this type. It runs one instruction that
        // `Program::place` has checked to change registers and the buffer only, or that
        // `probe.rs` has given no address of memory, and gives all registers back as the
        // calling convention asks for.
        unsafe {
            let enter: extern "C" fn(*const u8) = std::mem::transmute(stub.pages.as_ptr());
            enter(stub.pages.as_ptr().add(instruction.slot));
        }
        if let Some(signals) = signals {
            signals::restore(&signals);
        }
        if let Some(raised) = signals::take_raised() {
            return Err(raised);
        }
        if instruction.names_rsp {
            let data = stub.data();
            data.general[4] = data.run_rsp;
        }
        Ok(())
    }

    /// Puts `code`, which no one has checked, into a slot that is kept for that, followed by traps. What the slot has
    /// no room for is more than the longest instruction. See `probe.rs` for what its registers have to be.
    ///
    /// # Errors
    ///
    /// [`ProcessorStateError`] if the host does not let the page be written.
    pub fn unchecked(&mut self, code: &[u8]) -> Result<StubInstruction, ProcessorStateError> {
        let mut bytes = [INT3; SLOT];
        let length = code.len().min(SLOT);
        bytes[..length].copy_from_slice(&code[..length]);
        let stub = self.stub();
        let slot = stub.first_slot + stub.slots.len() * SLOT;
        stub.fill(slot, &bytes)?;
        Ok(StubInstruction { slot, names_rsp: true })
    }

    /// The address of an instruction.
    pub fn address(&mut self, instruction: StubInstruction) -> usize {
        self.stub().pages.addr().get() + instruction.slot
    }
}

impl Stub {
    /// Writes an instruction and the jump back to a slot.
    fn write(&mut self, slot: usize, instruction: &[u8]) -> Result<(), ProcessorStateError> {
        debug_assert!(instruction.len() <= LONGEST_INSTRUCTION);
        let mut bytes = [0; SLOT];
        let jump = instruction.len();
        bytes[..jump].copy_from_slice(instruction);
        bytes[jump] = JUMP;
        let distance = self.leave as i32 - (slot + jump + 5) as i32;
        bytes[jump + 1..jump + 5].copy_from_slice(&distance.to_le_bytes());
        self.fill(slot, &bytes)
    }

    /// Writes all bytes of a slot.
    fn fill(&mut self, slot: usize, bytes: &[u8; SLOT]) -> Result<(), ProcessorStateError> {
        self.protect(libc::PROT_READ | libc::PROT_WRITE)?;
        // SAFETY: the slot lies in the first page, which is writable now.
        unsafe { self.pages.add(slot).copy_from_nonoverlapping(NonNull::from(bytes).cast(), SLOT) };
        self.protect(libc::PROT_READ | libc::PROT_EXEC)
    }
}

fn refused() -> ProcessorStateError {
    ProcessorStateError { what: WHAT, source: std::io::Error::last_os_error().into() }
}

/// XCR0 of the host; `None` unless `xsave` is enabled.
pub fn host_xcr0() -> Option<u64> {
    #[target_feature(enable = "xsave")]
    fn xcr0() -> u64 {
        // SAFETY: the caller has checked that `xsave` is enabled, and XCR0 exists then.
        unsafe { _xgetbv(0) }
    }
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return None;
    }
    // SAFETY: CPUID has reported that `xsave` is enabled.
    Some(unsafe { xcr0() })
}

/// The bits of MXCSR that the host has; `None` if it does not report them.
pub fn host_mxcsr_mask() -> Option<u32> {
    #[repr(align(16))]
    struct Area([u8; 512]);
    #[target_feature(enable = "fxsr")]
    fn store(area: &mut Area) {
        // SAFETY: the area has the size and the alignment that the instruction needs.
        unsafe { _fxsave(area.0.as_mut_ptr()) }
    }
    let mut area = Area([0; 512]);
    // SAFETY: every 64-bit processor has `fxsave`.
    unsafe { store(&mut area) };
    let mut mask = [0; 4];
    mask.copy_from_slice(&area.0[MXCSR_MASK..MXCSR_MASK + 4]);
    Some(u32::from_le_bytes(mask)).filter(|mask| *mask != 0)
}

#[cfg(test)]
#[path = "stub_test.rs"]
mod tests;
