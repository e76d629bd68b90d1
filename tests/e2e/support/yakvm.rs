//! What guests cannot do on the driver of `driver/`, besides what the emulated processor cannot do: the written list of
//! differences between the two drivers in this suite.

use super::lane::KERNEL_SUFFIX;
use super::test_device;

/// The driver has no interrupt controllers (driver/README.md).
const NO_IRQCHIP: &str = "the driver has no interrupt controllers: no `--irqchip kernel`";

/// The tests that cannot pass on it, with the reason.
pub(super) const EXCEPT: &[(&str, &[&str])] = &[(
    NO_IRQCHIP,
    &[
        "option_is_taken: --irqchip kernel",
        "key_is_taken: [vm-spec] irqchip = kernel",
        "an_early_exception_is_the_same_on_several_cpus_and_with_kvms_controllers",
        "a_virtio_disk_interrupts_by_the_interrupt_controllers_of_kvm",
        "each_timer_counts_the_right_number_of_ticks_with_kvms_interrupt_controllers",
    ],
)];

/// Another one with KVM's interrupt controllers; it exists only in the lab.
const LINUX: &str = "debians_kernel_reaches_a_shell_and_sees_its_disk";

/// Why the test with this name cannot pass on the tests' device.
pub(super) fn reason(name: &str) -> Option<&'static str> {
    if test_device()? != "/dev/yakvm" {
        return None;
    }
    if name.ends_with(KERNEL_SUFFIX) || name.ends_with(" (kernel)") || name == LINUX {
        return Some(NO_IRQCHIP);
    }
    EXCEPT.iter().find(|(_, names)| names.contains(&name)).map(|(reason, _)| *reason)
}
