//! Reads the parts of an ELF executable that loading needs (ELF gABI chapters 4 and 5).
//!
//! Only the header, the program headers and the name of an interpreter are read here: sections and
//! symbols are of no use to the processor, and may be missing. Of the program headers, PT_LOAD,
//! PT_DYNAMIC, PT_INTERP and PT_NOTE are acted on; the other types describe what the loadable segments
//! contain and have no effect of their own.

use goblin::elf::ProgramHeader;
use goblin::elf::header::{ELFMAG, ET_DYN, Header, header64};
use goblin::elf::program_header::{PF_R, PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD, PT_NOTE};

use super::dynamic::{self, Dynamic};
use super::elf::ElfFile;
use super::error::GuestProblem;
use super::identify;
use super::image::{self, Image};

/// Maximum length of a name copied from a file into a message, in bytes.
pub(super) const LONGEST_NAME: u64 = 255;

/// Maximum number of PT_NOTE headers examined.
const MOST_NOTES: usize = 16;

/// Maximum size of the notes examined per header, in bytes.
const LONGEST_NOTES: u64 = 4096;

/// `e_phnum` when the real number does not fit (gABI, "Program Header").
const PN_XNUM: u16 = 0xFFFF;

/// The contents of an executable's program headers.
#[derive(Debug)]
pub(super) struct Executable {
    /// True for ET_DYN: it can be placed where there is room.
    pub relocatable: bool,
    /// `e_entry`.
    pub entry: u64,
    /// The PT_LOAD segments that occupy memory, in the order of the file; at least one.
    pub segments: Vec<Segment>,
    /// What PT_DYNAMIC says.
    pub dynamic: Option<Dynamic>,
    /// Notes for the user that are not errors.
    pub warnings: Vec<String>,
}

impl Executable {
    /// The same for a protocol without paging, for which only physical addresses count.
    pub fn by_physical_address(mut self) -> Executable {
        if self.segments.iter().any(|segment| segment.physical_address != 0) {
            for segment in &mut self.segments {
                segment.virtual_address = segment.physical_address;
            }
        }
        self
    }
}

/// A PT_LOAD segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Index of its program header.
    pub index: usize,
    /// `p_offset`.
    pub offset: u64,
    /// `p_vaddr`.
    pub virtual_address: u64,
    /// `p_paddr`.
    pub physical_address: u64,
    /// `p_filesz`; not more than `memory_size`, and all in the file.
    pub file_size: u64,
    /// `p_memsz`; never 0.
    pub memory_size: u64,
    /// `p_align`.
    pub align: u64,
    /// `p_flags`.
    pub access: Access,
}

/// Permitted accesses to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    /// PF_R.
    pub read: bool,
    /// PF_W.
    pub write: bool,
    /// PF_X.
    pub execute: bool,
}

impl Access {
    /// All accesses are permitted.
    pub const ALL: Access = Access { read: true, write: true, execute: true };

    /// The accesses that either permits.
    pub fn or(self, other: Access) -> Access {
        Access {
            read: self.read || other.read,
            write: self.write || other.write,
            execute: self.execute || other.execute,
        }
    }
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (allowed, letter) in [(self.read, 'R'), (self.write, 'W'), (self.execute, 'X')] {
            write!(f, "{}", if allowed { letter } else { '-' })?;
        }
        Ok(())
    }
}

/// Reads and checks the headers of `file`.
pub(super) fn read(file: &dyn Image) -> Result<Executable, GuestProblem> {
    let elf = read_header(file)?;
    let header = elf.header;
    let headers = read_program_headers(file, &elf)?;
    if let Some(interpreter) = headers.iter().find(|header| header.p_type == PT_INTERP) {
        return Err(match needs_no_library(file, &header, &headers) {
            true => position_independent_program(file, interpreter),
            false => linux_program(file, interpreter),
        });
    }
    let mut executable = executable(file, &header, &headers)?;
    if let Some(header) = headers.iter().find(|header| header.p_type == PT_DYNAMIC) {
        let segments = &executable.segments;
        executable.dynamic =
            Some(dynamic::read(file, executable.relocatable, segments, header.p_offset, header.p_filesz)?);
    }
    // After the dynamic section, because many shared libraries have such a note too.
    for header in headers.iter().filter(|header| header.p_type == PT_NOTE).take(MOST_NOTES) {
        check_note(file, header)?;
    }
    Ok(executable)
}

/// Reads and checks the headers of an executable of either class, for a protocol that loads it at its physical
/// addresses. What it needs of an operating system, or of a dynamic linker, is not examined.
pub(super) fn read_any_class(file: &dyn Image) -> Result<Executable, GuestProblem> {
    let head = image::read(file, 0, file.len().min(header64::SIZEOF_EHDR as u64), "the file")?;
    if !head.starts_with(ELFMAG) {
        return Err(identify::without_elf_magic(file));
    }
    let start = image::read(file, 0, 20, "the ELF header")?;
    if let Some(start) = start.first_chunk::<20>() {
        identify::check_elf_of_any_class(start)?;
    }
    let elf = ElfFile::read(file).ok_or_else(incomplete_header)?;
    let headers = read_program_headers(file, &elf)?;
    executable(file, &elf.header, &headers)
}

/// The loadable segments of an ELF file of either class; `None` if it has none, or is damaged.
pub(super) fn segments(file: &dyn Image) -> Option<Vec<Segment>> {
    let elf = ElfFile::read(file)?;
    let headers = read_program_headers(file, &elf).ok()?;
    Some(executable(file, &elf.header, &headers).ok()?.segments)
}

/// What the PT_LOAD headers say.
fn executable(
    file: &dyn Image,
    header: &Header,
    headers: &[ProgramHeader],
) -> Result<Executable, GuestProblem> {
    let mut executable = Executable {
        relocatable: header.e_type == ET_DYN,
        entry: header.e_entry,
        segments: Vec::new(),
        dynamic: None,
        warnings: Vec::new(),
    };
    for (index, header) in headers.iter().enumerate() {
        match header.p_type {
            PT_LOAD if header.p_memsz == 0 && header.p_filesz == 0 => {
                executable.warnings.push(format!("segment {index} is empty: nothing of it is loaded"));
            }
            PT_LOAD => executable.segments.push(checked_segment(file, index, header)?),
            _ => {}
        }
    }
    if executable.segments.is_empty() { Err(GuestProblem::NoSegments) } else { Ok(executable) }
}

fn read_header(file: &dyn Image) -> Result<ElfFile, GuestProblem> {
    const SIZE: u64 = header64::SIZEOF_EHDR as u64;
    let head = image::read(file, 0, file.len().min(SIZE), "the file")?;
    if !head.starts_with(ELFMAG) {
        return Err(identify::without_elf_magic(file));
    }
    // The kind of file is known before the header is complete.
    if let Some(start) = head.first_chunk::<20>() {
        identify::check_elf(start, file)?;
    }
    image::check_present(file, 0, SIZE, "the ELF header")?;
    let elf = ElfFile::read(file).ok_or_else(incomplete_header)?;
    if elf.header.e_version != 1 {
        return Err(field("e_version", elf.header.e_version.into(), "1"));
    }
    Ok(elf)
}

fn incomplete_header() -> GuestProblem {
    GuestProblem::Truncated { part: "the ELF header".to_owned(), missing: 1 }
}

fn read_program_headers(file: &dyn Image, elf: &ElfFile) -> Result<Vec<ProgramHeader>, GuestProblem> {
    let header = &elf.header;
    let size = ProgramHeader::size(elf.context);
    if header.e_phnum == 0 {
        return Err(GuestProblem::NoSegments);
    }
    if header.e_phnum == PN_XNUM {
        return Err(field("e_phnum", PN_XNUM.into(), "at most 0xfffe"));
    }
    if usize::from(header.e_phentsize) != size {
        let expected = if elf.is_64_bit() { "0x38" } else { "0x20" };
        return Err(field("e_phentsize", header.e_phentsize.into(), expected));
    }
    let count = usize::from(header.e_phnum);
    // At most 3.5 MiB, and no more than the file has.
    let table = image::read(file, header.e_phoff, (count * size) as u64, "the program header table")?;
    ProgramHeader::parse(&table, 0, count, elf.context)
        .map_err(|_| field("e_phnum", count as u64, "the number of program headers in the file"))
}

fn checked_segment(file: &dyn Image, index: usize, header: &ProgramHeader) -> Result<Segment, GuestProblem> {
    let (file_size, memory_size) = (header.p_filesz, header.p_memsz);
    if file_size > memory_size {
        return Err(GuestProblem::FileSize { index, file_size, memory_size });
    }
    if file_size > 0 {
        image::check_present(file, header.p_offset, file_size, &format!("segment {index}"))?;
    }
    let has = |flag| header.p_flags & flag != 0;
    Ok(Segment {
        index,
        offset: header.p_offset,
        virtual_address: header.p_vaddr,
        physical_address: header.p_paddr,
        file_size,
        memory_size,
        align: header.p_align,
        access: Access { read: has(PF_R), write: has(PF_W), execute: has(PF_X) },
    })
}

/// True for a position-independent executable that names an interpreter, but has no use for one.
fn needs_no_library(file: &dyn Image, header: &Header, headers: &[ProgramHeader]) -> bool {
    let Some(section) = headers.iter().find(|header| header.p_type == PT_DYNAMIC) else { return false };
    header.e_type == ET_DYN && dynamic::read(file, true, &[], section.p_offset, section.p_filesz).is_ok()
}

fn position_independent_program(file: &dyn Image, interpreter: &ProgramHeader) -> GuestProblem {
    GuestProblem::NotAGuest {
        what: format!(
            "a position-independent executable for a dynamic linker (interpreter {})",
            interpreter_name(file, interpreter)
        ),
        remedy: "link it with `-static-pie` in place of `-pie` (`ld -pie --no-dynamic-linker`), or at a fixed \
                 address with `-static`",
    }
}

fn linux_program(file: &dyn Image, interpreter: &ProgramHeader) -> GuestProblem {
    GuestProblem::NotAGuest {
        what: format!(
            "a dynamically linked program for an operating system (interpreter {})",
            interpreter_name(file, interpreter)
        ),
        remedy: "link it for a bare machine: `-static -nostdlib -ffreestanding`, and no C library that \
                 needs a kernel",
    }
}

fn interpreter_name(file: &dyn Image, interpreter: &ProgramHeader) -> String {
    let length = interpreter.p_filesz.min(LONGEST_NAME);
    printable(&image::read(file, interpreter.p_offset, length, "PT_INTERP").unwrap_or_default())
}

/// Refuses a program that a C library was linked into: its start files leave a note that names the
/// operating system it needs (Linux Standard Base, "Note Sections": NT_GNU_ABI_TAG).
fn check_note(file: &dyn Image, header: &ProgramHeader) -> Result<(), GuestProblem> {
    // Sizes of name and content, the type, the name: what the note starts with.
    const ABI_TAG: &[u8] = b"\x04\0\0\0\x10\0\0\0\x01\0\0\0GNU\0";
    let length = header.p_filesz.min(LONGEST_NOTES);
    let notes = image::read(file, header.p_offset, length, "PT_NOTE").unwrap_or_default();
    // Notes are aligned to 4, so it can be found without following the ones before it.
    if notes.chunks_exact(4).enumerate().any(|(index, _)| notes[4 * index..].starts_with(ABI_TAG)) {
        return Err(GuestProblem::NotAGuest {
            what: "a statically linked program for an operating system (it has an ABI note)".to_owned(),
            remedy: "link it without the C library and its start files: `-nostdlib -ffreestanding`",
        });
    }
    Ok(())
}

/// The text up to the first zero byte, quoted, without control characters for a terminal.
pub(super) fn printable(name: &[u8]) -> String {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    format!("{:?}", String::from_utf8_lossy(&name[..end]))
}

/// A field that has a value no valid file has.
pub(super) fn field(field: &str, value: u64, expected: &'static str) -> GuestProblem {
    GuestProblem::Field { field: field.to_owned(), value, expected }
}
