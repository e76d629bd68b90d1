//! The responses to a kernel's requests, and the structures that they lead to, in one block of memory.

use std::ops::Range;

use super::mapping::DIRECT_MAP;
use super::memory_map::MemoryRegion;
use super::processors;
use super::requests::{Feature, Requests};
use crate::boot::framebuffer::Framebuffer;

/// What the kernel gets as name and version of the boot loader.
const LOADER: (&str, &str) = ("kvm", env!("CARGO_PKG_VERSION"));
/// Paging mode of x86-64: 4-level paging.
const FOUR_LEVELS: u64 = 0;
/// Firmware of a PC with BIOS.
const BIOS: u64 = 0;
/// Memory model of a framebuffer.
const RGB: u8 = 1;
const WORD: u64 = 8;

/// A file in memory.
#[derive(Clone, Debug)]
pub(super) struct LoadedFile<'a> {
    /// Its guest-physical addresses.
    pub range: Range<u64>,
    /// The path that the kernel gets: the name behind a slash.
    pub path: String,
    /// Its command line.
    pub command_line: &'a str,
}

/// What the responses are made from.
pub(super) struct Information<'a> {
    pub command_line: &'a str,
    pub executable: Option<LoadedFile<'a>>,
    pub modules: &'a [LoadedFile<'a>],
    pub memory: &'a [MemoryRegion],
    /// The RSDP as the base revision wants its address: physical or in the direct map.
    pub rsdp: Option<u64>,
    /// The first page of the kernel: its physical and its virtual address.
    pub kernel: (u64, u64),
    /// Guest-physical address of the shared page of processors, and how many processors there are.
    pub processors: (u64, u8),
    pub framebuffer: Option<Framebuffer>,
    /// The time of day, in seconds since 1970 UTC.
    pub date: Option<i64>,
}

/// The block, and where in it the response to each request is, in their order; `None` for a feature that is absent.
#[derive(Default)]
pub(super) struct Responses {
    pub bytes: Vec<u8>,
    pub addresses: Vec<Option<u64>>,
    /// The virtual address of the block.
    base: u64,
}

impl Responses {
    /// The responses as they have to be at guest-physical `at`. Their size does not depend on it.
    pub fn build(requests: &Requests, information: &Information<'_>, at: u64) -> Responses {
        let mut block = Responses { base: DIRECT_MAP + at, ..Responses::default() };
        for request in &requests.found {
            let address = block.response(request.spec.feature, information);
            block.addresses.push(address);
        }
        block
    }

    fn response(&mut self, feature: Feature, information: &Information<'_>) -> Option<u64> {
        let words = match feature {
            Feature::BootloaderInfo => {
                let (name, version) = LOADER;
                vec![0, self.text(name), self.text(version)]
            }
            Feature::CommandLine => vec![0, self.text(information.command_line)],
            Feature::FirmwareType => vec![0, BIOS],
            Feature::StackSize | Feature::EntryPoint => vec![0],
            Feature::HigherHalfDirectMap => vec![0, DIRECT_MAP],
            Feature::Framebuffer => {
                let framebuffer = self.framebuffer(information.framebuffer?);
                vec![1, 1, self.words(&[framebuffer])]
            }
            Feature::PagingMode => vec![0, FOUR_LEVELS],
            Feature::Processors => {
                let (shared, count) = information.processors;
                let infos: Vec<u64> =
                    (0..count).map(|processor| processors::info_address(shared, processor)).collect();
                // No x2APIC; the first processor has local APIC ID 0.
                vec![0, 0, count.into(), self.words(&infos)]
            }
            Feature::MemoryMap => {
                let entries: Vec<u64> = information
                    .memory
                    .iter()
                    .map(|(range, usage)| self.words(&[range.start, range.end - range.start, *usage as u64]))
                    .collect();
                vec![0, entries.len() as u64, self.words(&entries)]
            }
            Feature::ExecutableFile => vec![0, self.file(information.executable.as_ref()?)],
            Feature::Modules => {
                let files: Vec<u64> = information.modules.iter().map(|file| self.file(file)).collect();
                vec![0, files.len() as u64, self.words(&files)]
            }
            Feature::Rsdp => vec![0, information.rsdp?],
            Feature::DateAtBoot => vec![0, information.date? as u64],
            Feature::ExecutableAddress => vec![0, information.kernel.0, information.kernel.1],
            Feature::Smbios | Feature::EfiSystemTable | Feature::EfiMemoryMap | Feature::DeviceTree => {
                return None;
            }
        };
        Some(self.words(&words))
    }

    /// `limine_file`, of revision 0. The fields about the medium say that there is none.
    fn file(&mut self, file: &LoadedFile<'_>) -> u64 {
        const UNUSED: [u64; 9] = [0; 9];
        let (path, text) = (self.text(&file.path), self.text(file.command_line));
        let size = file.range.end - file.range.start;
        let start = [0, DIRECT_MAP + file.range.start, size, path, text];
        self.words(&[&start[..], &UNUSED].concat())
    }

    /// `limine_framebuffer`, of revision 1, with the mode that it has as its only one.
    fn framebuffer(&mut self, framebuffer: Framebuffer) -> u64 {
        let address = framebuffer.range().start;
        // Eight bits of each colour: blue is the lowest.
        let format = [Framebuffer::BITS, 0, RGB, 8, 16, 8, 8, 8];
        let blue_shift = 0;
        let size = [framebuffer.width.into(), framebuffer.height.into(), framebuffer.pitch()];
        let mode = [size[2], size[0], size[1], u64::from_le_bytes(format), blue_shift];
        let mode = self.words(&mode);
        let modes = self.words(&[mode]);
        let no_edid = [0, 0];
        let start = [DIRECT_MAP + address, size[0], size[1], size[2], u64::from_le_bytes(format), blue_shift];
        self.words(&[&start[..], &no_edid, &[1, modes]].concat())
    }

    fn words(&mut self, words: &[u64]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(WORD as usize), 0);
        let address = self.base + self.bytes.len() as u64;
        self.bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        address
    }

    /// A text with a zero at its end.
    fn text(&mut self, text: &str) -> u64 {
        let address = self.base + self.bytes.len() as u64;
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
        address
    }
}
