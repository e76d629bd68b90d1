//! Coverage: which lines and functions of a guest file have been run, by breakpoints that stop the guest once.
//!
//! [`CoveredCode`] is what is known of a guest file, shared by all machines that run it. Each machine has its
//! [`CoverageBreakpoints`]: whoever runs it inserts them before the guest's first instruction, and passes on each debug
//! stop. A block that was hit counts for all machines, and costs none of them that starts later a stop.
//!
//! | file | what it owns |
//! |---|---|
//! | `blocks` | where the basic blocks of the code begin |
//! | `covered_code` | the rows, blocks and functions of a guest file, and which have been run |
//! | `code_bytes` | the bytes of the code |
//! | `copied_code` | breakpoints that the guest has copied with its code |
//! | `breakpoints` | the breakpoints in the memory of a machine |
//! | `report` | lines and functions by source file, of all guests together |
//! | `lcov` | the report as an lcov tracefile |
//! | `summary` | the report as a table for the user |

mod blocks;
mod breakpoints;
mod code_bytes;
mod copied_code;
mod covered_code;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod lcov;
mod report;
mod summary;

pub use breakpoints::CoverageBreakpoints;
pub use covered_code::{CoverageProblem, CoveredCode};
pub use report::{CoverageReport, FileCoverage};
pub use summary::summary;
