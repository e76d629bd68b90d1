//! The devices of the machine, one per file, each a plain register machine.
//!
//! A device knows neither KVM nor threads, terminals or host clocks. It receives accesses, inputs and machine
//! time, and returns its requests as an [`Action`], which the machine performs. Given the same accesses
//! and inputs it always ends in the same state, and it can save and restore that state ([`Snapshot`]).
//! [`table`] registers each device once.

pub mod acpi_pm;
pub mod bios_port;
pub mod debug_console;
pub mod debug_exit;
pub mod debugger_port;
pub mod decode;
mod device;
pub mod dma;
mod explain;
pub mod firmware_log;
pub mod fw_cfg;
pub mod hpet;
pub mod i8042;
pub mod ide;
pub mod interrupt_message;
pub mod ioapic;
pub mod keyboard;
pub mod lapic;
pub mod mouse;
pub mod pci;
pub mod pic;
pub mod pit;
pub mod post;
pub mod reset;
pub mod rtc;
pub mod scancodes;
#[cfg(test)]
#[path = "scratch_test.rs"]
pub(crate) mod scratch;
pub mod serial;
pub mod snapshot;
pub mod state_tree;
pub mod table;
pub mod test_port;
mod time;
#[cfg(test)]
#[path = "transcript_test.rs"]
pub(crate) mod transcript;
pub mod unassigned;
pub mod vbe;
pub mod vga;
pub mod virtio_disk;

pub use device::{Action, BoardDevice, Device, MachineRequest, OPEN_BUS};
pub use snapshot::{Payload, Snapshot, StateError};
pub use time::MachineTime;
