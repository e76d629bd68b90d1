//! All registers of a stopped CPU, with modes, flags and segments in words.
//!
//! Manual: Intel SDM volume 3A, "System Architecture Overview", "Debug, Branch Profile, TSC, and Intel Resource Director
//! Technology Features"; volume 4, "Model-Specific Registers".

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::hex;
use super::report_json::{Hex, RegistersJson};
use crate::arch::bit_names::{CR0, CR4, DR6, DR7, EFER, EFLAGS, MXCSR, set_bits};
use crate::arch::paging::Paging;
use crate::arch::{DebugRegisters, ExtendedRegisters, Mode, Registers, SegmentRegister};

/// Offsets in the XSAVE area (Intel SDM volume 1, "Legacy Region of an XSAVE Area").
const FCW: usize = 0;
const FSW: usize = 2;
const MXCSR_AT: usize = 24;
const STACK: usize = 32;
const XMM: usize = 160;
/// Distance between two x87 or vector registers there.
const SLOT: usize = 16;

/// Flags of RFLAGS, as QEMU names them.
const FLAGS: [(u32, char); 9] =
    [(11, 'O'), (10, 'D'), (9, 'I'), (7, 'S'), (6, 'Z'), (4, 'A'), (2, 'P'), (0, 'C'), (8, 'T')];

/// Model-specific registers that decide what code does, with their names in the manual.
pub const MSRS: [(u32, &str); 11] = [
    (0x1B, "APIC_BASE"),
    (0xC000_0081, "STAR"),
    (0xC000_0082, "LSTAR"),
    (0xC000_0083, "CSTAR"),
    (0xC000_0084, "FMASK"),
    (0x174, "SYSENTER_CS"),
    (0x175, "SYSENTER_ESP"),
    (0x176, "SYSENTER_EIP"),
    (0xC000_0102, "KERNEL_GS_BASE"),
    (0x277, "PAT"),
    (0xC000_0103, "TSC_AUX"),
];
/// Memory types in IA32_PAT (Intel SDM volume 3A, "Memory Types That Can Be Encoded With PAT").
const MEMORY_TYPES: [&str; 8] = ["UC", "WC", "?", "?", "WT", "WP", "WB", "UC-"];

/// The registers of a CPU.
#[derive(Clone, Debug, Serialize)]
pub struct RegisterView {
    /// General, control and segment registers.
    #[serde(serialize_with = "integer")]
    pub registers: Registers,
    /// Mode, width and ring: `64-bit mode, ring 0, 4-level paging`.
    pub mode: String,
    /// Debug registers, if the host reports them.
    #[serde(serialize_with = "debug")]
    pub debug: Option<DebugRegisters>,
    /// Model-specific registers that the host reports, by name.
    #[serde(serialize_with = "hex::named")]
    pub msrs: Vec<(&'static str, u64)>,
    /// x87 and SSE registers.
    #[serde(serialize_with = "vectors")]
    extended: Box<ExtendedRegisters>,
}

impl RegisterView {
    /// The view of these registers; `msr` reads a model-specific register, if the host reports it.
    pub fn new(
        registers: Registers,
        extended: ExtendedRegisters,
        debug: Option<DebugRegisters>,
        msr: &dyn Fn(u32) -> Option<u64>,
    ) -> RegisterView {
        let msrs = MSRS.iter().filter_map(|(index, name)| Some((*name, msr(*index)?))).collect();
        RegisterView { registers, mode: mode(&registers), debug, msrs, extended: Box::new(extended) }
    }

    fn write_integer(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registers = &self.registers;
        for row in registers.named().chunks(4) {
            let row: Vec<String> =
                row.iter().map(|(name, value)| format!("{name:<6} {value:016x}")).collect();
            writeln!(f, "{}", row.join("  "))?;
        }
        let rflags = registers.general.rflags;
        let flags: String =
            FLAGS.iter().map(|(bit, name)| if rflags >> bit & 1 == 1 { *name } else { '-' }).collect();
        writeln!(f, "flags  {flags}  ring {}  {}-bit code", registers.ring(), registers.bitness())?;
        writeln!(f, "       set: {}; {}", set_bits(rflags, EFLAGS), self.mode)
    }

    fn write_system(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registers = &self.registers;
        let mut segments = registers.segments().to_vec();
        segments.extend([("TR", registers.system.tr), ("LDT", registers.system.ldt)]);
        for (name, segment) in segments {
            writeln!(
                f,
                "{name:<6} {:04x} base {:016x} limit {:08x} type {:2} dpl {}{}  {}",
                segment.selector,
                segment.base,
                segment.limit,
                segment.type_,
                segment.dpl,
                if segment.unusable == 1 { " unusable" } else { "" },
                segment_kind(registers, &segment)
            )?;
        }
        for (name, table) in registers.tables() {
            writeln!(f, "{name:<6}      base {:016x} limit {:04x}", table.base, table.limit)?;
        }
        for (name, value) in registers.control() {
            let bits = match name {
                "CR0" => set_bits(value, CR0),
                "CR4" => set_bits(value, CR4),
                "EFER" => set_bits(value, EFER),
                _ => String::new(),
            };
            writeln!(f, "{}", format!("{name:<6} {value:016x}  {bits}").trim_end())?;
        }
        writeln!(f, "{:<6} {:016x}", "CR8", registers.system.cr8)
    }

    fn write_debug(&self, f: &mut fmt::Formatter<'_>, debug: &DebugRegisters) -> fmt::Result {
        for (number, address) in debug.addresses.iter().enumerate() {
            let enabled = debug.dr7 >> (2 * number) & 3 != 0;
            let what = if enabled { breakpoint(debug.dr7, number) } else { String::new() };
            writeln!(f, "{}", format!("DR{number}    {address:016x}  {what}").trim_end())?;
        }
        writeln!(f, "DR6    {:016x}  {}", debug.dr6, set_bits(debug.dr6, DR6))?;
        writeln!(f, "DR7    {:016x}  {}", debug.dr7, set_bits(debug.dr7, DR7))
    }

    fn write_msrs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.msrs {
            let words = match *name {
                "STAR" => format!(
                    "syscall: CS {:#x}, SS {:#x}; sysret: CS {:#x}, SS {:#x}",
                    value >> 32 & 0xFFFC,
                    (value >> 32 & 0xFFFC) + 8,
                    (value >> 48 & 0xFFFC | 3) + 16,
                    (value >> 48 & 0xFFFC | 3) + 8
                ),
                "FMASK" => set_bits(*value, EFLAGS),
                "APIC_BASE" => apic_base(*value),
                "PAT" => (0..8)
                    .map(|entry| MEMORY_TYPES[(value >> (8 * entry) & 7) as usize])
                    .collect::<Vec<_>>()
                    .join(" "),
                _ => String::new(),
            };
            // What the guest has not set is of no interest.
            if *value != 0 {
                writeln!(f, "{}", format!("{name:<14} {value:016x}  {words}").trim_end())?;
            }
        }
        Ok(())
    }

    fn write_extended(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let area = &self.extended;
        let mxcsr = value(area, MXCSR_AT, 4);
        writeln!(
            f,
            "FCW    {:04x}  FSW {:04x}  MXCSR {mxcsr:08x}  {}",
            value(area, FCW, 2),
            value(area, FSW, 2),
            set_bits(mxcsr as u64, MXCSR)
        )?;
        for number in 0..8 {
            let end = if number % 2 == 0 { "  " } else { "\n" };
            write!(f, "ST{number}    {:020x}{end}", value(area, STACK + SLOT * number, 10))?;
        }
        for number in 0..16 {
            let end = if number % 2 == 0 { "  " } else { "\n" };
            write!(f, "XMM{number:<3} {:032x}{end}", value(area, XMM + SLOT * number, 16))?;
        }
        Ok(())
    }
}

impl fmt::Display for RegisterView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_integer(f)?;
        self.write_system(f)?;
        if let Some(debug) = &self.debug {
            self.write_debug(f, debug)?;
        }
        self.write_msrs(f)?;
        self.write_extended(f)
    }
}

/// The general, control and segment registers, as in a crash report.
fn integer<S: Serializer>(registers: &Registers, serializer: S) -> Result<S::Ok, S::Error> {
    RegistersJson(*registers).serialize(serializer)
}

fn debug<S: Serializer>(debug: &Option<DebugRegisters>, serializer: S) -> Result<S::Ok, S::Error> {
    let named = debug.map(|debug| {
        let [dr0, dr1, dr2, dr3] = debug.addresses;
        let all =
            [("dr0", dr0), ("dr1", dr1), ("dr2", dr2), ("dr3", dr3), ("dr6", debug.dr6), ("dr7", debug.dr7)];
        BTreeMap::from(all.map(|(name, value)| (name, Hex(value))))
    });
    named.serialize(serializer)
}

/// The x87 and SSE registers by their names.
fn vectors<S: Serializer>(area: &ExtendedRegisters, serializer: S) -> Result<S::Ok, S::Error> {
    let control = [("fcw", FCW, 2), ("fsw", FSW, 2), ("mxcsr", MXCSR_AT, 4)];
    let control = control.into_iter().map(|(name, at, size)| (name.to_owned(), at, size));
    let x87 = (0..8).map(|number| (format!("st{number}"), STACK + SLOT * number, 10));
    let sse = (0..16).map(|number| (format!("xmm{number}"), XMM + SLOT * number, 16));
    let all = control.chain(x87).chain(sse);
    serializer.collect_map(all.map(|(name, at, size)| (name, format!("{:#x}", value(area, at, size)))))
}

/// Mode, ring and paging in words.
pub fn mode(registers: &Registers) -> String {
    let mode = match registers.mode() {
        Mode::Real => "real mode",
        Mode::Virtual8086 => "virtual-8086 mode",
        Mode::Protected if registers.system.cs.db == 1 => "32-bit protected mode",
        Mode::Protected => "16-bit protected mode",
        Mode::Compatibility => "compatibility mode",
        Mode::SixtyFourBit => "64-bit mode",
    };
    let paging = match Paging::new(registers, Paging::WIDEST).levels() {
        0 => "no paging".to_owned(),
        2 => "32-bit paging".to_owned(),
        3 => "PAE paging".to_owned(),
        levels => format!("{levels}-level paging"),
    };
    format!("{mode}, ring {}, {paging}", registers.ring())
}

/// What a segment register holds, in words.
fn segment_kind(registers: &Registers, segment: &SegmentRegister) -> String {
    if segment.unusable == 1 {
        return "none".to_owned();
    }
    if segment.s == 0 {
        return match segment.type_ {
            2 => "LDT",
            1 | 3 => "16-bit TSS",
            9 | 11 if registers.mode().is_long() => "64-bit TSS",
            9 | 11 => "32-bit TSS",
            _ => "no segment",
        }
        .to_owned();
    }
    let is = |bit: u8| segment.type_ & bit != 0;
    if is(8) {
        let bits = match (segment.l, segment.db) {
            (1, _) => 64,
            (_, 1) => 32,
            _ => 16,
        };
        let conforming = if is(4) { ", conforming" } else { "" };
        let readable = if is(2) { ", readable" } else { "" };
        return format!("{bits}-bit code{readable}{conforming}");
    }
    let down = if is(4) { ", grows downwards" } else { "" };
    format!(
        "{}-bit data{}{down}",
        if segment.db == 1 { 32 } else { 16 },
        if is(2) { ", writable" } else { "" }
    )
}

/// What the enabled breakpoint `number` of DR7 stops at.
fn breakpoint(dr7: u64, number: usize) -> String {
    let control = dr7 >> (16 + 4 * number) & 0xF;
    let kind = match control & 3 {
        0 => return "stops at execution".to_owned(),
        1 => "write",
        2 => "port access",
        _ => "access",
    };
    let length = [1, 2, 8, 4][(control >> 2) as usize];
    format!("stops at {kind} of {length} bytes")
}

fn apic_base(value: u64) -> String {
    let bits = [(1 << 8, "bootstrap"), (1 << 10, "x2APIC"), (1 << 11, "enabled")];
    let set: Vec<&str> = bits.iter().filter(|(bit, _)| value & bit != 0).map(|(_, name)| *name).collect();
    set.join(", ")
}

/// `count` bytes (at most 16) at `offset`, the lowest first.
fn value(area: &ExtendedRegisters, offset: usize, count: usize) -> u128 {
    let bytes = area.get(offset..offset + count).unwrap_or_default();
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_flags_segments_and_msrs_are_spelled_out() {
        let mut registers = Registers::default();
        (registers.general.rflags, registers.general.rip) = (0x246, 0x20_0000);
        let system = &mut registers.system;
        (system.cr0, system.cr4, system.efer) = (0x8001_0033, 0x620, 0xD00);
        system.cs = SegmentRegister { selector: 8, type_: 11, s: 1, l: 1, present: 1, ..Default::default() };
        system.ds =
            SegmentRegister { selector: 0x10, type_: 3, s: 1, db: 1, present: 1, ..Default::default() };
        system.ss.unusable = 1;
        system.tr = SegmentRegister { selector: 0x18, type_: 11, present: 1, ..Default::default() };
        let debug = DebugRegisters {
            addresses: [0x1000, 0x2000, 0, 0],
            dr6: 0xFFFF_4FF1,
            dr7: 0x400 | 1 | 1 << 2 | 0xD << 20,
        };
        let msrs = |index| match index {
            0xC000_0081 => Some(0x001B_0008_0000_0000),
            0xC000_0084 => Some(0x200),
            0x1B => Some(0xFEE0_0900),
            0x277 => Some(0x0007_0406_0007_0406),
            0x174 => Some(0),
            _ => None,
        };
        let mut extended = [0; 4096];
        extended[24..26].copy_from_slice(&[0x80, 0x1F]);
        let text = RegisterView::new(registers, extended, Some(debug), &msrs).to_string();
        for part in [
            "RIP    0000000000200000",
            "\nflags  --I-Z-P--  ring 0  64-bit code\n       set: PF ZF IF; 64-bit mode, ring 0, 4-level paging\n",
            " type 11 dpl 0  64-bit code, readable\n",
            " type  3 dpl 0  32-bit data, writable\n",
            " type  0 dpl 0 unusable  none\n",
            " type 11 dpl 0  64-bit TSS\n",
            "CR0    0000000080010033  PE MP ET NE WP PG\n",
            "CR4    0000000000000620  PAE OSFXSR OSXMMEXCPT\n",
            "EFER   0000000000000d00  LME LMA NXE\n",
            "CR2    0000000000000000\n",
            "DR0    0000000000001000  stops at execution\n",
            "DR1    0000000000002000  stops at write of 4 bytes\nDR2    0000000000000000\n",
            "DR6    00000000ffff4ff1  B0 BS\n",
            "STAR           001b000800000000  syscall: CS 0x8, SS 0x10; sysret: CS 0x2b, SS 0x23\n",
            "FMASK          0000000000000200  IF\n",
            "APIC_BASE      00000000fee00900  bootstrap, enabled\n",
            "PAT            0007040600070406  WB WT UC- UC WB WT UC- UC\n",
            "MXCSR 00001f80  IM DM ZM OM UM PM\n",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("SYSENTER_CS"), "a register that is 0 is left out");
    }

    #[test]
    fn modes_have_names() {
        let mut registers = Registers::default();
        assert_eq!(mode(&registers), "real mode, ring 0, no paging");
        (registers.system.cr0, registers.system.cs.db) = (1, 1);
        registers.system.ss.dpl = 3;
        assert_eq!(mode(&registers), "32-bit protected mode, ring 3, no paging");
    }
}
