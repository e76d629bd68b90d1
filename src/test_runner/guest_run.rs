//! A guest from its start, or from the snapshot before its tests, to the end of a test.

use std::time::{Duration, Instant};

use super::endless_loop::{Followed, LoopSearch};
use super::hang;
use super::test_case::TestCase;
use super::verdict::{Evidence, TestEnd, TestResult, Verdict, failure};
use super::watcher::Watcher;
use crate::coverage::CoverageBreakpoints;
use crate::inspect::crash::CrashReport;
use crate::inspect::screen::{Shot, plain_text};
use crate::inspect::{dump, report};
use crate::kvm::HostError;
use crate::machine::snapshots::{InMemorySnapshotError, Snapshots};
use crate::machine::{CpuId, Event, Machine, Outcome};
use crate::settings::TestCriteria;

/// How long a guest may go on after it has sent a text that makes the test fail.
const AFTER_FAILURE: Duration = Duration::from_millis(200);
/// Name of the snapshot before the first test.
const START: &str = "start";

/// A machine with a guest that is run as a test, or has several.
pub(super) struct GuestRun {
    machine: Machine,
    watcher: Watcher,
    snapshots: Snapshots,
    timeout: Option<Duration>,
    criteria: TestCriteria,
    /// Its breakpoints, if coverage is measured.
    coverage: Option<CoverageBreakpoints>,
    /// How the last test ended.
    end: Option<TestEnd>,
}

impl GuestRun {
    /// A guest that has not executed an instruction yet.
    pub(super) fn new(
        machine: Machine,
        watcher: Watcher,
        timeout: Option<Duration>,
        criteria: TestCriteria,
    ) -> GuestRun {
        let snapshots = Snapshots::default();
        GuestRun { machine, watcher, snapshots, timeout, criteria, coverage: None, end: None }
    }

    /// Its machine has the breakpoints of `coverage`.
    pub(super) fn set_coverage(&mut self, coverage: Option<CoverageBreakpoints>) {
        self.coverage = coverage;
    }

    /// Runs a guest that is a test.
    pub(super) fn run_whole(&mut self, case: &TestCase) -> TestResult {
        let started = Instant::now();
        self.watcher.begin();
        let end = self.run_to_end(started);
        self.watcher.end();
        self.result(case, end, started)
    }

    /// Starts a guest that has several tests, until it asks for one, and takes the snapshot that each of them starts from.
    ///
    /// # Errors
    ///
    /// The result of all of its tests, if the guest does not come so far.
    pub(super) fn start_group(&mut self, case: &TestCase) -> Result<(), Box<TestResult>> {
        self.machine.connect_test_port();
        let started = Instant::now();
        self.watcher.begin();
        let end = self.run_to_end(started);
        self.watcher.end();
        let TestEnd::AsksForNext = end else {
            let message = self.message(&end).0;
            let mut result = self.result(case, end, started);
            result.reason = format!("the guest has not asked for a test (port 0xf8): {message}");
            result.verdict = Verdict::Failed;
            return Err(Box::new(result));
        };
        self.take_snapshot().map_err(|error| Box::new(TestResult::failed(error.to_string())))
    }

    /// Takes the snapshot; it has no breakpoints.
    fn take_snapshot(&mut self) -> Result<(), InMemorySnapshotError> {
        if let Some(coverage) = &mut self.coverage {
            coverage.remove(self.machine.memory());
        }
        self.snapshots.take(&mut self.machine, START, None)?;
        if let Some(coverage) = &mut self.coverage {
            coverage.insert(&mut self.machine)?;
        }
        Ok(())
    }

    /// Runs a test of a guest that [`Self::start_group`] has started: the one with this number in its table.
    ///
    /// # Errors
    ///
    /// If the snapshot cannot be restored: the machine is of no more use.
    pub(super) fn run_from_snapshot(
        &mut self,
        case: &TestCase,
        number: u32,
    ) -> Result<TestResult, InMemorySnapshotError> {
        let started = Instant::now();
        self.snapshots.restore(&mut self.machine, START)?;
        if let Some(coverage) = &mut self.coverage {
            coverage.renew(&mut self.machine)?;
        }
        self.machine.connect_test_port();
        self.answer(number)?;
        self.watcher.begin();
        let end = self.run_to_end(started);
        self.watcher.end();
        Ok(self.result(case, end, started))
    }

    /// Gives the guest the number of a test, behind the instruction that has asked for it.
    fn answer(&mut self, number: u32) -> Result<(), HostError> {
        let mut registers = self.machine.cpu(CpuId::BOOT).general_registers()?;
        registers.rax = number.into();
        self.machine.set_general_registers(CpuId::BOOT, &registers)
    }

    fn run_to_end(&mut self, started: Instant) -> TestEnd {
        let mut failing_since = None;
        let mut search = LoopSearch::new();
        let mut met = None;
        loop {
            match met.take().unwrap_or_else(|| self.machine.run_to_event()) {
                Event::End(outcome) => return TestEnd::Outcome(outcome),
                Event::StopRequested => return TestEnd::AsksForNext,
                Event::ResetRequested => {
                    if let Event::End(outcome) = self.machine.perform_reset() {
                        return TestEnd::Outcome(outcome);
                    }
                }
                Event::Attention => {
                    if let Some(end) = self.look(started, &mut failing_since) {
                        return end;
                    }
                    match search.look(&mut self.machine, self.coverage.as_mut()) {
                        Ok(Followed::Endless(reason)) => return TestEnd::Hangs(reason),
                        Ok(Followed::Event(event)) => met = Some(event),
                        Ok(Followed::Unknown) => {}
                        Err(error) => return TestEnd::Outcome(Outcome::HostFailed(error)),
                    }
                }
                Event::Debug(stop) => {
                    let Some(coverage) = &mut self.coverage else { continue };
                    match coverage.stopped(&mut self.machine, &stop) {
                        Ok(event) => met = event,
                        Err(error) => return TestEnd::Outcome(Outcome::HostFailed(error)),
                    }
                }
                // Of these, a test has none.
                Event::Reset | Event::WatchedAccess(_) => {}
            }
        }
    }

    /// Decides whether a guest that goes on has come to the end of the test.
    fn look(&self, started: Instant, failing_since: &mut Option<Instant>) -> Option<TestEnd> {
        let output = self.watcher.output();
        if output.failing().is_some() {
            let since = *failing_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= AFTER_FAILURE {
                return Some(TestEnd::Failing);
            }
        } else if self.expects_text() && output.has_all_expected() && self.missing_on_screen().is_empty() {
            return Some(TestEnd::Expected);
        }
        drop(output);
        if self.timeout.is_some_and(|timeout| started.elapsed() >= timeout) {
            return Some(TestEnd::Outcome(Outcome::TimedOut));
        }
        match hang::reason(&self.machine) {
            Ok(reason) => reason.map(TestEnd::Hangs),
            Err(error) => Some(TestEnd::Outcome(Outcome::HostFailed(error))),
        }
    }

    fn expects_text(&self) -> bool {
        !self.criteria.expected.is_empty() || !self.criteria.expected_on_screen.is_empty()
    }

    fn missing_on_screen(&self) -> Vec<String> {
        let expected = &self.criteria.expected_on_screen;
        if expected.is_empty() {
            return Vec::new();
        }
        let screen = plain_text(&self.machine.screen().cells());
        expected.iter().filter(|text| !screen.contains(text.as_str())).cloned().collect()
    }

    /// How the test ended, in words, and the registers after a crash.
    fn message(&self, end: &TestEnd) -> (String, Option<String>) {
        match end {
            TestEnd::Outcome(outcome) => {
                let crash = CrashReport::capture(&self.machine, outcome);
                let message = report::message(outcome, crash.as_ref(), None);
                (message, crash.as_ref().and_then(dump::dump_crash))
            }
            TestEnd::AsksForNext => ("the test has returned.".to_owned(), None),
            TestEnd::Expected => ("the expected text has come.".to_owned(), None),
            TestEnd::Failing => ("the guest went on.".to_owned(), None),
            TestEnd::Hangs(reason) => (reason.clone(), None),
        }
    }

    fn result(&mut self, case: &TestCase, end: TestEnd, started: Instant) -> TestResult {
        let time = started.elapsed();
        if !matches!(
            end,
            TestEnd::AsksForNext | TestEnd::Expected | TestEnd::Outcome(Outcome::DebugExit { .. })
        ) && let Some(coverage) = &mut self.coverage
        {
            // What is reported shows the guest's own code.
            coverage.remove(self.machine.memory());
        }
        let (message, registers) = self.message(&end);
        let output = self.watcher.output();
        let missing_on_screen = self.missing_on_screen();
        let evidence = Evidence { criteria: &self.criteria, output: &output, missing_on_screen };
        let failure = failure(case, &end, &message, &evidence);
        let result = TestResult {
            verdict: if failure.is_some() { Verdict::Failed } else { Verdict::Passed },
            output: output.text(),
            reason: failure.unwrap_or(message),
            registers,
            notes: Vec::new(),
            time,
            runs: 1,
        };
        drop(output);
        self.end = Some(end);
        result
    }

    /// How the run ended, if the last test has ended with that.
    pub(super) fn outcome(&self) -> Option<&Outcome> {
        match &self.end {
            Some(TestEnd::Outcome(outcome)) => Some(outcome),
            _ => None,
        }
    }

    /// The machine, whose test is over.
    pub(super) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The screen, if the guest has put anything on it.
    pub(super) fn screen(&self) -> Option<Shot> {
        let screen = self.machine.screen();
        let colours = self.machine.board().vga().colours();
        screen.in_use().then(|| Shot {
            cells: screen.cells(),
            view: screen.view(),
            colours,
            frame: screen.picture(),
        })
    }
}
