//! All tests, several at a time. Results are reported in the order of the tests, whichever is done first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use super::job::{GuestFailure, Job, MakeMachine};
use super::report::{TestReport, TestSummary};
use super::test_case::TestCase;
use super::verdict::TestResult;
use crate::coverage::CoveredCode;
use crate::settings::{Settings, TestSpec};

/// What is run, and how.
pub struct Plan<'a> {
    /// The tests.
    pub tests: &'a [TestCase],
    /// Tests that are not selected.
    pub filtered_out: usize,
    /// How guests are run.
    pub settings: &'a Settings,
    /// How tests are run.
    pub spec: &'a TestSpec,
    /// The code of each guest, by its number, if coverage is measured; empty otherwise.
    pub coverage: &'a [Arc<CoveredCode>],
}

/// What a job reports.
enum Progress {
    Started(usize),
    Done(usize, TestResult),
    Stopped(GuestFailure),
}

/// Runs all tests and reports them.
///
/// # Errors
///
/// [`GuestFailure`] if the host cannot run guests; the tests are not all reported then.
pub fn run_all(
    plan: &Plan,
    make: &MakeMachine,
    report: &mut dyn TestReport,
) -> Result<TestSummary, GuestFailure> {
    let started = Instant::now();
    report.begin(plan.tests.len());
    let mut collector = Collector {
        tests: plan.tests,
        early: BTreeMap::new(),
        next: 0,
        running: Vec::new(),
        summary: TestSummary { filtered_out: plan.filtered_out, ..TestSummary::default() },
    };
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let processors = || thread::available_parallelism().map_or(1, usize::from);
    let jobs = plan.spec.jobs.unwrap_or_else(processors).min(plan.tests.len());
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..jobs {
            let sender = sender.clone();
            scope.spawn(|| work(plan, make, &next, &stop, sender));
        }
        drop(sender);
        for progress in receiver {
            match progress {
                Progress::Started(index) => collector.running.push(index),
                Progress::Done(index, result) => collector.done(index, result, report),
                Progress::Stopped(failure) => {
                    stop.store(true, Ordering::Relaxed);
                    return Err(failure);
                }
            }
            let running: Vec<&str> =
                collector.running.iter().map(|&index| plan.tests[index].name.as_str()).collect();
            report.progress(collector.next + collector.early.len(), &running);
        }
        Ok(())
    })?;
    let mut summary = collector.summary;
    summary.time = started.elapsed();
    report.end(&summary);
    Ok(summary)
}

/// Takes one test after another until none is left.
fn work(
    plan: &Plan,
    make: &MakeMachine,
    next: &AtomicUsize,
    stop: &AtomicBool,
    progress: mpsc::Sender<Progress>,
) {
    let mut job = Job::new(plan, make);
    while !stop.load(Ordering::Relaxed) {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(test) = plan.tests.get(index) else { break };
        // The receiver is gone once another job has stopped the run.
        let _ = progress.send(Progress::Started(index));
        let _ = progress.send(match job.run(test) {
            Ok(result) => Progress::Done(index, result),
            Err(failure) => Progress::Stopped(failure),
        });
    }
}

/// Brings results into the order of the tests.
struct Collector<'a> {
    tests: &'a [TestCase],
    /// Results of tests before which others are not done.
    early: BTreeMap<usize, TestResult>,
    /// The next test to be reported.
    next: usize,
    running: Vec<usize>,
    summary: TestSummary,
}

impl Collector<'_> {
    fn done(&mut self, index: usize, result: TestResult, report: &mut dyn TestReport) {
        self.running.retain(|running| *running != index);
        self.early.insert(index, result);
        while let Some(result) = self.early.remove(&self.next) {
            let test = &self.tests[self.next];
            report.result(test, &result);
            self.summary.add(test, result);
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_runner::report::testing::Names;

    #[test]
    fn results_are_reported_in_the_order_of_the_tests() {
        let tests = ["a", "b", "c"].map(|name| TestCase::whole_guest(0, name.to_owned()));
        let mut collector = Collector {
            tests: &tests,
            early: BTreeMap::new(),
            next: 0,
            running: vec![0, 2],
            summary: TestSummary::default(),
        };
        let mut report = Names::default();
        collector.done(2, TestResult::ignored(), &mut report);
        assert_eq!((report.0.as_str(), &collector.running[..]), ("", &[0][..]));
        collector.done(0, TestResult::failed("x".to_owned()), &mut report);
        assert_eq!(report.0, "a ");
        collector.done(1, TestResult::ignored(), &mut report);
        assert_eq!(report.0, "a b c ");
        assert_eq!((collector.summary.failures.len(), collector.summary.ignored), (1, 2));
    }
}
