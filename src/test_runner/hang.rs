//! Guests that will never go on: nobody types in a test, so only timers and disks can wake one.

use crate::arch::Registers;
use crate::arch::flags::RFLAGS_IF;
use crate::inspect::crash::CrashReport;
use crate::inspect::translate::read_virtual;
use crate::inspect::waking;
use crate::kvm::HostError;
use crate::machine::board::{Board, InterruptSource};
use crate::machine::{Machine, Outcome, RunState};

/// Devices that interrupt only after an input of the user.
const OF_THE_USER: [&str; 2] = ["i8042", "serial"];

/// Endless loops that do nothing, as they are compiled: `jmp` to itself with an 8-bit and with a 32-bit distance, and to
/// `pause` before it; and the distance from their start at which the processor may be.
const ENDLESS: [(&[u8], u64); 4] = [
    (&[0xEB, 0xFE], 0),
    (&[0xE9, 0xFB, 0xFF, 0xFF, 0xFF], 0),
    (&[0xF3, 0x90, 0xEB, 0xFC], 0),
    (&[0xF3, 0x90, 0xEB, 0xFC], 2),
];

/// Why the stopped guest will never go on, as a sentence; `None` if it may.
///
/// # Errors
///
/// [`HostError`] if the host does not give the registers.
pub(super) fn reason(machine: &Machine) -> Result<Option<String>, HostError> {
    let states = machine.cpu_ids().map(|cpu| machine.cpu(cpu).run_state());
    let waiting = [RunState::Halted, RunState::HaltedForGood, RunState::WaitForSipi];
    let running: Vec<_> =
        machine.cpu_ids().zip(states).filter(|(_, state)| !waiting.contains(state)).collect();
    let copy = machine.board_with_copies()?;
    let board = copy.as_ref().unwrap_or(machine.board());
    let can_wake = can_wake_without_user(board);
    // An interrupt that has been requested since wakes it when the run goes on.
    let wakes = machine
        .cpu_ids()
        .any(|cpu| machine.cpu(cpu).run_state() == RunState::Halted && machine.interrupt_pending(cpu));
    match running[..] {
        [] if !can_wake && !wakes => Ok(Some(waits(machine, &board.interrupt_sources()))),
        [(cpu, RunState::Running)] => {
            let registers = machine.cpu(cpu).registers()?;
            let interruptible = registers.general.rflags & RFLAGS_IF != 0;
            let stays = !can_wake && !machine.interrupt_pending(cpu);
            let loops = is_endless(machine, &registers) && (!interruptible || stays);
            Ok(loops.then(|| format!("the guest loops for ever{}.", place(machine))))
        }
        _ => Ok(None),
    }
}

/// True if a device may interrupt the first processor, as the guest has programmed it, while nobody types.
pub(super) fn can_wake_without_user(board: &Board) -> bool {
    // A serial port that is still sending interrupts when it has done so.
    let has_deadline = |source: &InterruptSource| {
        board.devices().any(|(entry, device)| {
            (entry.kind, entry.number) == (source.kind, source.number) && device.next_deadline().is_some()
        })
    };
    board.interrupt_sources().iter().any(|source| {
        source.programmed && source.admitted && (!OF_THE_USER.contains(&source.kind) || has_deadline(source))
    })
}

fn is_endless(machine: &Machine, registers: &Registers) -> bool {
    let next = registers.next_instruction();
    ENDLESS.iter().any(|(code, distance)| {
        let mut found = [0; 5];
        let found = &mut found[..code.len()];
        let count = read_virtual(machine.memory(), registers, next.wrapping_sub(*distance), found);
        count == code.len() && found == *code
    })
}

fn waits(machine: &Machine, sources: &[InterruptSource]) -> String {
    format!("the guest waits for ever in `hlt`{}. {}", place(machine), waking::sentence(sources))
}

/// Where the guest is, as the tail of a sentence.
pub(super) fn place(machine: &Machine) -> String {
    let place = CrashReport::capture(machine, &Outcome::TimedOut).and_then(|report| report.place);
    match place {
        Some(place) => match place.symbol {
            Some(symbol) => format!("; the next instruction is at {:#x} ({symbol})", place.address),
            None => format!("; the next instruction is at {:#x}", place.address),
        },
        None => String::new(),
    }
}
