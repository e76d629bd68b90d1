//! `kvm test`: finds the tests of the guests, and runs them.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use super::coverage::Coverage;
use super::failure_status::boot_status;
use super::new_machine::{
    add_symbols, boot_options, find_protocol, memory_size, needs_framebuffer, open_guest,
};
use super::{Failure, disks, fail, log_header, machine_with_disks};
use crate::boot::{self, GuestTest, TestSection};
use crate::frontends::log;
use crate::inspect::translate::read_virtual;
use crate::machine::Machine;
use crate::machine::outcome::status;
use crate::memory::GuestMemory;
use crate::settings::{Settings, TestFormat, TestSpec};
use crate::test_runner::report::{list, report};
use crate::test_runner::{GuestFailure, MachineParts, Plan, TestCase, guest_name, run_all, selected};

/// The exit status if a test has failed, as libtest's.
const FAILED: u8 = 101;

/// Runs the tests; returns the exit status.
#[cold]
pub(super) fn run(settings: &Settings, spec: &TestSpec, arguments: Vec<OsString>) -> u8 {
    // Held until the end: dropping it writes the last lines. Tests have no log unless the user names one.
    let header = {
        let settings = settings.clone();
        move || log_header::lines(&arguments, &settings)
    };
    let log = settings.log.file_chosen.then(|| log::start(&settings.log, settings.display, header));
    let _log = match log.transpose() {
        Ok(log) => log,
        Err(error) => return fail(Failure::new(status::HOST, error)),
    };
    run_tests(settings, spec).unwrap_or_else(fail)
}

fn run_tests(settings: &Settings, spec: &TestSpec) -> Result<u8, Failure> {
    let guests: Vec<Settings> = spec.guests.iter().map(|guest| settings_of(guest, settings)).collect();
    let mut all = Vec::new();
    for (number, (file, guest)) in spec.guests.iter().zip(&guests).enumerate() {
        all.extend(tests_of(number, file, guest, guests.len() > 1)?);
    }
    let (tests, filtered_out) = selected(all, &spec.selection);
    let mut out = Box::new(io::stdout());
    if spec.list {
        // The reader may close the pipe early.
        let _ = out.write_all(list(&tests, spec.format == TestFormat::Terse).as_bytes());
        return Ok(status::HALTED);
    }
    let coverage = match &spec.coverage {
        Some(file) => Some(Coverage::prepare(file, &guests)?),
        None => None,
    };
    let terminal = out.is_terminal() && !spec.no_capture;
    let mut report = report(spec.format, spec.show_output, terminal, out);
    let plan = Plan {
        tests: &tests,
        filtered_out,
        settings,
        spec,
        coverage: coverage.as_ref().map_or(&[], Coverage::guests),
    };
    let make = |guest: usize, parts: MachineParts| {
        machine(&guests[guest], parts).map_err(|failure| GuestFailure {
            by_host: failure.status == status::HOST,
            message: failure.message,
        })
    };
    let ran = run_all(&plan, &make, report.as_mut());
    if let Some(coverage) = &coverage {
        // Also of a run that has not come to its end.
        coverage.write(spec.format)?;
    }
    let summary = ran.map_err(|failure| Failure::new(status::HOST, failure.message))?;
    Ok(if summary.is_success() { status::HALTED } else { FAILED })
}

/// The settings of the run of a guest file, from those of the first one.
fn settings_of(file: &Path, settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    match settings.disks.first_mut() {
        // Firmware is what runs, and the file is its first disk.
        Some(disk) if settings.boot.bios.is_some() => disk.path = file.to_owned(),
        _ => settings.guest = file.to_owned(),
    }
    settings
}

/// A machine with a guest that has not executed an instruction yet.
fn machine(settings: &Settings, parts: MachineParts) -> Result<Machine, Failure> {
    let disks = disks::open(settings)?;
    let mut machine = machine_with_disks(settings, disks, parts.inputs, parts.outputs)?;
    add_symbols(&mut machine, settings)?;
    Ok(machine)
}

/// The tests of a guest: itself, unless its file has a table of tests.
fn tests_of(
    number: usize,
    file: &Path,
    settings: &Settings,
    prefixed: bool,
) -> Result<Vec<TestCase>, Failure> {
    let name = guest_name(file);
    let Some(tests) = table_of(settings)? else { return Ok(vec![TestCase::whole_guest(number, name)]) };
    let tests = (0..).zip(tests);
    let mut tests: Vec<TestCase> =
        tests.map(|(index, test)| TestCase::of_guest(number, &name, index, test, prefixed)).collect();
    // The order of the table is the linker's.
    tests.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(tests)
}

/// The table of tests in a guest file, as the guest finds it at its first instruction. For this it is loaded into memory
/// that no machine has.
fn table_of(settings: &Settings) -> Result<Option<Vec<GuestTest>>, Failure> {
    let image = open_guest(settings)?;
    let image = image.as_ref();
    let Some(section) = TestSection::find(image) else { return Ok(None) };
    let options = boot_options(settings);
    let found = find_protocol(image, &options)?;
    let size = memory_size(settings, image, &options, found.protocol);
    let of_host = |error: crate::memory::MemoryError| Failure::new(status::HOST, error);
    let memory = GuestMemory::new(size).map_err(of_host)?;
    if needs_framebuffer(settings, image, found.protocol) {
        memory.add_video_memory().map_err(of_host)?;
    }
    let loaded =
        boot::load_as(found, image, &memory, &options).map_err(|e| Failure::new(boot_status(&e), e))?;
    let read = |address, into: &mut [u8]| {
        let (registers, _) = loaded.start_state();
        read_virtual(&memory, registers, address, into) == into.len()
    };
    let problem =
        |error| Failure::new(status::GUEST_FILE, format_args!("{}: {error}", settings.guest.display()));
    section.tests(loaded.symbols.bias(), &read).map(Some).map_err(problem)
}
