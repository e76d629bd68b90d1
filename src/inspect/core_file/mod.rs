//! A stopped guest as an ELF core file, for `gdb GUEST CORE`: `--core FILE` and the command `core`.
//!
//! The processors are the threads of a process. The memory is that of the page tables of one processor, at its virtual
//! addresses. docs/crash-report.md describes the file to users.
//!
//! | file | what it owns |
//! |---|---|
//! | `layout` | which memory goes into the file, and where |
//! | `notes` | the registers |
//!
//! Manual: ELF gABI chapter 4, "ELF Header", and chapter 5, "Program Header" and "Note Section".

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod layout;
mod notes;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::header::{ELFMAG, EM_386, EM_X86_64, ET_CORE, Header};
use goblin::elf::program_header::{PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE, ProgramHeader};
use scroll::Pwrite;

use self::layout::{CoreLayout, Segment};
use self::notes::{Notes, Thread, Word};
use super::crash::{Cause, CrashReport};
use super::fault::vector;
use crate::arch::flags::EFER_LMA;
use crate::arch::{PAGE_SIZE, Registers};
use crate::boot::elf_entry;
use crate::kvm::HostError;
use crate::machine::{CpuId, Machine};
use crate::memory::{CHUNK, GuestMemory};
use crate::os::replacement_file::{Readers, ReplacementFile};
use crate::settings::GdbArch;

/// Signals of Linux, by which gdb names what has happened.
mod signal {
    pub const ILL: u8 = 4;
    pub const TRAP: u8 = 5;
    pub const BUS: u8 = 7;
    pub const FPE: u8 = 8;
    pub const SEGV: u8 = 11;
    pub const ALRM: u8 = 14;
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenCore {
    /// Bytes of memory in it.
    pub memory: u64,
    /// The guest maps more than the file has segments for, or more page tables than are looked at.
    pub incomplete: bool,
    /// The guest file, if gdb can read it.
    pub program: Option<String>,
}

impl WrittenCore {
    /// What the user can do with it, which is in `file`; without a full stop.
    pub fn sentence(&self, file: &Path) -> String {
        let (file, kib) = (file.display(), self.memory >> 10);
        let program = self.program.as_deref().unwrap_or("-c");
        let gdb =
            format!("the core is in {file}, {kib} KiB of memory; examine it with `gdb {program} {file}`");
        match self.incomplete {
            true => {
                gdb + " (the guest maps more ranges than a core file has room for: the upper addresses are missing)"
            }
            false => gdb,
        }
    }
}

/// Why no file was written.
#[derive(Debug, thiserror::Error)]
pub enum CoreFileError {
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The host does not return registers, or memory.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// True if `start`, the first bytes of a file, are those of a core file of this program.
pub fn is_core_start(start: &[u8]) -> bool {
    [Container::Little, Container::Big].into_iter().any(|container| {
        let context = Ctx::new(container, Endian::Little);
        let name = Header::size(context) + 12;
        start.starts_with(ELFMAG)
            && start.get(16..18) == Some(&ET_CORE.to_le_bytes()[..])
            && start.get(name..name + notes::OWN.len() + 1) == Some(b"kvm\0")
    })
}

/// Writes `machine` to `file` as the CPU of `crash` sees it. An older file is replaced when the new one is complete.
///
/// # Errors
///
/// [`CoreFileError`]; the older file is still there.
pub fn write(machine: &Machine, crash: &CrashReport, file: &Path) -> Result<WrittenCore, CoreFileError> {
    let cpu = CpuId::new(crash.cpu);
    let registers = machine.cpu(cpu).registers()?;
    let layout = CoreLayout::new(machine.memory(), &registers);
    let word = word(machine, &registers);
    let notes = notes(machine, cpu, signal_of(crash), word)?;
    let new = ReplacementFile::new(file, Readers::Owner)?;
    let memory = write_parts(new.file(), machine.memory(), &layout, &notes, word)?;
    if let Some(lost) = machine.memory().file_failure() {
        return Err(HostError::MemoryLost(lost).into());
    }
    new.put_in_place()?;
    let readable = machine.debugger_file().filter(|file| !file.is_unpacked());
    let program = readable.map(|file| file.name().to_owned());
    Ok(WrittenCore { memory, incomplete: layout.incomplete, program })
}

/// The class of the file: that of the guest file, unless the processor is in long mode.
fn word(machine: &Machine, registers: &Registers) -> Word {
    match machine.gdb_arch() {
        GdbArch::I386 | GdbArch::I8086 if registers.system.efer & EFER_LMA == 0 => Word::Four,
        _ => Word::Eight,
    }
}

/// All notes; `first` is the current thread.
fn notes(machine: &Machine, first: CpuId, signal: u8, word: Word) -> Result<Vec<u8>, HostError> {
    let mut notes = Notes::new(word);
    notes.add_process(machine.image().name());
    let others = machine.cpu_ids().filter(|cpu| *cpu != first);
    for id in std::iter::once(first).chain(others) {
        let cpu = machine.cpu(id);
        notes.add_thread(&Thread {
            number: u32::from(id.number()) + 1,
            signal: if id == first { signal } else { 0 },
            registers: cpu.registers()?,
            extended: Box::new(cpu.vcpu().extended_registers()?),
            xcr0: cpu.vcpu().xcr0()?,
        });
    }
    let bias = machine.symbols().bias();
    if bias != 0
        && let Some(entry) = elf_entry(machine.image())
    {
        notes.add_entry(entry.wrapping_add(bias));
    }
    Ok(notes.into_bytes())
}

/// The signal that a process would have got for `crash`, as Linux chooses it; 0 for none.
fn signal_of(crash: &CrashReport) -> u8 {
    match (&crash.cause, crash.exception.as_ref().map(|exception| exception.vector)) {
        (Cause::TripleFault, Some(vector::DIVIDE | vector::X87 | vector::SIMD)) => signal::FPE,
        (Cause::TripleFault, Some(vector::DEBUG | vector::BREAKPOINT)) => signal::TRAP,
        (Cause::TripleFault, Some(vector::UNDEFINED)) => signal::ILL,
        (Cause::TripleFault, Some(vector::NOT_PRESENT | vector::STACK | vector::ALIGNMENT)) => signal::BUS,
        (Cause::TripleFault, _) => signal::SEGV,
        (Cause::Refused { .. } | Cause::EntryFailed { .. } | Cause::Unexpected { .. }, _) => signal::ILL,
        (Cause::TimedOut, _) => signal::ALRM,
        (Cause::Reset | Cause::Stopped, _) => 0,
    }
}

/// Writes header, notes, program headers and memory, in this order; returns how many bytes of memory.
fn write_parts(
    file: &File,
    memory: &GuestMemory,
    layout: &CoreLayout,
    notes: &[u8],
    word: Word,
) -> io::Result<u64> {
    let (container, machine) = match word {
        Word::Four => (Container::Little, EM_386),
        Word::Eight => (Container::Big, EM_X86_64),
    };
    let context = Ctx::new(container, Endian::Little);
    let (header_size, entry_size) = (Header::size(context), ProgramHeader::size(context));
    let table = (header_size + notes.len()).next_multiple_of(8);
    let headers = layout.segments.len() + 1;
    let data = ((table + headers * entry_size) as u64).next_multiple_of(PAGE_SIZE);
    let mut head = vec![0; table + headers * entry_size];

    let mut header = Header::new(context);
    (header.e_type, header.e_machine) = (ET_CORE, machine);
    (header.e_phoff, header.e_phnum) = (table as u64, headers as u16);
    let malformed = |error: goblin::error::Error| io::Error::other(error);
    head.pwrite_with(header, 0, Endian::Little).map_err(malformed)?;
    head[header_size..header_size + notes.len()].copy_from_slice(notes);
    let note = ProgramHeader {
        p_type: PT_NOTE,
        p_offset: header_size as u64,
        p_filesz: notes.len() as u64,
        p_align: 4,
        ..ProgramHeader::new()
    };
    let note = ProgramHeader { p_flags: 0, p_memsz: 0, ..note };
    let segments =
        layout.segments.iter().map(|segment| load(segment, data + layout.offset_of(segment.physical)));
    for (number, entry) in std::iter::once(note).chain(segments).enumerate() {
        head.pwrite_with(entry, table + number * entry_size, context).map_err(malformed)?;
    }
    file.write_all_at(&head, 0)?;
    write_memory(file, memory, layout, data)
}

/// The program header of `segment`, whose memory is at `offset`.
fn load(segment: &Segment, offset: u64) -> ProgramHeader {
    let right = |allowed, flag| if allowed { flag } else { 0 };
    ProgramHeader {
        p_type: PT_LOAD,
        p_flags: PF_R | right(segment.rights.write, PF_W) | right(segment.rights.execute, PF_X),
        p_offset: offset,
        p_vaddr: segment.address,
        p_paddr: segment.physical,
        p_filesz: segment.stored,
        p_memsz: segment.length,
        p_align: PAGE_SIZE,
    }
}

/// Writes the memory from offset `start` on. Chunks of zeros become holes of the file.
fn write_memory(file: &File, memory: &GuestMemory, layout: &CoreLayout, start: u64) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK as usize];
    let mut at = start;
    for range in layout.stored.iter().map(|stored| &stored.physical) {
        let mut address = range.start;
        while address < range.end {
            let length = CHUNK.min(range.end - address);
            let bytes = &mut chunk[..length as usize];
            memory.read(address, bytes).map_err(io::Error::other)?;
            if bytes.iter().any(|byte| *byte != 0) {
                file.write_all_at(bytes, at)?;
            }
            (address, at) = (address + length, at + length);
        }
    }
    file.set_len(at)?;
    Ok(at - start)
}
