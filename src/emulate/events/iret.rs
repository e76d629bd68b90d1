//! Leaving a handler.
//!
//! Manual: Intel SDM volume 2, "IRET/IRETD/IRETQ", section "Operation"; AMD APM volume 3, "IRET".

use iced_x86::{Instruction, Mnemonic};

use super::super::Obstacle;
use super::super::cpu::{Cpu, Mode};
use super::super::descriptors::{Descriptor, is_null, rpl};
use super::super::exception::{EmulationError, Exception};
use super::stack::{self, Pops};
use super::{CR4_VME, IOPL, NESTED_TASK, SELECTOR_IN_CODE, loading};
use crate::arch::flags::{RFLAGS_AC, RFLAGS_IF, RFLAGS_RF, RFLAGS_VM};

/// RFLAGS that every program may change: CF, PF, AF, ZF, SF, TF, DF, OF and NT.
const FREE: u64 = 0xDD5 | NESTED_TASK;
/// RFLAGS.ID: software that can change it can use CPUID.
const ID: u64 = 1 << 21;
/// RFLAGS: virtual interrupt flag, virtual interrupt pending.
const VIRTUAL_INTERRUPTS: u64 = 3 << 19;
/// RFLAGS: always set.
const FIXED: u64 = 2;

/// The values that `iret` pops first.
struct Return {
    rip: u64,
    cs: u16,
    flags: u64,
    /// Bytes per value on the stack.
    width: u8,
}

/// Executes `iret`, `iretd` or `iretq`.
pub(in super::super) fn interrupt_return(
    cpu: &mut Cpu,
    instruction: &Instruction,
) -> Result<(), EmulationError> {
    let width = match instruction.mnemonic() {
        Mnemonic::Iret => 2,
        Mnemonic::Iretd => 4,
        _ => 8,
    };
    let flags = cpu.registers.general.rflags;
    match cpu.mode() {
        Mode::Real => {}
        Mode::Virtual8086 if flags & IOPL == IOPL => {}
        Mode::Virtual8086 if width == 2 && cpu.registers.system.cr4 & CR4_VME != 0 => {
            return Err(Obstacle::Virtual8086Extensions.into());
        }
        Mode::Virtual8086 => return Err(Exception::protection(0).into()),
        Mode::Protected if flags & NESTED_TASK != 0 => return Err(Obstacle::TaskGate.into()),
        _ if flags & NESTED_TASK != 0 => return Err(Exception::protection(0).into()),
        _ => {}
    }
    let mut pops = Pops::new(cpu, width);
    let rip = pops.next(cpu)?;
    let cs = pops.next(cpu)? as u16;
    let popped = Return { rip, cs, flags: pops.next(cpu)?, width };
    match cpu.mode() {
        Mode::Real | Mode::Virtual8086 => within_8086(cpu, &popped, pops),
        Mode::Protected if popped.flags & RFLAGS_VM != 0 && cpu.ring() == 0 => {
            to_virtual_8086(cpu, &popped, pops)
        }
        _ => protected(cpu, &popped, pops),
    }
}

/// From real mode to real mode, or from virtual-8086 mode to virtual-8086 mode.
fn within_8086(cpu: &mut Cpu, popped: &Return, pops: Pops) -> Result<(), EmulationError> {
    if popped.rip > u64::from(cpu.registers.system.cs.limit) {
        return Err(Exception::protection(0).into());
    }
    let mut changes = FREE | RFLAGS_IF;
    if popped.width > 2 {
        changes |= RFLAGS_RF | RFLAGS_AC | ID;
    }
    if cpu.mode() == Mode::Real {
        changes |= IOPL;
    }
    pops.done(cpu);
    let cs = &mut cpu.registers.system.cs;
    (cs.selector, cs.base) = (popped.cs, u64::from(popped.cs) << 4);
    go_on(cpu, popped, changes);
    Ok(())
}

/// From ring 0 of protected mode to virtual-8086 mode.
fn to_virtual_8086(cpu: &mut Cpu, popped: &Return, mut pops: Pops) -> Result<(), EmulationError> {
    let esp = pops.next(cpu)?;
    let mut selectors = [0; 5];
    for selector in &mut selectors {
        *selector = pops.next(cpu)? as u16;
    }
    if popped.rip > 0xFFFF {
        return Err(Exception::protection(0).into());
    }
    let [ss, es, ds, fs, gs] = selectors.map(loading::virtual_8086);
    let system = &mut cpu.registers.system;
    (system.ss, system.es, system.ds, system.fs, system.gs) = (ss, es, ds, fs, gs);
    system.cs = loading::virtual_8086(popped.cs);
    cpu.registers.general.rsp = esp;
    let all = FREE | RFLAGS_IF | IOPL | RFLAGS_RF | RFLAGS_VM | RFLAGS_AC;
    go_on(cpu, popped, all | VIRTUAL_INTERRUPTS | ID);
    Ok(())
}

/// To a code segment of protected or long mode.
fn protected(cpu: &mut Cpu, popped: &Return, mut pops: Pops) -> Result<(), EmulationError> {
    let (from, to) = (cpu.ring(), rpl(popped.cs));
    let changes = changeable(cpu, popped.width);
    let code = code_segment(cpu, popped.cs)?;
    let long = cpu.long_mode_active() && code.is_long();
    if to > from || cpu.mode() == Mode::SixtyFourBit {
        let rsp = pops.next(cpu)?;
        let ss = pops.next(cpu)? as u16;
        if is_null(ss) {
            if !long || to == 3 || rpl(ss) != to {
                return Err(Exception::protection(0).into());
            }
            check_target(cpu, popped, &code, long)?;
            cpu.registers.system.ss =
                crate::arch::SegmentRegister { selector: ss, ..loading::null_stack(to) };
        } else {
            let stack = loading::stack_segment(cpu, ss, to, Exception::protection, 0)?;
            check_target(cpu, popped, &code, long)?;
            loading::load_stack(cpu, &stack, ss)?;
        }
        loading::load_code(cpu, &code, popped.cs, to)?;
        stack::set_pointer(cpu, rsp);
    } else {
        check_target(cpu, popped, &code, long)?;
        loading::load_code(cpu, &code, popped.cs, to)?;
        pops.done(cpu);
    }
    if to > from {
        let system = &mut cpu.registers.system;
        for segment in [&mut system.ds, &mut system.es, &mut system.fs, &mut system.gs] {
            if loading::is_too_privileged(segment, to) {
                *segment = loading::unusable(*segment);
            }
        }
    }
    go_on(cpu, popped, changes);
    Ok(())
}

/// The code segment of the return target.
fn code_segment(cpu: &mut Cpu, selector: u16) -> Result<Descriptor, EmulationError> {
    if is_null(selector) {
        return Err(Exception::protection(0).into());
    }
    let fault = u32::from(selector & SELECTOR_IN_CODE);
    let (from, to) = (cpu.ring(), rpl(selector));
    let long = cpu.long_mode_active();
    let descriptor = match cpu.descriptor(selector)? {
        Some(descriptor)
            if descriptor.is_code()
                && to >= from
                && (descriptor.dpl() == to || descriptor.is_conforming() && descriptor.dpl() < to)
                && !(long && descriptor.is_long() && descriptor.is_big()) =>
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

/// Checks that the return target is a valid address for code.
fn check_target(cpu: &Cpu, popped: &Return, code: &Descriptor, long: bool) -> Result<(), EmulationError> {
    let reachable =
        if long { cpu.paging().is_canonical(popped.rip) } else { popped.rip <= u64::from(code.limit()) };
    if reachable { Ok(()) } else { Err(Exception::protection(0).into()) }
}

/// The flags that a return in protected or long mode changes.
fn changeable(cpu: &Cpu, width: u8) -> u64 {
    let mut changes = FREE;
    if width > 2 {
        changes |= RFLAGS_RF | RFLAGS_AC | ID;
    }
    if u64::from(cpu.ring()) <= (cpu.registers.general.rflags & IOPL) >> 12 {
        changes |= RFLAGS_IF;
    }
    if cpu.ring() == 0 {
        changes |= IOPL;
        if width > 2 {
            changes |= VIRTUAL_INTERRUPTS;
        }
    }
    changes
}

/// Continues at the popped address with the popped flags. RF is taken from the stack or cleared, as after
/// every instruction.
fn go_on(cpu: &mut Cpu, popped: &Return, changes: u64) {
    let general = &mut cpu.registers.general;
    general.rip = popped.rip;
    general.rflags = (general.rflags & !(changes | RFLAGS_RF)) | popped.flags & changes | FIXED;
}
