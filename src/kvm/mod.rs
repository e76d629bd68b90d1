//! The only module that uses `/dev/kvm`.
//!
//! KVM's structures are converted to plain values here: a [`Vcpu`] is run with a [`VmEntry`] and returns a
//! [`VmExit`]; no other module accesses `kvm_run`.
//!
//! Manual: Documentation/virt/kvm/api.rst of the Linux kernel.

mod cpu_features;
mod cpuid;
mod exit;
mod guest_debug;
mod interrupted;
mod kicker;
pub mod probe;
mod registers;
mod saved_msrs;
mod tsc;
mod vcpu;
mod vcpu_state;
mod vm;

use std::error::Error;
use std::io;

pub use cpu_features::CpuFeatures;
pub use exit::{DebugStop, Refusal, VmEntry, VmExit};
pub use guest_debug::{GuestDebug, WatchLength, Watchpoint};
pub use kicker::Kicker;
pub use vcpu::Vcpu;
pub use vcpu_state::VcpuState;
pub use vm::{Kvm, SlotUse, Vm};

use crate::memory::MemoryError;

/// Why the host could not provide what a machine needs.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// There is no `/dev/kvm`.
    #[error(
        "this host has no /dev/kvm: either virtualisation is switched off in the firmware (look for \
         VT-x, AMD-V or SVM there), or the kernel module is not loaded (`sudo modprobe kvm_intel` or \
         `sudo modprobe kvm_amd`), or this is a container or virtual machine that was not given the \
         device (`--device /dev/kvm` for containers; nested virtualisation for virtual machines); \
         `scripts/lab run` of the sources does without, on an emulated processor"
    )]
    NoDevice,
    /// `/dev/kvm` is there but may not be opened.
    #[error(
        "this user may not open /dev/kvm: join the group that owns it (`sudo usermod -aG kvm $USER`, then \
         log in again), or run as a user that may; `scripts/lab run` of the sources does without, on an \
         emulated processor"
    )]
    NotAllowed,
    /// `/dev/kvm` is there but opening it failed in another way.
    #[error("cannot open /dev/kvm: {source}; `dmesg | grep -i kvm` may say why")]
    Open {
        /// The host's reason.
        source: io::Error,
    },
    /// `/dev/kvm` is not the KVM device.
    #[error(
        "/dev/kvm is not the device of KVM ({source}); `ls -l /dev/kvm` should show a character device with \
         the numbers 10, 232"
    )]
    NotKvm {
        /// The host's reason.
        source: io::Error,
    },
    /// `/dev/kvm` does not implement the one stable version of the interface.
    #[error("/dev/kvm speaks version {found} of its interface; version 12 is needed (Linux 2.6.22 or later)")]
    Version {
        /// The version the host reports.
        found: i32,
    },
    /// Guest memory cannot be read from its file any more.
    #[error(transparent)]
    MemoryLost(MemoryError),
    /// An operation that KVM refused.
    #[error("KVM refused to {what}: {source}")]
    Refused {
        /// The refused operation, as a verb.
        what: &'static str,
        /// The host's reason: an [`io::Error`] if a system call failed.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl HostError {
    /// [`HostError::Refused`] for a reason of any kind; `what` is a verb with its object.
    pub fn because(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> HostError {
        HostError::Refused { what, source: source.into() }
    }

    /// The same for an ioctl that failed.
    fn refused(what: &'static str, error: kvm_ioctls::Error) -> HostError {
        HostError::because(what, io::Error::from(error))
    }

    /// The same for a list that is longer than KVM takes.
    fn too_long(what: &'static str) -> HostError {
        HostError::because(what, "the list is longer than KVM takes")
    }
}
