//! The user interface: terminal, serial backends, log, console, `kvm check`, `kvm inspect`, and files for
//! editors.
//!
//! [`session`] owns the thread that serves the terminal and the serial backends while a guest runs. Everything
//! reaches the machine through its input queue, and leaves it through its output queues.

pub mod check;
pub mod console;
pub mod console_client;
pub mod dashboard;
pub mod display;
mod file_id;
pub mod guest_description;
pub mod keys;
pub mod line_merger;
pub mod log;
pub mod menu;
pub mod messages;
mod mouse_reports;
pub mod output;
pub mod output_router;
pub mod painter;
pub mod pictures;
pub mod serial_backend;
pub mod session;
pub mod signals;
pub mod snapshot;
pub mod terminal;
pub mod terminal_input;
pub mod vscode;
