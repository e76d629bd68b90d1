//! Runs, pauses and stops a machine, and knows no protocol.
//!
//! | file | what it knows |
//! |---|---|
//! | `debuggee` | how a guest is run, stepped and found to have stopped |
//! | `requests` | how other threads reach a guest while its run goes on |
//! | `points` | breakpoints and log points that commands set, decided where the guest stops |
//! | `hits` | what happens where such a point is reached |
//! | `watchpoints` | data whose accesses stop the guest: by debug registers or by protected pages |
//! | `technique` | what breakpoints are made of on this host |
//! | `breakpoints` | where they are, and which of them get a debug register |
//! | `breakpoint_bytes` | the bytes that stand in for the guest's code while it runs |
//! | `steps` | one instruction, whatever it is, on every host |
//! | `lookahead` | what kind of instruction comes next |
//! | `handlers` | where the guest's exception handlers begin |
//! | `memory` | guest memory as a debugger addresses it |
//! | `stopped_guest` | what commands and requests reach of the guest |
//! | `facilities` | how breakpoints and steps work on this host |

pub(crate) mod breakpoint_bytes;
pub(crate) mod breakpoints;
pub(crate) mod debuggee;
pub(crate) mod facilities;
pub(crate) mod handlers;
pub(crate) mod hits;
pub(crate) mod lookahead;
pub(crate) mod memory;
pub mod points;
pub mod requests;
pub(crate) mod steps;
pub(crate) mod stopped_guest;
pub(crate) mod technique;
pub(crate) mod watchpoints;
