// SPDX-License-Identifier: MIT OR GPL-2.0
//! `rough DEVICE [NAME=NUMBER...] [PART...]`: treats a device, and the kernel under it, as no sane program does. Only for
//! the lab: a fault may take the whole machine down.
//!
//! Parts, all but `unload` unless some are named:
//!
//! - `machines`: random machines that run for a moment
//! - `ioctls`: random calls with random arguments
//! - `kills`: `kill -9` of processes with endless guests
//! - `foreign`, `forks`: file descriptors and memory that processes share
//! - `mappings`: the memory of slots changes under a running guest
//! - `hotplug`: a processor goes offline and comes online
//! - `in-use`: the module cannot be unloaded; `unload`: it can, at the end
//!
//! NAME is `seed`, `rounds` (4), or the number of `machines` (400), `ioctls` (100000) and `kills` (20) in a round. With
//! `abi=PROGRAM` the checks of `abi` that passed before the first round must pass after the last one. The exit status is
//! 0 if every part did as it should, the kernel did not complain and knows of no fault of its own (`self_checks.rs`), and
//! its memory did not grow by more than 256 KiB in every round after the first.

mod abi;
mod host;
mod ioctls;
mod kvm;
mod machines;
mod mappings;
mod processes;
mod self_checks;
mod signals;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::process::ExitCode;
use std::time::Instant;

use driver_tests::Random;
use self_checks::SelfChecks;

const PARTS: [&str; 8] = ["machines", "ioctls", "kills", "foreign", "forks", "mappings", "hotplug", "in-use"];
/// KiB by which the kernel's memory may grow from one round to the next.
const DRIFT: i64 = 256;

struct Options {
    path: String,
    /// The program `abi`.
    abi: Option<String>,
    numbers: BTreeMap<&'static str, usize>,
    parts: Vec<String>,
}

fn options() -> Option<Options> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next()?;
    let mut numbers =
        BTreeMap::from([("seed", 1), ("rounds", 4), ("machines", 400), ("ioctls", 100_000), ("kills", 20)]);
    let mut parts = Vec::new();
    let mut abi = None;
    for argument in arguments {
        if let Some(program) = argument.strip_prefix("abi=") {
            abi = Some(program.to_owned());
        } else if let Some((name, value)) = argument.split_once('=') {
            *numbers.get_mut(name)? = value.parse().ok()?;
        } else if argument == "unload" || PARTS.contains(&argument.as_str()) {
            parts.push(argument);
        } else {
            return None;
        }
    }
    if parts.iter().all(|part| part == "unload") {
        parts.splice(0..0, PARTS.map(str::to_owned));
    }
    Some(Options { path, abi, numbers, parts })
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("usage: rough DEVICE [NAME=NUMBER...] [PART...]");
        return ExitCode::from(2);
    };
    match run(&options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("rough: {}: {error}", options.path);
            ExitCode::from(2)
        }
    }
}

/// The number of failures.
fn run(options: &Options) -> io::Result<usize> {
    let mut log = host::KernelLog::new()?;
    let mut failures = 0;
    let self_checks = SelfChecks::begin(&options.path)?;
    let passed = abi_passed(options)?;
    let mut in_use = Vec::new();
    for round in 0..options.numbers["rounds"] {
        for part in options.parts.iter().filter(|part| *part != "unload") {
            let began = Instant::now();
            let (verdict, what) = match run_part(options, part, round) {
                Ok(what) => ("ok", what),
                Err(error) => ("FAILED", error.to_string()),
            };
            failures += usize::from(verdict != "ok");
            println!(
                "round {}, {part}: {verdict} ({:.1} s) {what}",
                round + 1,
                began.elapsed().as_secs_f32()
            );
            failures += complaints(&mut log);
        }
        in_use.push(host::memory_in_use()?);
    }
    println!("memory in use after each round, KiB: {in_use:?}");
    // What a processor keeps for itself comes and goes; what is lost is lost in every round.
    if let Some(growth) = in_use.windows(2).map(|rounds| rounds[1] - rounds[0]).min()
        && growth > DRIFT
    {
        println!("FAILED: it grew by {growth} KiB or more in every round, more than {DRIFT}");
        failures += 1;
    }
    failures += abi_missed(options, &passed)?;
    for (good, what) in self_checks.end()? {
        println!("{}{what}", if good { "" } else { "FAILED: " });
        failures += usize::from(!good);
    }
    failures += complaints(&mut log);
    if options.parts.iter().any(|part| part == "unload") {
        let result = host::unload(&options.path);
        failures += usize::from(result.is_err());
        println!("unload: {}", result.map_or_else(|error| format!("FAILED {error}"), |()| "ok".to_owned()));
        failures += complaints(&mut log);
    }
    println!("rough on {}, seed {}: {failures} failures", options.path, options.numbers["seed"]);
    Ok(failures)
}

/// The checks of the ABI that the device passes; none without the program.
fn abi_passed(options: &Options) -> io::Result<BTreeSet<String>> {
    options.abi.as_ref().map_or(Ok(BTreeSet::new()), |program| abi::passed(program, &options.path))
}

/// Prints which checks of those that passed before do not pass now. 1 if there are any.
fn abi_missed(options: &Options, before: &BTreeSet<String>) -> io::Result<usize> {
    if options.abi.is_none() {
        return Ok(0);
    }
    let now = abi_passed(options)?;
    let missed: Vec<_> = before.difference(&now).collect();
    match missed.as_slice() {
        [] => println!("ABI: {} checks pass as before", before.len()),
        missed => println!("FAILED: ABI: of {} checks that passed before: {missed:?}", before.len()),
    }
    Ok(usize::from(!missed.is_empty()))
}

/// Prints the kernel's complaints. 1 if there are any.
fn complaints(log: &mut host::KernelLog) -> usize {
    let complaints = log.complaints();
    for line in &complaints {
        println!("  kernel: {line}");
    }
    usize::from(!complaints.is_empty())
}

/// What there is to say about a part that succeeded.
fn run_part(options: &Options, part: &str, round: usize) -> io::Result<String> {
    let path = options.path.as_str();
    let place = PARTS.iter().position(|name| *name == part).unwrap_or(0);
    let mut random =
        Random::new(options.numbers["seed"] as u64 + (round * PARTS.len() + place) as u64 * 1_000_003);
    Ok(match part {
        "machines" => {
            let mut exits = machines::Exits::new();
            let count = options.numbers["machines"];
            machines::round(path, &mut random, count, &mut exits)?;
            let exits: Vec<_> = exits.iter().map(|(how, count)| format!("{how}: {count}")).collect();
            format!("{count} machines; {}", exits.join(", "))
        }
        "ioctls" => {
            let count = options.numbers["ioctls"];
            let (successes, killed) = ioctls::round(path, &mut random, count)?;
            format!("{count} calls, {successes} of them successful; {killed} processes ended by a signal")
        }
        "kills" => {
            let count = options.numbers["kills"];
            match processes::kills(path, &mut random, count)? {
                died if died == count => format!("{died} of {count}"),
                died => return Err(io::Error::other(format!("only {died} of {count} died"))),
            }
        }
        "foreign" => processes::foreign(path).map(|()| String::new())?,
        "forks" => processes::forks(path, 20).map(|()| String::new())?,
        "mappings" => mappings::changes(path, 10).map(|()| String::new())?,
        "hotplug" => match host::hotplug(path, 5)? {
            true => String::new(),
            false => "skipped: there is no second processor".to_owned(),
        },
        _ => host::unload_in_use(path).map(|()| String::new())?,
    })
}
