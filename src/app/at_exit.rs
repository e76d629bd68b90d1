//! `--snapshot-at-exit`: saving the machine when its run is over.

use std::path::Path;

use tracing::{error, info};

use crate::frontends::messages::tell;
use crate::machine::outcome::status;
use crate::machine::{Machine, Outcome, PendingAction};
use crate::state;

/// Saves `machine`, whose run has ended with `outcome`, in `file`, and notifies the user; returns the exit
/// status.
#[cold]
pub(super) fn save(machine: &mut Machine, outcome: &Outcome, file: &Path) -> u8 {
    if let Some(why) = unsavable(outcome) {
        let text = format!("the machine is not saved in {}: {why}.", file.display());
        info!("{text}");
        tell(&text);
        return outcome.status();
    }
    match state::save(machine, PendingAction::after(outcome), file) {
        Ok(saved) => {
            let ended = outcome.is_crash() || PendingAction::after(outcome).is_some();
            let (verb, option) = if ended { ("inspect", " --gdb") } else { ("continue", "") };
            let (file, size) = (file.display(), saved.length.div_ceil(1024));
            tell(&format!(
                "the machine is saved in {file}, {size} KiB; {verb} it with `kvm --restore {file}{option}`."
            ));
            outcome.status()
        }
        Err(error) => {
            error!("{error}");
            tell(&error.to_string());
            status::HOST
        }
    }
}

/// Why no machine can be saved after a run that ended with `outcome`.
fn unsavable(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Moved { .. } => Some("the guest has moved to another host"),
        Outcome::HostFailed(_) => Some("the host failed"),
        Outcome::Reload(_) => Some("it holds no guest"),
        _ => None,
    }
}
