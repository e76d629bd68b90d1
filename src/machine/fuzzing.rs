//! Random input for the board: accesses of any width to ports, windows in memory and MSRs, with inputs and time between
//! them, and the board saved and restored anywhere.
//!
//! The bytes are read as steps ([`Step::read`]); whatever they are, each is a step or the end. Two boards do the same:
//! one of them may have been restored from the other.

use std::time::{Duration, Instant};

use super::board::{Board, Effect};
use crate::devices::ide::{DiskError, DiskGeometry, DiskRequest, DiskRequestKind, SECTOR};
use crate::devices::keyboard::{Key, KeyEvent};
use crate::devices::lapic::{APIC_BASE_MSR, FIRST_X2APIC_MSR, ProcessorRequest, TSC_DEADLINE_MSR};
use crate::devices::mouse::Movement;
use crate::devices::table::TABLE;
use crate::devices::{MachineRequest, MachineTime};
use crate::memory::GuestMemory;

/// Longest time that one step may take. Steps take microseconds.
const SLOW: Duration = Duration::from_millis(50);
/// How often a slow input is tried: other programs use this host, too.
const TRIES: usize = 5;
/// Largest saved state of all devices in bytes. A drive has a buffer of 64 KiB.
const LARGEST_STATE: usize = 1 << 20;
/// Most requests of a processor that one step may leave.
const MOST_REQUESTS: usize = 16;
/// Disks that a machine can have.
const DISKS: usize = 4;

/// What happens to a board.
#[derive(Clone, Copy, Debug)]
enum Step {
    Out {
        port: u16,
        size: u8,
        value: u32,
    },
    In {
        port: u16,
        size: u8,
    },
    Store {
        address: u64,
        size: u8,
        value: u64,
    },
    Load {
        address: u64,
        size: u8,
    },
    WriteMsr(u32, u64),
    ReadMsr(u32),
    TaskPriority(u8),
    /// Time passes, in nanoseconds.
    Time(u64),
    /// Time passes up to the next deadline of a device.
    Deadline,
    Key(KeyEvent),
    Mouse(Movement, Option<u8>),
    Received(u8, u8),
    Nmi,
    PowerButton,
    Acknowledge,
    Disk {
        unit: usize,
        fails: bool,
    },
    /// The second board is replaced by one that is restored from the first.
    Restore,
    Reset,
}

/// The bytes that have not been read; they end in zeros.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let count = N.min(self.0.len());
        let (taken, rest) = self.0.split_at(count);
        bytes[..count].copy_from_slice(taken);
        self.0 = rest;
        bytes
    }

    fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn dword(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn qword(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    /// A port of a device.
    fn device_port(&mut self) -> u16 {
        let chosen = usize::from(self.byte());
        let mut ports = TABLE.iter().flat_map(|entry| entry.ports.iter().cloned().flatten());
        let count = ports.clone().count();
        ports.nth(chosen % count).unwrap_or_default()
    }

    /// An address in a window, or beside it, and a size. Registers are often accessed as they should be.
    fn window(&mut self) -> (u64, u8) {
        let (chosen, offset, size) = (usize::from(self.byte()), u64::from(self.word()), self.byte());
        let mut windows = TABLE.iter().filter_map(|entry| entry.mmio.clone());
        let count = windows.clone().count();
        let start = windows.nth(chosen % count).map_or(0, |window| window.start);
        if size & 0x80 != 0 { (start + (offset & 0xFFC), 4) } else { (start + offset, size % 8 + 1) }
    }

    fn msr(&mut self) -> u32 {
        match self.byte() {
            0 => APIC_BASE_MSR,
            1 => TSC_DEADLINE_MSR,
            number => FIRST_X2APIC_MSR + u32::from(number),
        }
    }
}

impl Step {
    /// The next step; `None` at the end of the input.
    fn read(input: &mut Input) -> Option<Step> {
        if input.0.is_empty() {
            return None;
        }
        Some(match input.byte() & 0x1F {
            0 => Step::Out { port: input.word(), size: 1 << (input.byte() % 3), value: input.dword() },
            1 => Step::In { port: input.word(), size: 1 << (input.byte() % 3) },
            2..=4 => Step::Out { port: input.device_port(), size: 1, value: input.byte().into() },
            5 => Step::Out { port: input.device_port(), size: 1 << (input.byte() % 3), value: input.dword() },
            6 | 7 => Step::In { port: input.device_port(), size: 1 },
            8 => Step::In { port: input.device_port(), size: 1 << (input.byte() % 3) },
            9 => {
                let (address, size) = input.window();
                Step::Store { address, size, value: input.dword().into() }
            }
            10 => {
                let (address, size) = input.window();
                Step::Store { address, size, value: input.qword() }
            }
            11 => {
                let (address, size) = input.window();
                Step::Load { address, size }
            }
            12 => Step::WriteMsr(input.msr(), input.qword()),
            13 => Step::WriteMsr(input.msr(), input.dword().into()),
            14 => Step::ReadMsr(input.msr()),
            15 => Step::TaskPriority(input.byte() & 0xF),
            16 | 17 => Step::Time(u64::from(input.byte()) << (input.byte() % 40)),
            18 => Step::Time(input.qword()),
            19 | 20 => Step::Deadline,
            21 => Step::Key(KeyEvent {
                key: [Key::A, Key::Right, Key::Pause, Key::LeftControl, Key::PrintScreen, Key::LeftAlt]
                    [usize::from(input.byte() % 6)],
                down: input.byte() & 1 == 0,
            }),
            22 => Step::Mouse(
                Movement {
                    right: input.word() as i16,
                    up: input.word() as i16,
                    wheel: i16::from(input.byte() as i8),
                },
                Some(input.byte()).filter(|buttons| buttons & 0x80 == 0),
            ),
            23 => Step::Received(input.byte() & 3, input.byte()),
            24 => Step::Nmi,
            25 => Step::PowerButton,
            26 | 27 => Step::Acknowledge,
            28 | 29 => {
                let choice = input.byte();
                Step::Disk { unit: usize::from(choice) % DISKS, fails: choice & 0xC0 == 0xC0 }
            }
            30 => Step::Restore,
            _ => Step::Reset,
        })
    }
}

/// What the machine sees of a step.
#[derive(Debug, Default, PartialEq, Eq)]
struct Observation {
    value: Option<u64>,
    effects: Vec<Effect>,
    requests: Vec<ProcessorRequest>,
    lines: Vec<bool>,
    deadline: Option<MachineTime>,
    pending: bool,
}

/// A board, and what the machine keeps for it.
struct Subject {
    board: Board,
    now: MachineTime,
    disks: [Option<DiskRequest>; DISKS],
    memory: GuestMemory,
}

/// Bytes of memory that drives transfer data with.
const MEMORY: u64 = 1 << 20;

fn memory() -> GuestMemory {
    GuestMemory::new(MEMORY).expect("memory")
}

impl Subject {
    /// A board with the disks and options that `choice` has.
    fn new(choice: u8) -> Subject {
        let mut board = Board::default();
        let sectors = [1000, 1, DiskGeometry::MOST_SECTORS, 20_000];
        for (unit, sectors) in sectors.into_iter().enumerate().filter(|(unit, _)| choice >> unit & 1 == 1) {
            let is_cd = unit == 2 && choice & 0x80 != 0;
            let disk = DiskGeometry::disk(sectors, unit == 1);
            board.attach_disk(unit, if is_cd { DiskGeometry::cdrom(4000) } else { disk });
        }
        if choice & 0x40 != 0 {
            board.set_up_pci();
        }
        board.set_flat_ide_bars(choice & 0x10 != 0);
        if choice & 0x20 != 0 {
            board.add_display();
        }
        board.set_tsc(0, 2_000_000, 12345);
        let mut subject =
            Subject { board, now: MachineTime::default(), disks: Default::default(), memory: memory() };
        subject.connect(choice);
        subject
    }

    fn connect(&mut self, choice: u8) {
        if choice & 0x20 != 0 {
            self.board.connect_debugger_port();
        }
    }

    /// What the machine does with the requests of drives.
    fn take_disk_requests(&mut self) {
        self.board.transfer_by_dma(&self.memory);
        while let Some((unit, request)) = self.board.take_disk_request() {
            assert!(request.sectors <= 256, "{request:?}");
            if let DiskRequestKind::Write { data, .. } = &request.kind {
                assert_eq!(data.len(), request.sectors as usize * SECTOR);
            }
            assert!(self.disks[unit].is_none(), "a drive has one request at most: {request:?}");
            self.disks[unit] = Some(request);
        }
    }

    fn reset(&mut self) {
        self.board.reset();
        self.disks = Default::default();
        self.board.advance(self.now, |_| {});
    }

    /// A board that is restored from what this one saves.
    fn restored(&mut self, choice: u8) -> Subject {
        let saved = self.board.save();
        let size: usize = saved.iter().map(|(_, payload)| payload.bytes.len()).sum();
        assert!(size <= LARGEST_STATE, "a state of {size} bytes");
        let board = Board::restored(&saved).unwrap_or_else(|error| panic!("cannot be restored: {error}"));
        let mut contents = vec![0; MEMORY as usize];
        let copied = memory();
        self.memory.read(0, &mut contents).and_then(|()| copied.write(0, &contents)).expect("memory");
        let mut other = Subject { board, now: self.now, disks: Default::default(), memory: copied };
        other.connect(choice);
        other.take_disk_requests();
        self.end_abandoned_requests(&other);
        assert_eq!(other.disks, self.disks, "requests of drives after restoring");
        assert!(other.board.save() == self.board.save(), "saving a restored board gives another state");
        assert_eq!(other.board.interrupt_pending(0), self.board.interrupt_pending(0));
        other
    }

    /// A restored drive does not wait for an answer that it would drop.
    fn end_abandoned_requests(&mut self, restored: &Subject) {
        for unit in 0..DISKS {
            if self.disks[unit].is_some() && self.disks[unit] != restored.disks[unit] {
                self.disks[unit] = None;
                let _ = self.board.complete_disk_request(unit, Ok(Vec::new()));
            }
        }
        self.take_disk_requests();
    }

    fn perform(&mut self, step: Step) -> Observation {
        let mut seen = Observation::default();
        match step {
            Step::Out { port, size, value } => seen.effects.push(self.board.port_out(port, size, value)),
            Step::In { port, size } => {
                let (value, effect) = self.board.port_in(port, size);
                seen.value = Some(value.into());
                seen.effects.push(effect);
            }
            Step::Store { address, size, value } => {
                seen.effects.push(self.board.memory_write(address, size, value));
            }
            Step::Load { address, size } => {
                let (value, effect) = self.board.memory_read(address, size);
                seen.value = Some(value);
                seen.effects.push(effect);
            }
            Step::WriteMsr(msr, value) => seen.value = self.board.write_msr(0, msr, value).map(u64::from),
            Step::ReadMsr(msr) => seen.value = self.board.read_msr(0, msr),
            Step::TaskPriority(priority) => self.board.set_task_priority(0, priority),
            Step::Time(nanoseconds) => self.advance(nanoseconds, &mut seen),
            Step::Deadline => {
                let next = self.board.next_deadline().unwrap_or(self.now);
                self.advance(next.as_nanos().saturating_sub(self.now.as_nanos()), &mut seen);
            }
            Step::Key(event) => self.board.key(event),
            Step::Mouse(movement, buttons) => self.board.move_mouse(movement, buttons),
            Step::Received(port, byte) => seen.effects.push(self.board.receive(port, byte)),
            Step::Nmi => self.board.request_nmi(0),
            Step::PowerButton => self.board.press_power_button(),
            Step::Acknowledge if self.board.has_vector(0) => {
                seen.value = Some(self.board.acknowledge_interrupt(0).into());
            }
            Step::Disk { unit, fails } => {
                if let Some(request) = self.disks[unit].take() {
                    let result = match request.kind {
                        _ if fails => Err(DiskError { lba: request.lba }),
                        DiskRequestKind::Read => {
                            Ok(vec![request.lba as u8; request.sectors as usize * SECTOR])
                        }
                        _ => Ok(Vec::new()),
                    };
                    seen.effects.push(self.board.complete_disk_request(unit, result));
                }
            }
            Step::Reset => self.reset(),
            Step::Acknowledge | Step::Restore => {}
        }
        if seen.effects.iter().any(|effect| effect.disk) {
            self.take_disk_requests();
        }
        if seen.effects.iter().any(|effect| effect.request == Some(MachineRequest::Reset)) {
            self.reset();
        }
        // As before the next entry into the guest.
        while let Some(request) = self.board.take_request(0) {
            seen.requests.push(request);
            assert!(seen.requests.len() <= MOST_REQUESTS, "{:?}", seen.requests);
        }
        seen.lines = (0..16).map(|line| self.board.interrupts().level(line)).collect();
        seen.deadline = self.board.next_deadline();
        seen.pending = self.board.interrupt_pending(0);
        seen
    }

    fn advance(&mut self, nanoseconds: u64, seen: &mut Observation) {
        self.now = self.now.after(Duration::from_nanos(nanoseconds));
        self.board.advance(self.now, |effect| seen.effects.push(effect));
        // After a long time at most this much per device: no missed tick is made up for.
        assert!(seen.effects.len() <= TABLE.len());
    }
}

/// Does what `input` says with two boards. They must stay alike, without a panic, and no step may take long.
pub fn access_board(input: &[u8]) {
    let mut times = run(input);
    for _ in 1..TRIES {
        if times.iter().all(|(_, time)| *time <= SLOW) {
            return;
        }
        for ((_, least), (_, time)) in times.iter_mut().zip(run(input)) {
            *least = (*least).min(time);
        }
    }
    for (step, time) in times {
        assert!(time <= SLOW, "{step:?} takes {} ms", time.as_millis());
    }
}

/// The steps in `input`, each with the time that it took for both boards.
fn run(input: &[u8]) -> Vec<(Step, Duration)> {
    let mut input = Input(input);
    let choice = input.byte();
    let (mut first, mut second) = (Subject::new(choice), Subject::new(choice));
    let mut times = Vec::new();
    while let Some(step) = Step::read(&mut input) {
        let start = Instant::now();
        let seen = first.perform(step);
        assert_eq!(second.perform(step), seen, "{step:?} after restoring");
        if let Step::Restore = step {
            // The restored board goes on as the first one the next time.
            second = std::mem::replace(&mut first, second);
            first = second.restored(choice);
        }
        times.push((step, start.elapsed()));
    }
    let _ = first.restored(choice);
    assert!(first.board.save() == second.board.save(), "the boards end in different states");
    times
}

#[cfg(test)]
#[path = "fuzzing_test.rs"]
mod tests;
