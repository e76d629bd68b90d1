//! Whether breakpoints and watchpoints stop the guest, and with which exit.
//!
//! Manual: KVM_SET_GUEST_DEBUG in api.rst; Intel SDM volume 3B, "Debug Registers" and "Debug
//! Exceptions".

use super::code::guest_code;
use super::fact::{Fact, PerRing, UNCLEAR};
use super::guest::{DATA, GuestSetup, ProbeExit, ProbeGuest};
use super::layout::{CODE, ProbeMode};
use crate::kvm::{DebugStop, GuestDebug, HostError, Kvm, VmExit, WatchLength, Watchpoint};

/// How a guest stops at an `int3` that a debugger has inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftwareBreakpoints {
    /// By a debug exit, as documented.
    DebugExit,
    /// KVM's instruction emulator refuses the instruction.
    Refused,
    /// The guest's own handler gets it.
    Guest,
    /// The guest continues.
    Missed,
    /// In a way that no known host shows.
    Unclear,
}

impl SoftwareBreakpoints {
    /// A description of the result.
    pub fn describe(self) -> &'static str {
        match self {
            SoftwareBreakpoints::DebugExit => "stop the guest by a debug exit",
            SoftwareBreakpoints::Refused => "stop the guest: KVM refuses the int3",
            SoftwareBreakpoints::Guest => "go to the guest's own handler",
            SoftwareBreakpoints::Missed => "the guest runs on",
            SoftwareBreakpoints::Unclear => UNCLEAR,
        }
    }
}

/// Whether a guest stops at a breakpoint in a debug register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HardwareBreakpoints {
    /// By a debug exit, before the instruction.
    Stop,
    /// The guest continues.
    Missed,
    /// The guest's own handler gets it.
    Guest,
    /// In a way that no known host shows.
    Unclear,
}

impl HardwareBreakpoints {
    /// A description of the result.
    pub fn describe(self) -> &'static str {
        match self {
            HardwareBreakpoints::Stop => "stop the guest",
            HardwareBreakpoints::Missed => "the guest runs on",
            HardwareBreakpoints::Guest => "go to the guest's own handler",
            HardwareBreakpoints::Unclear => UNCLEAR,
        }
    }
}

/// Whether a guest stops after an access to data that a debug register watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataWatchpoints {
    /// Writes, watched for writes.
    pub write: HardwareBreakpoints,
    /// Reads, watched for reads and writes.
    pub read: HardwareBreakpoints,
}

/// Whether RFLAGS.RF lets the guest continue from a breakpoint in a debug register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeFlag {
    /// It does.
    Honoured,
    /// The guest stops again at the same instruction.
    Ignored,
    /// Hardware breakpoints do not stop the guest in the first place.
    NoBreakpoints,
    /// In a way that no known host shows.
    Unclear,
}

/// Software breakpoints.
pub static SOFTWARE_BREAKPOINTS: PerRing<SoftwareBreakpoints> =
    PerRing::new(|kvm| software(kvm, ProbeMode::Long), |kvm| software(kvm, ProbeMode::LongRing3));

/// Hardware breakpoints.
pub static HARDWARE_BREAKPOINTS: PerRing<HardwareBreakpoints> =
    PerRing::new(|kvm| hardware(kvm, ProbeMode::Long), |kvm| hardware(kvm, ProbeMode::LongRing3));

/// Data watchpoints.
pub static DATA_WATCHPOINTS: PerRing<DataWatchpoints> =
    PerRing::new(|kvm| watch(kvm, ProbeMode::Long), |kvm| watch(kvm, ProbeMode::LongRing3));

/// RFLAGS.RF, in ring 0.
pub static RESUME_FLAG: Fact<ResumeFlag> = Fact::new(resume_flag);

/// RFLAGS.RF (Intel SDM volume 1, "EFLAGS Register").
const RF: u64 = 1 << 16;

/// Address of the breakpoint in these guests: after one `nop`.
const BREAKPOINT: u64 = CODE + 1;

/// A guest with three instructions of one byte each before it is done.
fn three_nops() -> &'static [u8] {
    guest_code!(64: "nop", "nop", "nop", "movl $42, DONE")
}

fn software(kvm: &Kvm, mode: ProbeMode) -> Result<SoftwareBreakpoints, HostError> {
    let code = guest_code!(64: "nop", "int3", "nop", "movl $42, DONE");
    let mut guest = ProbeGuest::new(kvm, GuestSetup::Plain, mode, code)?;
    guest.debug(GuestDebug { software_breakpoints: true, ..GuestDebug::default() })?;
    Ok(match guest.run()? {
        ProbeExit::Exit(VmExit::Debug(DebugStop { exception: DebugStop::BREAKPOINT, .. })) => {
            SoftwareBreakpoints::DebugExit
        }
        ProbeExit::Exit(VmExit::Refused(refusal)) if refusal.bytes().first() == Some(&0xCC) => {
            SoftwareBreakpoints::Refused
        }
        ProbeExit::Exception(3) => SoftwareBreakpoints::Guest,
        ProbeExit::Done(42) => SoftwareBreakpoints::Missed,
        _ => SoftwareBreakpoints::Unclear,
    })
}

/// A guest of three `nop`s, stopped at [`BREAKPOINT`] if the host does so.
fn at_breakpoint(kvm: &Kvm, mode: ProbeMode) -> Result<(ProbeGuest, HardwareBreakpoints), HostError> {
    let mut guest = ProbeGuest::new(kvm, GuestSetup::Plain, mode, three_nops())?;
    guest.debug(GuestDebug {
        hardware_breakpoints: [Some(BREAKPOINT), None, None, None],
        ..GuestDebug::default()
    })?;
    let stop = match guest.run()? {
        ProbeExit::Exit(VmExit::Debug(DebugStop { exception: DebugStop::DEBUG, pc: BREAKPOINT, .. })) => {
            HardwareBreakpoints::Stop
        }
        stop => no_stop(stop),
    };
    Ok((guest, stop))
}

/// The result for a debug register that did not cause a debug exit.
fn no_stop(stop: ProbeExit) -> HardwareBreakpoints {
    match stop {
        ProbeExit::Done(42) => HardwareBreakpoints::Missed,
        ProbeExit::Exception(1) => HardwareBreakpoints::Guest,
        _ => HardwareBreakpoints::Unclear,
    }
}

fn hardware(kvm: &Kvm, mode: ProbeMode) -> Result<HardwareBreakpoints, HostError> {
    at_breakpoint(kvm, mode).map(|(_, stop)| stop)
}

fn resume_flag(kvm: &Kvm) -> Result<ResumeFlag, HostError> {
    let (mut guest, stop) = at_breakpoint(kvm, ProbeMode::Long)?;
    if stop != HardwareBreakpoints::Stop {
        return Ok(ResumeFlag::NoBreakpoints);
    }
    let mut registers = guest.registers()?;
    registers.general.rflags |= RF;
    guest.vcpu.set_general_registers(&registers.general)?;
    Ok(match guest.run()? {
        ProbeExit::Done(42) => ResumeFlag::Honoured,
        ProbeExit::Exit(VmExit::Debug(DebugStop { pc: BREAKPOINT, .. })) => ResumeFlag::Ignored,
        _ => ResumeFlag::Unclear,
    })
}

fn watch(kvm: &Kvm, mode: ProbeMode) -> Result<DataWatchpoints, HostError> {
    let write = guest_code!(64: "movl $1, DATA", "nop", "movl $42, DONE");
    let read = guest_code!(64: "movl DATA, %eax", "nop", "movl $42, DONE");
    let watched = |code, reads| -> Result<HardwareBreakpoints, HostError> {
        let mut guest = ProbeGuest::new(kvm, GuestSetup::Plain, mode, code)?;
        let watchpoint = Watchpoint { address: DATA, length: WatchLength::Four, reads };
        guest.debug(GuestDebug {
            watchpoints: [Some(watchpoint), None, None, None],
            ..GuestDebug::default()
        })?;
        Ok(match guest.run()? {
            ProbeExit::Exit(VmExit::Debug(DebugStop { exception: DebugStop::DEBUG, .. })) => {
                HardwareBreakpoints::Stop
            }
            stop => no_stop(stop),
        })
    };
    Ok(DataWatchpoints { write: watched(write, false)?, read: watched(read, true)? })
}
