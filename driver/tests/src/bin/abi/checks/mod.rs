// SPDX-License-Identifier: MIT OR GPL-2.0
//! The checks, in the order of the table.

mod breakpoints;
mod debug;
mod device;
mod events;
mod memory;
mod mmio;
mod modes;
mod ports;
mod requests;
mod running;
mod state;

use std::path::Path;

use crate::Outcome;
use crate::kvm::Errno;

/// A check of the device at this path.
pub type Check = (&'static str, fn(&Path) -> Outcome);

/// All checks.
pub static CHECKS: std::sync::LazyLock<Vec<Check>> = std::sync::LazyLock::new(|| {
    [
        device::CHECKS,
        requests::CHECKS,
        memory::CHECKS,
        modes::CHECKS,
        ports::CHECKS,
        mmio::CHECKS,
        running::CHECKS,
        debug::CHECKS,
        breakpoints::CHECKS,
        events::CHECKS,
        state::CHECKS,
    ]
    .concat()
});

/// An error unless `found` is `wanted`.
fn equal<T: PartialEq + std::fmt::LowerHex>(what: &str, found: T, wanted: T) -> Outcome {
    if found == wanted { Ok(()) } else { Err(format!("{what}: {found:#x}, not {wanted:#x}")) }
}

/// An error unless `holds`.
fn ensure(holds: bool, what: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(what.into()) }
}

/// An error unless the request failed with this error number.
fn fails_with<T>(what: &str, result: Result<T, Errno>, wanted: i32) -> Outcome {
    match result {
        Err(Errno(found)) if found == wanted => Ok(()),
        Err(error) => Err(format!("{what}: {error}, not {}", Errno(wanted))),
        Ok(_) => Err(format!("{what}: accepted, not {}", Errno(wanted))),
    }
}
