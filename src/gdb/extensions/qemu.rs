//! QEMU's extensions: `maintenance packet Qqemu.PhyMemMode:1` makes addresses physical,
//! `maintenance packet Qqemu.sstep=1` enables interrupts and timers during single steps.
//!
//! Manual: "GDB usage" in QEMU's *System Emulation*.

use super::{Answered, text};
use crate::gdb::packet::number;
use crate::gdb::target::GdbTarget;
use crate::gdb::target::INVALID;

/// Flags of a step: it is one instruction, interrupts are off, timers are off.
const STEP: u64 = 1;
const NO_IRQ: u64 = 2;
const NO_TIMER: u64 = 4;

/// A packet that QEMU adds to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QemuRequest {
    /// Lists these packets.
    Supported,
    /// Reads whether addresses are physical.
    PhysicalMode,
    /// Makes addresses physical or virtual.
    SetPhysicalMode(bool),
    /// Lists the flags of a step.
    StepFlagNames,
    /// Reads the flags of a step.
    StepFlags,
    /// Sets the flags of a step.
    SetStepFlags(u64),
}

/// The request in a packet's body; `None` for other packets.
pub(super) fn request(body: &[u8]) -> Option<QemuRequest> {
    match body {
        b"qqemu.Supported" => Some(QemuRequest::Supported),
        b"qqemu.PhyMemMode" => Some(QemuRequest::PhysicalMode),
        b"Qqemu.PhyMemMode:0" => Some(QemuRequest::SetPhysicalMode(false)),
        b"Qqemu.PhyMemMode:1" => Some(QemuRequest::SetPhysicalMode(true)),
        // QEMU answers both spellings, and plug-ins know it by the second one.
        b"qqemu.sstepbits" | b"Qqemu.sstepbits" => Some(QemuRequest::StepFlagNames),
        b"qqemu.sstep" | b"Qqemu.sstep" => Some(QemuRequest::StepFlags),
        _ => {
            let flags = body.strip_prefix(b"Qqemu.sstep=")?;
            number(flags.strip_prefix(b"0x").unwrap_or(flags)).map(QemuRequest::SetStepFlags)
        }
    }
}

pub(super) fn answer(target: &mut GdbTarget<'_, '_>, request: QemuRequest, out: &mut Vec<u8>) -> Answered {
    let (view, switches) = (&mut target.view, &mut target.supervisor.session.switches);
    match request {
        QemuRequest::Supported => text(out, "sstepbits;sstep;PhyMemMode"),
        QemuRequest::PhysicalMode => text(out, if switches.physical { "1" } else { "0" }),
        QemuRequest::SetPhysicalMode(on) => {
            switches.physical = on;
            text(out, "OK")
        }
        QemuRequest::StepFlagNames => text(out, "ENABLE=1,NOIRQ=2,NOTIMER=4"),
        QemuRequest::StepFlags => {
            let flag = |flag, set| if set { flag } else { 0 };
            let no_irq = flag(NO_IRQ, !switches.step_interrupts);
            text(out, &format!("{:#x}", STEP | no_irq | flag(NO_TIMER, view.no_timer)))
        }
        QemuRequest::SetStepFlags(flags) if flags & !(STEP | NO_IRQ | NO_TIMER) != 0 || flags & STEP == 0 => {
            Err(INVALID)
        }
        QemuRequest::SetStepFlags(flags) => {
            switches.step_interrupts = flags & NO_IRQ == 0;
            view.no_timer = flags & NO_TIMER != 0;
            text(out, "OK")
        }
    }
}
