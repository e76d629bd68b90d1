//! Known sequences and variants of them.

use super::*;
use crate::fuzzing::{FuzzDriver, Random, Seeds};

#[test]
fn any_input_to_the_board_is_bounded_and_survives_a_restore() {
    FuzzDriver::new("board").dictionary(&[RESTORE, DEADLINE, ACKNOWLEDGE, ANSWER]).run(access_board);
}

const DEADLINE: &[u8] = &[19];
const ACKNOWLEDGE: &[u8] = &[26];
const ANSWER: &[u8] = &[28, 0];
const RESTORE: &[u8] = &[30];

/// The bytes of steps.
#[derive(Default)]
struct Script(Vec<u8>);

impl Script {
    fn with_disks(bits: u8) -> Script {
        Script(vec![bits])
    }

    fn out(self, port: u16, values: &[u8]) -> Script {
        values.iter().fold(self, |script, value| script.wide_out(port, 0, u32::from(*value)))
    }

    fn wide_out(mut self, port: u16, size: u8, value: u32) -> Script {
        self.0.push(0);
        self.0.extend(port.to_le_bytes());
        self.0.push(size);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn input(mut self, port: u16, size: u8) -> Script {
        self.0.push(1);
        self.0.extend(port.to_le_bytes());
        self.0.push(size);
        self
    }

    /// Window 0 is that of the local APICs, 1 that of the IOAPIC, 2 that of the HPET.
    fn store(mut self, window: u8, offset: u16, value: u32) -> Script {
        self.0.extend([9, window]);
        self.0.extend(offset.to_le_bytes());
        self.0.push(0x80);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn load(mut self, window: u8, offset: u16) -> Script {
        self.0.extend([11, window]);
        self.0.extend(offset.to_le_bytes());
        self.0.push(0x80);
        self
    }

    fn steps(mut self, bytes: &[u8]) -> Script {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The next deadline with its interrupt, this often, and a restored board among them.
    fn ticks(self, count: usize) -> Script {
        let tick = [DEADLINE, ACKNOWLEDGE].concat();
        self.steps(&tick).steps(RESTORE).steps(&tick.repeat(count))
    }
}

/// The 8259A pair as kernels set it up, with all lines on.
fn pic(script: Script) -> Script {
    script.out(0x20, &[0x11]).out(0x21, &[0x20, 4, 1, 0]).out(0xA0, &[0x11]).out(0xA1, &[0x28, 2, 1, 0])
}

fn scripts() -> Vec<(&'static str, Script)> {
    let new = || pic(Script::with_disks(0));
    let end = [0x20];
    // Sector 2 of the first disk.
    let command = |script: Script, command| {
        script
            .out(0x1F2, &[3])
            .out(0x1F3, &[2])
            .out(0x1F4, &[0])
            .out(0x1F5, &[0])
            .out(0x1F6, &[0xE0])
            .out(0x1F7, &[command])
    };
    let words = |mut script: Script, count| {
        for _ in 0..count {
            script = script.input(0x1F0, 2);
        }
        script
    };
    let disk = command(pic(Script::with_disks(0xF)), 0x20).steps(RESTORE).steps(ANSWER).steps(ACKNOWLEDGE);
    let disk = words(disk.input(0x1F7, 0), 70).steps(RESTORE);
    let disk = words(disk, 140).out(0x3F6, &[4, 0]).steps(RESTORE).steps(ANSWER);
    let mut written = command(pic(Script::with_disks(1)), 0x30);
    for word in 0..384u32 {
        written = written.wide_out(0x1F0, 1, word);
    }
    let key = [21, 0, 0, 21, 0, 1];
    vec![
        (
            "timer",
            new()
                .out(0x43, &[0x34])
                .out(0x40, &[0x9C, 0x2E])
                .ticks(4)
                .out(0x43, &[0xC2])
                .input(0x40, 0)
                .input(0x40, 0),
        ),
        (
            "speaker",
            new()
                .out(0x43, &[0xB6])
                .out(0x42, &[0x10, 0])
                .out(0x61, &[3])
                .input(0x61, 0)
                .ticks(2)
                .input(0x42, 0),
        ),
        (
            "clock",
            new().out(0x70, &[0xB]).out(0x71, &[0x72]).ticks(3).out(0x70, &[0xC]).input(0x71, 0).ticks(2),
        ),
        (
            "hpet",
            new()
                .store(2, 0x100, 0x4C)
                .store(2, 0x108, 50_000)
                .store(2, 0x10C, 0)
                .store(2, 0x10, 3)
                .ticks(3)
                .load(2, 0xF0)
                .ticks(2),
        ),
        (
            "apic-timer",
            new()
                .store(0, 0xF0, 0x1FF)
                .store(0, 0x320, 0x2_0040)
                .store(0, 0x3E0, 3)
                .store(0, 0x380, 9999)
                .ticks(3)
                .load(0, 0x390)
                .store(0, 0xB0, 0)
                .store(0, 0x300, 0x4_0050)
                .steps(ACKNOWLEDGE),
        ),
        (
            "x2apic",
            new()
                .steps(&[13, 0, 0, 0xD, 0xE0, 0xFE])
                .steps(&[14, 2, 14, 0x30])
                .steps(&[12, 0x30, 0x50, 0, 4, 0, 0, 0, 0, 0])
                .steps(ACKNOWLEDGE)
                .steps(&[12, 1, 0, 0, 0, 0, 1, 0, 0, 0])
                .ticks(1),
        ),
        (
            "ioapic",
            new()
                .out(0x64, &[0x60])
                .out(0x60, &[0x47])
                .store(1, 0, 0x10)
                .store(1, 0x10, 0x31)
                .store(1, 0, 0x11)
                .store(1, 0x10, 0)
                .store(0, 0xF0, 0x1FF)
                .steps(&key)
                .steps(ACKNOWLEDGE)
                .steps(RESTORE)
                .input(0x60, 0)
                .store(0, 0xB0, 0),
        ),
        (
            "keyboard",
            new()
                .out(0x64, &[0x60])
                .out(0x60, &[0x47])
                .steps(&key)
                .steps(ACKNOWLEDGE)
                .input(0x60, 0)
                .out(0x20, &end)
                .out(0x64, &[0xD4])
                .out(0x60, &[0xF4])
                .steps(RESTORE)
                .input(0x60, 0)
                .steps(&[22, 5, 0, 3, 0, 1, 1])
                .steps(ACKNOWLEDGE)
                .input(0x60, 0)
                .input(0x60, 0),
        ),
        (
            "serial",
            new()
                .out(0x3FC, &[8])
                .out(0x3F9, &[3])
                .out(0x3F8, b"ab")
                .steps(&[23, 0, b'x'])
                .steps(ACKNOWLEDGE)
                .input(0x3FA, 0)
                .steps(RESTORE)
                .input(0x3F8, 0)
                .out(0x3FA, &[0xC1])
                .steps(&[23, 0, b'y'])
                .ticks(2),
        ),
        (
            "pci",
            new()
                .wide_out(0xCF8, 2, 0x8000_0000)
                .input(0xCFC, 2)
                .wide_out(0xCF8, 2, 0x8000_0920)
                .wide_out(0xCFC, 2, 0xFFFF_FFFF)
                .steps(RESTORE)
                .input(0xCFC, 2)
                .out(0xCF9, &[2, 6])
                .input(0xCFC, 1),
        ),
        (
            "power",
            new()
                .steps(&[25])
                .steps(&[24])
                .steps(RESTORE)
                .input(0x600, 1)
                .wide_out(0x604, 1, 0x3400)
                .steps(&[31]),
        ),
        ("disk", disk),
        ("disk-write", written.steps(RESTORE).steps(ANSWER).steps(ACKNOWLEDGE).input(0x1F7, 0)),
    ]
}

#[test]
fn seeds_of_the_board_are_sequences_of_accesses() {
    let seeds = Seeds::of("board");
    for (name, Script(bytes)) in scripts() {
        seeds.must_hold(name, &bytes);
        let steps = run(&bytes);
        assert!(steps.len() > 8, "{name}");
    }
}

#[test]
fn sequences_interrupt_the_processor() {
    for (name, Script(bytes)) in scripts() {
        let mut input = Input(&bytes);
        let mut subject = Subject::new(input.byte());
        let mut interrupts = 0;
        while let Some(step) = Step::read(&mut input) {
            let seen = subject.perform(step);
            interrupts += usize::from(matches!(step, Step::Acknowledge) && seen.value.is_some());
        }
        let expected = !matches!(name, "speaker" | "pci" | "power");
        assert_eq!(interrupts > 0, expected, "{name}: {interrupts} interrupts");
    }
}

#[test]
fn random_steps_are_bounded_and_survive_restores() {
    let mut random = Random::new(12);
    for _ in 0..50 {
        let noise: Vec<u8> = std::iter::repeat_with(|| random.next() as u8).take(2000).collect();
        access_board(&noise);
    }
}
