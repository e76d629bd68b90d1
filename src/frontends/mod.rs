//! The people side: the terminal, the far ends of the serial ports, the log.

pub mod check;
pub mod console;
pub mod console_client;
pub mod display;
pub mod keys;
pub mod log;
pub mod menu;
pub mod output;
pub mod painter;
pub mod serial_ends;
pub mod session;
pub mod signals;
pub mod terminal;
pub mod typist;
pub mod vscode;
pub mod words;
