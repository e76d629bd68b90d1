//! The requests of a kernel: which features of the protocol it asks for, and where the answers go.
//!
//! Requests, the tag with the base revision and the two delimiters are found by their magic numbers, at multiples of
//! eight of the kernel's virtual addresses. They are searched for in what the file has of the kernel, not in zeros.

use super::LimineProblem;
use crate::boot::elf64::{self, Segment};
use crate::boot::image::{self, Image};
use crate::boot::notes;
use crate::boot::segments::PlacedSegment;
use crate::memory::GuestMemory;

/// The start of every request.
const COMMON_MAGIC: [u64; 2] = [0xC7B1_DD30_DF4C_8B88, 0x0A82_E883_A194_F07B];
/// The start of the tag with the base revision.
const BASE_REVISION_MAGIC: [u64; 2] = [0xF956_2B2D_5C95_A6C8, 0x6A7B_3849_4453_6BDC];
/// What may be before all requests.
const START_MARKER: [u64; 4] =
    [0xF6B8_F4B3_9DE7_D1AE, 0xFAB9_1A69_40FC_B9CF, 0x785C_6ED0_15D3_E316, 0x181E_920A_7852_B9D9];
/// What may be behind all requests.
const END_MARKER: [u64; 2] = [0xADC0_E053_1BB1_0D03, 0x9572_709F_3176_4C62];

/// The highest base revision that is implemented.
pub(super) const NEWEST: u64 = 3;
/// Kernels are linked at or above this address: the last 2 GiB.
pub(super) const KERNEL_BASE: u64 = 0xFFFF_FFFF_8000_0000;

/// Bytes that are read at once.
const PIECE: u64 = 64 << 10;
/// Bytes of a word.
const WORD: u64 = 8;
/// Words of a request before its arguments: four of its ID, its revision, and the address of the response.
const HEAD_WORDS: u64 = 6;
/// Offset of the revision in a request.
const REVISION: u64 = 4 * WORD;
/// Offset of the address of the response.
const RESPONSE: u64 = 5 * WORD;

/// A feature that a kernel can request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feature {
    BootloaderInfo,
    CommandLine,
    FirmwareType,
    StackSize,
    HigherHalfDirectMap,
    Framebuffer,
    PagingMode,
    Processors,
    MemoryMap,
    EntryPoint,
    ExecutableFile,
    Modules,
    Rsdp,
    Smbios,
    EfiSystemTable,
    EfiMemoryMap,
    DateAtBoot,
    ExecutableAddress,
    DeviceTree,
}

/// What is known of a feature.
pub(super) struct FeatureSpec {
    pub(super) feature: Feature,
    /// Its name in the specification.
    pub(super) name: &'static str,
    /// The second half of its ID.
    id: [u64; 2],
    /// Words of arguments in revision 0 of the request, and in later ones.
    arguments: (u64, u64),
}

const fn feature(feature: Feature, name: &'static str, id: [u64; 2], arguments: (u64, u64)) -> FeatureSpec {
    FeatureSpec { feature, name, id, arguments }
}

/// Every feature of base revision 3 that is for x86-64.
pub(super) static FEATURES: &[FeatureSpec] = &[
    feature(
        Feature::BootloaderInfo,
        "Bootloader Info",
        [0xF550_38D8_E2A1_202F, 0x2794_26FC_F5F5_9740],
        (0, 0),
    ),
    feature(
        Feature::CommandLine,
        "Executable Command Line",
        [0x4B16_1536_E598_651E, 0xB390_AD4A_2F1F_303A],
        (0, 0),
    ),
    feature(Feature::FirmwareType, "Firmware Type", [0x8C2F_75D9_0BEF_28A8, 0x7045_A468_8EAC_00C3], (0, 0)),
    feature(Feature::StackSize, "Stack Size", [0x224E_F046_0A8E_8926, 0xE1CB_0FC2_5F46_EA3D], (1, 1)),
    feature(Feature::HigherHalfDirectMap, "HHDM", [0x48DC_F1CB_8AD2_B852, 0x6398_4E95_9A98_244B], (0, 0)),
    feature(Feature::Framebuffer, "Framebuffer", [0x9D58_27DC_D881_DD75, 0xA314_8604_F6FA_B11B], (0, 0)),
    feature(Feature::PagingMode, "Paging Mode", [0x95C1_A0ED_AB09_44CB, 0xA4E5_CB38_42F7_488A], (1, 3)),
    feature(Feature::Processors, "MP", [0x95A6_7B81_9A1B_857E, 0xA0B6_1B72_3B6A_73E0], (1, 1)),
    feature(Feature::MemoryMap, "Memory Map", [0x67CF_3D9D_378A_806F, 0xE304_ACDF_C50C_3C62], (0, 0)),
    feature(Feature::EntryPoint, "Entry Point", [0x13D8_6C03_5A1C_D3E1, 0x2B0C_AA89_D8F3_026A], (1, 1)),
    feature(
        Feature::ExecutableFile,
        "Executable File",
        [0xAD97_E90E_83F1_ED67, 0x31EB_5D1C_5FF2_3B69],
        (0, 0),
    ),
    feature(Feature::Modules, "Module", [0x3E7E_2797_02BE_32AF, 0xCA1C_4F3B_D128_0CEE], (0, 2)),
    feature(Feature::Rsdp, "RSDP", [0xC5E7_7B6B_397E_7B43, 0x2763_7845_ACCD_CF3C], (0, 0)),
    feature(Feature::Smbios, "SMBIOS", [0x9E90_46F1_1E09_5391, 0xAA4A_520F_EFBD_E5EE], (0, 0)),
    feature(
        Feature::EfiSystemTable,
        "EFI System Table",
        [0x5CEB_A516_3EAA_F6D6, 0x0A69_8161_0CF6_5FCC],
        (0, 0),
    ),
    feature(Feature::EfiMemoryMap, "EFI Memory Map", [0x7DF6_2A43_1D68_72D5, 0xA4FC_DFB3_E573_06C8], (0, 0)),
    feature(Feature::DateAtBoot, "Date at Boot", [0x5027_46E1_84C0_88AA, 0xFBC5_EC83_E632_7893], (0, 0)),
    feature(
        Feature::ExecutableAddress,
        "Executable Address",
        [0x71BA_7686_3CC5_5F63, 0xB264_4A48_C516_A487],
        (0, 0),
    ),
    feature(Feature::DeviceTree, "Device Tree Blob", [0xB40D_DB48_FB54_BAC7, 0x5450_8149_3F81_FFB7], (0, 0)),
];

/// A request.
pub(super) struct Request {
    /// The feature.
    pub spec: &'static FeatureSpec,
    /// Its guest-physical address.
    at: u64,
    /// The words behind the address of the response; 0 those that its revision does not have.
    pub arguments: [u64; 3],
}

/// The tag with the base revision.
#[derive(Clone, Copy)]
struct BaseRevision {
    /// Its guest-physical address.
    at: u64,
    requested: u64,
}

/// The requests of a kernel; each feature at most once.
pub(super) struct Requests {
    base: Option<BaseRevision>,
    /// The requests.
    pub found: Vec<Request>,
    /// Requests and tags that are not between the delimiters, and therefore do not count.
    pub outside: usize,
    /// Requests for features that are not known, which get no response.
    pub unknown: usize,
}

/// Whether a file that has not been loaded has a base revision or a request: in any segment of a kernel for the higher
/// half, and of others in what can be written, as requests are.
pub(super) fn are_in_file(file: &dyn Image) -> bool {
    if !notes::is_elf64(file) {
        return false;
    }
    let segments = elf64::segments(file).unwrap_or_default();
    // Position-independent ones are linked at 0.
    let is_kernel = segments.iter().all(|it| it.virtual_address >= KERNEL_BASE)
        || segments.iter().any(|it| it.virtual_address < 0x1000);
    let mut searched = segments.iter().filter(|segment| is_kernel || segment.access.write);
    searched.any(|segment| file_has_magic(file, segment))
}

fn file_has_magic(file: &dyn Image, segment: &Segment) -> bool {
    // The first word is at a multiple of eight of its virtual address.
    let mut done = segment.virtual_address.wrapping_neg() % WORD;
    while done + 2 * WORD <= segment.file_size {
        let length = (segment.file_size - done).min(PIECE);
        let Ok(bytes) = image::read(file, segment.offset.saturating_add(done), length, "a segment") else {
            return false;
        };
        let words: Vec<u64> = words(&bytes).collect();
        if words.windows(2).any(|pair| pair == COMMON_MAGIC || pair == BASE_REVISION_MAGIC) {
            return true;
        }
        // The last word is read again, with what follows.
        done += (length - WORD).next_multiple_of(WORD).max(WORD);
    }
    false
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word))
}

/// Something that was found in the loaded kernel.
enum Found {
    Base(BaseRevision),
    /// A request: its addresses and the segment that has it.
    Request,
    Start,
    End,
}

/// Calls `found` with everything that has a magic number, in ascending order: what it is, its virtual and its physical
/// address, and the number of bytes to the end of its segment in the file.
fn scan<E>(
    segments: &[PlacedSegment],
    memory: &GuestMemory,
    mut found: impl FnMut(Found, u64, u64, u64) -> Result<(), E>,
) -> Result<(), E> {
    let mut bytes = vec![0; PIECE as usize];
    for segment in segments {
        let mut done = segment.virtual_range.start.wrapping_neg() % WORD;
        while done + WORD <= segment.file_size {
            let length = ((segment.file_size - done).min(PIECE) / WORD * WORD) as usize;
            let piece = &mut bytes[..length];
            // The segment was written there before.
            if memory.read(segment.range.start + done, piece).is_err() {
                break;
            }
            for (index, word) in words(piece).enumerate() {
                let offset = done + index as u64 * WORD;
                let left = segment.file_size - offset;
                let at = segment.range.start + offset;
                let has = |magic: &[u64]| {
                    left >= magic.len() as u64 * WORD
                        && (1..).zip(&magic[1..]).all(|(number, wanted)| {
                            memory.read_u64(at + number * WORD).is_ok_and(|found| found == *wanted)
                        })
                };
                let what = match word {
                    _ if word == COMMON_MAGIC[0] && has(&COMMON_MAGIC) => Found::Request,
                    _ if word == START_MARKER[0] && has(&START_MARKER) => Found::Start,
                    _ if word == END_MARKER[0] && has(&END_MARKER) => Found::End,
                    _ if word == BASE_REVISION_MAGIC[0] && has(&BASE_REVISION_MAGIC) && left >= 3 * WORD => {
                        let requested = memory.read_u64(at + 2 * WORD).unwrap_or(0);
                        Found::Base(BaseRevision { at, requested })
                    }
                    _ => continue,
                };
                found(what, segment.virtual_range.start + offset, at, left)?;
            }
            done += length as u64;
        }
    }
    Ok(())
}

impl Requests {
    /// The requests of a kernel that has been loaded and relocated; its segments are ascending by virtual address.
    pub fn find(segments: &[PlacedSegment], memory: &GuestMemory) -> Result<Requests, LimineProblem> {
        let (mut start, mut end) = (0, u64::MAX);
        scan(segments, memory, |found, address, _, _| {
            match found {
                Found::Start => start = address,
                Found::End => end = end.min(address),
                Found::Base(_) | Found::Request => {}
            }
            Ok::<(), LimineProblem>(())
        })?;
        let mut requests = Requests { base: None, found: Vec::new(), outside: 0, unknown: 0 };
        scan(segments, memory, |found, address, at, left| {
            let is_inside = (start..end).contains(&address);
            match found {
                Found::Start | Found::End => {}
                _ if !is_inside => requests.outside += 1,
                Found::Base(tag) => {
                    if requests.base.replace(tag).is_some() {
                        return Err(LimineProblem::TwoBaseRevisions { address });
                    }
                }
                Found::Request => requests.add(memory, address, at, left)?,
            }
            Ok(())
        })?;
        Ok(requests)
    }

    fn add(&mut self, memory: &GuestMemory, address: u64, at: u64, left: u64) -> Result<(), LimineProblem> {
        let word = |offset: u64| memory.read_u64(at + offset).unwrap_or(0);
        let cut_off = |name, size| LimineProblem::CutOff { name, address, size, left };
        if left < HEAD_WORDS * WORD {
            return Err(cut_off("a feature", HEAD_WORDS * WORD));
        }
        let id = [word(2 * WORD), word(3 * WORD)];
        let Some(spec) = FEATURES.iter().find(|spec| spec.id == id) else {
            self.unknown += 1;
            return Ok(());
        };
        if self.get(spec.feature).is_some() {
            return Err(LimineProblem::SameRequest { name: spec.name, address });
        }
        let count = if word(REVISION) == 0 { spec.arguments.0 } else { spec.arguments.1 };
        if left < (HEAD_WORDS + count) * WORD {
            return Err(cut_off(spec.name, (HEAD_WORDS + count) * WORD));
        }
        let mut arguments = [0; 3];
        for (offset, argument) in (HEAD_WORDS..HEAD_WORDS + count).zip(&mut arguments) {
            *argument = word(offset * WORD);
        }
        self.found.push(Request { spec, at, arguments });
        Ok(())
    }

    /// The request for a feature.
    pub fn get(&self, feature: Feature) -> Option<&Request> {
        self.found.iter().find(|request| request.spec.feature == feature)
    }

    /// True if there is neither a request nor a base revision.
    pub fn are_none(&self) -> bool {
        self.base.is_none() && self.found.is_empty() && self.unknown == 0
    }

    /// The base revision that the kernel asks for; without a tag it is 0.
    pub fn requested_revision(&self) -> u64 {
        self.base.map_or(0, |base| base.requested)
    }

    /// The base revision that the kernel gets.
    pub fn revision(&self) -> u64 {
        self.requested_revision().min(NEWEST)
    }

    /// Notes in the tag of the base revision which one the kernel gets, and whether that is the one it asks for.
    pub fn answer_base_revision(&self, memory: &GuestMemory) -> Result<(), crate::memory::MemoryError> {
        let Some(base) = self.base else { return Ok(()) };
        memory.write_u64(base.at + WORD, self.revision())?;
        if base.requested <= NEWEST {
            memory.write_u64(base.at + 2 * WORD, 0)?;
        }
        Ok(())
    }
}

impl Request {
    /// Writes the virtual address of the response.
    pub fn answer(&self, memory: &GuestMemory, response: u64) -> Result<(), crate::memory::MemoryError> {
        memory.write_u64(self.at + RESPONSE, response)
    }
}
