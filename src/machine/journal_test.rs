use std::time::Duration;

use super::super::inputs::Keystroke;
use super::super::snapshots::Snapshots;
use super::super::testing::machine;
use super::super::{CpuId, Event, Machine, Outcome};
use super::*;
use crate::devices::keyboard::{Key, KeyEvent};

#[test]
fn every_event_survives_serialisation() {
    let events = [
        JournalEvent::Input(Input::Keystroke(Keystroke {
            bytes: b"a".to_vec(),
            keys: KeyEvent::chord(&[Key::A]),
        })),
        JournalEvent::Input(Input::Serial(3, b"xyz".to_vec())),
        JournalEvent::Input(Input::Time { elapsed: Duration::from_nanos(10_000_001) }),
        JournalEvent::Input(Input::Terminated(15)),
        JournalEvent::GeneralRegisters {
            cpu: 1,
            registers: GeneralRegisters { rip: 7, ..Default::default() },
        },
        JournalEvent::SystemRegisters {
            cpu: 0,
            registers: Box::new(SystemRegisters { cr3: 0x1000, ..Default::default() }),
        },
        JournalEvent::ExtendedRegisters { cpu: 0, area: vec![7; 4096] },
        JournalEvent::Msr { cpu: 0, index: 0xC000_0102, value: u64::MAX },
        JournalEvent::DebugException { cpu: 0, bits: 1 << 14 },
        JournalEvent::Memory { address: 0x20_0000, bytes: vec![0xF4; 3] },
        JournalEvent::Reset,
        JournalEvent::Restored { position: Position { event: 2, accesses: 300 } },
    ];
    for event in events {
        let entry = JournalEntry { position: Position { event: 5, accesses: u64::MAX }, event };
        let bytes = postcard::to_stdvec(&entry).unwrap();
        assert_eq!(postcard::from_bytes::<JournalEntry>(&bytes).unwrap(), entry);
    }
}

#[test]
fn events_are_counted_without_a_recording_and_a_recording_is_bounded() {
    let mut journal = Journal::default();
    journal.note(0, || panic!("nothing is recorded"));
    assert_eq!(journal.position(9), Position { event: 1, accesses: 9 });
    journal.start(2);
    for accesses in 3..8 {
        journal.note(accesses, || JournalEvent::Reset);
    }
    let recording = journal.stop().unwrap();
    let positions: Vec<_> = recording.entries().iter().map(|entry| entry.position).collect();
    assert_eq!(positions, [Position { event: 1, accesses: 3 }, Position { event: 2, accesses: 4 }]);
    assert_eq!((recording.dropped(), journal.stop()), (3, None));
}

/// `out 0x80, al` twice, `in al, 0x64`, `cli; hlt`, and the same again from there.
const ACCESSES: &[u8] = b"\xE6\x80\xE6\x80\xE4\x64\xF4\xEB\xF7";

fn run_to_halt(machine: &mut Machine) {
    assert!(matches!(machine.run_to_event(), Event::End(Outcome::Halted { .. })));
}

#[test]
fn inputs_and_debugger_writes_are_recorded_at_the_guests_count_of_accesses() {
    let Some(mut machine) = machine(4 << 20, ACCESSES) else { return };
    machine.start_journal(100);
    run_to_halt(&mut machine);
    let state = machine.state().unwrap();
    assert_eq!(state.position, Position { event: 0, accesses: 3 });
    machine.inputs().push(Input::Serial(1, b"x".to_vec()));
    machine.inputs().push(Input::Attention);
    run_to_attention(&mut machine);
    run_to_halt(&mut machine);
    machine.inputs().push(Input::Time { elapsed: Duration::from_nanos(7) });
    machine.inputs().push(Input::Attention);
    run_to_attention(&mut machine);
    assert_eq!(machine.clock().now().as_nanos(), 7);
    let registers = machine.cpu(CpuId::BOOT).general_registers().unwrap();
    machine.set_general_registers(CpuId::BOOT, &registers).unwrap();
    machine.write_memory(0x30_0000, b"abc").unwrap();
    assert!(machine.write_memory(1 << 40, b"abc").is_err(), "a refused write is no event");
    let recording = machine.stop_journal().unwrap();
    let at = |event, accesses| Position { event, accesses };
    let expected = [
        JournalEntry { position: at(0, 3), event: JournalEvent::Input(Input::Serial(1, b"x".to_vec())) },
        JournalEntry {
            position: at(1, 6),
            event: JournalEvent::Input(Input::Time { elapsed: Duration::from_nanos(7) }),
        },
        JournalEntry { position: at(2, 6), event: JournalEvent::GeneralRegisters { cpu: 0, registers } },
        JournalEntry {
            position: at(3, 6),
            event: JournalEvent::Memory { address: 0x30_0000, bytes: b"abc".to_vec() },
        },
    ];
    assert_eq!(recording.entries(), expected);
}

fn run_to_attention(machine: &mut Machine) {
    assert!(matches!(machine.run_to_event(), Event::Attention));
}

#[test]
fn a_restored_machine_continues_at_the_position_and_time_of_its_state() {
    let Some(mut machine) = machine(4 << 20, ACCESSES) else { return };
    run_to_halt(&mut machine);
    machine.inputs().push(Input::Time { elapsed: Duration::from_nanos(7) });
    machine.inputs().push(Input::Attention);
    run_to_attention(&mut machine);
    let mut snapshots = Snapshots::default();
    snapshots.take(&mut machine, "here", None).unwrap();
    let (position, now) = (machine.position(), machine.clock().now());
    run_to_halt(&mut machine);
    machine.start_journal(1);
    snapshots.restore(&mut machine, "here").unwrap();
    assert_eq!((machine.position(), machine.clock().now()), (position, now));
    let recording = machine.stop_journal().unwrap();
    assert_eq!(recording.entries()[0].event, JournalEvent::Restored { position });
    run_to_halt(&mut machine);
    assert_eq!(machine.position().accesses, position.accesses + 3);
}
