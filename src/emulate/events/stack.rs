//! Pushing and popping.

use iced_x86::Register;

use super::super::access::Span;
use super::super::cpu::{Cpu, Mode};
use super::super::exception::{EmulationError, Exception};
use crate::arch::paging::Access;

/// Maximum number of values pushed at once: a whole virtual-8086 frame with its error code.
pub(super) const MOST: usize = 10;

/// Pushes `values` of `width` bytes each, in order, at SS:RSP. An error leaves memory and RSP unchanged.
///
/// # Errors
///
/// #SS with `code` where the stack has no room, and the page faults of the accesses.
pub(super) fn push(cpu: &mut Cpu, width: u8, values: &[u64], code: u32) -> Result<(), EmulationError> {
    let mut at = pointer(cpu);
    let mut addresses = [0; MOST];
    for address in &mut addresses[..values.len().min(MOST)] {
        at = at.wrapping_sub(u64::from(width)) & mask(cpu);
        *address = linear(cpu, at, width, true, code)?;
    }
    let access = Access { write: true, user: cpu.ring() == 3, ..Access::default() };
    let mut spans: [Option<Span>; MOST] = [None; MOST];
    for ((span, address), _) in spans.iter_mut().zip(addresses).zip(values) {
        *span = Some(cpu.span(address, usize::from(width), access)?);
    }
    for (span, value) in spans.iter().flatten().zip(values) {
        cpu.write(*span, &value.to_le_bytes()[..usize::from(width)]);
    }
    set_pointer(cpu, at);
    Ok(())
}

/// Pops values one after the other. RSP changes only with [`Pops::done`].
pub(super) struct Pops {
    at: u64,
    width: u8,
}

impl Pops {
    /// Starts at RSP; each value has `width` bytes.
    pub fn new(cpu: &Cpu, width: u8) -> Pops {
        Pops { at: pointer(cpu), width }
    }

    /// The next value, zero-extended.
    ///
    /// # Errors
    ///
    /// #SS(0) beyond the end of the stack, and the page fault of the access.
    pub fn next(&mut self, cpu: &mut Cpu) -> Result<u64, EmulationError> {
        let address = linear(cpu, self.at, self.width, false, 0)?;
        let access = Access { user: cpu.ring() == 3, ..Access::default() };
        let width = usize::from(self.width);
        let span = cpu.span(address, width, access)?;
        let mut value = [0; 8];
        cpu.read(span, &mut value[..width]);
        self.at = self.at.wrapping_add(u64::from(self.width)) & mask(cpu);
        Ok(u64::from_le_bytes(value))
    }

    /// Removes the popped values from the stack.
    pub fn done(self, cpu: &mut Cpu) {
        set_pointer(cpu, self.at);
    }
}

/// The used bits of RSP: all in 64-bit mode, else as the stack segment specifies.
fn mask(cpu: &Cpu) -> u64 {
    match (cpu.mode(), cpu.registers.system.ss.db) {
        (Mode::SixtyFourBit, _) => u64::MAX,
        (_, 1) => u64::from(u32::MAX),
        _ => 0xFFFF,
    }
}

fn pointer(cpu: &Cpu) -> u64 {
    cpu.registers.general.rsp & mask(cpu)
}

/// Moves RSP, SP or ESP, whichever is in use. Above SP the register keeps its bits; ESP is all there is
/// outside of 64-bit mode.
pub(super) fn set_pointer(cpu: &mut Cpu, value: u64) {
    let old = cpu.registers.general.rsp;
    cpu.registers.general.rsp = match mask(cpu) {
        0xFFFF => old & !0xFFFF | value & 0xFFFF,
        mask => value & mask,
    };
}

/// The linear address of a value at offset `at` of the stack.
fn linear(cpu: &Cpu, at: u64, width: u8, write: bool, code: u32) -> Result<u64, EmulationError> {
    let last = at.wrapping_add(u64::from(width) - 1);
    if cpu.mode() == Mode::SixtyFourBit {
        let paging = cpu.paging();
        let canonical = paging.is_canonical(at) && paging.is_canonical(last);
        return if canonical { Ok(at) } else { Err(Exception::stack(code).into()) };
    }
    let segment = cpu.segment(Register::SS);
    if !cpu.permits(&segment, at, last, write) {
        return Err(Exception::stack(code).into());
    }
    Ok(cpu.wrap(segment.base.wrapping_add(at)))
}
