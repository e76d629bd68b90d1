//! `--explain`: what the user sees of a second run, instruction by instruction.

use std::sync::Arc;

use tracing::info;

use super::Failure;
use crate::control::ControlCommands;
use crate::frontends::messages::tell;
use crate::inspect::crash::registers_are_reset;
use crate::machine::outcome::status;
use crate::machine::{CpuId, Machine, Outcome};
use crate::settings::Settings;
use crate::supervisor::explain::{FirstInstruction, Rerun};
use crate::supervisor::session::Services;

/// Keeps the first instruction, if the user wants explanations.
///
/// # Errors
///
/// A machine that cannot be run a second time, or whose memory cannot be kept.
pub(super) fn prepare(
    machine: &mut Machine,
    settings: &Settings,
) -> Result<Option<FirstInstruction>, Failure> {
    if !settings.explain {
        return Ok(None);
    }
    let first = FirstInstruction::of(machine)
        .map_err(|error| Failure::new(status::HOST, format!("--explain: {error}")))?;
    match first.obstacle(machine) {
        Some(obstacle) => Err(Failure::new(status::USAGE, format!("--explain: {obstacle}"))),
        None => Ok(Some(first)),
    }
}

/// The end of the run, explained where the host has reset the registers of a triple fault: the machine is put to the
/// instruction that has caused it.
#[cold]
pub(super) fn explain(first: FirstInstruction, machine: &mut Machine, outcome: Outcome) -> Outcome {
    let Outcome::TripleFault(None) = outcome else { return outcome };
    match machine.cpu(CpuId::BOOT).registers() {
        Ok(registers) if registers_are_reset(&registers) => {}
        _ => return outcome,
    }
    let services = Services {
        commands: Arc::new(ControlCommands),
        migrator: None,
        stop_notice: None,
        trace: Default::default(),
    };
    let mut progress = |instructions| {
        tell(&format!("looking for the triple fault in a second run: {instructions} instructions"));
    };
    let said = match first.run_again(machine, services, &mut progress) {
        Ok(Rerun::TripleFault { instructions }) => {
            info!("--explain: the triple fault was found in a second run, after {instructions} instructions");
            return outcome;
        }
        Ok(Rerun::Differs { instructions }) => format!(
            "after {instructions} instructions a second run ended in another way: the guest depends on input or on interrupts"
        ),
        Ok(Rerun::TimeUp { instructions }) => {
            format!(
                "a second run has not come to the triple fault within 10 seconds and {instructions} instructions"
            )
        }
        Err(error) => error.to_string(),
    };
    tell(&format!("--explain: {said}."));
    info!("--explain: {said}");
    outcome
}
