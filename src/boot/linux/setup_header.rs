//! The setup header of a bzImage (Linux, Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header").
//!
//! A field counts only if the image's version of the protocol has it: older images have code or text in its place.

use std::ops::Range;

use linux_loader::bootparam::{LOADED_HIGH, XLF_KERNEL_64, setup_header};
use vm_memory::ByteValued;

use super::problem::LinuxProblem;
use crate::boot::elf64::printable;
use crate::boot::error::GuestProblem;
use crate::boot::image::{self, Image};
use crate::memory::{GuestMemory, HIGH_RAM_BASE, LOW_RAM_LIMIT, RAM_GRANULE};

/// Offset of the header in the file, and in `boot_params`.
pub(super) const OFFSET: u64 = 0x1F1;
/// Offset of its signature, and the signature: "HdrS".
const SIGNATURE_OFFSET: u64 = 0x202;
const SIGNATURE: &[u8] = b"HdrS";
/// The header up to and including `kernel_version`, which every version has.
const OLDEST_END: u64 = 0x210;
const BOOT_FLAG: u16 = 0xAA55;
const SECTOR: u64 = 512;
/// The first byte after the jump's operand, from which the kernel's version text is counted.
const VERSION_TEXT_BASE: u64 = 0x200;
/// Longest version text shown, in bytes.
const LONGEST_VERSION: u64 = 200;

/// The highest address of an initrd for kernels that do not say it, and for those without a setup header.
const OLD_INITRD_LIMIT: u32 = 0x37FF_FFFF;
/// The longest command line of kernels that do not say it.
const OLD_COMMAND_LINE: u32 = 255;
/// Where the protected-mode code is loaded, unless the kernel wants another address.
const USUAL_LOAD_ADDRESS: u64 = 0x10_0000;
/// Offset of the 64-bit entry point in the protected-mode code.
const ENTRY_64: u64 = 0x200;

/// The mode in which a kernel is started, with the entry point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// 64-bit mode, all RAM identity-mapped.
    Long(u64),
    /// 32-bit protected mode without paging.
    Protected(u64),
}

/// A bzImage as its setup header describes it.
pub(super) struct SetupHeader {
    /// The header as it is in the file.
    pub raw: setup_header,
    /// What the kernel says it is; may be empty.
    pub version_text: String,
    /// Where the protected-mode code is in the file.
    pub code: Range<u64>,
}

/// True if the file has a setup header.
pub(super) fn is_present(file: &dyn Image) -> bool {
    let mut bytes = [0; SIGNATURE.len()];
    file.read_at(SIGNATURE_OFFSET, &mut bytes).is_ok() && bytes == *SIGNATURE
}

impl SetupHeader {
    /// Reads and checks the header of a file for which [`is_present`] is true.
    pub(super) fn read(file: &dyn Image) -> Result<SetupHeader, GuestProblem> {
        const PART: &str = "the setup header of the kernel";
        let wrong = |field, value: u64, expected| LinuxProblem::Header { field, value, expected };
        image::check_present(file, 0, OLDEST_END, PART)?;
        let mut raw = setup_header::default();
        let whole = raw.as_slice().len() as u64;
        let length = whole.min(file.len() - OFFSET);
        let bytes = image::read(file, OFFSET, length, PART)?;
        raw.as_mut_slice()[..bytes.len()].copy_from_slice(&bytes);
        if raw.boot_flag != BOOT_FLAG {
            return Err(wrong("boot_flag", raw.boot_flag.into(), "0xaa55").into());
        }
        if raw.version < 0x200 || raw.version >= 0x300 {
            return Err(wrong("version", raw.version.into(), "0x200 to 0x2ff").into());
        }
        let mut header = SetupHeader { raw, version_text: String::new(), code: 0..0 };
        image::check_present(file, OFFSET, header.known_length(), PART)?;
        header.forget_unknown_fields();
        if header.raw.loadflags & LOADED_HIGH == 0 {
            return Err(LinuxProblem::NotLoadedHigh.into());
        }
        header.version_text = header.read_version_text(file);
        header.code = header.find_code(file)?;
        let alignment = header.raw.kernel_alignment;
        if header.raw.relocatable_kernel != 0 && !alignment.is_power_of_two() {
            return Err(wrong("kernel_alignment", alignment.into(), "a power of two").into());
        }
        Ok(header)
    }

    /// True if the image's version of the protocol is at least 2.`minor`.
    pub(super) fn has(&self, minor: u16) -> bool {
        self.raw.version >= 0x200 + minor
    }

    /// Length of the header in the image's version of the protocol.
    pub(super) fn known_length(&self) -> u64 {
        let end: u64 = match self.raw.version & 0xFF {
            0 => 0x224,
            1 => 0x228,
            2 => 0x22C,
            3 | 4 => 0x230,
            5 => 0x238,
            6 => 0x23C,
            7 => 0x248,
            8 => 0x250,
            9 => 0x258,
            10 => 0x264,
            11..=14 => 0x268,
            _ => 0x26C,
        };
        end - OFFSET
    }

    fn forget_unknown_fields(&mut self) {
        let known = self.known_length() as usize;
        self.raw.as_mut_slice()[known..].fill(0);
        if !self.has(12) {
            self.raw.xloadflags = 0;
        }
        if !self.has(3) {
            self.raw.initrd_addr_max = OLD_INITRD_LIMIT;
        }
        if !self.has(6) {
            self.raw.cmdline_size = OLD_COMMAND_LINE;
        }
    }

    fn read_version_text(&self, file: &dyn Image) -> String {
        if self.raw.kernel_version == 0 {
            return String::new();
        }
        let offset = VERSION_TEXT_BASE + u64::from(self.raw.kernel_version);
        let length = file.len().saturating_sub(offset).min(LONGEST_VERSION);
        let bytes = image::read(file, offset, length, "the version of the kernel").unwrap_or_default();
        printable(&bytes).trim_matches('"').to_owned()
    }

    /// Where the protected-mode code is: behind the sectors of the real-mode code.
    fn find_code(&self, file: &dyn Image) -> Result<Range<u64>, GuestProblem> {
        const PART: &str = "the protected-mode code of the kernel";
        let start = (1 + u64::from(self.setup_sectors())) * SECTOR;
        image::check_present(file, start, 1, PART)?;
        let available = file.len() - start;
        // Before 2.04 the field had 16 bits, which are too few. It counts paragraphs, of which the last may be
        // incomplete. A signature may follow.
        let length = if self.has(4) { u64::from(self.raw.syssize) * 16 } else { available };
        if length > available + 15 {
            image::check_present(file, start, length, PART)?;
        }
        Ok(start..start + if length == 0 { available } else { length.min(available) })
    }

    /// Sectors of real-mode code behind the first one.
    pub(super) fn setup_sectors(&self) -> u8 {
        match self.raw.setup_sects {
            0 => 4,
            sectors => sectors,
        }
    }

    /// The address at which the protected-mode code is loaded.
    pub(super) fn load_address(&self) -> u64 {
        if self.has(10) {
            let alignment =
                if self.raw.relocatable_kernel != 0 { self.raw.kernel_alignment.into() } else { 1 };
            self.raw.pref_address.checked_next_multiple_of(alignment).unwrap_or(u64::MAX)
        } else {
            USUAL_LOAD_ADDRESS
        }
    }

    /// The memory that the kernel needs before it knows the memory map; `None` if no address space has it.
    pub(super) fn needed_memory(&self) -> Option<Range<u64>> {
        let start = self.load_address();
        let size = u64::from(self.raw.init_size).max(self.code.end - self.code.start);
        Some(start..start.checked_add(size)?)
    }

    /// The memory that the kernel needs, all of which is RAM.
    pub(super) fn checked_memory(&self, memory: &GuestMemory) -> Result<Range<u64>, LinuxProblem> {
        let needed = self.needed_memory().ok_or(LinuxProblem::Header {
            field: "init_size",
            value: self.raw.init_size.into(),
            expected: "a size that fits into the address space behind pref_address",
        })?;
        let (start, end) = (needed.start, needed.end);
        if memory.is_ram(start, end - start) {
            return Ok(needed);
        }
        // The registers and fields that name addresses of the kernel have 32 bits.
        if end > LOW_RAM_LIMIT || start >= HIGH_RAM_BASE {
            return Err(LinuxProblem::NeverRam { start, end });
        }
        let needed = end.next_multiple_of(RAM_GRANULE);
        Err(LinuxProblem::Memory { start, end, memory: memory.size(), needed })
    }

    /// The best entry point; `None` if there is only that of real mode.
    pub(super) fn entry(&self) -> Option<Entry> {
        let start = self.load_address();
        if self.raw.xloadflags & XLF_KERNEL_64 != 0 {
            return Some(Entry::Long(start.saturating_add(ENTRY_64)));
        }
        (self.raw.code32_start != 0).then_some(Entry::Protected(start))
    }

    /// What the image is, for messages and the log.
    pub(super) fn describe(&self) -> String {
        let text = &self.version_text;
        match text.strip_prefix("Memtest86+") {
            Some(version) => format!("Memtest86+{version}, as a Linux kernel image (bzImage)"),
            None if text.is_empty() => "a Linux kernel image (bzImage)".to_owned(),
            None => format!("a Linux kernel image (bzImage), version {text}"),
        }
    }
}

#[cfg(test)]
#[path = "setup_header_test.rs"]
mod tests;
