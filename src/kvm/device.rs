//! The device that guests run through: that of KVM, or of the driver in `driver/`, which has the same interface.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::probe::is_module_present;

/// Name of KVM's device in `/dev`.
const KVM: &str = "kvm";
/// Name of the device of `driver/`.
const YAKVM: &str = "yakvm";

/// What the option for the device is good for.
const DEVICES: &str = "`--device` names /dev/kvm, which is the default, or /dev/yakvm";

/// The driver that a device belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// KVM.
    Kvm,
    /// `driver/`: AMD-V only.
    Yakvm,
    /// It has neither the number nor the name of such a device.
    Unknown,
}

impl Driver {
    /// The driver of `device`: by the device's number, whatever its name, and by its name if that says nothing.
    pub fn of(device: &Path) -> Driver {
        let name = kernel_name(device);
        match name.as_deref().or_else(|| device.file_name()?.to_str()) {
            Some(KVM) => Driver::Kvm,
            Some(YAKVM) => Driver::Yakvm,
            _ => Driver::Unknown,
        }
    }

    /// The present modules that give this driver its processor.
    pub fn modules(self) -> Vec<&'static str> {
        let known: &[&str] = match self {
            Driver::Kvm | Driver::Unknown => &["kvm_intel", "kvm_amd", "kvm_pvm"],
            Driver::Yakvm => &[YAKVM],
        };
        known.iter().copied().filter(|name| is_module_present(name)).collect()
    }

    /// True if a processor with VT-x or AMD-V is known to run the guest's ring 0. Properties that only an instruction
    /// emulator gets wrong then need no measurement, and no virtual machine is created for them.
    pub fn runs_ring_0_on_processor(self) -> bool {
        let modules = self.modules();
        !modules.is_empty() && modules.iter().all(|module| matches!(*module, "kvm_intel" | "kvm_amd" | YAKVM))
    }
}

/// The name that the kernel has given to the character device at this path.
fn kernel_name(device: &Path) -> Option<String> {
    let metadata = std::fs::metadata(device).ok().filter(|it| it.file_type().is_char_device())?;
    let (major, minor) = (libc::major(metadata.rdev()), libc::minor(metadata.rdev()));
    let properties = std::fs::read_to_string(format!("/sys/dev/char/{major}:{minor}/uevent")).ok()?;
    Some(properties.lines().find_map(|line| line.strip_prefix("DEVNAME="))?.to_owned())
}

/// Why there is no such device, and what to do.
pub(super) fn missing(device: &Path) -> String {
    let name = device.display();
    match Driver::of(device) {
        Driver::Kvm => format!(
            "this host has no {name}: either virtualisation is switched off in the firmware (look for VT-x, AMD-V or \
             SVM there), or the kernel module is not loaded (`sudo modprobe kvm_intel` or `sudo modprobe kvm_amd`), or \
             this is a container or virtual machine that was not given the device (`--device /dev/kvm` for \
             containers; nested virtualisation for virtual machines); `scripts/lab run` of the sources does without, \
             on an emulated processor"
        ),
        Driver::Yakvm => format!(
            "this host has no {name}: its module is not loaded; `driver/build` of the sources builds it, and `sudo \
             insmod target/driver/yakvm.ko` loads it on a processor with AMD-V (SVM) that is not switched off in the \
             firmware (`sudo dmesg | grep yakvm` says why, if it cannot); `scripts/lab run --driver yakvm` does both \
             on an emulated processor"
        ),
        Driver::Unknown => {
            format!("there is no device {name}: {DEVICES}")
        }
    }
}

/// What a user can do who may not open the device.
pub(super) fn not_allowed(device: &Path) -> String {
    let name = device.display();
    match Driver::of(device) {
        Driver::Yakvm => format!(
            "this user may not open {name}: it is for root alone; use `sudo`, or `scripts/lab run --driver yakvm` of the \
             sources, on an emulated processor"
        ),
        Driver::Kvm | Driver::Unknown => format!(
            "this user may not open {name}: join the group that owns it (`sudo usermod -aG kvm $USER`, then log in \
             again), or run as a user that may; `scripts/lab run` of the sources does without, on an emulated processor"
        ),
    }
}

/// Where to look if the device cannot be opened for a reason of its own.
pub(super) fn not_opened(device: &Path) -> &'static str {
    match Driver::of(device) {
        // `yakvm`, too.
        Driver::Kvm | Driver::Yakvm => "`sudo dmesg | grep kvm` may say why",
        Driver::Unknown => DEVICES,
    }
}

/// How to recognise the right device.
pub(super) fn not_kvm(device: &Path) -> String {
    let name = device.display();
    match Driver::of(device) {
        Driver::Kvm => {
            format!("`ls -l {name}` should show a character device with the numbers 10, 232")
        }
        Driver::Yakvm | Driver::Unknown => DEVICES.to_owned(),
    }
}

/// Who else uses the processor's virtualisation, and how to end that.
pub(super) fn holder(device: &Path) -> &'static str {
    match Driver::of(device) {
        Driver::Yakvm => {
            "kvm_amd holds SVM while it has guests: end those that run on /dev/kvm; since Linux 6.12 it holds SVM while it \
             is loaded: `sudo rmmod kvm_amd`"
        }
        Driver::Kvm | Driver::Unknown if is_module_present(YAKVM) => {
            "yakvm holds SVM while it has guests: end those that run on /dev/yakvm"
        }
        Driver::Kvm | Driver::Unknown => {
            "another hypervisor holds the processor's virtualisation: end its guests, or unload its kernel module"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_does_not_exist_is_known_by_its_name() {
        assert_eq!(Driver::of(Path::new("/nowhere/kvm")), Driver::Kvm);
        assert_eq!(Driver::of(Path::new("/nowhere/yakvm")), Driver::Yakvm);
        assert_eq!(Driver::of(Path::new("/nowhere/else")), Driver::Unknown);
    }

    #[test]
    fn another_device_is_not_kvm_whatever_its_name() {
        let folder = std::env::temp_dir().join(format!("kvm-device-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let link = folder.join(KVM);
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let driver = Driver::of(&link);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(driver, Driver::Unknown);
    }

    #[test]
    fn each_remedy_is_that_of_the_device() {
        let (kvm, yakvm) = (Path::new("/dev/kvm"), Path::new("/nowhere/yakvm"));
        assert!(holder(yakvm).contains("`sudo rmmod kvm_amd`"));
        assert!(!holder(kvm).contains("`sudo rmmod kvm_amd`"));
        assert!(missing(yakvm).contains("`driver/build`") && missing(yakvm).contains("firmware"));
        assert!(not_allowed(yakvm).contains("`sudo`"));
    }
}
