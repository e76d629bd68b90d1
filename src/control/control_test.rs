#[path = "catch_test.rs"]
mod catch;
#[path = "console_test.rs"]
mod console;
#[path = "documents_test.rs"]
mod documents;
#[path = "examine_test.rs"]
mod examine;
#[path = "json_test.rs"]
mod json;
#[path = "points_test.rs"]
mod points;
#[path = "recorded_test.rs"]
mod recorded;
#[path = "running_test.rs"]
mod running;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::*;
use crate::arch::{ExtendedRegisters, Registers};
use crate::boot::{SourcePlace, Symbol};
use crate::devices::keyboard::{Key, KeyEvent};
use crate::devices::vga::Vga;
use crate::inspect::backtrace::{Frame, backtrace};
use crate::inspect::core_file::{CoreFileError, WrittenCore};
use crate::inspect::events::EventList;
use crate::inspect::exits::ExitStatistics;
use crate::inspect::screen::Shot;
use crate::inspect::testing::NoInformation;
use crate::kvm::HostError;
use crate::machine::CpuId;
use crate::machine::board::Board;
use crate::machine::exit_counts::ExitCounts;
use crate::machine::flight_recorder::FlightRecorder;
use crate::machine::inputs::{Input, Inputs, Keystroke};
use crate::machine::snapshots::{InMemorySnapshotError, SnapshotInfo};
use crate::memory::GuestMemory;
use crate::settings::LayoutName;
use crate::state::{SaveReport, SnapshotError};
use crate::supervisor::facilities::Facility;
use crate::supervisor::migrator::Migrator;
use crate::supervisor::notice::Notice;
use crate::supervisor::points::Points;
use crate::supervisor::session::{CommandSession, Switches};
use crate::supervisor::stopped_machine::{RunStatus, StoppedMachine};

/// A stopped guest.
struct FakeMachine {
    registers: Registers,
    memory: GuestMemory,
    session: CommandSession,
    snapshots: Vec<SnapshotInfo>,
    resets: usize,
    ended: bool,
    status: RunStatus,
    debugged: bool,
    console_controlled: bool,
    current_stop: Option<Notice>,
    migrator: Option<Arc<dyn Migrator>>,
    inputs: Inputs,
    cells: Vec<u16>,
    board: Board,
    recorder: FlightRecorder,
    cpus: usize,
    selected: CpuId,
    symbol_offsets: Vec<u64>,
}

impl StoppedMachine for FakeMachine {
    fn registers(&self) -> Result<Registers, HostError> {
        Ok(self.registers)
    }

    fn set_registers(&mut self, registers: &Registers) -> Result<(), HostError> {
        self.registers = *registers;
        Ok(())
    }

    fn extended_registers(&self) -> Result<ExtendedRegisters, HostError> {
        let mut area = [0; 4096];
        area[160] = 0x5A;
        Ok(area)
    }

    fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    fn add_symbols(&mut self, _: Box<dyn crate::boot::Image>, offset: u64) {
        self.symbol_offsets.push(offset);
    }

    fn symbol_files(&self) -> Vec<(String, u64)> {
        self.symbol_offsets.iter().map(|offset| ("a".to_owned(), *offset)).collect()
    }

    fn symbol_at(&self, _: u64) -> Option<Symbol> {
        None
    }

    fn source_at(&self, _: u64) -> Option<SourcePlace> {
        None
    }

    fn backtrace(&self) -> Result<Vec<Frame>, HostError> {
        Ok(backtrace(&NoInformation, &self.memory, &self.registers))
    }

    fn address_of(&self, _: &str) -> Option<u64> {
        None
    }

    fn session(&mut self) -> &mut CommandSession {
        &mut self.session
    }

    fn points(&self) -> &Points {
        &self.session.points
    }

    fn exit_counts(&self) -> ExitCounts {
        ExitCounts::default()
    }

    fn migrator(&self) -> Option<Arc<dyn Migrator>> {
        self.migrator.clone()
    }

    fn facilities(&self) -> Vec<Facility> {
        vec![Facility { name: "steps", technique: "one by one".to_owned(), reason: "it works".to_owned() }]
    }

    fn reset(&mut self) -> bool {
        self.resets += 1;
        true
    }

    fn take_snapshot(&mut self, name: &str) -> Result<SnapshotInfo, InMemorySnapshotError> {
        let snapshot = SnapshotInfo {
            name: name.to_owned(),
            rip: self.registers.general.rip,
            new: 0x1000,
            pages: 3,
            disks: Vec::new(),
        };
        self.snapshots.push(snapshot.clone());
        Ok(snapshot)
    }

    fn restore_snapshot(&mut self, name: &str) -> Result<SnapshotInfo, InMemorySnapshotError> {
        let found = self.snapshots.iter().find(|snapshot| snapshot.name == name);
        found.cloned().ok_or_else(|| InMemorySnapshotError::None { name: name.to_owned(), meant: None })
    }

    fn delete_snapshots(&mut self, name: Option<&str>) -> Result<(), InMemorySnapshotError> {
        self.snapshots.retain(|snapshot| name.is_some_and(|name| snapshot.name != name));
        Ok(())
    }

    fn snapshots(&self) -> (Vec<SnapshotInfo>, u64) {
        (self.snapshots.clone(), 0x20_0000)
    }

    fn snapshot(&mut self, file: &Path) -> Result<SaveReport, SnapshotError> {
        Ok(SaveReport {
            path: file.to_owned(),
            length: 4097,
            memory: 64 << 10,
            compressed: true,
            guest_file: false,
            disks: Vec::new(),
            took: std::time::Duration::from_millis(3),
        })
    }

    fn restore(&mut self, file: &Path) -> Result<Vec<String>, SnapshotError> {
        let hint = ", but a picture";
        Err(SnapshotError::NotASnapshot { name: file.display().to_string(), hint })
    }

    fn report(&self) -> String {
        "{\n  \"format\": \"kvm-crash-report\"\n}\n".to_owned()
    }

    fn write_core(&self, _: &std::path::Path) -> Result<WrittenCore, CoreFileError> {
        Ok(WrittenCore { memory: 4096, incomplete: false, program: Some("a.elf".to_owned()) })
    }

    fn quit(&mut self) {
        self.ended = true;
    }

    fn screen(&self) -> Shot {
        let vga = Vga::new();
        Shot { cells: self.cells.clone(), view: vga.view(), colours: vga.colours(), frame: None }
    }

    fn events(&self, most: usize) -> EventList {
        EventList::read(&self.recorder, 0, most, 1, &|_| None)
    }

    fn measure_exits(&mut self, _: bool) {}

    fn exits(&mut self) -> ExitStatistics {
        ExitStatistics::new(&ExitCounts::default(), None, Duration::from_secs(1), &self.recorder, 0)
    }

    fn board(&self) -> &Board {
        &self.board
    }

    fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    fn layout(&self) -> LayoutName {
        LayoutName::Us
    }

    fn status(&self) -> RunStatus {
        self.status
    }

    fn is_debugged(&self) -> bool {
        self.debugged
    }

    fn set_paused(&mut self, paused: bool) {
        self.status = if paused { RunStatus::Paused } else { RunStatus::Running };
    }

    fn take_console_control(&mut self) {
        self.console_controlled |= !self.debugged;
    }

    fn step(&mut self, count: u64) -> String {
        self.registers.general.rip += count;
        self.status = RunStatus::Paused;
        format!("{count} steps\n")
    }

    fn next_stop(&mut self) -> Receiver<Notice> {
        let (sender, stop) = channel();
        sender.send("stopped".into()).unwrap();
        stop
    }

    fn current_stop(&self) -> Option<Notice> {
        self.current_stop.clone()
    }

    fn cpus(&self) -> Vec<String> {
        vec!["* CPU #0: rip 0x0".to_owned()]
    }

    fn cpu_count(&self) -> usize {
        self.cpus
    }

    fn selected_cpu(&self) -> CpuId {
        self.selected
    }

    fn select_cpu(&mut self, cpu: CpuId) -> bool {
        let exists = cpu.index() < self.cpus;
        self.selected = if exists { cpu } else { self.selected };
        exists
    }

    fn registers_of(&self, _: CpuId) -> Result<Option<Registers>, HostError> {
        Ok(Some(self.registers))
    }
}

#[test]
fn a_snapshot_is_taken_in_a_file_or_in_memory() {
    let mut guest = real_mode();
    let text = answer(&mut guest, CommandSource::Debugger, "snapshot a.kvmstate").unwrap();
    assert!(
        text.starts_with("saved in a.kvmstate: 5 KiB, with 64 KiB of memory, compressed, in 3 ms\n"),
        "{text}"
    );
    assert!(text.contains("the guest file is not included"), "{text}");
    assert!(
        answer(&mut guest, CommandSource::Debugger, "snapshot ./two words")
            .unwrap()
            .starts_with("saved in ./two words:")
    );
    for line in ["snapshot", "restore", "snapshots delet", "snapshots deletebefore"] {
        let text = answer(&mut guest, CommandSource::Debugger, line).unwrap_err().to_string();
        assert!(text.contains("; use: snapshot") || text.contains("; use: restore NAME|FILE"), "{text}");
    }
    let text = answer(&mut guest, CommandSource::Debugger, "restore before").unwrap_err().to_string();
    assert_eq!(text, "there is no snapshot `before`; `snapshots` lists all");
    let text = answer(&mut guest, CommandSource::Debugger, "snapshot before").unwrap();
    assert_eq!(text, "snapshot `before` at 0x0: 3 pages compared, 4 KiB stored\n");
    guest.debugged = false;
    assert_eq!(
        answer(&mut guest, CommandSource::Debugger, "restore before").unwrap(),
        "restored snapshot `before` at 0x0: 3 pages written back\n",
        "without a debugger the answer does not mention gdb"
    );
    guest.debugged = true;
    assert!(
        answer(&mut guest, CommandSource::Debugger, "restore before")
            .unwrap()
            .contains("maintenance flush register-cache")
    );
    let listed = "before  at 0x0, 3 pages, 4 KiB\n2.0 MiB in total\n";
    assert_eq!(answer(&mut guest, CommandSource::Debugger, "snapshots").unwrap(), listed);
    assert_eq!(answer(&mut guest, CommandSource::Debugger, "snapshots delete other").unwrap(), listed);
    assert_eq!(
        answer(&mut guest, CommandSource::Debugger, "snapshots delete before").unwrap(),
        "no snapshots\n"
    );
    let text = answer(&mut guest, CommandSource::Debugger, "restore ./x").unwrap_err().to_string();
    assert!(text.starts_with("./x is no snapshot of kvm, but a picture"), "{text}");
}

/// A processor after power-on, with 4 MiB of memory.
fn real_mode() -> FakeMachine {
    FakeMachine {
        registers: Registers::default(),
        memory: GuestMemory::new(4 << 20).unwrap(),
        session: CommandSession::default(),
        snapshots: Vec::new(),
        resets: 0,
        ended: false,
        status: RunStatus::Stopped,
        migrator: None,
        debugged: true,
        console_controlled: false,
        current_stop: None,
        inputs: Inputs::new(),
        cells: vec![0x0748, 0x0769],
        board: Board::default(),
        recorder: FlightRecorder::default(),
        cpus: 1,
        selected: CpuId::BOOT,
        symbol_offsets: Vec::new(),
    }
}

/// 64-bit code at 0x200000, in a large page that is mapped to itself; page 0 is read-only.
fn long_mode() -> FakeMachine {
    let mut guest = real_mode();
    for (at, entry) in [
        (0x1000, 0x2027),
        (0x2000, 0x3027),
        (0x3000, 0x4027),
        (0x3008, 0x20_00E7),
        (0x3010, 0x40_2083),
        (0x3018, 0x7F00_0003),
        (0x4000, 1 << 63 | 1),
    ] {
        guest.memory.write_u64(at, entry).unwrap();
    }
    let system = &mut guest.registers.system;
    (system.cr0, system.cr3, system.cr4, system.efer) = (1 << 31 | 1, 0x1000, 1 << 5, 0xD00);
    (system.cs.l, system.cs.selector) = (1, 8);
    guest.registers.general.rip = 0x20_0000;
    guest
}

/// The answer to a debugger's command, or the error.
fn run(guest: &mut FakeMachine, line: &str) -> String {
    answer(guest, CommandSource::Debugger, line).unwrap_or_else(|error| format!("error: {error}"))
}

#[test]
fn regs_prints_the_text_that_existing_tools_parse() {
    let mut guest = real_mode();
    guest.registers.system.cr3 = 0x5000;
    guest.registers.system.efer = 0x500;
    assert_eq!(
        run(&mut guest, "regs"),
        "Privileged Registers (Custom command):\nCR4 0x0000000000000000\nCR3 0x0000000000005000\n\
         CR2 0x0000000000000000\nCR0 0x0000000000000000\nEFER 0x0000000000000500\n"
    );
}

#[test]
fn an_unknown_command_is_refused_with_a_suggestion() {
    for (line, wanted) in [
        ("res", "error: `res` is no command (there is `regs`); `help` lists all"),
        ("wak 0x1000", "error: `wak 0x1000` is no command (there is `walk`); `help` lists all"),
        (
            "info",
            "error: `info` is no command (there is `info debug` and `info registers` and `info mem`); `help` lists all",
        ),
        ("fly", "error: `fly` is no command; `help` lists all"),
        ("helpme", "error: `helpme` is no command (there is `help`); `help` lists all"),
        ("res\u{1b}et", "error: `res\\u{1b}et` is no command (there is `reset`); `help` lists all"),
        ("regs now", "error: unexpected argument `now`; use: regs"),
    ] {
        assert_eq!(run(&mut real_mode(), line), wanted, "{line}");
    }
    assert!(run(&mut real_mode(), &"x".repeat(100_000)).len() < 200);
}

#[test]
fn help_lists_every_command() {
    let all = run(&mut real_mode(), "help");
    assert_eq!(all, run(&mut real_mode(), ""));
    assert!(
        all.contains("\nwalk [--json] ADDRESS       show the page-table walk of a virtual address"),
        "{all}"
    );
    assert!(all.contains("[, EXPRESSION]...\n                            set a log point"), "{all}");
    for command in table::COMMANDS.iter().filter(|command| command.is_for(CommandSource::Debugger)) {
        assert!(all.contains(&format!("\n{} ", command.name)) || all.starts_with(command.name));
        let one = run(&mut real_mode(), &format!("help {}", command.name));
        assert!(one.starts_with(&command.usage()), "{one}");
        assert!(one.contains(command.help), "{one}");
    }
    assert!(run(&mut real_mode(), "help fly").starts_with("error: `fly` is no command"));
}

#[test]
fn a_walk_shows_where_the_translation_fails() {
    let mut guest = long_mode();
    assert_eq!(
        run(&mut guest, "walk 0x200123"),
        "4 levels, CR3 0x1000\n\
         \u{20} PML4E at 0x1000: 0x0000000000002027 present, writable, user, accessed\n\
         \u{20} PDPTE at 0x2000: 0x0000000000003027 present, writable, user, accessed\n\
         \u{20} PDE   at 0x3008: 0x00000000002000e7 present, writable, user, accessed, dirty, large page\n\
         0x200123 is guest-physical 0x200123 (RAM): writable, for user and supervisor, executable\n"
    );
    for (line, end) in [
        ("walk 0x10", "\n0x10 is guest-physical 0x10 (RAM): read-only, for the supervisor, not executable\n"),
        ("walk 0x1000", " not present\n0x1000 is not mapped: that entry is not present\n"),
        ("walk 0x400000", "\n0x400000 is not mapped: a reserved bit of that entry is set\n"),
        ("walk 0x600000", ": not RAM\n0x600000 is not mapped: that table does not lie in RAM\n"),
        (
            "walk 1 << 63",
            "0x8000000000000000 is no address: its upper bits do not repeat the highest one that is \
             translated\n",
        ),
        ("walk", "error: an address is missing; use: walk [--json] ADDRESS"),
    ] {
        let text = run(&mut guest, line);
        assert!(text.ends_with(end), "{line}: {text}");
    }
    let mut guest = real_mode();
    let flat = "paging is off: addresses are guest-physical ones\n0x500 is guest-physical 0x500 (RAM)\n";
    assert_eq!(run(&mut guest, "walk 0x500"), flat);
}

#[test]
fn the_machine_is_reset_and_its_run_ended() {
    let mut guest = real_mode();
    run(&mut guest, "reset");
    run(&mut guest, "quit");
    assert_eq!((guest.resets, guest.ended), (1, true));
    assert_eq!(run(&mut guest, "info debug"), "steps: one by one\n    it works\n");
}
