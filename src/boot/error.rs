//! Errors of loading a guest. Their messages name the problem, the value and the remedy.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use super::limine::LimineProblem;
use super::multiboot::MultibootProblem;
use crate::bios::el_torito::ElToritoError;
use crate::memory::{HIGH_RAM_BASE, LOW_RAM_LIMIT, MAX_RAM, MemoryError};
use crate::settings::RAM_GRANULE;

/// Why [`load`](super::load) failed.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// There is no such file.
    #[error("there is no file `{}`; check its name and the directory", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The process or the host has reached its limit of open files.
    #[error("cannot open {}: {source}; `ulimit -n` shows and sets the limit of a process", path.display())]
    NoMoreFiles {
        /// The file.
        path: PathBuf,
        /// The host's error.
        source: io::Error,
    },
    /// This user may not read it.
    #[error("{}: this user may not read it; `chmod a+r` allows it, as does running as its owner", path.display())]
    NotReadable {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be opened.
    #[error("{}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The host's error.
        source: io::Error,
    },
    /// The path is not that of a regular file.
    #[error("{}: {problem}", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is instead, and the remedy.
        problem: &'static str,
    },
    /// The guest file is not one this program can start.
    #[error("{file}: {problem}")]
    Guest {
        /// Name of the guest file.
        file: String,
        /// What is wrong with it.
        #[source]
        problem: GuestProblem,
    },
    /// A module could not be read.
    #[error("module {file}: {problem}")]
    Module {
        /// Name of the module's file.
        file: String,
        /// What went wrong.
        #[source]
        problem: GuestProblem,
    },
    /// Something does not fit into what the guest's segments leave free of RAM below 3 GiB.
    #[error("no room in {} MiB of guest memory for {what} ({size} bytes); {}", memory >> 20, room_remedy(*needed))]
    NoRoom {
        /// What needs the memory.
        what: String,
        /// Its size in bytes.
        size: u64,
        /// Size of RAM in bytes.
        memory: u64,
        /// A sufficient RAM size, in bytes; `None` if there is none.
        needed: Option<u64>,
    },
    /// An option that only flat images have a use for is given for another kind of guest file.
    #[error(
        "--{option} is for flat images, and {file} is started as {what}; leave it out, or give `--boot flat`"
    )]
    OnlyForFlat {
        /// Name of the guest file.
        file: String,
        /// The option, without dashes.
        option: &'static str,
        /// The kind of guest file.
        what: &'static str,
    },
    /// An option about boot information is given for a flat image, which gets none.
    #[error(
        "`--{option}` has no effect on {file}: a flat image is started without boot information; leave it out"
    )]
    NotForFlat {
        /// Name of the guest file.
        file: String,
        /// The option, without dashes.
        option: &'static str,
    },
    /// An option about boot information is given for a disk, whose boot loader gets none.
    #[error(
        "`--{option}` has no effect on {file}: a disk is started by its boot sector; leave it out, and configure the \
         boot loader on the disk"
    )]
    NotForDisk {
        /// Name of the guest file.
        file: String,
        /// The option, without dashes.
        option: &'static str,
    },
    /// A CD has no boot image that can be started.
    #[error("{file} is a CD image that cannot be started: {error}")]
    Cd {
        /// Name of the file.
        file: String,
        /// What is wrong.
        #[source]
        error: ElToritoError,
    },
    /// An option about boot information is given for firmware, which gets none.
    #[error(
        "`--{option}` has no effect on {file}: firmware boots a disk, whose boot loader knows modules and command lines; \
         leave it out"
    )]
    NotForRom {
        /// Name of the firmware.
        file: String,
        /// The option, without dashes.
        option: &'static str,
    },
    /// A command line cannot be passed to the guest because it contains a zero byte.
    #[error("the command line of {what} contains a zero byte, which would end it; remove it")]
    CommandLine {
        /// Whose command line it is.
        what: String,
    },
    /// Guest memory refused an access.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// What is wrong with a guest file, or why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum GuestProblem {
    /// A well-known kind of file that is not a 64-bit x86 bare-metal guest.
    #[error("this is {what}, not a bare-metal x86-64 guest; {remedy}")]
    NotAGuest {
        /// What the file is.
        what: String,
        /// What the user can do.
        remedy: &'static str,
    },
    /// A gzip-compressed file that cannot be unpacked.
    #[error("this is a gzip-compressed file, and {what}; unpack it yourself and give what was in it")]
    Compressed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A snapshot of a machine.
    #[error("this is a snapshot, not a guest file; to continue it: `kvm --restore {name}`")]
    Snapshot {
        /// Name of the file.
        name: String,
    },
    /// What is wrong with a Multiboot kernel.
    #[error(transparent)]
    Multiboot(#[from] MultibootProblem),
    /// What is wrong with a kernel for the Limine boot protocol.
    #[error(transparent)]
    Limine(#[from] LimineProblem),
    /// A flat image is not in RAM.
    #[error("{length} bytes at {start:#x} are outside the {} MiB of guest memory; {}", memory >> 20, flat_remedy(*start, *length))]
    FlatOutsideRam {
        /// Where it was meant to go.
        start: u64,
        /// Its length in bytes.
        length: u64,
        /// Size of RAM in bytes.
        memory: u64,
    },
    /// An entry point cannot be reached in real mode.
    #[error(
        "the entry point {address:#x} cannot be reached in real mode, which ends at 0x10ffef; `--entry` names another one"
    )]
    NotInRealMode {
        /// The entry point.
        address: u64,
    },
    /// A file without the note that the PVH protocol needs.
    #[error(
        "it has no PVH entry point (note XEN_ELFNOTE_PHYS32_ENTRY); leave `--boot pvh` out, or add the note to its source"
    )]
    NoPvhNote,
    /// A file without a setup header.
    #[error(
        "it has no Linux setup header (`HdrS` at offset 0x202); leave `--boot linux` out, or give a bzImage"
    )]
    NoSetupHeader,
    /// A Linux kernel that cannot be started.
    #[error(transparent)]
    Linux(super::LinuxProblem),
    /// The file ends too early.
    #[error(
        "the file ends {missing} bytes before the end of {part}; it is damaged or not copied \
         completely: build or copy it again"
    )]
    Truncated {
        /// The part that is not complete.
        part: String,
        /// Number of bytes that are missing.
        missing: u64,
    },
    /// Firmware that cannot be in ROM.
    #[error(
        "{length} bytes are no firmware: its size is a multiple of 64 KiB, from 64 KiB to 16 MiB; give an image for a \
         PC, for example /usr/share/seabios/bios.bin"
    )]
    RomSize {
        /// The size of the file.
        length: u64,
    },
    /// Firmware without a first instruction.
    #[error(
        "there is no reset vector: the last 16 bytes are all {byte:#04x}; firmware has its first instruction there, so \
         give the complete image"
    )]
    NoResetVector {
        /// The byte that is there.
        byte: u8,
    },
    /// A file that is no option ROM.
    #[error(
        "this is no option ROM of at most 64 KiB: it begins with {:02x} {:02x} in place of 55 aa, or says that it has \
         {length} bytes; give a VGA BIOS, for example /usr/share/seabios/vgabios-stdvga.bin",
        first[0],
        first[1]
    )]
    NoOptionRom {
        /// Its first two bytes.
        first: [u8; 2],
        /// The length that it says it has, in bytes.
        length: u64,
    },
    /// The host could not read the file.
    #[error("cannot read {length} bytes at offset {offset}: {source}")]
    Read {
        /// Offset in the file.
        offset: u64,
        /// Number of bytes.
        length: u64,
        /// The host's error.
        source: io::Error,
    },
    /// A field of the file has a value that no valid file has.
    #[error("{field} is {value:#x} where {expected} is expected; the file is damaged: build it again")]
    Field {
        /// Name of the field, as the ELF specification has it.
        field: String,
        /// The value found.
        value: u64,
        /// The values that would be right.
        expected: &'static str,
    },
    /// The file has no loadable segment.
    #[error(
        "no loadable segment (PT_LOAD), so nothing to run; link the objects into an executable \
         with `ld`, and look at its segments with `readelf -lW`"
    )]
    NoSegments,
    /// A segment has more bytes in the file than in memory.
    #[error(
        "segment {index} has {file_size} bytes in the file (p_filesz) but only {memory_size} in memory \
         (p_memsz); the file is damaged: build it again"
    )]
    FileSize {
        /// Index of the program header.
        index: usize,
        /// `p_filesz`.
        file_size: u64,
        /// `p_memsz`.
        memory_size: u64,
    },
    /// The addresses of a segment wrap around, or are not canonical.
    #[error(
        "segment {index} at {address:#x}, {size} bytes long, is outside the 48-bit address space; \
         link the guest at another address"
    )]
    AddressSpace {
        /// Index of the program header.
        index: usize,
        /// Its address, physical or virtual.
        address: u64,
        /// `p_memsz`.
        size: u64,
    },
    /// A segment is not in RAM, but would be with more RAM.
    #[error(
        "{segment} is outside the {} MiB of guest memory; `--memory {}M` is enough",
        memory >> 20, needed >> 20
    )]
    MoreMemory {
        /// The segment, where it was meant to go.
        segment: SegmentName,
        /// Size of RAM in bytes.
        memory: u64,
        /// Size of RAM, in bytes, that holds all segments.
        needed: u64,
    },
    /// A segment is at an address that is not RAM in any machine.
    #[error(
        "{segment} can never be in RAM, which has a hole from 0xc0000000 to 0x100000000 and ends at \
         {:#x} at the latest; link the guest at an address below 3 GiB, for example 0x200000",
        HIGH_RAM_BASE + (MAX_RAM - LOW_RAM_LIMIT)
    )]
    NeverRam {
        /// The segment, where it was meant to go.
        segment: SegmentName,
    },
    /// A segment is linked in the upper half of the address space, and has no load address.
    #[error(
        "{segment} has an address that is not RAM in any machine, and no other load address; give each section one \
         in the linker script, such as `.text : AT(ADDR(.text) - {:#x}) {{ ... }}`",
        upper_half_base(segment)
    )]
    NoLoadAddress {
        /// The segment, by virtual addresses.
        segment: SegmentName,
    },
    /// Two segments claim the same bytes.
    #[error("{first} and {second} overlap in {space} memory; {}", overlap_remedy(*headers))]
    Overlap {
        /// The one that starts first.
        first: SegmentName,
        /// The other one.
        second: SegmentName,
        /// `physical` or `virtual`.
        space: &'static str,
        /// The address that the user wanted for the code, if the linker has put the headers of the file there too.
        headers: Option<u64>,
    },
    /// Two segments share a virtual page but lie in different physical pages.
    #[error(
        "{first} and {second} share the virtual page {page:#x} but lie in different physical pages; \
         align the segments to 4096 in the linker script"
    )]
    SharedPage {
        /// The one that starts first.
        first: SegmentName,
        /// The other one.
        second: SegmentName,
        /// Address of the page.
        page: u64,
    },
    /// A segment cannot be mapped at its virtual address.
    #[error(
        "segment {index} cannot be mapped at {virtual_address:#x} while it lies at {physical_address:#x}: \
         the two differ by more than whole pages; align both to 4096 in the linker script"
    )]
    PageOffset {
        /// Index of the program header.
        index: usize,
        /// `p_vaddr`.
        virtual_address: u64,
        /// Where it lies.
        physical_address: u64,
    },
    /// The first instruction is in no segment.
    #[error(
        "the entry point {entry:#x} is in no segment; define `_start` (or name another symbol with \
         ENTRY() or `ld -e`) and keep it in the file"
    )]
    NoEntry {
        /// The entry point.
        entry: u64,
    },
    /// The first instruction is in a segment that the guest's start-up code would have to copy.
    #[error(
        "the entry point {entry:#x} is in {segment}, which is loaded at {stored:#x} and has to be copied by code \
         that runs first; link the start-up code at the address where it is loaded, without AT()"
    )]
    EntryNotLoaded {
        /// The entry point.
        entry: u64,
        /// The segment it is in, by virtual addresses.
        segment: SegmentName,
        /// Where that segment is loaded.
        stored: u64,
    },
    /// The first instruction is in a segment of data.
    #[error(
        "the entry point {entry:#x} is in {segment}, which is not executable; put it into `.text`, or \
         give the segment the flag PF_X"
    )]
    EntryNotCode {
        /// The entry point.
        entry: u64,
        /// The segment it is in.
        segment: SegmentName,
    },
    /// The file needs shared libraries.
    #[error(
        "it needs the shared library {library}, and there is none in a bare machine; link it statically \
         (`{} -nostdlib`)", if *position_independent { "-static-pie" } else { "-static" }
    )]
    Library {
        /// Name of the library, quoted.
        library: String,
        /// True for a position-independent executable.
        position_independent: bool,
    },
    /// A relocation needs a symbol that is defined nowhere.
    #[error(
        "the symbol {symbol} is not defined, and the relocation of type {kind} at {address:#x} needs it; define it, \
         or link the object or library that does"
    )]
    UndefinedSymbol {
        /// Name of the symbol, quoted.
        symbol: String,
        /// Name or number of the relocation type.
        kind: String,
        /// The address it applies to, as in the file.
        address: u64,
    },
    /// A relocation that only a dynamic linker could apply.
    #[error(
        "relocation of type {kind} at {address:#x}: only R_X86_64_RELATIVE can be applied without a \
         dynamic linker; link with `-static-pie` or without `-pie`, and define every symbol"
    )]
    Relocation {
        /// Name or number of the type.
        kind: String,
        /// The address it applies to, as in the file.
        address: u64,
    },
    /// An address in the dynamic section or in a relocation is in no segment.
    #[error("{what} {address:#x}, which is in no segment; the file is damaged: build it again")]
    Address {
        /// What has the address.
        what: &'static str,
        /// The address, as in the file.
        address: u64,
    },
}

/// A segment as error messages show it: index of its program header, and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentName {
    /// Index in the program header table, as `readelf -l` counts.
    pub index: usize,
    /// First address and the one after the last, physical or virtual.
    pub range: Range<u64>,
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} ({:#x}..{:#x})", self.index, self.range.start, self.range.end)
    }
}

/// What to subtract from an address in the upper half to get a load address: the start of the last 2 GiB, or of
/// the half.
fn upper_half_base(segment: &SegmentName) -> u64 {
    const LAST_2_GIB: u64 = 0xFFFF_FFFF_8000_0000;
    if segment.range.start >= LAST_2_GIB { LAST_2_GIB } else { 0xFFFF_8000_0000_0000 }
}

fn overlap_remedy(headers: Option<u64>) -> String {
    match headers {
        Some(address) => format!(
            "one of them has the headers of the file: link with `--image-base={address:#x}` in place of \
             `-Ttext={address:#x}` (lld needs that), or correct the linker script"
        ),
        None => "correct the linker script".to_owned(),
    }
}

fn flat_remedy(start: u64, length: u64) -> String {
    match start.checked_add(length).and_then(|end| end.checked_next_multiple_of(RAM_GRANULE)) {
        Some(needed) if needed <= LOW_RAM_LIMIT => format!("`--memory {}M` is enough", needed >> 20),
        _ => format!("load it below {LOW_RAM_LIMIT:#x} (`--load`)"),
    }
}

fn room_remedy(needed: Option<u64>) -> String {
    match needed {
        Some(bytes) => format!("`--memory {}M` is enough", bytes >> 20),
        None => "there is no room below 3 GiB in any machine: use smaller modules, or segments that are \
                 nearer to each other"
            .to_owned(),
    }
}
