//! The byte format of registers in the protocol: `struct kvm_regs` and `struct kvm_sregs`.
//!
//! Manual: KVM_GET_REGS and KVM_GET_SREGS in api.rst; all numbers are little-endian.

use crate::arch::{GeneralRegisters, Registers, SegmentRegister, SystemRegisters, TableRegister};

/// Size of `struct kvm_regs`, in bytes.
pub const GENERAL_BYTES: usize = 18 * 8;

/// Size of `struct kvm_sregs`, in bytes: eight segments of 24, two tables of 16, seven words and a bitmap of
/// 32.
pub const SYSTEM_BYTES: usize = 8 * 24 + 2 * 16 + 7 * 8 + 32;

/// Encodes `registers` as both structures.
pub fn to_bytes(registers: &Registers) -> ([u8; GENERAL_BYTES], [u8; SYSTEM_BYTES]) {
    let mut general = Writer { bytes: [0; GENERAL_BYTES], next: 0 };
    let mut copy = registers.general;
    for register in general_fields(&mut copy) {
        general.put(&register.to_le_bytes());
    }
    let mut system = Writer { bytes: [0; SYSTEM_BYTES], next: 0 };
    let mut copy = registers.system;
    for segment in segment_fields(&mut copy) {
        system.put(&segment.base.to_le_bytes());
        system.put(&segment.limit.to_le_bytes());
        system.put(&segment.selector.to_le_bytes());
        for flag in flag_fields(segment) {
            system.put(&[*flag]);
        }
        system.skip(1);
    }
    for table in [copy.gdt, copy.idt] {
        system.put(&table.base.to_le_bytes());
        system.put(&table.limit.to_le_bytes());
        system.skip(6);
    }
    for word in word_fields(&mut copy) {
        system.put(&word.to_le_bytes());
    }
    (general.bytes, system.bytes)
}

/// The inverse of [`to_bytes`]; all byte values are valid.
pub fn from_bytes(general: &[u8; GENERAL_BYTES], system: &[u8; SYSTEM_BYTES]) -> Registers {
    let mut registers = Registers::default();
    let mut reader = Reader { bytes: general, next: 0 };
    for register in general_fields(&mut registers.general) {
        *register = u64::from_le_bytes(reader.take());
    }
    let mut reader = Reader { bytes: system, next: 0 };
    let to = &mut registers.system;
    for segment in segment_fields(to) {
        segment.base = u64::from_le_bytes(reader.take());
        segment.limit = u32::from_le_bytes(reader.take());
        segment.selector = u16::from_le_bytes(reader.take());
        for flag in flag_fields(segment) {
            [*flag] = reader.take();
        }
        reader.next += 1;
    }
    for table in [&mut to.gdt, &mut to.idt] {
        *table = TableRegister {
            base: u64::from_le_bytes(reader.take()),
            limit: u16::from_le_bytes(reader.take()),
        };
        reader.next += 6;
    }
    for word in word_fields(to) {
        *word = u64::from_le_bytes(reader.take());
    }
    registers
}

/// In the order of `struct kvm_regs`.
fn general_fields(r: &mut GeneralRegisters) -> [&mut u64; 18] {
    [
        &mut r.rax,
        &mut r.rbx,
        &mut r.rcx,
        &mut r.rdx,
        &mut r.rsi,
        &mut r.rdi,
        &mut r.rsp,
        &mut r.rbp,
        &mut r.r8,
        &mut r.r9,
        &mut r.r10,
        &mut r.r11,
        &mut r.r12,
        &mut r.r13,
        &mut r.r14,
        &mut r.r15,
        &mut r.rip,
        &mut r.rflags,
    ]
}

/// In the order of `struct kvm_sregs`.
fn segment_fields(s: &mut SystemRegisters) -> [&mut SegmentRegister; 8] {
    [&mut s.cs, &mut s.ds, &mut s.es, &mut s.fs, &mut s.gs, &mut s.ss, &mut s.tr, &mut s.ldt]
}

/// In the order of `struct kvm_segment`; a byte of padding follows.
fn flag_fields(s: &mut SegmentRegister) -> [&mut u8; 9] {
    [
        &mut s.type_,
        &mut s.present,
        &mut s.dpl,
        &mut s.db,
        &mut s.s,
        &mut s.l,
        &mut s.g,
        &mut s.avl,
        &mut s.unusable,
    ]
}

/// In the order of `struct kvm_sregs`, after the tables.
fn word_fields(s: &mut SystemRegisters) -> [&mut u64; 11] {
    let [b0, b1, b2, b3] = &mut s.interrupt_bitmap;
    [
        &mut s.cr0,
        &mut s.cr2,
        &mut s.cr3,
        &mut s.cr4,
        &mut s.cr8,
        &mut s.efer,
        &mut s.apic_base,
        b0,
        b1,
        b2,
        b3,
    ]
}

struct Writer<const N: usize> {
    bytes: [u8; N],
    next: usize,
}

impl<const N: usize> Writer<N> {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.next..self.next + bytes.len()].copy_from_slice(bytes);
        self.skip(bytes.len());
    }

    fn skip(&mut self, count: usize) {
        self.next += count;
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    next: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        taken.copy_from_slice(&self.bytes[self.next..self.next + N]);
        self.next += N;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_lie_in_their_bytes_where_c_programs_look_for_them() {
        let mut registers = Registers::default();
        registers.general.rip = 0x1122;
        registers.system.ds.selector = 0x3344;
        registers.system.ldt.unusable = 1;
        registers.system.idt.limit = 0x99AA;
        registers.system.efer = 0x5566;
        registers.system.interrupt_bitmap[3] = 0x7788;
        let (general, system) = to_bytes(&registers);
        assert_eq!((general.len(), system.len()), (144, 312));
        assert_eq!(general[128..130], [0x22, 0x11]);
        assert_eq!(system[24 + 12..24 + 14], [0x44, 0x33]);
        assert_eq!(system[7 * 24 + 22], 1);
        assert_eq!(system[208 + 8..208 + 10], [0xAA, 0x99]);
        assert_eq!(system[264..266], [0x66, 0x55]);
        assert_eq!(system[304..306], [0x88, 0x77]);
        assert_eq!(from_bytes(&general, &system), registers);
    }
}
