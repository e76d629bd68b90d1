//! What a segment register holds after gdb has written a selector to it: what the processor would have
//! loaded, as far as that depends on the guest's tables and not on who may load it.
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
/// Why the processor could not load it, in words.
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
mod tests {
    use super::*;

    const GDT: u64 = 0x1000;

    /// Protected mode without paging: a GDT with a code segment at 8, data at 0x10, read-only data at
    /// 0x18 and data that is not present at 0x20.
    fn protected() -> (GuestMemory, Registers) {
        let memory = GuestMemory::new(1 << 20).unwrap();
        for (at, value) in [
            (8, 0x00CF_9A00_0000_FFFF),
            (0x10, 0x12CF_9234_5678_FFFF),
            (0x18, 0x0040_9000_0000_00FF),
            (0x20, 0x00CF_1200_0000_FFFF),
        ] {
            memory.write_u64(GDT + at, value).unwrap();
        }
        let mut registers = Registers::default();
        registers.system.cr0 = CR0_PE;
        (registers.system.gdt.base, registers.system.gdt.limit) = (GDT, 0x27);
        (memory, registers)
    }

    #[test]
    fn in_real_mode_a_selector_is_a_sixteenth_of_the_base() {
        let (memory, mut registers) = protected();
        registers.system.cr0 = 0;
        registers.system.ds.limit = 0xFFFF;
        let loaded = load(&memory, &registers, DS, 0xB800).unwrap();
        assert_eq!((loaded.selector, loaded.base, loaded.limit), (0xB800, 0xB_8000, 0xFFFF));
        assert!(load(&memory, &registers, DS, 0x1_0000).is_err());
    }

    #[test]
    fn in_protected_mode_the_descriptor_is_loaded() {
        let (memory, registers) = protected();
        let data = load(&memory, &registers, DS, 0x10).unwrap();
        assert_eq!((data.base, data.limit, data.type_, data.db), (0x1234_5678, u32::MAX, 3, 1));
        assert_eq!(load(&memory, &registers, CS, 8).unwrap().type_, 11);
        assert_eq!(load(&memory, &registers, DS, 0x18).unwrap().limit, 0xFF);
        assert_eq!(load(&memory, &registers, FS, 3).unwrap().unusable, 1, "a null selector in FS");
    }

    #[test]
    fn what_the_processor_would_not_load_is_refused_with_the_reason() {
        let (memory, mut registers) = protected();
        registers.system.cs.selector = 8;
        registers.system.ss.selector = 0x10;
        for (register, selector, why) in [
            (CS, 0x10, "is no code segment"),
            (CS, 0, "null selector"),
            (SS, 0, "null selector"),
            (SS, 8, "is no writable data segment"),
            (SS, 0x18, "is no writable data segment"),
            (DS, 0x20, "is not present"),
            (DS, 0x28, "beyond the end of the GDT"),
            (DS, 0x14, "there is none"),
        ] {
            let error = load(&memory, &registers, register, selector).unwrap_err();
            assert!(error.contains(why), "{selector:#x} in {register:?}: {error}");
        }
    }
}
