//! Arbitrary registers, memory and files with symbols: the report of the crash must be made of all of them.
//!
//! An input is two bytes with the size of the file at its end, a page with the words of the registers, and what lies in
//! memory from the page tables on.

use std::cell::RefCell;

use super::{Cause, CrashReport};
use crate::arch::PAGE_SIZE;
use crate::boot::OwnedImage;
use crate::inspect::dump::dump_crash;
use crate::inspect::fuzzing::{TABLES, any_registers, words};
use crate::inspect::report_json::{ReportContext, to_json};
use crate::machine::testing::machine;
use crate::machine::{CpuId, Machine};

/// Bytes of RAM.
const RAM: u64 = 4 << 20;
/// Most bytes that an input writes to memory.
const MOST_MEMORY: usize = 64 << 10;
/// Longest report, in bytes.
const LONGEST: usize = 1 << 20;
/// What the guest's own file has as its code: `mov [0], eax; hlt`.
const CODE: &[u8] = &[0x89, 0x04, 0x25, 0, 0, 0, 0, 0xF4];

thread_local! {
    /// Making a machine takes longer than a report.
    static MACHINE: RefCell<Option<Machine>> = RefCell::new(machine(RAM, CODE));
}

/// Makes the reports of a guest that has crashed, or has run out of time, with `input` as its state; does nothing where
/// there is no KVM.
///
/// # Panics
///
/// If a report is no document, or is endless.
pub fn report_anything(input: &[u8]) {
    message_of(input);
}

fn message_of(input: &[u8]) -> Option<String> {
    MACHINE.with_borrow_mut(|machine| {
        let (size, rest) = input.split_first_chunk()?;
        let size = usize::from(u16::from_le_bytes(*size)).min(rest.len());
        let (state, file) = rest.split_at(rest.len() - size);
        Some(report(machine.as_mut()?, state, file))
    })
}

/// The message.
fn report(machine: &mut Machine, state: &[u8], file: &[u8]) -> String {
    let mut words = words(state);
    let mut registers = any_registers(&mut words);
    let mut word = || words.next().unwrap_or(0);
    let choice = word();
    let (general, system) = (&mut registers.general, &mut registers.system);
    // Behind the words of the registers.
    system.cr3 += PAGE_SIZE;
    (general.rbp, system.cr2, general.rflags) = (word(), word(), choice & 0x25_7FD5 | 2);
    (general.rax, general.rcx, general.rdi, general.rsi) = (word(), word(), word(), word());
    (system.cs.dpl, system.cs.selector, system.ss.selector) = (system.ss.dpl, 8, 16);
    for segment in [&mut system.cs, &mut system.ss, &mut system.ds] {
        (segment.present, segment.s, segment.limit) = (1, 1, u32::MAX);
        segment.base = if choice >> 32 & 1 == 1 { choice >> 40 } else { 0 };
    }

    let mut memory = vec![0; MOST_MEMORY];
    let size = state.len().min(MOST_MEMORY);
    memory[..size].copy_from_slice(&state[..size]);
    machine.memory().write(TABLES, &memory).expect("RAM is there");
    machine.forget_symbol_files();
    machine.add_symbols(Box::new(OwnedImage::new("symbols".to_owned(), file.to_vec())), 0);

    let cause = if choice >> 33 & 1 == 1 { Cause::TimedOut } else { Cause::TripleFault };
    let mut report = CrashReport::of_cpu(machine, cause, CpuId::BOOT);
    report.registers = Some(registers);
    report.look(machine, &registers);
    let json = to_json(&report, ReportContext { guest: "guest.elf", exit_status: Some(8) });
    let read: serde_json::Value = serde_json::from_str(&json).expect("a document");
    let message = report.message();
    assert_eq!(read["message"], message.as_str());
    assert!(!message.contains(|c: char| c.is_control() && c != '\n'), "{message:?}");
    let dump = dump_crash(&report).expect("there are registers");
    for text in [&json, &message, &dump] {
        assert!(text.len() < LONGEST, "{} bytes", text.len());
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::{FuzzDriver, Seeds};
    use std::time::Duration;

    #[test]
    fn known_states_have_the_reports_that_they_are_there_for() {
        let message = |name| message_of(&Seeds::of("crash_report").read(name));
        // There is no KVM.
        let Some(first) = message("null-write") else { return };
        assert!(first.contains("0x200010 (_start)"), "{first}");
        for (name, part) in [
            ("own-code", "instruction `mov [0x0], eax`"),
            ("fault-loop", "longer than --timeout allows at 0x5000"),
            ("null-call", "The bytes at RIP are zeros, no code"),
            ("pae", "(called+0x10)"),
            ("two-level", "in whose page tables a reserved bit is set"),
            ("real", "software interrupt 0x10"),
        ] {
            let message = message(name).unwrap_or_default();
            assert!(message.contains(part), "{name}: {message}");
        }
    }

    #[test]
    fn any_state_of_a_guest_is_reported() {
        FuzzDriver::new("crash_report")
            .dictionary(&[
                b"\x07\x20\0\0\0\0\0\0",
                b"\x83\0\0\0\0\0\0\0",
                b"\x03\x10\0\0\0\0\0\0",
                b"\x83\x00\x20\0\0\0\0\0",
                b"\x8E\0\0",
                b"_ZN",
                b"_R",
            ])
            .time_limit(Duration::from_secs(5))
            .run(report_anything);
    }
}
