//! The header of a Multiboot2 kernel, with its tags (Multiboot2 2.0, 3.1).

use super::body::{self, AddressOverride, Body, Relocation};
use super::{MultibootProblem, Version, word_at};
use crate::boot::error::GuestProblem;
use crate::boot::image::{self, Image};
use crate::boot::notes;
use crate::memory::GuestMemory;

/// Bytes of the file that the header has to be within.
const SEARCHED: u64 = 32768;
const ALIGN: usize = 8;
const MAGIC: u32 = 0xE852_50D6;
/// Magic, architecture, length and checksum.
const FIXED: usize = 16;
/// Type, flags and size of a tag.
const TAG_HEADER: usize = 8;
/// `architecture`: 32-bit protected mode of i386.
const I386: u32 = 0;
/// Flag of a tag: the loader may ignore it.
const OPTIONAL: u16 = 1;

// Types of tags.
const END: u16 = 0;
const INFORMATION_REQUEST: u16 = 1;
const ADDRESS: u16 = 2;
const ENTRY_ADDRESS: u16 = 3;
const CONSOLE_FLAGS: u16 = 4;
const FRAMEBUFFER: u16 = 5;
const MODULE_ALIGNMENT: u16 = 6;
const EFI_BOOT_SERVICES: u16 = 7;
const EFI_ENTRY_I386: u16 = 8;
const EFI_ENTRY_AMD64: u16 = 9;
const RELOCATABLE: u16 = 10;

/// `console_flags`: the kernel can use the text screen.
const TEXT_SUPPORTED: u32 = 1 << 1;

/// The types of boot information that there are, with those that this machine has.
const LAST_INFORMATION: u32 = 21;
const BOOT_INFORMATION: &[u32] = &[0, 1, 2, 3, 4, 6, 8, 9, 14, 15, 21];

/// What a header asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header2 {
    offset: u64,
    /// header_addr, load_addr, load_end_addr, bss_end_addr.
    addresses: Option<[u32; 4]>,
    entry: Option<u32>,
    relocation: Option<Relocation>,
    /// Width, height and depth of the framebuffer that the kernel prefers to text; 0 for any.
    pub(super) video: Option<[u32; 3]>,
    /// The kernel can use the text screen.
    pub(super) supports_text: bool,
}

/// The offset of the header in a file that begins with `head`; `None` without one.
///
/// # Errors
///
/// [`MultibootProblem::Checksum`] if there is one with a wrong checksum, and no other.
pub(super) fn find(head: &[u8]) -> Result<Option<u64>, MultibootProblem> {
    let head = &head[..head.len().min(SEARCHED as usize)];
    let mut problem = None;
    for offset in (0..head.len().saturating_sub(FIXED - 1)).step_by(ALIGN) {
        if word_at(head, offset) != Some(MAGIC) {
            continue;
        }
        let word = |index: usize| word_at(head, offset + 4 * index).unwrap_or(0);
        let expected = MAGIC.wrapping_add(word(1)).wrapping_add(word(2)).wrapping_neg();
        if word(3) == expected {
            return Ok(Some(offset as u64));
        }
        problem.get_or_insert(MultibootProblem::Checksum {
            version: Version::Two.name(),
            offset: offset as u64,
            found: word(3),
            expected,
        });
    }
    problem.map_or(Ok(None), Err)
}

/// Reads and checks the header of `image`.
pub(super) fn read(image: &dyn Image, warnings: &mut Vec<String>) -> Result<Header2, GuestProblem> {
    let version = Version::Two.name();
    let head = image::read(image, 0, image.len().min(SEARCHED), "the file")?;
    let offset = find(&head)?.ok_or(MultibootProblem::NoHeader { version, searched: SEARCHED })?;
    let incomplete = |part| MultibootProblem::Incomplete { version, offset, part, searched: SEARCHED };
    let start = offset as usize;
    let architecture = word_at(&head, start + 4).ok_or(incomplete("the architecture"))?;
    if architecture != I386 {
        return Err(MultibootProblem::Architecture { architecture }.into());
    }
    let length = word_at(&head, start + 8).ok_or(incomplete("the length"))? as usize;
    let tags = head.get(start..).and_then(|rest| rest.get(..length)).ok_or(incomplete("header_length"))?;
    let mut header = Header2 { offset, ..Header2::default() };
    let mut wishes = Wishes::default();
    let mut at = FIXED;
    for index in 0.. {
        let tag = Tag::at(tags, at, index)?;
        let Some(tag) = tag else { return Err(incomplete("the end tag").into()) };
        if tag.kind == END {
            break;
        }
        header.take(&tag, &mut wishes)?;
        at += (tag.bytes.len()).next_multiple_of(ALIGN);
    }
    warnings.extend(wishes.warning());
    Ok(header)
}

/// A tag of the header.
struct Tag<'a> {
    index: usize,
    kind: u16,
    optional: bool,
    /// With type, flags and size.
    bytes: &'a [u8],
}

impl<'a> Tag<'a> {
    /// The tag at `at`; `None` if the header ends before.
    fn at(tags: &'a [u8], at: usize, index: usize) -> Result<Option<Tag<'a>>, MultibootProblem> {
        let Some(rest) = tags.get(at..).filter(|rest| rest.len() >= TAG_HEADER) else { return Ok(None) };
        let (Some(first), Some(size)) = (word_at(rest, 0), word_at(rest, 4)) else { return Ok(None) };
        let kind = first as u16;
        let wrong = |expected| MultibootProblem::TagSize { index, kind, size, expected };
        if (size as usize) < TAG_HEADER {
            return Err(wrong("type, flags and size alone have 8 bytes"));
        }
        let bytes = rest.get(..size as usize).ok_or(wrong("header_length ends before"))?;
        Ok(Some(Tag { index, kind, optional: (first >> 16) as u16 & OPTIONAL != 0, bytes }))
    }

    /// The `N` words behind type, flags and size.
    fn words<const N: usize>(&self, expected: &'static str) -> Result<[u32; N], MultibootProblem> {
        let mut words = [0; N];
        for (index, word) in words.iter_mut().enumerate() {
            *word = word_at(self.bytes, TAG_HEADER + 4 * index).ok_or(MultibootProblem::TagSize {
                index: self.index,
                kind: self.kind,
                size: self.bytes.len() as u32,
                expected,
            })?;
        }
        Ok(words)
    }
}

impl Header2 {
    fn take(&mut self, tag: &Tag<'_>, wishes: &mut Wishes) -> Result<(), MultibootProblem> {
        match tag.kind {
            INFORMATION_REQUEST => wishes.request(tag)?,
            ADDRESS => self.addresses = Some(tag.words("an address tag has 24 bytes")?),
            ENTRY_ADDRESS => {
                let [entry] = tag.words("an entry address tag has 12 bytes")?;
                self.entry = Some(entry);
            }
            CONSOLE_FLAGS => {
                let [flags] = tag.words("a console flags tag has 12 bytes")?;
                self.supports_text = flags & TEXT_SUPPORTED != 0;
            }
            FRAMEBUFFER => self.video = Some(tag.words("a framebuffer tag has 20 bytes")?),
            RELOCATABLE => {
                let [min, max, align, preference] = tag.words("a relocatable tag has 24 bytes")?;
                self.relocation = Some(Relocation { min, max, align, highest: preference == 2 });
            }
            // Modules are always at pages. There is no EFI.
            MODULE_ALIGNMENT | EFI_BOOT_SERVICES | EFI_ENTRY_I386 | EFI_ENTRY_AMD64 => {}
            _ if tag.optional => {}
            kind => return Err(MultibootProblem::UnknownTag { index: tag.index, kind }),
        }
        Ok(())
    }

    /// What is to be loaded. Addresses in the header count before those of the ELF headers.
    pub(super) fn body(&self, image: &dyn Image, memory: &GuestMemory) -> Result<Body, GuestProblem> {
        match (self.addresses, self.entry) {
            (Some([header, load, load_end, bss_end]), Some(entry)) => {
                let addresses = AddressOverride { header, load, load_end, bss_end, entry };
                body::by_addresses(image, memory, self.offset, &addresses)
            }
            (None, entry) if notes::is_elf(image) => {
                body::by_elf_headers(image, memory, entry, self.relocation.as_ref())
            }
            _ => Err(MultibootProblem::NoAddresses {
                version: Version::Two.name(),
                remedy: "both an address tag and an entry address tag",
            }
            .into()),
        }
    }
}

/// The information that a kernel requires and does not get.
#[derive(Default)]
struct Wishes {
    missing: Vec<u32>,
}

impl Wishes {
    /// Takes an information request.
    fn request(&mut self, tag: &Tag<'_>) -> Result<(), MultibootProblem> {
        for kind in tag.bytes[TAG_HEADER..].chunks_exact(4).filter_map(|bytes| word_at(bytes, 0)) {
            if kind > LAST_INFORMATION && !tag.optional {
                return Err(MultibootProblem::UnknownRequest { kind });
            }
            if !BOOT_INFORMATION.contains(&kind) && !tag.optional && !self.missing.contains(&kind) {
                self.missing.push(kind);
            }
        }
        Ok(())
    }

    fn warning(&self) -> Option<String> {
        let kinds: Vec<String> = self.missing.iter().map(u32::to_string).collect();
        (!kinds.is_empty()).then(|| {
            format!(
                "the kernel requires boot information that this machine does not have: type {}",
                kinds.join(", ")
            )
        })
    }
}
