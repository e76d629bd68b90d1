//! Guests saved between any two instructions, inside a repeated instruction, and at arbitrary request times.
//! They continue identically, instruction by instruction.

use super::*;
use crate::arch::Registers;
use crate::devices::Payload;
use crate::machine::CpuId;
use crate::machine::snapshots::Snapshots;

/// A guest, its keyboard input before the start, and the number of steps it takes.
struct Case {
    about: &'static str,
    code: &'static [u8],
    typed: &'static [u8],
    steps: usize,
}

const CASES: &[Case] = &[
    Case {
        // The `nop`s are for hosts that step through all iterations at once.
        about: "reads the keyboard controller by `rep insb` while more is typed than it holds",
        code: b"\xBA\x60\0\0\0\
            \x48\xC7\xC7\0\0\x30\0\
            \x48\xC7\xC1\x05\0\0\0\
            \xF3\x6C\
            \x90\x90\x90\x90\
            \xF4",
        typed: b"aBc",
        steps: 8,
    },
    Case {
        about: "changes a register of the local APIC in memory, and reads it",
        code: b"\xBB\x80\0\xE0\xFE\
            \x83\x03\x10\
            \x83\x2B\x03\
            \x8B\x03\
            \x87\x03\
            \xF4",
        typed: b"",
        steps: 5,
    },
    Case {
        about: "lets interrupts in, which they are one instruction later",
        code: b"\xFB\
            \x48\xFF\xC0\
            \xFA\
            \x8E\xD1\
            \x48\xFF\xC0\
            \xF4",
        typed: b"",
        steps: 5,
    },
    Case {
        about: "sends words by `rep outsw`, which are two accesses each",
        code: b"\xBA\xE9\0\0\0\
            \x48\xC7\xC6\0\0\x20\0\
            \x48\xC7\xC1\x03\0\0\0\
            \xF3\x66\x6F\
            \x90\x90\x90\
            \xF4",
        typed: b"",
        steps: 6,
    },
];

/// The visible state of a machine between two instructions: registers, memory and devices.
type Observation = (Registers, u64, Vec<(u16, Payload)>);

fn observe(machine: &Machine) -> Observation {
    (
        machine.cpu(CpuId::BOOT).registers().unwrap(),
        machine.memory().read_u64(0x30_0000).unwrap(),
        machine.board().save(),
    )
}

/// The visible state after each of the next `count` instructions.
fn trace(machine: &mut Machine, count: usize) -> Vec<Observation> {
    machine
        .cpu_mut(CpuId::BOOT)
        .set_guest_debug(GuestDebug { single_step: true, ..GuestDebug::default() })
        .unwrap();
    let step = |_| {
        let rip = machine.cpu(CpuId::BOOT).general_registers().unwrap().rip;
        let event = machine.step_instruction(CpuId::BOOT, rip, false);
        assert!(event.is_none(), "{rip:#x}: {event:?}");
        observe(machine)
    };
    let traced = (0..count).map(step).collect();
    machine.cpu_mut(CpuId::BOOT).set_guest_debug(GuestDebug::default()).unwrap();
    traced
}

fn start(case: &Case) -> Option<Machine> {
    let mut machine = machine(4 << 20, case.code)?;
    for &byte in case.typed {
        let keys = strokes_for(LayoutName::Us, char::from(byte)).map(|keys| keys.keys()).unwrap_or_default();
        let keys = KeyEvent::chord(&keys);
        machine.inputs().push(Input::Keystroke(Keystroke { bytes: vec![byte], keys }));
    }
    machine.inputs().push(Input::Attention);
    assert!(matches!(machine.wait(), Event::Attention));
    Some(machine)
}

#[test]
fn the_next_instructions_are_the_same_wherever_a_guest_is_saved() {
    let folder = Folder::new("between");
    let file = folder.file("a.kvmstate");
    for case in CASES {
        for before in 0..case.steps {
            let Some(mut first) = start(case) else { return };
            step(&mut first, before);
            let mut snapshots = Snapshots::default();
            snapshots.take(&mut first, "here", None).unwrap();
            save(&mut first, None, &file).unwrap();
            let here = observe(&first);
            let expected = trace(&mut first, case.steps - before);
            assert_ne!(expected.last(), Some(&here), "{} does something", case.about);
            snapshots.restore(&mut first, "here").unwrap();
            assert_eq!(observe(&first), here, "{}, {before} steps, in memory", case.about);
            let again = trace(&mut first, case.steps - before);
            assert_eq!(again, expected, "{}, {before} steps, in memory", case.about);
            let opened = SnapshotFile::open(&file).unwrap();
            let mut second = opened.into_machine(user_interface(), Inputs::new(), ends().0).unwrap();
            assert_eq!(observe(&second), here, "{}, {before} steps, from a file", case.about);
            let again = trace(&mut second, case.steps - before);
            assert_eq!(again, expected, "{}, {before} steps, from a file", case.about);
        }
    }
}

/// Sends 20000 bytes from 0x200000 to port 0xE9 by `rep outsb`, and halts with the end address in RAX.
const SENDS: &[u8] = b"\
    \xBA\xE9\0\0\0\
    \x48\xC7\xC1\x20\x4E\0\0\
    \x48\xC7\xC6\0\0\x20\0\
    \xF3\x6E\
    \x48\x89\xF0\
    \xF4";

#[test]
fn a_guest_interrupted_in_a_repeated_instruction_sends_every_byte_once() {
    let folder = Folder::new("called");
    let file = folder.file("a.kvmstate");
    let mut called_inside = 0;
    // When the guest starts and finishes depends on the host's scheduling.
    for call in 0..400 {
        if called_inside == 4 {
            break;
        }
        let Some(machine) = machine(4 << 20, SENDS) else { return };
        let mut machine = machine;
        let caller = machine.inputs().clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_micros(500 * (call % 8) + 5 * call));
            caller.push(Input::Attention);
        });
        let stopped = machine.run_to_event();
        thread.join().unwrap();
        if !matches!(stopped, Event::Attention) {
            continue;
        }
        let left_before = machine.cpu(CpuId::BOOT).general_registers().unwrap().rcx;
        save(&mut machine, None, &file).unwrap();
        let registers = machine.cpu(CpuId::BOOT).registers().unwrap().general;
        // Saving completes the access in progress, and no other.
        assert!(left_before - registers.rcx <= 1, "{left_before} {}", registers.rcx);
        called_inside += usize::from((1..20000).contains(&registers.rcx));
        let (outputs, mut other_ends) = ends();
        let mut second = SnapshotFile::open(&file)
            .unwrap()
            .into_machine(user_interface(), Inputs::new(), outputs)
            .unwrap();
        let Event::End(Outcome::Halted { result, .. }) = second.run_to_event() else { panic!("no end") };
        assert_eq!(result, 0x20_0000 + 20000);
        let mut bytes = Vec::new();
        other_ends.receive(30000, |_, byte| bytes.push(byte));
        // Before its second instruction the guest has not set RCX yet.
        let left = if registers.rip < ENTRY + 12 { 20000 } else { registers.rcx };
        assert_eq!(bytes.len() as u64, left, "those that had not been sent");
    }
    assert!(called_inside > 0, "every call came before the first byte or after the last");
}
