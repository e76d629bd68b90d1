//! The target description, by which gdb knows the registers of a [`Layout`] and prints `$cr0` as
//! `[ PE MP ET NE WP PG ]`.
//!
//! Standard features have the names that gdb expects. gdb has no feature for control registers, EFER and the base
//! that `swapgs` gives GS: they are a feature of `kvm`, which gdb shows as described.
//!
//! Manual: "Appendix G: Target Descriptions" in *Debugging with gdb*; bits: Intel SDM volume 3A,
//! "Control Registers", AMD APM volume 2, "Extended Feature Enable Register (EFER)", Intel SDM volume 1,
//! "EFLAGS Register" and "MXCSR Control and Status Register".

use gdbstub_arch::x86::reg::id::{X86_64CoreRegId as Core64, X86CoreRegId as Core32};

use super::layout::{Layout, Register, SystemRegister, name};
use crate::arch::bit_names::{BitNames, CR0, CR4, EFER, EFLAGS, MXCSR};
use crate::settings::GdbArch;

/// gdb names the parts of CR3.
const CR3: BitNames = &[(0, 11, "PCID"), (12, 63, "PDBR")];

/// The views of a 128-bit register in gdb: the name, the type of an element, and their number.
const VECTORS: [(&str, &str, u8); 6] = [
    ("v4_float", "ieee_single", 4),
    ("v2_double", "ieee_double", 2),
    ("v16_int8", "int8", 16),
    ("v8_int16", "int16", 8),
    ("v4_int32", "int32", 4),
    ("v2_int64", "int64", 2),
];

/// The document that gdb reads as `target.xml`.
pub(crate) fn target_xml(layout: Layout) -> String {
    let arch = match layout.arch() {
        GdbArch::X86_64 | GdbArch::X86_64Linux => "i386:x86-64",
        GdbArch::I386 => "i386",
        GdbArch::I8086 => "i8086",
    };
    let mut xml = format!(
        "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n\
         <target version=\"1.0\"><architecture>{arch}</architecture>\n"
    );
    if layout.is_linux() {
        xml.push_str("<osabi>GNU/Linux</osabi>\n");
    }
    for feature in [CORE, SSE, AVX, SEGMENTS, SYSTEM, LINUX] {
        add_feature(&mut xml, layout, feature);
    }
    xml.push_str("</target>\n");
    xml
}

const CORE: &str = "org.gnu.gdb.i386.core";
const SSE: &str = "org.gnu.gdb.i386.sse";
const AVX: &str = "org.gnu.gdb.i386.avx";
const SEGMENTS: &str = "org.gnu.gdb.i386.segments";
const SYSTEM: &str = "org.kvm.i386.system";
const LINUX: &str = "org.gnu.gdb.i386.linux";

/// The feature a register belongs to.
fn feature_of(layout: Layout, register: Register) -> &'static str {
    match register {
        Register::Core64(Core64::Xmm(_) | Core64::Mxcsr)
        | Register::Core32(Core32::Xmm(_) | Core32::Mxcsr) => SSE,
        Register::Core64(_) | Register::Core32(_) => CORE,
        Register::YmmHigh(_) => AVX,
        Register::OrigRax => LINUX,
        // gdb knows this feature in 64-bit mode only.
        Register::System(SystemRegister::FsBase | SystemRegister::GsBase) if layout.is_64_bit() => SEGMENTS,
        Register::System(_) => SYSTEM,
    }
}

fn add_feature(xml: &mut String, layout: Layout, feature: &str) {
    let members = || {
        let numbered = layout.registers().enumerate();
        numbered.filter(|(_, (register, _))| feature_of(layout, *register) == feature)
    };
    if members().next().is_none() {
        return;
    }
    xml.push_str(&format!("<feature name=\"{feature}\">\n"));
    let word = layout.word();
    match feature {
        CORE => add_flags(xml, "eflags_bits", 4, EFLAGS),
        SSE => {
            add_vectors(xml);
            add_flags(xml, "mxcsr_bits", 4, MXCSR);
        }
        SYSTEM => {
            for (name, bits) in [("cr0_bits", CR0), ("cr3_bits", CR3), ("cr4_bits", CR4), ("efer_bits", EFER)]
            {
                add_flags(xml, name, word, bits);
            }
        }
        _ => {}
    }
    for (number, (register, size)) in members() {
        let (kind, group) = kind_of(layout, register);
        let (bits, name) = (8 * size, name(register));
        xml.push_str(&format!("<reg name=\"{name}\" bitsize=\"{bits}\" type=\"{kind}\" regnum=\"{number}\""));
        if let Some(group) = group {
            xml.push_str(&format!(" group=\"{group}\""));
        }
        xml.push_str("/>\n");
    }
    xml.push_str("</feature>\n");
}

/// The type of a register, and its group if the type does not imply it.
fn kind_of(layout: Layout, register: Register) -> (&'static str, Option<&'static str>) {
    let word = if layout.is_64_bit() { "int64" } else { "int32" };
    match register {
        // The stack and frame pointers point to data.
        Register::Core64(Core64::Gpr(6 | 7)) | Register::Core32(Core32::Esp | Core32::Ebp) => {
            ("data_ptr", None)
        }
        Register::Core64(Core64::Rip) | Register::Core32(Core32::Eip) => ("code_ptr", None),
        Register::Core64(Core64::Eflags) | Register::Core32(Core32::Eflags) => ("eflags_bits", None),
        Register::Core64(Core64::Segment(_)) | Register::Core32(Core32::Segment(_)) => ("int32", None),
        Register::Core64(Core64::St(_)) | Register::Core32(Core32::St(_)) => ("i387_ext", None),
        Register::Core64(Core64::Fpu(_)) | Register::Core32(Core32::Fpu(_)) => ("int", Some("float")),
        Register::Core64(Core64::Xmm(_)) | Register::Core32(Core32::Xmm(_)) => ("vec128", None),
        Register::Core64(Core64::Mxcsr) | Register::Core32(Core32::Mxcsr) => ("mxcsr_bits", Some("vector")),
        // General registers.
        Register::Core64(_) | Register::Core32(_) => (word, None),
        Register::System(SystemRegister::Cr0) => ("cr0_bits", None),
        Register::System(SystemRegister::Cr3) => ("cr3_bits", None),
        Register::System(SystemRegister::Cr4) => ("cr4_bits", None),
        Register::System(SystemRegister::Efer) => ("efer_bits", None),
        Register::System(_) => (word, None),
        Register::YmmHigh(_) => ("uint128", None),
        Register::OrigRax => (word, Some("system")),
    }
}

fn add_flags(xml: &mut String, name: &str, size: usize, bits: BitNames) {
    xml.push_str(&format!("<flags id=\"{name}\" size=\"{size}\">\n"));
    for (low, high, name) in bits {
        if usize::from(*low) < 8 * size {
            let high = usize::from(*high).min(8 * size - 1);
            xml.push_str(&format!("<field name=\"{name}\" start=\"{low}\" end=\"{high}\"/>"));
        }
    }
    xml.push_str("</flags>\n");
}

fn add_vectors(xml: &mut String) {
    for (name, element, count) in VECTORS {
        xml.push_str(&format!("<vector id=\"{name}\" type=\"{element}\" count=\"{count}\"/>"));
    }
    xml.push_str("<union id=\"vec128\">");
    for (name, ..) in VECTORS {
        xml.push_str(&format!("<field name=\"{name}\" type=\"{name}\"/>"));
    }
    xml.push_str("<field name=\"uint128\" type=\"uint128\"/></union>\n");
}
