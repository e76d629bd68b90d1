//! What looks wrong with a guest file before it runs: `kvm inspect`.
//!
//! Everything here follows from the file and from where it was loaded; what only a run shows is the matter of the
//! views of a stopped machine. Each search has a limit, so that any file takes a bounded time.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};
use serde::Serialize;

use super::names::{Names, place};
use super::red_zone::{FINDING, RedZoneSearch};
use crate::boot::{Image, LoadedGuest, code_ranges, has_debug_info, has_symbols, is_elf, writable_code};
use crate::settings::BootKind;

/// Most bytes of code that are decoded.
const MOST_CODE: u64 = 4 << 20;
/// Bytes of a boot sector that are code; a partition table follows.
const BOOT_CODE: usize = 440;
const SECTOR: usize = 512;
/// The last two bytes of a boot sector.
const BOOT_SIGNATURE: [u8; 2] = [0x55, 0xAA];

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileLintLevel {
    /// The guest probably does not work as it is.
    Warning,
    /// Something to know.
    Note,
}

/// Something that looks wrong with a guest file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileLint {
    /// What it is about, in words joined by hyphens.
    pub name: &'static str,
    /// How much it matters.
    pub level: FileLintLevel,
    /// A sentence with the place and the remedy, without a full stop.
    pub text: String,
}

/// The findings about the guest `loaded` from `image`, whose addresses `names` knows.
pub fn file_lints(image: &dyn Image, loaded: &LoadedGuest, names: &dyn Names) -> Vec<FileLint> {
    let mut found = Vec::new();
    let mut add = |name, level, text| found.push(FileLint { name, level, text });
    if loaded.kind == BootKind::Disk
        && let Some(text) = boot_sector(image)
    {
        add("boot-sector", FileLintLevel::Warning, text);
    }
    if !is_elf(image) {
        return found;
    }
    let entry = loaded.registers.next_instruction();
    let sections = names.sections();
    match sections.iter().find(|section| section.range.contains(&entry)) {
        Some(section) if !section.executable => {
            let name = if section.name.is_empty() { "a segment" } else { &section.name };
            let text =
                format!("the first instruction, at {entry:#x}, is in {name}, which the file marks as data");
            add("entry-in-data", FileLintLevel::Warning, text);
        }
        _ => {}
    }
    let bias = loaded.symbols.bias();
    for range in writable_code(image) {
        let (start, end) = (range.start.wrapping_add(bias), range.end.wrapping_add(bias));
        let text = format!(
            "the segment {start:#x}..{end:#x} is writable and executable: link code and data into segments of their own"
        );
        add("writable-code", FileLintLevel::Note, text);
    }
    if !has_symbols(image) {
        let text = "the file has no symbols, so reports have addresses only: do not strip it, or name a file that has them \
                    with --symbols";
        add("no-symbols", FileLintLevel::Note, text.to_owned());
    } else if !has_debug_info(image) {
        let text =
            "the file has no debug information, so debuggers have no lines and variables: build with -g";
        add("no-debug-info", FileLintLevel::Note, text.to_owned());
    }
    let code = Code::search(image);
    if code.takes_interrupts
        && let Some(address) = code.below_rsp
    {
        let text = format!("code at {} uses {FINDING}", place(names, address.wrapping_add(bias)));
        add("red-zone", FileLintLevel::Warning, text);
    }
    if let Some(address) = code.vector_register {
        let text = format!(
            "code at {} uses x87, MMX, SSE or AVX registers: hosts that refuse these instructions emulate them, which is \
             slow (`kvm check`); -mgeneral-regs-only avoids them",
            place(names, address.wrapping_add(bias))
        );
        add("vector-registers", FileLintLevel::Note, text);
    }
    found
}

/// Why the BIOS will find nothing to boot on a disk; `None` if it will.
fn boot_sector(image: &dyn Image) -> Option<String> {
    let mut sector = [0; SECTOR];
    if image.read_at(0, &mut sector).is_err() {
        return Some("the disk is smaller than a sector".to_owned());
    }
    let remedy = "install a boot loader on it, or start a kernel by --boot";
    if !sector.ends_with(&BOOT_SIGNATURE) {
        Some(format!("the first sector does not end with the boot signature 55 AA: {remedy}"))
    } else if sector[..BOOT_CODE].iter().all(|byte| *byte == 0) {
        Some(format!("the first sector has no code, only a partition table: {remedy}"))
    } else {
        None
    }
}

/// What the code of a file does. Addresses are those in the file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Code {
    /// It loads an IDT or returns from interrupts.
    takes_interrupts: bool,
    /// The first access to the red zone.
    below_rsp: Option<u64>,
    /// The first use of a vector or floating-point register.
    vector_register: Option<u64>,
}

impl Code {
    /// Decodes 64-bit code from the beginning of each section, up to a limit.
    fn search(image: &dyn Image) -> Code {
        let mut code = Code::default();
        let mut left = MOST_CODE;
        for range in code_ranges(image) {
            let length = range.length.min(left);
            left -= length;
            let mut bytes = vec![0; length as usize];
            if image.read_at(range.offset, &mut bytes).is_ok() {
                code.decode(&bytes, range.address);
            }
        }
        code
    }

    fn decode(&mut self, bytes: &[u8], address: u64) {
        let mut decoder = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE);
        let (mut instruction, mut search) = (Instruction::default(), RedZoneSearch::default());
        while decoder.can_decode() {
            decoder.decode_out(&mut instruction);
            self.takes_interrupts |=
                matches!(instruction.mnemonic(), Mnemonic::Lidt | Mnemonic::Iretq | Mnemonic::Iretd);
            if search.next(&instruction) && self.below_rsp.is_none() {
                self.below_rsp = Some(instruction.ip());
            }
            if self.vector_register.is_none() && has_vector_register(&instruction) {
                self.vector_register = Some(instruction.ip());
            }
        }
    }
}

fn has_vector_register(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|operand| {
        let register = instruction.op_register(operand);
        register.is_vector_register() || register.is_mm() || register.is_st()
    })
}

#[cfg(test)]
#[path = "file_lints_test.rs"]
mod tests;
