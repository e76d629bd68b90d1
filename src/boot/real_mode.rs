//! The CPU state in which a guest starts in real mode: 16-bit code, no paging, interrupts off.
//!
//! Manual: Intel SDM volume 3A, "Processor State After Reset"; volume 3B, "Real-Address Mode Operation".

use super::error::GuestProblem;
use crate::arch::{GeneralRegisters, Registers, SegmentRegister, SystemRegisters, TableRegister};
use crate::settings::EntryAddress;

/// CR0: ET alone. Caches are on, as firmware leaves them.
const CR0: u64 = 1 << 4;

/// RFLAGS: interrupts off, and bit 1, which is always set.
const RFLAGS: u64 = 1 << 1;

/// IA32_APIC_BASE after a reset: the default address, enabled, bootstrap processor.
const APIC_BASE: u64 = 0xFEE0_0000 | 1 << 11 | 1 << 8;

/// Segment types: code, readable, accessed; data, writable, accessed; LDT; 32-bit task state segment, busy.
const CODE: u8 = 0b1011;
const DATA: u8 = 0b0011;
const LDT: u8 = 2;
const BUSY_TASK: u8 = 11;

/// A segment and an offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FarAddress {
    /// The segment.
    pub segment: u16,
    /// The offset.
    pub offset: u16,
}

impl FarAddress {
    /// CS:IP for the address of an entry point: with segment 0 where that reaches it, otherwise with the segment of the
    /// 64 KiB that it lies in.
    ///
    /// # Errors
    ///
    /// [`GuestProblem::NotInRealMode`] for an address that real mode cannot reach.
    pub fn of(entry: EntryAddress) -> Result<FarAddress, GuestProblem> {
        match entry {
            EntryAddress::Far { segment, offset } => Ok(FarAddress { segment, offset }),
            EntryAddress::Linear(address) => {
                let start = address.min(0xF_FFFF) & !0xFFFF;
                let segment = if address > 0xF_FFFF { 0xFFFF } else { (start >> 4) as u16 };
                let offset = u16::try_from(address - (u64::from(segment) << 4));
                let offset = offset.map_err(|_| GuestProblem::NotInRealMode { address })?;
                Ok(FarAddress { segment, offset })
            }
        }
    }

    /// The address that it stands for.
    pub fn linear(self) -> u64 {
        (u64::from(self.segment) << 4) + u64::from(self.offset)
    }
}

/// A segment register as real mode loads it.
fn segment(selector: u16, type_: u8) -> SegmentRegister {
    SegmentRegister {
        base: u64::from(selector) << 4,
        limit: 0xFFFF,
        selector,
        type_,
        present: 1,
        s: 1,
        ..Default::default()
    }
}

/// A register of the system that no segment was loaded into yet.
fn system_segment(type_: u8) -> SegmentRegister {
    SegmentRegister { limit: 0xFFFF, type_, present: 1, ..Default::default() }
}

/// The registers of a processor that executes the instruction at `entry` next, with this stack. DS, ES, FS and GS are 0,
/// as are the general registers; the interrupt vectors are at address 0.
pub(super) fn registers(entry: FarAddress, stack: FarAddress) -> Registers {
    let data = segment(0, DATA);
    Registers {
        general: GeneralRegisters {
            rip: u64::from(entry.offset),
            rsp: u64::from(stack.offset),
            rflags: RFLAGS,
            ..Default::default()
        },
        system: SystemRegisters {
            cs: segment(entry.segment, CODE),
            ds: data,
            es: data,
            fs: data,
            gs: data,
            ss: segment(stack.segment, DATA),
            tr: system_segment(BUSY_TASK),
            ldt: system_segment(LDT),
            gdt: TableRegister { base: 0, limit: 0xFFFF },
            idt: TableRegister { base: 0, limit: 0x3FF },
            cr0: CR0,
            apic_base: APIC_BASE,
            ..Default::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_point_gets_the_segment_that_reaches_it() {
        let of =
            |address| FarAddress::of(EntryAddress::Linear(address)).ok().map(|it| (it.segment, it.offset));
        assert_eq!(of(0), Some((0, 0)));
        assert_eq!(of(0x7C00), Some((0, 0x7C00)));
        assert_eq!(of(0x1_2345), Some((0x1000, 0x2345)));
        assert_eq!(of(0xF_FFF0), Some((0xF000, 0xFFF0)));
        assert_eq!(of(0x10_FFEF), Some((0xFFFF, 0xFFFF)));
        assert_eq!(of(0x10_FFF0), None);
        assert_eq!(of(u64::MAX), None);
    }

    #[test]
    fn a_guest_starts_in_16_bit_code_of_ring_0() {
        let entry = FarAddress { segment: 0x7C0, offset: 4 };
        let registers = registers(entry, FarAddress { segment: 0, offset: 0x7C00 });
        assert_eq!((registers.bitness(), registers.ring()), (16, 0));
        assert_eq!((registers.next_instruction(), entry.linear()), (0x7C04, 0x7C04));
        assert_eq!((registers.general.rsp, registers.general.rflags), (0x7C00, 2));
    }
}
