//! The gates of the IDT that a guest starts with in 64-bit mode, as an ELF file or as a Limine kernel: one for each
//! exception, so that one before the guest's own `lidt` ends the run with everything known about it. Without a gate it
//! would be a triple fault, after which some processors have reset their registers.
//!
//! Each gate leads to a `hlt` of its own, on a stack of its own (IST 1), and changes no register but those in the frame.
//! The machine recognises the halt by the bytes around it, so a restored or migrated machine does so too, and reports a
//! triple fault. Nothing here runs unless an exception does.
//!
//! Manual: Intel SDM volume 3A, "64-Bit Mode IDT" and "Interrupt Stack Table".

use super::{limine, long_mode};
use crate::arch::PAGE_SIZE;
use crate::arch::gate::{self, Gate};
use crate::memory::{GuestMemory, MemoryError};

/// The vectors that have a gate: those of exceptions (Intel SDM volume 3A, "Exception and Interrupt Vectors").
const VECTORS: usize = 32;
/// Where the code lies in its page, which belongs to [`super::entry_return`] as well.
const OFFSET: u64 = 0x100;
/// `hlt`, a jump back to it, and padding.
const STUB: [u8; 4] = [0xF4, 0xEB, 0xFD, 0xCC];
/// What follows the stubs and marks them.
const MARK: &[u8] = b"kvm: an exception, and the guest has no IDT\0";
/// Bytes of all stubs.
const STUBS: usize = VECTORS * STUB.len();
/// Bytes of the stubs and of their mark.
const SIZE: usize = STUBS + MARK.len();

/// The interrupt stack table entry of the gates, from 1.
const IST: u8 = 1;
/// Present, ring 3 so that its software interrupts come here too, 64-bit interrupt gate.
const ACCESS: u8 = 0xEE;

fn code() -> Vec<u8> {
    [&STUB.repeat(VECTORS), MARK].concat()
}

/// Where a guest has the code of the gates.
#[derive(Clone, Copy, Debug)]
pub(super) struct GateCode {
    /// Its page, guest-physical.
    pub page: u64,
    /// What the page tables add to guest-physical addresses: 0, or the start of Limine's direct map.
    pub mapped_from: u64,
    /// The code segment in the guest's GDT.
    pub selector: u16,
}

/// Writes the gates to the table at the guest-physical address `idt`, and the code they lead to into its page.
///
/// # Errors
///
/// [`MemoryError`] if one of them does not lie in RAM.
pub(super) fn write(memory: &GuestMemory, idt: u64, to: GateCode) -> Result<(), MemoryError> {
    memory.write(to.page + OFFSET, &code())?;
    let start = to.mapped_from + to.page + OFFSET;
    let gates: Vec<u8> =
        (0..VECTORS as u64).flat_map(|vector| gate(start + vector * 4, to.selector)).collect();
    memory.write(idt, &gates)
}

/// The gate that leads to `target`.
fn gate(target: u64, selector: u16) -> [u8; gate::MAX_GATE_SIZE] {
    let low = target & 0xFFFF
        | u64::from(selector) << 16
        | u64::from(IST) << 32
        | u64::from(ACCESS) << 40
        | (target >> 16 & 0xFFFF) << 48;
    (u128::from(low) | u128::from(target >> 32) << 64).to_le_bytes()
}

/// True if code at `address` may be that of a gate; any mapping of its page keeps the offset in it.
pub fn may_be_rescue_code(address: u64) -> bool {
    let offset = address % PAGE_SIZE;
    (OFFSET..OFFSET + STUBS as u64).contains(&offset)
}

/// The vector of the gate to whose code the guest-physical address `address` belongs; `None` if it is no such code.
pub fn rescued_vector(memory: &GuestMemory, address: u64) -> Option<u8> {
    if !may_be_rescue_code(address) {
        return None;
    }
    let mut found = [0; SIZE];
    memory.read(address - address % PAGE_SIZE + OFFSET, &mut found).ok()?;
    let vector = (address % PAGE_SIZE - OFFSET) / STUB.len() as u64;
    (found[..] == code()).then_some(vector as u8)
}

/// True if `gate` is one of those that a guest starts with; its code is mapped at its own address, or in the direct map of
/// a Limine kernel.
pub fn is_rescue_gate(memory: &GuestMemory, gate: &Gate) -> bool {
    let (selector, physical) = match gate.offset.checked_sub(limine::DIRECT_MAP) {
        Some(physical) => (limine::CODE_SELECTOR, physical),
        None => (long_mode::CODE_SELECTOR, gate.offset),
    };
    gate.ist == IST && gate.selector == selector && rescued_vector(memory, physical).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::gate::{GateEntry, GateKind};
    use crate::arch::{Registers, TableRegister};
    use crate::boot::long_mode::{self, CODE_SELECTOR, EntryPoint};

    const IDT: u64 = 0x2000;
    const PAGE: u64 = 0x1_2000;
    const TO: GateCode = GateCode { page: PAGE, mapped_from: 0, selector: CODE_SELECTOR };

    fn registers() -> Registers {
        let idt = TableRegister { base: IDT, limit: 0xFFF };
        long_mode::registers(&EntryPoint { idt, ..Default::default() })
    }

    fn gate_of(memory: &GuestMemory, vector: u8) -> Option<Gate> {
        let entry = GateEntry::of(&registers(), vector)?;
        let mut bytes = [0; gate::MAX_GATE_SIZE];
        memory.read(entry.address, &mut bytes).unwrap();
        entry.decode(bytes)
    }

    #[test]
    fn each_exception_has_a_gate_that_leads_to_its_own_halt() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        write(&memory, IDT, TO).unwrap();
        for vector in 0..32 {
            let gate = gate_of(&memory, vector).unwrap();
            assert_eq!((gate.kind, gate.is_present, gate.ist), (GateKind::Interrupt, true, 1));
            assert_eq!((gate.selector, gate.dpl), (CODE_SELECTOR, 3));
            assert!(is_rescue_gate(&memory, &gate));
            // Before and behind the halt.
            assert_eq!(rescued_vector(&memory, gate.offset), Some(vector));
            assert_eq!(rescued_vector(&memory, gate.offset + 1), Some(vector));
            let mut code = [0; 4];
            memory.read(gate.offset, &mut code).unwrap();
            assert_eq!(code, STUB);
        }
        assert!(gate_of(&memory, 32).is_none());
    }

    #[test]
    fn code_that_only_looks_like_it_is_not_recognised() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        assert_eq!(rescued_vector(&memory, PAGE + OFFSET), None);
        write(&memory, IDT, TO).unwrap();
        for outside in [PAGE, PAGE + OFFSET - 1, PAGE + OFFSET + STUBS as u64, u64::MAX] {
            assert_eq!(rescued_vector(&memory, outside), None, "{outside:#x}");
        }
        let gate = gate_of(&memory, 3).unwrap();
        assert!(!is_rescue_gate(&memory, &Gate { ist: 0, ..gate }));
        assert!(!is_rescue_gate(&memory, &Gate { offset: PAGE, ..gate }));
        memory.write(PAGE + OFFSET + SIZE as u64 - 2, b"?").unwrap();
        assert_eq!(rescued_vector(&memory, PAGE + OFFSET), None);
    }
}
