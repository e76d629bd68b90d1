//! How a run ended, and the process exit status for it.

use super::rescue::RescuedException;
use crate::devices::debug_exit;
use crate::emulate::Obstacle;
use crate::kvm::{HostError, Refusal};

/// Exit statuses of the `kvm` program. All are even, so that the odd ones are free for the value a
/// guest writes to the debug exit port.
pub mod status {
    /// The guest halted with interrupts off, switched the machine off, or was migrated to another kvm; also `--help`, `--version`, and
    /// `kvm check` where guests can run.
    pub const HALTED: u8 = 0;
    /// The command line or the configuration file is wrong.
    pub const USAGE: u8 = 2;
    /// The guest file cannot be run.
    pub const GUEST_FILE: u8 = 4;
    /// The host cannot do what is needed: `/dev/kvm`, memory, a file, a socket.
    pub const HOST: u8 = 6;
    /// Triple fault.
    pub const TRIPLE_FAULT: u8 = 8;
    /// The host refused to execute an instruction, or the state the guest put the processor in.
    pub const REFUSED: u8 = 10;
    /// `--timeout` ran out.
    pub const TIMED_OUT: u8 = 12;
    /// The user ended the run.
    pub const QUIT: u8 = 14;
    /// A signal ended the run.
    pub const SIGNAL: u8 = 16;
    /// The guest reset the machine and `--no-reboot` was given.
    pub const RESET: u8 = 18;
    /// A defect of this program.
    pub const DEFECT: u8 = 20;
}

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// `hlt` with interrupts off; the result is RAX.
    Halted {
        /// RAX.
        result: u64,
        /// True if the guest's entry function has returned: to the code that the boot stack's first word points to.
        returned: bool,
    },
    /// The guest wrote to the debug exit port.
    DebugExit {
        /// The value.
        value: u32,
    },
    /// The guest has switched the machine off.
    PoweredOff,
    /// The machine's own BIOS cannot go on, for this reason: there is nothing to boot, for example.
    BiosStopped(String),
    /// A triple fault; with the exception that began it, if the guest's first IDT has taken that.
    TripleFault(Option<RescuedException>),
    /// The host cannot execute the next instruction; the obstacle is the reason why it was not emulated either,
    /// if that was tried.
    Refused(Refusal, Option<Obstacle>),
    /// The processor did not accept the guest's state; the number is hardware's.
    EntryFailed(u64),
    /// KVM exited for a reason that this program does not expect; the number is KVM's.
    Unexpected(u32),
    /// The time limit of the run has expired.
    TimedOut,
    /// The user ended the run.
    Quit,
    /// The process was terminated by this signal.
    Terminated(i32),
    /// The guest reset the machine, and `--no-reboot` was given.
    Reset,
    /// The guest was migrated and continues at the destination.
    Moved {
        /// The destination.
        to: String,
    },
    /// An operation of the host failed.
    HostFailed(HostError),
    /// The guest could not be loaded again after a reset.
    Reload(Box<dyn std::error::Error + Send + Sync>),
}

impl Outcome {
    /// The process exit status for this end.
    pub fn status(&self) -> u8 {
        match self {
            Outcome::Halted { .. } | Outcome::PoweredOff | Outcome::Moved { .. } => status::HALTED,
            Outcome::DebugExit { value } => debug_exit::status(*value),
            Outcome::TripleFault(_) => status::TRIPLE_FAULT,
            Outcome::Refused(..) | Outcome::EntryFailed(_) | Outcome::Unexpected(_) => status::REFUSED,
            Outcome::TimedOut => status::TIMED_OUT,
            Outcome::Quit => status::QUIT,
            Outcome::Terminated(_) => status::SIGNAL,
            Outcome::Reset => status::RESET,
            Outcome::HostFailed(_) => status::HOST,
            Outcome::Reload(_) | Outcome::BiosStopped(_) => status::GUEST_FILE,
        }
    }

    /// True if the guest itself failed and its registers show why.
    pub fn is_crash(&self) -> bool {
        matches!(
            self,
            Outcome::TripleFault(_) | Outcome::Refused(..) | Outcome::EntryFailed(_) | Outcome::Unexpected(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_debug_exit_port_gives_odd_statuses() {
        for outcome in [
            Outcome::Halted { result: 1, returned: false },
            Outcome::PoweredOff,
            Outcome::TripleFault(None),
            Outcome::Refused(Refusal::new(1, &[]), None),
            Outcome::EntryFailed(7),
            Outcome::Unexpected(3),
            Outcome::TimedOut,
            Outcome::Quit,
            Outcome::Terminated(15),
            Outcome::Reset,
            Outcome::Moved { to: String::new() },
            Outcome::HostFailed(HostError::NoDevice { device: "/dev/kvm".into() }),
        ] {
            assert_eq!(outcome.status() % 2, 0, "{outcome:?}");
        }
        assert_eq!(Outcome::PoweredOff.status(), status::HALTED);
        assert_eq!(Outcome::DebugExit { value: 0x10 }.status(), 33);
    }
}
