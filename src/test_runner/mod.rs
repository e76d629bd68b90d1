//! The test runner: runs guests, decides whether they have passed, and reports it.
//!
//! `kvm test` ([`crate::app`]) finds the tests, makes the machines and starts [`run_all`]. Each job is a thread with a
//! machine of its own; a guest with several tests is started once per job, and its tests run from a snapshot in memory.
//! docs/testing.md is the contract with guests.
//!
//! | file | what it owns |
//! |---|---|
//! | `test_case` | a test, and which tests are selected |
//! | `captured_output` | what a guest has sent |
//! | `watcher` | the thread that empties the output queue and interrupts the guest for a look at it |
//! | `hang` | guests that will never go on |
//! | `endless_loop` | guests that come back to the same state, found by single steps |
//! | `guest_run` | a guest from its start, or from a snapshot, to the end of a test |
//! | `verdict` | whether that end is a success |
//! | `evidence` | files about tests that have failed |
//! | `job` | a test on a machine, again if it fails |
//! | `jobs` | all tests, several at a time, results in order |
//! | `report` | results as text, JSON or XML |

mod captured_output;
mod endless_loop;
mod evidence;
mod guest_run;
mod hang;
mod job;
mod jobs;
pub mod report;
mod test_case;
mod verdict;
mod watcher;

pub use job::{GuestFailure, MachineParts, MakeMachine};
pub use jobs::{Plan, run_all};
pub use test_case::{TestCase, guest_name, selected};
pub use verdict::{TestResult, Verdict};
