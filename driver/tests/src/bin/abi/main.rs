// SPDX-License-Identifier: MIT OR GPL-2.0
//! Whether a device has the KVM ABI, one check at a time:
//!
//!     abi [--only WORD] DEVICE             a table of the checks
//!     abi [--only WORD] DEVICE DEVICE      of both, in one boot; the first one is the reference
//!     abi --speed DEVICE [DEVICE]          how fast they are, by turns
//!     abi --restart reset|KERNEL DEVICE DEVICE    restarts the machine while the last one has a guest, by a reset or by
//!                                          kexec; started again there, checks that both have guests and exclude each other
//!
//! The exit status is 0 unless the last device misses a check that the reference passes. With one device there is no
//! reference, and each missed check counts. With two, it is also checked that they exclude each other: one has virtual
//! machines while the other has none.
//!
//! Each check is a process of its own with a time limit, so none can spoil the next one.

mod checks;
mod exclusion;
mod guest;
mod kvm;
mod process;
mod restart;
mod speed;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use checks::CHECKS;

/// Why a check has failed.
type Outcome = Result<(), String>;

/// Without a usable command line.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut only = String::new();
    let mut measures = false;
    let mut restarts = None;
    let mut devices: Vec<PathBuf> = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--only" => only = arguments.next().unwrap_or_default(),
            "--restart" => restarts = arguments.next(),
            "--speed" => measures = true,
            _ => devices.push(argument.into()),
        }
    }
    if devices.is_empty() || devices.len() > 2 {
        eprintln!("use: abi [--only WORD | --speed | --restart reset|KERNEL] DEVICE [DEVICE]");
        return ExitCode::from(USAGE);
    }
    for device in &devices {
        if let Err(error) = kvm::File::open(device) {
            eprintln!("{}: {error}", device.display());
            return ExitCode::from(USAGE);
        }
    }
    if let (Some(how), [one, other]) = (restarts, &devices[..]) {
        return after_restart(&how, one, other);
    }
    let passed = if measures { speed::compare(&devices) } else { compare(&devices, &only) };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Restarts the machine while `other` has a guest. In the new kernel both devices must have guests.
fn after_restart(how: &str, one: &Path, other: &Path) -> ExitCode {
    let kernel = (how != "reset").then(|| Path::new(how));
    match restart::is_over(kernel) {
        Ok(true) if report_exclusion(one, other) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::FAILURE,
        before => {
            let error = before.and_then(|_| restart::restart(other, kernel)).err();
            eprintln!("{}", error.unwrap_or_default());
            ExitCode::from(USAGE)
        }
    }
}

/// Prints the table; true if the last device misses nothing that the reference has.
fn compare(devices: &[PathBuf], only: &str) -> bool {
    let mut reasons = Vec::new();
    let mut counts = vec![0; devices.len()];
    let mut missed = 0;
    let mut all = 0;
    println!("{:62}{}", "", devices.iter().map(|it| format!(" {:>11}", it.display())).collect::<String>());
    for (name, check) in CHECKS.iter().filter(|(name, _)| name.contains(only)) {
        let results: Vec<Outcome> = devices.iter().map(|device| process::run(|| check(device))).collect();
        let mut line = format!("{name:62}");
        for ((device, result), count) in devices.iter().zip(&results).zip(&mut counts) {
            line += &format!(" {:>11}", if result.is_ok() { "yes" } else { "no" });
            match result {
                Ok(()) => *count += 1,
                Err(reason) => reasons.push((device, name, reason.clone())),
            }
        }
        let is_missed =
            results.last().is_some_and(Result::is_err) && (results.len() == 1 || results[0].is_ok());
        missed += u32::from(is_missed);
        println!("{line}{}", if is_missed && results.len() > 1 { "  missed" } else { "" });
        all += 1;
    }
    println!(
        "{:62}{}",
        format!("of {all}"),
        counts.iter().map(|it| format!(" {it:>11}")).collect::<String>()
    );
    let mut excluded = true;
    if let [one, other] = devices
        && one != other
        && only.is_empty()
    {
        excluded = report_exclusion(one, other);
    }
    if !reasons.is_empty() {
        println!();
    }
    for (device, name, reason) in reasons {
        println!("{}: {name}: {reason}", device.display());
    }
    missed == 0 && excluded
}

/// Prints whether the two devices exclude each other; true if so.
fn report_exclusion(one: &Path, other: &Path) -> bool {
    let results =
        [(one, other), (other, one)].map(|(first, second)| process::run(|| exclusion::check(first, second)));
    for (result, (first, second)) in results.iter().zip([(one, other), (other, one)]) {
        let (first, second) = (first.display(), second.display());
        match result {
            Ok(()) => println!("while {first} has a virtual machine, {second} has none: yes"),
            Err(reason) => println!("while {first} has a virtual machine, {second} has none: no, {reason}"),
        }
    }
    results.iter().all(Result::is_ok)
}
