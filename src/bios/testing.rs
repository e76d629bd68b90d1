//! A machine for the tests of services: memory, a VGA, a clock and a log of what is written to ports.

use std::ops::Range;

use super::call::{BiosCall, BiosDisk, BiosPlatform};
use super::data_areas::{EBDA, ebda, low_memory};
use super::rom;
use crate::devices::Device;
use crate::devices::vbe::{self, BochsVbe};
use crate::devices::vga::{self, TEXT_BUFFER, Vga};
use crate::settings::DiskInterface;

const MEMORY: usize = 2 << 20;

pub(super) struct TestPlatform {
    pub memory: Vec<u8>,
    pub vga: Vga,
    pub vbe: BochsVbe,
    pub cmos: [u8; 128],
    pub index: u8,
    pub disks: Vec<BiosDisk>,
    /// What ports other than those of the VGA and the clock read as.
    pub ports: Vec<(u16, u8)>,
    /// What was written to all ports.
    pub written: Vec<(u16, u8)>,
    pub size: u64,
    /// Interrupts of the master PIC that are in service, and that are requested.
    pub in_service: u8,
    pub requested: u8,
    pub controllers_are_elsewhere: bool,
    pub has_video_memory: bool,
}

impl Default for TestPlatform {
    fn default() -> TestPlatform {
        let mut memory = vec![0; MEMORY];
        memory[..0x500].copy_from_slice(&low_memory());
        memory[EBDA as usize..][..1024].copy_from_slice(&ebda(false));
        memory[rom::ADDRESS as usize..0x10_0000].copy_from_slice(rom::ROM);
        TestPlatform {
            memory,
            vga: Vga::new(),
            vbe: BochsVbe::default(),
            cmos: [0; 128],
            index: 0,
            disks: Vec::new(),
            ports: vec![(0x3F9, 0), (0x3FB, 3), (0x3FC, 8), (0x3FD, 0x60)],
            written: Vec::new(),
            size: 64 << 20,
            in_service: 0,
            requested: 0,
            controllers_are_elsewhere: false,
            has_video_memory: false,
        }
    }
}

/// A call of INT 10h.
pub(super) fn video_call(ax: u16, bx: u16, cx: u16, dx: u16) -> BiosCall {
    BiosCall {
        vector: 0x10,
        eax: ax.into(),
        ebx: bx.into(),
        ecx: cx.into(),
        edx: dx.into(),
        ..BiosCall::default()
    }
}

impl TestPlatform {
    pub fn with_disks(sectors: &[u64]) -> TestPlatform {
        let disk = |(unit, sectors): (u8, &u64)| BiosDisk {
            unit,
            interface: DiskInterface::Ide,
            sectors: *sectors,
            read_only: false,
        };
        TestPlatform { disks: (0..).zip(sectors).map(disk).collect(), ..TestPlatform::default() }
    }

    /// With a CD, too, as unit 2.
    pub fn with_cd(disks: &[u64], sectors: u64) -> TestPlatform {
        let mut platform = TestPlatform::with_disks(disks);
        let cd = BiosDisk { unit: 2, interface: DiskInterface::Cdrom, sectors, read_only: true };
        platform.disks.insert(disks.len().min(2), cd);
        platform
    }

    pub fn dynamic(&mut self) -> &mut dyn BiosPlatform {
        self
    }

    pub fn written_to(&self, port: u16) -> Vec<u8> {
        self.written.iter().filter(|(to, _)| *to == port).map(|(_, value)| *value).collect()
    }

    /// What was sent to COM1.
    pub fn sent(&self) -> String {
        String::from_utf8(self.written_to(0x3F8)).unwrap()
    }

    /// The characters of a row of page 0, without blanks at the end.
    pub fn screen_line(&self, row: usize) -> String {
        let cells = self.memory[TEXT_BUFFER as usize + 160 * row..][..160].chunks(2);
        cells.map(|cell| char::from(cell[0])).collect::<String>().trim_end().to_owned()
    }
}

impl BiosPlatform for TestPlatform {
    fn read(&self, address: u64, bytes: &mut [u8]) {
        for (at, byte) in (address as usize..).zip(bytes) {
            *byte = self.memory.get(at).copied().unwrap_or(0xFF);
        }
    }

    fn write(&mut self, address: u64, bytes: &[u8]) {
        for (at, byte) in (address as usize..).zip(bytes) {
            if let Some(to) = self.memory.get_mut(at) {
                *to = *byte;
            }
        }
    }

    fn port_in(&mut self, port: u16) -> u8 {
        match port {
            0x71 => self.cmos[usize::from(self.index)],
            0x3B0..=0x3DF => self.vga.read(port - vga::FIRST_PORT).0,
            0x20 if self.written_to(0x20).last() == Some(&0x0B) => self.in_service,
            0x20 => self.requested,
            _ => self.ports.iter().find(|(at, _)| *at == port).map_or(0xFF, |(_, value)| *value),
        }
    }

    fn port_out(&mut self, port: u16, value: u8) {
        self.written.push((port, value));
        match port {
            0x70 => self.index = value & 0x7F,
            0x71 => self.cmos[usize::from(self.index)] = value,
            0x3B0..=0x3DF => {
                let _ = self.vga.write(port - vga::FIRST_PORT, value);
            }
            _ => {
                if let Some((_, at)) = self.ports.iter_mut().find(|(at, _)| *at == port) {
                    *at = value;
                }
            }
        }
    }

    fn port_in_word(&mut self, port: u16) -> u16 {
        let read = self.vbe.read_wide(port.wrapping_sub(vbe::INDEX_PORT), 2);
        read.map_or(0xFFFF, |(value, _)| value as u16)
    }

    fn port_out_word(&mut self, port: u16, value: u16) {
        let _ = self.vbe.write_wide(port.wrapping_sub(vbe::INDEX_PORT), 2, value.into());
    }

    fn reaches_interrupt_controllers(&self) -> bool {
        !self.controllers_are_elsewhere
    }

    fn ram(&self) -> Vec<Range<u64>> {
        std::iter::once(0..self.size).collect()
    }

    fn has_video_memory(&self) -> bool {
        self.has_video_memory
    }

    fn disks(&self) -> Vec<BiosDisk> {
        self.disks.clone()
    }
}
