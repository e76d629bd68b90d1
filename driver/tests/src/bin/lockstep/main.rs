// SPDX-License-Identifier: MIT OR GPL-2.0
//! `lockstep DEVICE FILE [lenient|several]`: runs the programs of FILE (lockstep/make_cases.py) instruction by instruction on the device,
//! and compares registers, flags, accesses and memory with those of the emulator after each. The first difference of a
//! program is reported, with the instruction and both states.
//!
//! With `lenient` an instruction that the device refuses (KVM_EXIT_INTERNAL_ERROR) is counted and passed over: some
//! hosts run guests with an emulator of KVM's that does not have all of them. With `several` flags behind locked
//! instructions do not count: QEMU with several processors loses them (undefined.rs).
//!
//! Exit status: 0 if there is none, 1 if there are, 2 if the device or the file cannot be used.

mod cases;
mod compare;
mod device;
mod undefined;

use std::process::ExitCode;

use compare::{Allowed, Difference, Outcome, Shadow};
use device::Device;

/// So many programs with differences are reported.
const REPORTED: usize = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, file, allowed) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [path, file] => (path, file, Allowed::default()),
        [path, file, "lenient"] => (path, file, Allowed { refusals: true, ..Allowed::default() }),
        [path, file, "several"] => (path, file, Allowed { lost_flags: true, ..Allowed::default() }),
        _ => {
            eprintln!("usage: lockstep DEVICE FILE [lenient|several]");
            return ExitCode::from(2);
        }
    };
    match run(path, file, allowed) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lockstep: {error}");
            ExitCode::from(2)
        }
    }
}

/// The number of programs with differences.
fn run(path: &str, file: &str, allowed: Allowed) -> Result<usize, String> {
    let bytes = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    let cases = cases::read(&bytes).map_err(|error| format!("{file}: {error}"))?;
    let mut device = Device::new(path).map_err(|error| format!("{path}: {error}"))?;
    let mut outcome = Outcome { allowed, ..Outcome::default() };
    let mut different = 0;
    for case in &cases {
        let mut found = Shadow::new(case).run(&mut device, false, &mut outcome);
        if matches!(found, Ok(Err(Difference::Memory { .. }))) {
            // At the end of a program; once more, to find the instruction.
            found = Shadow::new(case).run(&mut device, true, &mut Outcome { allowed, ..Outcome::default() });
        }
        if let Err(difference) = found.map_err(|error| format!("{path}: {error}"))? {
            different += 1;
            if different <= REPORTED {
                print!("{}", compare::report(case, &difference, path));
            }
        }
    }
    println!(
        "lockstep on {path}: {} programs, {} instructions, {} accesses; {different} programs differ",
        cases.len(),
        outcome.steps,
        outcome.accesses,
    );
    if outcome.passed_over > 0 {
        println!("{} instructions were passed over", outcome.passed_over);
    }
    if outcome.later > 0 {
        println!("{} stops came an instruction or more later, after STI, MOV SS or POP SS", outcome.later);
    }
    Ok(different)
}
