//! The modes of the processors in the log, with `--trace mode`.
//!
//! A processor changes its mode without an exit, so a change is seen where the guest stops next: for a breakpoint, an
//! exception that is reported, or at an interval ([`super::periodic_attention`]).

use tracing::info;

use super::per_cpu::PerCpu;
use super::run_control::Supervisor;
use crate::arch::{Mode, Registers};
use crate::machine::CpuId;

/// The mode in which each processor was seen last.
pub(super) type SeenModes = PerCpu<Mode>;

impl Supervisor<'_> {
    /// Writes to the log which processors are in another mode than before, if that is wanted.
    pub(super) fn trace_modes(&mut self, positions: &[(CpuId, Registers, u64)]) {
        if !self.services.trace.mode {
            return;
        }
        for (cpu, registers, pc) in positions {
            let (mode, before) = (registers.mode(), self.seen_modes.get(*cpu));
            if before == Some(mode) {
                continue;
            }
            self.seen_modes.set(*cpu, Some(mode));
            let before = before.map(|before| format!("{}, then ", name(before))).unwrap_or_default();
            info!(target: "kvm::trace", "{cpu}: {before}{} at {pc:#x}", name(mode));
        }
    }
}

/// The mode in words (Intel SDM volume 3A, "Modes of Operation").
fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::Real => "real mode",
        Mode::Virtual8086 => "virtual-8086 mode",
        Mode::Protected => "protected mode",
        Mode::Compatibility => "compatibility mode",
        Mode::SixtyFourBit => "64-bit mode",
    }
}
