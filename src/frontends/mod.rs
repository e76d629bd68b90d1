//! The people side: the terminal, the far ends of the serial ports, the log.

pub mod check;
pub mod cp437;
pub mod display;
pub mod keys;
pub mod layouts;
pub mod log;
pub mod menu;
pub mod output;
pub mod painter;
pub mod serial_ends;
pub mod session;
pub mod signals;
pub mod snapshot;
pub mod terminal;
pub mod typist;
pub mod vscode;
pub mod words;
