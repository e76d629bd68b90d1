//! The notes of a core file: the processors as the threads of a process, as Linux describes those.
//!
//! Manual: `struct elf_prstatus`, `elf_prpsinfo` and `user_regs_struct` of Linux (include/linux/elfcore.h,
//! arch/x86/include/asm/user_64.h and user_32.h).

use crate::arch::{ExtendedRegisters, Registers};

/// Owner of the notes that every Linux core has, and of those that came later.
const CORE: &str = "CORE";
const LINUX: &str = "LINUX";
/// Owner of the note that marks a file of this program. The note comes first.
pub(super) const OWN: &str = "kvm";

/// Types of notes (Linux, include/uapi/linux/elf.h).
const NT_PRSTATUS: u32 = 1;
const NT_PRFPREG: u32 = 2;
const NT_PRPSINFO: u32 = 3;
const NT_AUXV: u32 = 6;
const NT_X86_XSTATE: u32 = 0x202;
const NT_PRXFPREG: u32 = 0x46E6_2B7F;
/// The type of [`OWN`]'s note: readers look at the types of other owners' notes, too.
const NT_OWN: u32 = u32::from_le_bytes(*b"kvm1");

/// Entries of the auxiliary vector: its end, and the address of the program's first instruction.
const AT_NULL: u64 = 0;
const AT_ENTRY: u64 = 9;

/// Size of the part of the XSAVE area that FXSAVE writes.
const LEGACY: usize = 512;
/// Size of the standard format up to the upper halves of the AVX registers.
const AVX_AREA: usize = 832;
/// Where gdb looks for XCR0: in bytes that FXSAVE leaves to software.
const XCR0: usize = 464;
/// XCR0 with x87, SSE and AVX.
const X87_SSE_AVX: u64 = 7;

/// Sizes of the names in NT_PRPSINFO.
const NAME: usize = 16;
const ARGUMENTS: usize = 80;

/// Width of a word of the file's class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// ELF32, for i386.
    Four,
    /// ELF64, for x86-64.
    Eight,
}

/// A processor.
pub(super) struct Thread {
    /// From 1: there is no thread 0.
    pub(super) number: u32,
    /// The signal that a process would have got; 0 for none.
    pub(super) signal: u8,
    /// Its registers.
    pub(super) registers: Registers,
    /// Its vector registers.
    pub(super) extended: Box<ExtendedRegisters>,
    /// Which of them it has.
    pub(super) xcr0: u64,
}

/// Notes under construction.
pub(super) struct Notes {
    word: Word,
    bytes: Vec<u8>,
}

impl Notes {
    /// The first note, which says what has written the file.
    pub(super) fn new(word: Word) -> Notes {
        let mut notes = Notes { word, bytes: Vec::new() };
        notes.add(OWN, NT_OWN, concat!("kvm ", env!("CARGO_PKG_VERSION"), "\0").as_bytes());
        notes
    }

    /// Adds the process: the guest file is its program. gdb takes a name that is cut off for that of another
    /// program, so a long one is left out.
    pub(super) fn add_process(&mut self, program: &str) {
        let name = program.rsplit('/').next().unwrap_or(program);
        if name.len() > NAME {
            return;
        }
        let mut body = Body::new(self.word);
        // State, its letter, zombie, nice.
        body.bytes(&[0, b'R', 0, 0]);
        body.align();
        body.word(0);
        let identities = if self.word == Word::Eight { 8 } else { 4 };
        body.bytes(&vec![0; identities]);
        for id in [1, 0, 1, 1] {
            body.int(id);
        }
        body.text(name, NAME);
        body.text(if program.len() <= ARGUMENTS { program } else { name }, ARGUMENTS);
        self.add(CORE, NT_PRPSINFO, &body.bytes);
    }

    /// Adds the address that the entry of a relocated file has in memory: gdb moves its symbols by it.
    pub(super) fn add_entry(&mut self, entry: u64) {
        let mut body = Body::new(self.word);
        for word in [AT_ENTRY, entry, AT_NULL, 0] {
            body.word(word);
        }
        self.add(CORE, NT_AUXV, &body.bytes);
    }

    /// Adds a processor. The first one is the current thread.
    pub(super) fn add_thread(&mut self, thread: &Thread) {
        let mut body = Body::new(self.word);
        // Signal number, code, errno, and the current signal.
        for value in [thread.signal.into(), 0, 0] {
            body.int(value);
        }
        body.bytes(&[thread.signal, 0]);
        body.align();
        // Pending and blocked signals.
        body.word(0);
        body.word(0);
        // The thread, its parent, group and session.
        for id in [thread.number, 0, 1, 1] {
            body.int(id);
        }
        // Four times of two words each.
        for _ in 0..8 {
            body.word(0);
        }
        match self.word {
            Word::Eight => general_64(&mut body, &thread.registers),
            Word::Four => general_32(&mut body, &thread.registers),
        }
        // The floating-point registers are valid.
        body.int(1);
        body.align();
        self.add(CORE, NT_PRSTATUS, &body.bytes);
        let (owner, kind) = match self.word {
            Word::Eight => (CORE, NT_PRFPREG),
            Word::Four => (LINUX, NT_PRXFPREG),
        };
        self.add(owner, kind, &thread.extended[..LEGACY]);
        if thread.xcr0 & X87_SSE_AVX == X87_SSE_AVX {
            let mut area = thread.extended[..AVX_AREA].to_vec();
            area[XCR0..XCR0 + 8].copy_from_slice(&X87_SSE_AVX.to_le_bytes());
            self.add(LINUX, NT_X86_XSTATE, &area);
        }
    }

    /// All notes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn add(&mut self, owner: &str, kind: u32, body: &[u8]) {
        // With the 0 at the end of the name.
        for number in [owner.len() as u32 + 1, body.len() as u32, kind] {
            self.bytes.extend(number.to_le_bytes());
        }
        for part in [owner.as_bytes(), &[0]] {
            self.bytes.extend(part);
        }
        self.pad();
        self.bytes.extend(body);
        self.pad();
    }

    /// Names and bodies begin at multiples of four bytes.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// The body of a note.
struct Body {
    word: Word,
    bytes: Vec<u8>,
}

impl Body {
    fn new(word: Word) -> Body {
        Body { word, bytes: Vec::new() }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    fn int(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    fn word(&mut self, value: u64) {
        match self.word {
            Word::Eight => self.bytes(&value.to_le_bytes()),
            Word::Four => self.bytes(&(value as u32).to_le_bytes()),
        }
    }

    /// Fills up to a whole word, as a compiler does before one.
    fn align(&mut self) {
        let size = if self.word == Word::Eight { 8 } else { 4 };
        self.bytes.resize(self.bytes.len().next_multiple_of(size), 0);
    }

    /// `text` in a field of `size` bytes, the rest of which is 0.
    fn text(&mut self, text: &str, size: usize) {
        let end = self.bytes.len() + size;
        self.bytes(text.as_bytes());
        self.bytes.resize(end, 0);
    }
}

/// RIP and RSP as gdb looks them up: as linear addresses, from which those of real mode and of segments with a base
/// differ.
fn linear_pointers(registers: &Registers) -> (u64, u64) {
    let base = if registers.bitness() == 64 { 0 } else { registers.system.ss.base };
    (registers.next_instruction(), base.wrapping_add(registers.general.rsp))
}

/// `struct user_regs_struct` of x86-64.
fn general_64(body: &mut Body, registers: &Registers) {
    let (rip, rsp) = linear_pointers(registers);
    let (g, s) = (&registers.general, &registers.system);
    // There is no system call that could be restarted.
    let orig_rax = u64::MAX;
    let general = [g.r15, g.r14, g.r13, g.r12, g.rbp, g.rbx, g.r11, g.r10, g.r9, g.r8];
    let others = [g.rax, g.rcx, g.rdx, g.rsi, g.rdi, orig_rax, rip, s.cs.selector.into(), g.rflags, rsp];
    let segments = [s.ss.selector.into(), s.fs.base, s.gs.base];
    let selectors = [s.ds, s.es, s.fs, s.gs].map(|segment| u64::from(segment.selector));
    for value in general.into_iter().chain(others).chain(segments).chain(selectors) {
        body.word(value);
    }
}

/// `struct user_regs_struct` of i386.
fn general_32(body: &mut Body, registers: &Registers) {
    let (eip, esp) = linear_pointers(registers);
    let (g, s) = (&registers.general, &registers.system);
    let general = [g.rbx, g.rcx, g.rdx, g.rsi, g.rdi, g.rbp, g.rax];
    let selectors = [s.ds, s.es, s.fs, s.gs].map(|segment| u64::from(segment.selector));
    let orig_eax = u64::MAX;
    let others = [orig_eax, eip, s.cs.selector.into(), g.rflags, esp, s.ss.selector.into()];
    for value in general.into_iter().chain(selectors).chain(others) {
        body.word(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_have_the_sizes_that_linux_gives_them() {
        for (word, process, status) in [(Word::Eight, 136, 336), (Word::Four, 124, 144)] {
            let mut notes = Notes::new(word);
            let own = notes.bytes.len();
            assert_eq!(&notes.bytes[12..16], b"kvm\0");
            notes.add_process("folder/guest.elf");
            assert_eq!(notes.bytes.len() - own, 12 + 8 + process);
            let name = own + 20 + process - NAME - ARGUMENTS;
            assert_eq!(&notes.bytes[name..name + 10], b"guest.elf\0");
            let before = notes.bytes.len();
            let thread = Thread {
                number: 1,
                signal: 11,
                registers: Registers::default(),
                extended: Box::new([0; 4096]),
                xcr0: 1,
            };
            notes.add_thread(&thread);
            let body_size = u32::from_le_bytes(notes.bytes[before + 4..before + 8].try_into().unwrap());
            assert_eq!(body_size, status);
        }
    }

    #[test]
    fn real_mode_is_shown_at_linear_addresses() {
        let mut registers = Registers::default();
        (registers.system.cs.base, registers.general.rip) = (0x7C00, 0x10);
        (registers.system.ss.base, registers.general.rsp) = (0x9_0000, 0xFFFE);
        assert_eq!(linear_pointers(&registers), (0x7C10, 0x9_FFFE));
    }
}
