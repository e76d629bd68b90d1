//! The people side: the terminal, the far ends of the serial ports, the log.

pub mod cp437;
pub mod keys;
pub mod layouts;
pub mod log;
pub mod painter;
