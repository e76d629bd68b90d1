//! Entering a handler in protected, virtual-8086 and long mode.
//!
//! Manual: Intel SDM volume 2, "INT n/INTO/INT3/INT1", section "Operation"; volume 3A, "Exception- or
//! Interrupt-Handler Procedures" and "64-bit Mode Stack Frame".

use super::super::cpu::{Cpu, Mode};
use super::super::descriptors::{Descriptor, is_null};
use super::super::exception::{EmulationError, Exception};
use super::gate::gate_of;
use super::{Event, NESTED_TASK, loading, stack, task_state};
use crate::arch::Registers;
use crate::arch::flags::{RFLAGS_IF, RFLAGS_RF, RFLAGS_TF, RFLAGS_VM};
use crate::arch::gate::{Gate, GateKind};

/// Enters the handler of an event. After an error, registers may have changed.
pub(super) fn deliver(cpu: &mut Cpu, event: Event) -> Result<(), EmulationError> {
    let gate = gate_of(cpu, &event)?;
    let old = cpu.registers;
    let from_8086 = cpu.mode() == Mode::Virtual8086;
    let code = handler_segment(cpu, &event, gate.selector)?;
    let ring = if code.is_conforming() { cpu.ring() } else { code.dpl() };
    if from_8086 && ring != 0 {
        return Err(Exception::protection(event.code(gate.selector)).into());
    }
    let inner = ring < cpu.ring();
    let stack_code = switch_stack(cpu, &event, &gate, ring, inner)?;

    loading::load_code(cpu, &code, gate.selector, ring)?;
    let registers = &mut cpu.registers;
    registers.general.rip = gate.offset;
    registers.general.rflags &= !(RFLAGS_TF | NESTED_TASK | RFLAGS_VM | RFLAGS_RF);
    if gate.kind == GateKind::Interrupt {
        registers.general.rflags &= !RFLAGS_IF;
    }
    if from_8086 {
        let system = &mut registers.system;
        for segment in [&mut system.ds, &mut system.es, &mut system.fs, &mut system.gs] {
            *segment = loading::unusable(*segment);
        }
    }
    let reachable = match cpu.mode() {
        Mode::SixtyFourBit => cpu.paging().is_canonical(gate.offset),
        _ => gate.offset <= u64::from(code.limit()),
    };
    if !reachable {
        return Err(Exception::protection(event.external()).into());
    }

    let (frame, count) = frame(&old, &event, from_8086, inner || gate.width == 8);
    stack::push(cpu, gate.width, &frame[..count], stack_code)
}

/// The handler's code segment, checked for entry.
fn handler_segment(cpu: &mut Cpu, event: &Event, selector: u16) -> Result<Descriptor, EmulationError> {
    if is_null(selector) {
        return Err(Exception::protection(event.external()).into());
    }
    let fault = event.code(selector);
    let long = cpu.long_mode_active();
    let descriptor = match cpu.descriptor(selector)? {
        Some(descriptor)
            if descriptor.is_code()
                && descriptor.dpl() <= cpu.ring()
                && (!long || descriptor.is_long() && !descriptor.is_big()) =>
        {
            descriptor
        }
        _ => return Err(Exception::protection(fault).into()),
    };
    if !descriptor.is_present() {
        return Err(Exception::not_present(fault).into());
    }
    Ok(descriptor)
}

/// Points SS and RSP to the handler's stack, and returns the error code for a stack without room.
fn switch_stack(
    cpu: &mut Cpu,
    event: &Event,
    gate: &Gate,
    ring: u8,
    inner: bool,
) -> Result<u32, EmulationError> {
    if cpu.long_mode_active() {
        if inner || gate.ist != 0 {
            cpu.registers.general.rsp = task_state::stack_64(cpu, event, ring, gate.ist)?;
        }
        cpu.registers.general.rsp &= !0xF;
        if inner {
            cpu.registers.system.ss = loading::null_stack(ring);
        }
        return Ok(event.external());
    }
    if !inner {
        return Ok(event.external());
    }
    let (selector, pointer) = task_state::stack(cpu, event, ring)?;
    if is_null(selector) {
        return Err(Exception::invalid_tss(event.external()).into());
    }
    let descriptor = loading::stack_segment(cpu, selector, ring, Exception::invalid_tss, event.external())?;
    loading::load_stack(cpu, &descriptor, selector)?;
    cpu.registers.general.rsp = pointer;
    Ok(event.code(selector))
}

/// The values to push, and their number.
fn frame(old: &Registers, event: &Event, from_8086: bool, with_stack: bool) -> ([u64; stack::MOST], usize) {
    let mut values = [0; stack::MOST];
    let mut count = 0;
    let mut add = |value: u64| {
        values[count] = value;
        count += 1;
    };
    let (general, system) = (&old.general, &old.system);
    if from_8086 {
        for segment in [system.gs, system.fs, system.ds, system.es] {
            add(u64::from(segment.selector));
        }
    }
    if with_stack {
        add(u64::from(system.ss.selector));
        add(general.rsp);
    }
    add(general.rflags);
    add(u64::from(system.cs.selector));
    add(general.rip);
    if let Some(code) = event.code {
        add(u64::from(code));
    }
    (values, count)
}
