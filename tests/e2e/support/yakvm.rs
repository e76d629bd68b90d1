//! What guests cannot do on the driver of `driver/`, besides what the emulated processor cannot do.

use super::lane::KERNEL_SUFFIX;
use super::test_device;

/// The driver has no interrupt controllers, as driver/README.md says.
const NO_IRQCHIP: &str = "the driver has no interrupt controllers: no `irqchip = kernel`";

/// The tests that cannot pass on it, with the reason.
pub(super) const EXCEPT: &[(&str, &[&str])] = &[(NO_IRQCHIP, &[])];

/// Why the test with this name cannot pass on the tests' device.
pub(super) fn reason(name: &str) -> Option<&'static str> {
    if test_device()? != "/dev/yakvm" {
        return None;
    }
    if name.ends_with(KERNEL_SUFFIX) {
        return Some(NO_IRQCHIP);
    }
    EXCEPT.iter().find(|(_, names)| names.contains(&name)).map(|(reason, _)| *reason)
}
