//! A test on a machine of its own, again if it fails.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::captured_output::CapturedOutput;
use super::evidence;
use super::guest_run::GuestRun;
use super::jobs::Plan;
use super::test_case::TestCase;
use super::verdict::{TestResult, Verdict};
use super::watcher::Watcher;
use crate::coverage::CoverageBreakpoints;
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
                evidence::save(self.plan.spec, &run, case, &mut result);
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
                    evidence::save(self.plan.spec, &run, case, &mut result);
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
                evidence::save(self.plan.spec, &run, case, &mut result);
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
        let mut machine = (self.make)(case.guest, MachineParts { inputs: inputs.clone(), outputs })?;
        let coverage = match self.plan.coverage.get(case.guest) {
            Some(code) => Some(
                CoverageBreakpoints::new(code.clone(), &mut machine)
                    .map_err(|error| GuestFailure { message: error.to_string(), by_host: true })?,
            ),
            None => None,
        };
        let Plan { settings, spec, .. } = self.plan;
        let output = CapturedOutput::new(reader, settings, &spec.criteria, spec.no_capture);
        let watcher = Watcher::start(output, inputs, doorbell).map_err(of_host)?;
        let mut run = GuestRun::new(machine, watcher, settings.timeout, spec.criteria.clone());
        run.set_coverage(coverage);
        Ok(run)
    }
}

/// A guest that cannot be run is a test that fails; a host that cannot run guests ends the run.
fn failed_or_stopped(failure: GuestFailure) -> Result<TestResult, GuestFailure> {
    if failure.by_host { Err(failure) } else { Ok(TestResult::failed(failure.message)) }
}
