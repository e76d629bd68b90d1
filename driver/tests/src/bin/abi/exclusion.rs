// SPDX-License-Identifier: MIT OR GPL-2.0
//! Two drivers of one processor feature.

use std::path::Path;

use crate::Outcome;
use crate::guest::{Machine, code};
use crate::kvm::{CREATE_VM, Errno, Exit, File};

/// While `first` has a virtual machine, `second` refuses to create one, and can when that has gone.
pub fn check(first: &Path, second: &Path) -> Outcome {
    const HALT: fn(&Path) -> Result<Machine, String> = |device| Machine::long(device, code!(64: "hlt"));
    let mut machine = HALT(first)?;
    let other = File::open(second)?;
    match other.create(CREATE_VM, 0) {
        // KVM of Linux 6.12 has another word for it.
        Err(Errno(libc::EBUSY | libc::EIO)) => {}
        Err(error) => return Err(format!("{error}, not EBUSY")),
        Ok(_) => return Err("both have one".to_owned()),
    }
    // The refused attempt has not harmed the first one.
    machine.expect(Exit::Halt)?;
    drop(machine);
    HALT(second)?.expect(Exit::Halt)
}
