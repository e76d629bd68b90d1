//! The global descriptor table.
//!
//! Manual: Intel SDM volume 3A, "Segment Descriptors" and "Segment Descriptor Tables in IA-32e Mode".

use std::fmt;

use serde::Serialize;

use super::write_notes;
use crate::arch::Registers;
use crate::arch::descriptor::{self, Descriptor};
use crate::inspect::hex;
use crate::inspect::translate::read_virtual;
use crate::memory::GuestMemory;

/// Types of system descriptors (Intel SDM volume 3A, "System-Segment and Gate-Descriptor Types").
const LDT: u8 = 2;
const TSS_AVAILABLE: u8 = 9;
const TSS_BUSY: u8 = 11;
const CALL_GATE: u8 = 12;
/// Offset of the last byte of the shortest task state segment of long mode, and of one of 32 bits.
const SHORTEST_TSS: u32 = 0x67;

/// The descriptors of the GDT that are not null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GdtView {
    /// Linear address of the table.
    #[serde(serialize_with = "hex::hex")]
    pub base: u64,
    /// Offset of its last byte.
    #[serde(serialize_with = "hex::hex")]
    pub limit: u16,
    /// Its descriptors, ascending.
    pub entries: Vec<GdtEntry>,
    /// Where the table is not mapped: the offset and the linear address of the first entry that cannot be read.
    #[serde(serialize_with = "hex::pair")]
    pub unmapped: Option<(u64, u64)>,
    /// What is wrong with the table itself.
    pub notes: Vec<String>,
}

/// A descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GdtEntry {
    /// Its offset in the table, the selector of ring 0.
    #[serde(serialize_with = "hex::hex")]
    pub selector: u64,
    /// What it is: `64-bit code`.
    pub kind: String,
    /// The ring it belongs to.
    pub ring: u8,
    /// It is code or data, not a system segment.
    pub is_memory: bool,
    /// Base address.
    #[serde(serialize_with = "hex::hex")]
    pub base: u64,
    /// Offset of the segment's last byte.
    #[serde(serialize_with = "hex::hex")]
    pub limit: u32,
    /// It is present.
    pub present: bool,
    /// The segment registers that were loaded from it.
    pub used_by: Vec<&'static str>,
    /// What is wrong with it.
    pub notes: Vec<String>,
}

impl GdtView {
    /// Decodes the GDT of a CPU.
    pub fn of(memory: &GuestMemory, registers: &Registers) -> GdtView {
        let table = registers.system.gdt;
        let mut view = GdtView {
            base: table.base,
            limit: table.limit,
            entries: Vec::new(),
            unmapped: None,
            notes: Vec::new(),
        };
        let (end, mut offset) = (u64::from(table.limit) + 1, 0);
        if !end.is_multiple_of(descriptor::SIZE) {
            view.notes.push(format!(
                "the limit {:#x} cuts the last descriptor off; load 8 times the number of descriptors, minus 1",
                table.limit
            ));
        }
        while offset + descriptor::SIZE <= end {
            let address = table.base.wrapping_add(offset);
            let mut bytes = [0; 16];
            let found = read_virtual(memory, registers, address, &mut bytes);
            if found < descriptor::SIZE as usize {
                view.unmapped = Some((offset, address));
                break;
            }
            let bits = u128::from_le_bytes(bytes);
            let entry = Descriptor { value: bits as u64, address };
            // In long mode system segments have sixteen bytes.
            let is_long = entry.is_system() && entry.value != 0 && registers.mode().is_long();
            if entry.value != 0 {
                let high = if is_long { (bits >> 64) as u64 } else { 0 };
                let fits = !is_long || offset + 16 <= end;
                view.entries.push(GdtEntry::decode(registers, &entry, offset, high, fits));
            }
            offset += if is_long { 16 } else { descriptor::SIZE };
        }
        view
    }
}

impl GdtEntry {
    /// `high` is the upper half of a descriptor of sixteen bytes, and `fits` is false if that lies beyond the limit.
    fn decode(registers: &Registers, entry: &Descriptor, offset: u64, high: u64, fits: bool) -> GdtEntry {
        let system = registers.segments().into_iter();
        let tables = [("TR", registers.system.tr), ("LDTR", registers.system.ldt)];
        let used_by: Vec<&'static str> = system
            .chain(tables)
            .filter(|(_, register)| u64::from(register.selector & !7) == offset && register.selector & 4 == 0)
            .map(|(name, _)| name)
            .collect();
        let mut decoded = GdtEntry {
            selector: offset,
            kind: kind(entry),
            ring: entry.dpl(),
            is_memory: !entry.is_system(),
            base: entry.base() | high << 32,
            limit: entry.limit(),
            present: entry.is_present(),
            used_by,
            notes: Vec::new(),
        };
        decoded.check(registers, entry, high, fits);
        decoded
    }

    fn check(&mut self, registers: &Registers, entry: &Descriptor, high: u64, fits: bool) {
        let long = registers.mode().is_long();
        let mut note = |text: &str| self.notes.push(text.to_owned());
        if !entry.is_present() {
            // A descriptor that is prepared for later is no mistake.
            if !self.used_by.is_empty() {
                note("it is in use and not present: the next load raises #NP; set bit 47");
            }
            return;
        }
        if entry.is_system() {
            let kind = entry.kind();
            let is_valid = match long {
                true => matches!(kind, LDT | TSS_AVAILABLE | TSS_BUSY | CALL_GATE),
                false => !matches!(kind, 0 | 8 | 10 | 13),
            };
            if !is_valid {
                note("this type does not exist in the current mode; code and data have bit 44 set");
            } else if !fits {
                note(
                    "in long mode it has 16 bytes, and the limit of the table cuts it in half; raise the limit",
                );
            } else if long && high >> 40 & 0x1F != 0 {
                note(
                    "bits 8 to 12 of its upper half are not 0: a descriptor of 8 bytes where long mode needs 16",
                );
            }
            if matches!(kind, TSS_AVAILABLE | TSS_BUSY) && entry.limit() < SHORTEST_TSS {
                note("its limit is below 0x67: a task state segment has 104 bytes");
            }
        } else if entry.is_code() && entry.is_long() && entry.is_big() {
            note("L and D are both set, which is reserved: loading it raises #GP; clear bit 54");
        } else if long && (entry.is_long() || !entry.is_code()) && entry.base() != 0 {
            note("64-bit mode ignores this base, except in FS and GS");
        }
    }
}

/// Names of system segments by their type (Intel SDM volume 3A, "System-Segment and Gate-Descriptor Types").
fn system_name(kind: u8) -> &'static str {
    match kind {
        1 => "16-bit TSS (available)",
        LDT => "LDT",
        3 => "16-bit TSS (busy)",
        4 => "16-bit call gate",
        5 => "task gate",
        6 => "16-bit interrupt gate",
        7 => "16-bit trap gate",
        TSS_AVAILABLE => "TSS (available)",
        TSS_BUSY => "TSS (busy)",
        CALL_GATE => "call gate",
        14 => "interrupt gate",
        15 => "trap gate",
        _ => "reserved type",
    }
}

fn kind(entry: &Descriptor) -> String {
    match (entry.is_system(), entry.is_code()) {
        (true, _) => system_name(entry.kind()).to_owned(),
        (false, true) => {
            let bits = match (entry.is_long(), entry.is_big()) {
                (true, _) => 64,
                (false, true) => 32,
                (false, false) => 16,
            };
            let conforming = if entry.is_conforming() { ", conforming" } else { "" };
            let readable = if entry.is_readable() { "" } else { ", execute-only" };
            format!("{bits}-bit code{conforming}{readable}")
        }
        (false, false) => {
            let writable = if entry.is_writable() { "" } else { ", read-only" };
            let down = if entry.kind() & 1 << 2 != 0 { ", grows downwards" } else { "" };
            format!("data{writable}{down}")
        }
    }
}

impl fmt::Display for GdtEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let present = if self.present { "" } else { ", not present" };
        write!(
            f,
            "{:#06x}: {}{present}, ring {}, base {:#x}, limit {:#x}",
            self.selector, self.kind, self.ring, self.base, self.limit
        )
    }
}

impl fmt::Display for GdtView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "GDT at {:#x}, limit {:#x}", self.base, self.limit)?;
        write_notes(f, &self.notes)?;
        for entry in &self.entries {
            writeln!(f, "{entry}")?;
            if !entry.used_by.is_empty() {
                writeln!(f, "        in {}", entry.used_by.join(", "))?;
            }
            write_notes(f, &entry.notes)?;
        }
        match self.unmapped {
            Some((offset, address)) => writeln!(f, "{offset:#06x}: nothing is mapped at {address:#x}"),
            None => Ok(()),
        }
    }
}
