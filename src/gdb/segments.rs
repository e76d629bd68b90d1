//! The contents of a segment register after gdb has written a selector to it: those that the processor would load,
//! without its privilege checks.
//!
//! Manual: Intel SDM volume 3A, "Segment Selectors", "Segment Descriptors" and "Segmentation in IA-32e
//! Mode"; volume 3B, "Real-Address Mode".

use gdbstub_arch::x86::reg::id::X86SegmentRegId::{self, CS, DS, ES, FS, GS, SS};

use crate::arch::descriptor::{self, Descriptor, IN_LDT, Table, is_null};
use crate::arch::flags::{CR0_PE, RFLAGS_VM};
use crate::arch::{Registers, SegmentRegister};
use crate::inspect::translate::read_virtual;
use crate::memory::GuestMemory;

/// The contents of a segment register once `selector` is in it.
///
/// # Errors
///
/// Why the processor could not load it.
pub(crate) fn load(
    memory: &GuestMemory,
    registers: &Registers,
    register: X86SegmentRegId,
    selector: u64,
) -> Result<SegmentRegister, String> {
    let system = &registers.system;
    let now = match register {
        CS => system.cs,
        SS => system.ss,
        DS => system.ds,
        ES => system.es,
        FS => system.fs,
        GS => system.gs,
    };
    let Ok(short) = u16::try_from(selector) else {
        return Err(format!("{selector:#x} is no selector: it has more than 16 bits"));
    };
    if short == now.selector {
        return Ok(now);
    }
    if system.cr0 & CR0_PE == 0 || registers.general.rflags & RFLAGS_VM != 0 {
        return Ok(SegmentRegister { selector: short, base: selector << 4, ..now });
    }
    if is_null(short) {
        // Long mode takes a null SS below ring 3; nothing takes a null CS.
        return match register {
            CS => Err(format!("{selector:#x} is the null selector, which CS cannot hold")),
            SS if system.cs.l == 0 => {
                Err(format!("{selector:#x} is the null selector, which SS cannot hold"))
            }
            SS => Ok(SegmentRegister { selector: short, ..now }),
            _ => Ok(SegmentRegister { selector: short, base: 0, present: 0, unusable: 1, ..now }),
        };
    }
    let segment = descriptor(memory, registers, short)?;
    let refuse = |what: &str| Err(format!("the segment {selector:#x} {what}"));
    match register {
        _ if segment.is_system() => refuse("is no code or data segment"),
        _ if !segment.is_present() => refuse("is not present"),
        CS if !segment.is_code() => refuse("is no code segment, and CS takes nothing else"),
        SS if !segment.is_writable() => refuse("is no writable data segment, and SS takes nothing else"),
        DS | ES | FS | GS if !segment.is_readable() => refuse("is code that cannot be read"),
        _ => Ok(segment.loaded(short)),
    }
}

/// The descriptor `selector` names.
fn descriptor(memory: &GuestMemory, registers: &Registers, selector: u16) -> Result<Descriptor, String> {
    let name = if selector & IN_LDT == 0 { "GDT" } else { "LDT" };
    let Some(table) = Table::of(&registers.system, selector) else {
        return Err(format!("{selector:#x} names a segment of the LDT, and there is none"));
    };
    let Some(address) = table.address_of(selector) else {
        let limit = table.limit;
        return Err(format!("{selector:#x} lies beyond the end of the {name}, whose limit is {limit:#x}"));
    };
    let mut bytes = [0; descriptor::SIZE as usize];
    if read_virtual(memory, registers, address, &mut bytes) != bytes.len() {
        return Err(format!("the {name} is not mapped where {selector:#x} lies"));
    }
    Ok(Descriptor { value: u64::from_le_bytes(bytes), address })
}

#[cfg(test)]
#[path = "segments_test.rs"]
mod tests;
