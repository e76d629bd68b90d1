// SPDX-License-Identifier: MIT OR GPL-2.0
//! What the device passes of the checks of `abi`, before and after it was treated roughly.

use std::collections::BTreeSet;
use std::io;
use std::process::Command;

/// The checks that the device passes. `program` is `abi`.
pub fn passed(program: &str, device: &str) -> io::Result<BTreeSet<String>> {
    let output = Command::new(program).arg(device).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let passed: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_suffix(" yes"))
        .map(|name| name.trim().to_owned())
        .collect();
    if passed.is_empty() {
        return Err(io::Error::other(format!("{program} has no check that passes: {text}")));
    }
    Ok(passed)
}
