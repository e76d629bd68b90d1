//! A copy of KVM's 8259A, to be looked at.

use super::chip::{I8259A, Initialization};
use super::{DualPic, SETTABLE_ELCR};
use crate::kvm::PicRegisters;

impl DualPic {
    /// The controllers with these registers, master and slave.
    pub fn copy_of(registers: &[PicRegisters; 2]) -> DualPic {
        let [master, slave] = [0, 1].map(|at: usize| chip(&registers[at], SETTABLE_ELCR[at]));
        let mut copy = DualPic { master, slave, output: false };
        copy.update();
        copy
    }
}

fn chip(registers: &PicRegisters, settable: u8) -> I8259A {
    let is_ready = registers.init_state == 0 && registers.irq_base != 0;
    let mut chip = I8259A::default();
    chip.levels = registers.last_irr;
    chip.edges = registers.irr;
    chip.in_service = registers.isr;
    chip.mask = registers.imr;
    chip.elcr = registers.elcr & settable;
    chip.vector_base = registers.irq_base & 0xF8;
    chip.highest = registers.priority_add & 7;
    chip.initialization = if is_ready { Initialization::Done } else { Initialization::Never };
    chip.special_fully_nested = registers.special_fully_nested_mode != 0;
    chip.special_mask = registers.special_mask != 0;
    chip
}
