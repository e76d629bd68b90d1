//! Errors of loading a Multiboot kernel. Their messages name the field as the specifications do.

/// What is wrong with a kernel for a Multiboot loader.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultibootProblem {
    /// The file has no header.
    #[error(
        "no {version} header in the first {searched} bytes; put it into a section of its own, first in the linker \
         script, and see that `--gc-sections` keeps it (KEEP)"
    )]
    NoHeader {
        /// `Multiboot` or `Multiboot2`.
        version: &'static str,
        /// Bytes in which it could be.
        searched: u64,
    },
    /// The words that add up to 0 in a header do not.
    #[error(
        "the {version} header at offset {offset:#x} has the wrong checksum {found:#x}; {expected:#x} makes magic, \
         flags and checksum add up to 0"
    )]
    Checksum {
        /// `Multiboot` or `Multiboot2`.
        version: &'static str,
        /// Its offset in the file.
        offset: u64,
        /// The checksum found.
        found: u32,
        /// The right one.
        expected: u32,
    },
    /// The header is longer than what is left of the file, or of the part in which it has to be.
    #[error(
        "the {version} header at offset {offset:#x} is cut off: {part} is missing; it has to be whole within the first \
         {searched} bytes of the file"
    )]
    Incomplete {
        /// `Multiboot` or `Multiboot2`.
        version: &'static str,
        /// Its offset in the file.
        offset: u64,
        /// What is missing.
        part: &'static str,
        /// Bytes in which it has to be.
        searched: u64,
    },
    /// A flag that says that the loader must do something has no meaning.
    #[error(
        "flags {flags:#x} of the Multiboot header require what the specification does not define (bit {bit}); bits 0, 1, \
         2 and 16 can be set"
    )]
    Flags {
        /// The flags.
        flags: u32,
        /// The first of the bits that have no meaning.
        bit: u32,
    },
    /// A tag of the header is malformed.
    #[error("tag {index} of the Multiboot2 header (type {kind}) has size {size}; {expected}")]
    TagSize {
        /// Number of the tag, from 0.
        index: usize,
        /// Its type.
        kind: u16,
        /// Its size in bytes.
        size: u32,
        /// What is right.
        expected: &'static str,
    },
    /// A tag that is not optional has a type that the specification does not define.
    #[error(
        "tag {index} of the Multiboot2 header has type {kind}, which is not defined; set bit 0 of its flags if the kernel \
         can do without"
    )]
    UnknownTag {
        /// Number of the tag, from 0.
        index: usize,
        /// Its type.
        kind: u16,
    },
    /// The kernel requires boot information that the specification does not define.
    #[error(
        "the Multiboot2 header requires boot information of type {kind}, which is not defined; set bit 0 of the flags of \
         the information request tag if the kernel can do without"
    )]
    UnknownRequest {
        /// The type.
        kind: u32,
    },
    /// The header is for another processor.
    #[error(
        "the Multiboot2 header is for architecture {architecture}; 0, 32-bit protected mode of i386, is expected"
    )]
    Architecture {
        /// The value found.
        architecture: u32,
    },
    /// The addresses in the header contradict each other.
    #[error("{field} of the Multiboot header is {value:#x}; {expected}")]
    Addresses {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u32,
        /// What is right.
        expected: String,
    },
    /// The file is neither ELF, nor does its header say where it is to be loaded.
    #[error(
        "the {version} header says no load addresses, and the file is no ELF file; link it as an ELF executable, or add \
         {remedy}"
    )]
    NoAddresses {
        /// `Multiboot` or `Multiboot2`.
        version: &'static str,
        /// What to add.
        remedy: &'static str,
    },
    /// A part of the kernel is at addresses that 32-bit code without paging does not reach.
    #[error(
        "segment {index} is loaded at {start:#x}..{end:#x}, which 32-bit code without paging does not reach; link it with \
         load addresses (AT) below 3 GiB"
    )]
    Above4Gib {
        /// Index of the program header.
        index: usize,
        /// Its first address.
        start: u64,
        /// The address behind its last one.
        end: u64,
    },
    /// A kernel that can be moved finds no place.
    #[error(
        "no place for the kernel's {size} bytes at a multiple of {align:#x} in {min:#x}..={max:#x}, as the relocatable \
         tag of the Multiboot2 header wants; more --memory, or other limits, may help"
    )]
    NoPlace {
        /// Bytes from the first to the last segment.
        size: u64,
        /// `align`.
        align: u32,
        /// `min_addr`.
        min: u32,
        /// `max_addr`.
        max: u32,
    },
}
