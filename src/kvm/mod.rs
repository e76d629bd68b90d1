//! The only module that uses `/dev/kvm`, or a device with the same interface (`--device`).
//!
//! KVM's structures are converted to plain values here: a [`Vcpu`] is run with a [`VmEntry`] and returns a
//! [`VmExit`]; no other module accesses `kvm_run`.
//!
//! Manual: Documentation/virt/kvm/api.rst of the Linux kernel.

mod cpu_features;
mod cpuid;
mod deadline_timer;
mod device;
mod exit;
mod guest_debug;
mod interrupted;
mod interrupts;
mod kernel_irqchip;
mod kicker;
mod msr_exits;
pub mod probe;
mod registers;
mod run_thread;
mod saved_msrs;
mod tsc;
mod vcpu;
mod vcpu_run;
mod vcpu_state;
mod vm;

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

pub use cpu_features::CpuFeatures;
pub use deadline_timer::{DeadlineTimer, wake_on_time};
pub use device::Driver;
pub use exit::{DebugStop, Refusal, VmEntry, VmExit};
pub use guest_debug::{GuestDebug, WatchLength, Watchpoint};
pub use kernel_irqchip::{
    HaltState, IoApicRegisters, KernelIrqchipState, LapicState, PicRegisters, PitRegisters,
};
pub use kicker::Kicker;
pub use vcpu::Vcpu;
pub use vcpu_state::VcpuState;
pub use vm::{Kvm, SlotUse, Vm};

use crate::memory::MemoryError;

/// Why the host could not provide what a machine needs.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// There is no such device.
    #[error("{}", device::missing(device))]
    NoDevice {
        /// Its path.
        device: PathBuf,
    },
    /// The device is there but may not be opened.
    #[error("{}", device::not_allowed(device))]
    NotAllowed {
        /// Its path.
        device: PathBuf,
    },
    /// The device is there but opening it failed in another way.
    #[error("cannot open {}: {source}; {}", device.display(), device::not_opened(device))]
    Open {
        /// Its path.
        device: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// The device does not have KVM's interface.
    #[error("{} is not the device of KVM ({source}); {}", device.display(), device::not_kvm(device))]
    NotKvm {
        /// Its path.
        device: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// The device does not implement the one stable version of the interface.
    #[error(
        "{} speaks version {found} of its interface; version 12 is needed (Linux 2.6.22 or later)", device.display()
    )]
    Version {
        /// Its path.
        device: PathBuf,
        /// The version the host reports.
        found: i32,
    },
    /// Another driver uses the processor's virtualisation.
    #[error("{} cannot create a virtual machine ({source}): {}", device.display(), device::holder(device))]
    Held {
        /// The path of the device.
        device: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// The firmware has switched virtualisation off.
    #[error(
        "{} cannot create a virtual machine ({source}): virtualisation is off in the firmware; switch SVM (AMD-V) or \
         VT-x on there", device.display()
    )]
    SwitchedOff {
        /// The path of the device.
        device: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// Guest memory cannot be read from its file any more.
    #[error(transparent)]
    MemoryLost(MemoryError),
    /// KVM could not access guest memory, which is read from a file.
    #[error(
        "{refused}; guest memory is read from {file} while the guest runs, and the host may be unable to read it: \
         look for I/O errors in `dmesg`, and restore a copy of the file on another disk"
    )]
    MemorySuspected {
        /// What KVM refused.
        #[source]
        refused: Box<HostError>,
        /// The file's name.
        file: String,
    },
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

    /// This error; if it can come from memory that the host could not read, and `file` is where guest memory is
    /// read from, with that suspicion.
    pub fn suspecting(self, file: Option<String>) -> HostError {
        let HostError::Refused { source, .. } = &self else { return self };
        let code = source.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        match (file, code) {
            (Some(file), Some(libc::EFAULT | libc::EIO | libc::EHWPOISON)) => {
                HostError::MemorySuspected { refused: Box::new(self), file }
            }
            _ => self,
        }
    }

    /// The same for an ioctl that failed.
    fn refused(what: &'static str, error: kvm_ioctls::Error) -> HostError {
        HostError::because(what, io::Error::from(error))
    }

    /// The same for a virtual machine that could not be created.
    fn no_vm(device: &Path, error: kvm_ioctls::Error) -> HostError {
        let (device, source) = (device.to_owned(), io::Error::from(error));
        match error.errno() {
            // EIO since Linux 6.12.
            libc::EBUSY | libc::EIO => HostError::Held { device, source },
            libc::EOPNOTSUPP => HostError::SwitchedOff { device, source },
            _ => HostError::refused("create a virtual machine", error),
        }
    }

    /// The same for a list that is longer than KVM takes.
    fn too_long(what: &'static str) -> HostError {
        HostError::because(what, "the list is longer than KVM takes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_that_another_driver_holds_is_recognised_on_old_and_new_kernels() {
        for number in [libc::EBUSY, libc::EIO] {
            let error = HostError::no_vm(Path::new("/nowhere/yakvm"), kvm_ioctls::Error::new(number));
            assert!(matches!(error, HostError::Held { .. }), "{error}");
        }
        let error = HostError::no_vm(Path::new("/nowhere/kvm"), kvm_ioctls::Error::new(libc::EOPNOTSUPP));
        assert!(error.to_string().contains("off in the firmware; switch SVM"), "{error}");
    }

    #[test]
    fn memory_that_kvm_cannot_access_names_the_file_that_it_comes_from() {
        let file = || Some("a.kvmstate".to_owned());
        let run = |code| HostError::because("run the vCPU", io::Error::from_raw_os_error(code));
        for code in [libc::EFAULT, libc::EIO, libc::EHWPOISON] {
            let text = run(code).suspecting(file()).to_string();
            assert!(text.starts_with("KVM refused to run the vCPU: "), "{text}");
            assert!(text.contains("is read from a.kvmstate") && text.contains("`dmesg`"), "{text}");
        }
        // Nothing to suspect: no file, or a reason that has nothing to do with memory.
        for other in [run(libc::EIO).suspecting(None), run(libc::EINVAL).suspecting(file())] {
            assert!(matches!(other, HostError::Refused { .. }), "{other}");
        }
        let missing = HostError::NoDevice { device: "/dev/kvm".into() };
        assert!(matches!(missing.suspecting(file()), HostError::NoDevice { .. }));
    }
}
