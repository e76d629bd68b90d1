//! The header of a Multiboot 1 kernel (Multiboot 0.6.96, 3.1).

use super::body::{self, AddressOverride, Body};
use super::{MultibootProblem, Version, word_at};
use crate::boot::error::GuestProblem;
use crate::boot::image::{self, Image};
use crate::boot::notes;
use crate::memory::GuestMemory;

/// Bytes of the file that the header has to be within.
const SEARCHED: u64 = 8192;
const ALIGN: usize = 4;
const MAGIC: u32 = 0x1BAD_B002;
/// Magic, flags and checksum.
const SHORTEST: usize = 12;

/// Flag: the kernel wants information about video modes, and has fields for the mode it prefers.
const VIDEO: u32 = 1 << 2;
/// Flag: the address fields are valid.
const ADDRESSES: u32 = 1 << 16;
/// Flags of which the loader must know all that are set: modules at pages, memory information, video.
const REQUIREMENTS: u32 = 0xFFFF;
const KNOWN_REQUIREMENTS: u32 = 0b111;

/// `mode_type`: EGA text.
const TEXT_MODE: u32 = 1;

/// What a header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header1 {
    offset: u64,
    addresses: Option<AddressOverride>,
    /// Width, height and depth of the graphics mode that the kernel prefers to text; 0 for any.
    pub(super) video: Option<[u32; 3]>,
}

/// The offset of the header in a file that begins with `head`; `None` without one.
///
/// # Errors
///
/// [`MultibootProblem::Checksum`] if there is one with a wrong checksum, and no other.
pub(super) fn find(head: &[u8]) -> Result<Option<u64>, MultibootProblem> {
    let head = &head[..head.len().min(SEARCHED as usize)];
    let mut problem = None;
    for offset in (0..head.len().saturating_sub(SHORTEST - 1)).step_by(ALIGN) {
        if word_at(head, offset) != Some(MAGIC) {
            continue;
        }
        let (Some(flags), Some(checksum)) = (word_at(head, offset + 4), word_at(head, offset + 8)) else {
            break;
        };
        let expected = MAGIC.wrapping_add(flags).wrapping_neg();
        if checksum == expected {
            return Ok(Some(offset as u64));
        }
        problem.get_or_insert(MultibootProblem::Checksum {
            version: Version::One.name(),
            offset: offset as u64,
            found: checksum,
            expected,
        });
    }
    problem.map_or(Ok(None), Err)
}

/// Reads and checks the header of `image`.
pub(super) fn read(image: &dyn Image) -> Result<Header1, GuestProblem> {
    let version = Version::One.name();
    let head = image::read(image, 0, image.len().min(SEARCHED), "the file")?;
    let offset = find(&head)?.ok_or(MultibootProblem::NoHeader { version, searched: SEARCHED })?;
    let field = |index: usize, part| {
        word_at(&head, offset as usize + 4 * index).ok_or(MultibootProblem::Incomplete {
            version,
            offset,
            part,
            searched: SEARCHED,
        })
    };
    let flags = field(1, "flags")?;
    let unknown = flags & REQUIREMENTS & !KNOWN_REQUIREMENTS;
    if unknown != 0 {
        return Err(MultibootProblem::Flags { flags, bit: unknown.trailing_zeros() }.into());
    }
    let mut addresses = None;
    if flags & ADDRESSES != 0 {
        let address = |index| field(index, "the address fields");
        addresses = Some(AddressOverride {
            header: address(3)?,
            load: address(4)?,
            load_end: address(5)?,
            bss_end: address(6)?,
            entry: address(7)?,
        });
    }
    let mut video = None;
    if flags & VIDEO != 0 && field(8, "mode_type")? != TEXT_MODE {
        let size = |index| field(index, "the video fields");
        video = Some([size(9)?, size(10)?, size(11)?]);
    }
    Ok(Header1 { offset, addresses, video })
}

impl Header1 {
    /// What is to be loaded. Addresses in the header count before those of the ELF headers.
    pub(super) fn body(&self, image: &dyn Image, memory: &GuestMemory) -> Result<Body, GuestProblem> {
        match &self.addresses {
            Some(addresses) => body::by_addresses(image, memory, self.offset, addresses),
            None if notes::is_elf(image) => body::by_elf_headers(image, memory, None, None),
            None => Err(MultibootProblem::NoAddresses {
                version: Version::One.name(),
                remedy: "the address fields (bit 16 of the flags)",
            }
            .into()),
        }
    }
}
