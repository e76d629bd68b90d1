//! The functions that execute the commands, by subject.

pub(super) mod machine;
pub(super) mod memory;
pub(super) mod migration;
pub(super) mod points;
pub(super) mod running;
pub(super) mod screen_and_keyboard;
pub(super) mod snapshots;
pub(super) mod state;
mod values;
