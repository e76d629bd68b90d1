//! The functions that execute the commands, by subject.

pub(super) mod catch;
pub(super) mod crash_files;
pub(super) mod examine;
pub(super) mod find;
pub(super) mod interrupts;
pub(super) mod lint;
pub(super) mod machine;
pub(super) mod memory;
pub(super) mod migration;
pub(super) mod paging;
pub(super) mod pci;
pub(super) mod points;
pub(super) mod recorded;
pub(super) mod registers;
pub(super) mod running;
pub(super) mod screen_and_keyboard;
pub(super) mod segments;
pub(super) mod snapshots;
pub(super) mod state;
pub(super) mod stepping;
pub(super) mod symbols;
mod values;
