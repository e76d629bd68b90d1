//! Whether a single-stepped guest stops after each instruction, and whether interrupts can be blocked.
//!
//! Manual: KVM_SET_GUEST_DEBUG in api.rst; Intel SDM volume 3B, "Single-Step Exception Condition";
//! Intel 8259A data sheet, "Initialization Command Words".

use super::code::guest_code;
use super::fact::{Fact, PerRing, UNCLEAR};
use super::guest::{GuestSetup, ProbeExit, ProbeGuest};
use super::layout::{CODE, ProbeMode};
use crate::kvm::{DebugStop, GuestDebug, HostError, Kvm, VmExit};

/// The result of single-stepping a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SingleStep {
    /// It stops after each instruction.
    Stops,
    /// Its own handler gets the debug exception.
    Guest,
    /// It does not stop.
    Missed,
    /// It stops, but not after each instruction, or it ends in a way that no known host shows.
    Unclear,
}

impl SingleStep {
    /// A description of the result.
    pub fn describe(self) -> &'static str {
        match self {
            SingleStep::Stops => "stops after each instruction",
            SingleStep::Guest => "goes to the guest's own handler",
            SingleStep::Missed => "the guest runs on",
            SingleStep::Unclear => UNCLEAR,
        }
    }
}

/// The fate of a pending interrupt while a guest is single-stepped with interrupts blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterruptFreeStepping {
    /// It stays pending until stepping ends, and is delivered then.
    HeldBack,
    /// It is delivered between two steps, although it should not be.
    NotHeldBack,
    /// It is never delivered, not even after stepping.
    Lost,
    /// This kernel does not support KVM_GUESTDBG_BLOCKIRQ.
    NotOffered,
    /// Single steps do not stop the guest in the first place.
    NoSteps,
}

impl InterruptFreeStepping {
    /// A description of the result.
    pub fn describe(self) -> &'static str {
        match self {
            InterruptFreeStepping::HeldBack => "interrupts wait until stepping ends",
            InterruptFreeStepping::NotHeldBack => "interrupts come between two steps",
            InterruptFreeStepping::Lost => "interrupts are lost",
            InterruptFreeStepping::NotOffered => "not offered",
            InterruptFreeStepping::NoSteps => "single steps do not stop",
        }
    }
}

/// Single steps.
pub static SINGLE_STEP: PerRing<SingleStep> =
    PerRing::new(|kvm| single_step(kvm, ProbeMode::Long), |kvm| single_step(kvm, ProbeMode::LongRing3));

/// Single steps with interrupts blocked, in ring 0, with KVM's own interrupt controllers.
pub static INTERRUPT_FREE_STEPPING: Fact<InterruptFreeStepping> = Fact::new(interrupt_free);

/// Number of `nop`s in these guests.
const NOPS: u64 = 4;

/// Maximum number of stops at one address: some processors stop a second time before they continue.
const MAX_REPEATED_STOPS: usize = 8;

/// RFLAGS.IF (Intel SDM volume 1, "EFLAGS Register").
const INTERRUPTS_ON: u64 = 1 << 9;

/// An input of the interrupt controller that no device in KVM drives.
const LINE: u32 = 5;
/// The vector the guest gives it.
const VECTOR: u8 = 0x25;

/// Steps over the `nop`s at `address`; returns the first stop that is not after the next of them.
fn step_over_nops(guest: &mut ProbeGuest, address: u64) -> Result<Option<ProbeExit>, HostError> {
    for nop in 0..NOPS {
        let (before, after) = (address + nop, address + nop + 1);
        let mut left = MAX_REPEATED_STOPS;
        loop {
            match guest.run()? {
                ProbeExit::Exit(VmExit::Debug(DebugStop { pc, .. })) if pc == after => break,
                ProbeExit::Exit(VmExit::Debug(DebugStop { pc, .. })) if pc == before && left > 0 => left -= 1,
                stop => return Ok(Some(stop)),
            }
        }
    }
    Ok(None)
}

fn single_step(kvm: &Kvm, mode: ProbeMode) -> Result<SingleStep, HostError> {
    let code = guest_code!(64: "nop", "nop", "nop", "nop", "movl $42, DONE");
    let mut guest = ProbeGuest::new(kvm, GuestSetup::Plain, mode, code)?;
    guest.debug(GuestDebug { single_step: true, ..GuestDebug::default() })?;
    Ok(match step_over_nops(&mut guest, CODE)? {
        None => SingleStep::Stops,
        Some(ProbeExit::Exception(1)) => SingleStep::Guest,
        Some(ProbeExit::Done(42)) => SingleStep::Missed,
        Some(_) => SingleStep::Unclear,
    })
}

fn interrupt_free(kvm: &Kvm) -> Result<InterruptFreeStepping, HostError> {
    if !kvm.can_block_interrupts() {
        return Ok(InterruptFreeStepping::NotOffered);
    }
    let code = guest_code!(64:
        "movb $0x11, %al",              // the first 8259A: edge-triggered, cascaded
        "outb %al, $0x20",
        "movb $0x20, %al",              // vectors from 0x20
        "outb %al, $0x21",
        "movb $4, %al",                 // the second one is at input 2
        "outb %al, $0x21",
        "movb $1, %al",                 // 8086 mode
        "outb %al, $0x21",
        "movb $0xDF, %al",              // only input 5
        "outb %al, $0x21",
        "movl $1, DONE",
        "nop",
        "nop",
        "nop",
        "nop",
        "movl $42, DONE",
    );
    let mut guest = ProbeGuest::new(kvm, GuestSetup::InterruptControllers, ProbeMode::Long, code)?;
    if guest.run()? != ProbeExit::Done(1) {
        return Ok(InterruptFreeStepping::NoSteps);
    }
    let mut registers = guest.registers()?;
    let nops = registers.general.rip;
    registers.general.rflags |= INTERRUPTS_ON;
    guest.vcpu.set_general_registers(&registers.general)?;
    guest.vm.set_interrupt_line(LINE, true)?;
    guest.debug(GuestDebug { single_step: true, block_interrupts: true, ..GuestDebug::default() })?;
    match step_over_nops(&mut guest, nops)? {
        None => {}
        Some(ProbeExit::Done(42)) => return Ok(InterruptFreeStepping::NoSteps),
        Some(_) => return Ok(InterruptFreeStepping::NotHeldBack),
    }
    guest.debug(GuestDebug::default())?;
    Ok(match guest.run()? {
        ProbeExit::Exception(VECTOR) => InterruptFreeStepping::HeldBack,
        _ => InterruptFreeStepping::Lost,
    })
}
