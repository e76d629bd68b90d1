//! Loading CS and SS on entry to a handler and on return from it.

use crate::arch::SegmentRegister;

use super::super::cpu::Cpu;
use super::super::descriptors::{Descriptor, is_null, rpl};
use super::super::exception::{EmulationError, Exception};

/// Type of a data segment: writable, has been loaded.
const WRITABLE_ACCESSED: u8 = 3;
/// The part of a selector that an error code contains.
const SELECTOR: u16 = !3;

/// The descriptor of a stack for `ring`; the RPL of `selector` must equal `ring`.
///
/// # Errors
///
/// The exception that `wrong` makes from an error code if the segment is not a stack for that ring, and #SS
/// if it is not present. `external` is the lowest bit of their error codes.
pub(super) fn stack_segment(
    cpu: &mut Cpu,
    selector: u16,
    ring: u8,
    wrong: fn(u32) -> Exception,
    external: u32,
) -> Result<Descriptor, EmulationError> {
    let code = u32::from(selector & SELECTOR) | external;
    let descriptor = match cpu.descriptor(selector)? {
        Some(descriptor) if rpl(selector) == ring && descriptor.dpl() == ring && descriptor.is_writable() => {
            descriptor
        }
        _ => return Err(wrong(code).into()),
    };
    if !descriptor.is_present() {
        return Err(Exception::stack(code).into());
    }
    Ok(descriptor)
}

/// Loads CS for `ring`.
///
/// # Errors
///
/// The page fault of setting the accessed bit.
pub(super) fn load_code(
    cpu: &mut Cpu,
    code: &Descriptor,
    selector: u16,
    ring: u8,
) -> Result<(), EmulationError> {
    cpu.mark_accessed(code)?;
    cpu.registers.system.cs = code.loaded(selector & SELECTOR | u16::from(ring));
    Ok(())
}

/// Loads SS.
///
/// # Errors
///
/// The page fault of setting the accessed bit.
pub(super) fn load_stack(cpu: &mut Cpu, stack: &Descriptor, selector: u16) -> Result<(), EmulationError> {
    cpu.mark_accessed(stack)?;
    cpu.registers.system.ss = stack.loaded(selector);
    Ok(())
}

/// The null stack segment of 64-bit mode. KVM takes the current ring from it.
pub(super) fn null_stack(ring: u8) -> SegmentRegister {
    SegmentRegister { selector: u16::from(ring), dpl: ring, unusable: 1, ..Default::default() }
}

/// An unusable data segment register.
pub(super) fn unusable(segment: SegmentRegister) -> SegmentRegister {
    SegmentRegister { selector: 0, unusable: 1, present: 0, ..segment }
}

/// A segment register as virtual-8086 mode has it: all of its attributes are fixed.
pub(super) fn virtual_8086(selector: u16) -> SegmentRegister {
    SegmentRegister {
        base: u64::from(selector) << 4,
        limit: 0xFFFF,
        selector,
        type_: WRITABLE_ACCESSED,
        present: 1,
        dpl: 3,
        s: 1,
        ..Default::default()
    }
}

/// True if a data segment register must be cleared when ring `ring` is entered from an inner ring.
pub(super) fn is_too_privileged(segment: &SegmentRegister, ring: u8) -> bool {
    const CODE_AND_CONFORMING: u8 = 12;
    segment.unusable == 0
        && !is_null(segment.selector)
        && segment.type_ & CODE_AND_CONFORMING != CODE_AND_CONFORMING
        && segment.dpl < ring
}
