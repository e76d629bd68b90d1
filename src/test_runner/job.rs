//! A test on a machine of its own, again if it fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::captured_output::CapturedOutput;
use super::guest_run::GuestRun;
use super::jobs::Plan;
use super::test_case::TestCase;
use super::verdict::{TestResult, Verdict};
use super::watcher::Watcher;
use crate::kvm::HostError;
use crate::machine::Machine;
use crate::machine::inputs::Inputs;
use crate::machine::output::{Doorbell, OutputQueue, output_queue};

/// Why a machine for a guest could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestFailure {
    /// The reason, for the user.
    pub message: String,
    /// The host is the reason: no other guest can be run, either.
    pub by_host: bool,
}

/// What connects a machine with its surroundings.
pub struct MachineParts {
    /// Its input queue.
    pub inputs: Inputs,
    /// Its output queue.
    pub outputs: OutputQueue,
}

/// Makes a machine with the guest of this number, which has not executed an instruction yet.
pub type MakeMachine<'a> = dyn Fn(usize, MachineParts) -> Result<Machine, GuestFailure> + Sync + 'a;

/// A guest with several tests.
enum Group {
    /// It waits for the number of a test.
    Ready(Box<GuestRun>),
    /// All of its tests have failed like this.
    Failed(Box<TestResult>),
}

/// Runs one test after another.
pub(super) struct Job<'a> {
    plan: &'a Plan<'a>,
    make: &'a MakeMachine<'a>,
    /// The guest that the last test belongs to, and its number.
    group: Option<(usize, Group)>,
}

impl<'a> Job<'a> {
    pub(super) fn new(plan: &'a Plan<'a>, make: &'a MakeMachine<'a>) -> Job<'a> {
        Job { plan, make, group: None }
    }

    /// Runs a test until it passes, as often as the user allows.
    ///
    /// # Errors
    ///
    /// [`GuestFailure`] if the host cannot run guests.
    pub(super) fn run(&mut self, case: &TestCase) -> Result<TestResult, GuestFailure> {
        if case.ignored {
            return Ok(TestResult::ignored());
        }
        let mut runs = 0;
        loop {
            runs += 1;
            // A panic is a failure of this test, and the machine is made anew.
            let result = catch_unwind(AssertUnwindSafe(|| self.run_once(case))).unwrap_or_else(|_| {
                self.group = None;
                Ok(TestResult::failed("a defect of kvm: the thread of this test has panicked.".to_owned()))
            })?;
            if result.verdict == Verdict::Passed || runs > self.plan.spec.retries {
                return Ok(TestResult { runs, ..result });
            }
        }
    }

    fn run_once(&mut self, case: &TestCase) -> Result<TestResult, GuestFailure> {
        match case.number {
            None => {
                self.group = None;
                let mut run = match self.new_run(case) {
                    Ok(run) => run,
                    Err(failure) => return failed_or_stopped(failure),
                };
                let mut result = run.run_whole(case);
                self.keep_screen(&run, case, &mut result);
                Ok(result)
            }
            Some(number) => self.run_in_group(case, number),
        }
    }

    fn run_in_group(&mut self, case: &TestCase, number: u32) -> Result<TestResult, GuestFailure> {
        if self.group.as_ref().is_none_or(|(guest, _)| *guest != case.guest) {
            self.group = None;
            let mut run = match self.new_run(case) {
                Ok(run) => Box::new(run),
                Err(failure) => return failed_or_stopped(failure),
            };
            let started = run.start_group(case);
            let group = match started {
                Ok(()) => Group::Ready(run),
                Err(mut result) => {
                    self.keep_screen(&run, case, &mut result);
                    Group::Failed(result)
                }
            };
            self.group = Some((case.guest, group));
        }
        let run = match self.group.take() {
            Some((guest, Group::Failed(result))) => {
                let copy = (*result).clone();
                self.group = Some((guest, Group::Failed(result)));
                return Ok(copy);
            }
            Some((_, Group::Ready(run))) => run,
            None => return Ok(TestResult::failed("the guest was not started.".to_owned())),
        };
        let mut run = run;
        match run.run_from_snapshot(case, number) {
            Ok(mut result) => {
                self.keep_screen(&run, case, &mut result);
                // After a crash a virtual machine is not used any more.
                if result.registers.is_none() {
                    self.group = Some((case.guest, Group::Ready(run)));
                }
                Ok(result)
            }
            Err(error) => Ok(TestResult::failed(error.to_string())),
        }
    }

    fn new_run(&self, case: &TestCase) -> Result<GuestRun, GuestFailure> {
        let of_host = |error: std::io::Error| GuestFailure {
            message: HostError::because("run a test", error).to_string(),
            by_host: true,
        };
        let doorbell = Doorbell::new().map_err(of_host)?;
        let (outputs, reader) = output_queue(doorbell.clone());
        let inputs = Inputs::new();
        let machine = (self.make)(case.guest, MachineParts { inputs: inputs.clone(), outputs })?;
        let Plan { settings, spec, .. } = self.plan;
        let output = CapturedOutput::new(reader, settings, &spec.criteria, spec.no_capture);
        let watcher = Watcher::start(output, inputs, doorbell).map_err(of_host)?;
        Ok(GuestRun::new(machine, watcher, settings.timeout, spec.criteria.clone()))
    }

    /// Saves the screen of a test that has failed, if the user wants that.
    fn keep_screen(&self, run: &GuestRun, case: &TestCase, result: &mut TestResult) {
        let Some(folder) = self.plan.spec.screenshots.as_deref() else { return };
        if result.verdict != Verdict::Failed {
            return;
        }
        let Some(shot) = run.screen() else { return };
        let file = folder.join(file_name(&case.name)).with_extension("png");
        match write(&file, &shot.picture().to_png()) {
            Ok(()) => result.screenshot = Some(file),
            Err(error) => {
                result.reason += &format!(" The screen could not be saved in {}: {error}.", file.display());
            }
        }
    }
}

fn write(file: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, content)
}

/// A file name for a test, which may be called anything.
fn file_name(test: &str) -> String {
    let letter = |letter: char| if letter.is_alphanumeric() || "-_".contains(letter) { letter } else { '-' };
    test.replace("::", "-").chars().take(100).map(letter).collect()
}

/// A guest that cannot be run is a test that fails; a host that cannot run guests ends the run.
fn failed_or_stopped(failure: GuestFailure) -> Result<TestResult, GuestFailure> {
    if failure.by_host { Err(failure) } else { Ok(TestResult::failed(failure.message)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_test_has_a_file_name() {
        assert_eq!(file_name("heap::grows twice/../x"), "heap-grows-twice----x");
        assert_eq!(file_name(&"x".repeat(5000)).len(), 100);
    }
}
