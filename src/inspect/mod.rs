//! Read-only views of a stopped machine, and the crash report, as values.

pub mod backtrace;
pub mod code_search;
pub mod core_file;
pub mod crash;
pub mod device_view;
pub mod disassembly;
pub mod dump;
pub mod events;
pub mod exits;
pub mod expression;
pub mod fault;
pub mod fault_loop;
pub mod file_lints;
pub mod find;
pub mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hex;
pub mod hexdump;
mod interrupt_frame;
pub mod lint;
pub mod mappings;
pub mod maps;
pub mod names;
mod operands;
pub mod picture;
pub mod plain_instruction;
mod prologue;
mod red_zone;
mod refused;
pub mod register_view;
pub mod report;
pub mod report_json;
mod return_path;
pub mod screen;
pub mod source_text;
pub mod tables;
#[cfg(test)]
pub(crate) mod testing;
pub mod translate;
pub mod values;
pub mod waking;
pub mod walk;
