//! How a machine runs: processors, clock, interrupt controllers, and the keyboard that the guest expects.

/// How the CPUs of a machine with several run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// At the same time, each on a thread of its own.
    #[default]
    Parallel,
    /// By turns, on one thread.
    Serial,
}

/// When the machine's clock runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockMode {
    /// It follows the host's clock, also while the guest is stopped.
    #[default]
    Host,
    /// It stands still while the guest is stopped by a debugger or a command.
    Virtual,
}

/// Whose interrupt controllers and interval timer the machine has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IrqchipMode {
    /// The machine's own, in user space.
    #[default]
    User,
    /// KVM's, in the kernel.
    Kernel,
}

impl IrqchipMode {
    /// The value of `--irqchip`.
    pub fn name(self) -> &'static str {
        match self {
            IrqchipMode::User => "user",
            IrqchipMode::Kernel => "kernel",
        }
    }
}

/// Name of a keyboard layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutName {
    /// United States.
    Us,
    /// Italian.
    It,
}
