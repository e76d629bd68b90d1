//! Runs, pauses and stops a machine, and knows no protocol.
//!
//! | file | what it owns |
//! |---|---|
//! | `run` | the loop that runs a machine for its whole life |
//! | `guest_state` | what the guest is doing, and the data of each state |
//! | `run_control` | how a debugged guest is run, stepped and stopped |
//! | `resumption` | which CPUs run, step and stay when the guest goes on |
//! | `time_share` | the time that other CPUs get while one is stepped |
//! | `per_cpu` | a value that each CPU may have |
//! | `console_control` | how a guest without a debugger is run and stepped from the console |
//! | `periodic_attention` | stops such a guest at intervals |
//! | `front_end` | what is needed of a debugger front end |
//! | `resume_actions` | what each vCPU does when the guest goes on |
//! | `request_queue` | how other threads reach a guest while its run goes on |
//! | `command_interpreter` | how command lines reach the room that knows the commands |
//! | `stopped_machine` | a stopped machine as commands and requests see it |
//! | `machine_access` | the implementation of that for the supervisor |
//! | `mode_trace` | changes of the processors' modes in the log |
//! | `session` | what commands have set |
//! | `migrator` | how a migration is started |
//! | `notice` | what consoles are sent without having asked |
//! | `points` | breakpoints and log points that commands set |
//! | `stop_classification` | how a stop at such a point is decided |
//! | `magic_breakpoints` | stops that the guest asks for itself |
//! | `exception_catch` | exceptions that stop the guest, or are logged, in its own handler |
//! | `watchpoints` | data whose accesses stop the guest: by debug registers or by protected pages |
//! | `debug_facilities` | all that stops the guest, in one place |
//! | `technique` | what breakpoints are made of on this host |
//! | `breakpoints` | where they are, and which of them get a debug register |
//! | `breakpoint_bytes` | the bytes that stand in for the guest's code while it runs |
//! | `steps` | one instruction, whatever it is, on every host |
//! | `lookahead` | what kind of instruction comes next |
//! | `handlers` | where the guest's exception handlers begin |
//! | `memory` | guest memory as a debugger addresses it |
//! | `facilities` | how breakpoints and steps work on this host |

pub(crate) mod breakpoint_bytes;
pub(crate) mod breakpoints;
pub mod command_interpreter;
mod console_control;
pub(crate) mod debug_facilities;
pub mod exception_catch;
pub(crate) mod explain;
pub mod facilities;
pub(crate) mod front_end;
pub(crate) mod guest_state;
pub(crate) mod handlers;
pub(crate) mod lookahead;
mod machine_access;
mod magic_breakpoints;
pub(crate) mod memory;
pub mod migrator;
mod mode_trace;
pub mod notice;
mod per_cpu;
pub(crate) mod periodic_attention;
pub mod points;
pub mod request_queue;
pub(crate) mod resume_actions;
mod resumption;
pub(crate) mod run;
pub(crate) mod run_control;
pub mod session;
pub(crate) mod steps;
pub(crate) mod stop_classification;
pub mod stopped_machine;
pub(crate) mod technique;
mod time_share;
pub(crate) mod watchpoints;
