//! What firmware would have done before the guest starts, where guests are started without any; and the devices of
//! firmware in ROM, which does it itself.

use std::any::Any;
use std::fmt::Write;

use super::{Board, downcast_mut};
use crate::devices::Device;
use crate::devices::fw_cfg::{DMA_CONTROL, DmaTransfer, FirmwareConfiguration, FirmwareFacts};
use crate::devices::pci::{PciBus, firmware, virtio_disk};
use crate::devices::pic::{self, DualPic};
use crate::devices::rtc::Rtc;
use crate::devices::table::Role;
use crate::memory::{GuestMemory, LOW_RAM_LIMIT};
use crate::settings::{CDROM_UNIT, MOST_DISKS, MOST_VIRTIO_DISKS};

/// The file that lists the devices to boot from.
const BOOT_ORDER: &str = "bootorder";
/// The file with the map of memory.
const MEMORY_MAP: &str = "etc/e820";
/// An entry of the map: RAM.
const MAP_RAM: u32 = 1;
/// The file that says for how many milliseconds firmware waits before it starts anew because nothing can be booted.
const BOOT_FAIL_WAIT: &str = "etc/boot-fail-wait";
/// It does not start anew.
const FOR_EVER: u32 = u32::MAX;
/// The file that says where SeaBIOS shows the screen besides.
const SERIAL_CONSOLE: &str = "etc/sercon-port";
/// COM1.
const SERIAL_CONSOLE_PORT: u16 = 0x3F8;
/// The VGA BIOS.
const VGA_BIOS: &str = "vgaroms/vgabios.bin";

/// CMOS: boot from a hard disk, then from a CD.
const HARD_DISK_THEN_CD: [u8; 3] = [2, 3, 0];

/// Bytes of a transfer that are copied at a time.
const PIECE: usize = 64 << 10;

impl Board {
    /// Connects the port at which the guest stops itself in a debugger.
    pub fn connect_debugger_port(&mut self) {
        self.connect(Role::DebuggerPort);
    }

    /// Connects the port at which the guest asks the test runner for a test.
    pub fn connect_test_port(&mut self) {
        self.connect(Role::TestPort);
    }

    /// Connects the ports of optional devices.
    pub(super) fn connect(&mut self, role: Role) {
        for (index, entry) in self.table.iter().enumerate() {
            if entry.role == role {
                self.decoder.connect(entry, index as u8);
            }
        }
    }

    /// Sets what firmware would have found out and left in the CMOS RAM: the memory of `size` bytes, and the time of
    /// day at power-on, in seconds since 1970 UTC.
    pub fn set_up_cmos(&mut self, size: u64, time_of_day: i64) {
        if let Some(rtc) = self.device_mut::<Rtc>() {
            let low = size.min(LOW_RAM_LIMIT);
            rtc.set_memory_size(low, size - low);
            rtc.set_time_of_day(time_of_day);
        }
    }

    /// What the clock shows now, in seconds since 1970 UTC.
    pub fn time_of_day(&mut self) -> i64 {
        self.device_mut::<Rtc>().map_or(0, |rtc| rtc.time_of_day())
    }

    /// Sets whether the IDE function has flat base address registers
    /// ([`IdeFunction::new`](crate::devices::pci::ide::IdeFunction::new)). The PCI bus is then as after power-on.
    pub fn set_flat_ide_bars(&mut self, on: bool) {
        downcast_mut::<PciBus>(&mut self.slots[usize::from(self.pci)]).set_flat_ide_bars(on);
    }

    /// Sets the PCI bus up ([`PciBus::set_up`]), and makes the lines that its interrupts are routed to level-triggered.
    /// Firmware in ROM does that itself.
    pub fn set_up_pci(&mut self) {
        if self.has_firmware() {
            return;
        }
        downcast_mut::<PciBus>(&mut self.slots[usize::from(self.pci)]).set_up();
        let lines = firmware::level_triggered_lines();
        let pic = downcast_mut::<DualPic>(&mut self.slots[usize::from(self.controllers.pic)]);
        for (port, lines) in pic::ELCR_PORTS.into_iter().zip(lines.to_le_bytes()) {
            let _ = pic.write(port, lines);
        }
        self.pci_changed();
    }

    /// True if the machine has firmware in ROM.
    pub fn has_firmware(&self) -> bool {
        let mut devices = self.slots.iter().map(|slot| slot.device.as_ref() as &dyn Any);
        devices.find_map(<dyn Any>::downcast_ref::<FirmwareConfiguration>).is_some_and(|it| it.is_present())
    }

    /// Gives firmware in ROM what it needs: the facts about the machine with this memory and `cpus` processors, and
    /// the ports for its messages.
    pub fn set_up_firmware(&mut self, memory: &GuestMemory, option_rom: Vec<u8>, cpus: u8) {
        let mut map = Vec::new();
        for range in memory.ram() {
            map.extend(range.start.to_le_bytes());
            map.extend((range.end - range.start).to_le_bytes());
            map.extend(MAP_RAM.to_le_bytes());
        }
        let mut files =
            vec![(MEMORY_MAP.to_owned(), map), (BOOT_FAIL_WAIT.to_owned(), FOR_EVER.to_le_bytes().to_vec())];
        if option_rom.is_empty() {
            files.push((SERIAL_CONSOLE.to_owned(), SERIAL_CONSOLE_PORT.to_le_bytes().to_vec()));
        } else {
            files.push((VGA_BIOS.to_owned(), option_rom));
        }
        let facts = FirmwareFacts { ram_size: memory.size(), cpus: cpus.into(), files };
        if let Some(device) = self.device_mut::<FirmwareConfiguration>() {
            device.set_up(&facts);
        }
        if let Some(rtc) = self.device_mut::<Rtc>() {
            rtc.set_boot_order(HARD_DISK_THEN_CD);
            rtc.set_cpus(cpus.into());
        }
        downcast_mut::<PciBus>(&mut self.slots[usize::from(self.pci)]).identify();
        self.connect(Role::Firmware);
        self.pci_changed();
    }

    /// Lets firmware in ROM boot from the disks in their order, and from the CD last.
    pub fn set_boot_order(&mut self) {
        if !self.has_firmware() {
            return;
        }
        let mut order = String::new();
        let ide = (0..MOST_DISKS).filter(|unit| *unit != CDROM_UNIT);
        for unit in ide.chain(MOST_DISKS..MOST_DISKS + MOST_VIRTIO_DISKS).chain([CDROM_UNIT]) {
            if self.disk(unit).is_some() {
                let _ = match unit.checked_sub(MOST_DISKS) {
                    None => {
                        writeln!(order, "/pci@i0cf8/ide@1,1/drive@{}/disk@{}", unit / 2, unit % 2)
                    }
                    Some(number) => {
                        let device = virtio_disk::address(number).device;
                        writeln!(order, "/pci@i0cf8/scsi@{device:x}/disk@0,0")
                    }
                };
            }
        }
        let present = [self.disk(0).is_some(), self.disk(1).is_some()];
        if let Some(device) = self.device_mut::<FirmwareConfiguration>() {
            // As QEMU writes it: without the last line's end, and with that of the string.
            let mut bytes = order.trim_end().as_bytes().to_vec();
            bytes.push(0);
            device.set_file(BOOT_ORDER, bytes);
        }
        if let Some(rtc) = self.device_mut::<Rtc>() {
            rtc.set_hard_disks(present);
        }
    }

    /// Carries out the requests that firmware has made of the configuration device.
    pub fn transfer_firmware_configuration(&mut self, memory: &GuestMemory) {
        let Some(device) = self.device_mut::<FirmwareConfiguration>() else { return };
        while let Some(at) = device.take_dma() {
            let mut control = [0; DMA_CONTROL];
            if memory.read(at, &mut control).is_err() {
                continue;
            }
            let failed = match device.transfer(control) {
                DmaTransfer::Done => false,
                DmaTransfer::Failed => true,
                DmaTransfer::Read { address, length } => {
                    let mut piece = vec![0; PIECE.min(length as usize)];
                    let mut done = 0;
                    loop {
                        let rest = u64::from(length) - done;
                        if rest == 0 {
                            break false;
                        }
                        let piece = &mut piece[..(PIECE as u64).min(rest) as usize];
                        device.read_bytes(piece);
                        let Some(to) = address.checked_add(done) else { break true };
                        if memory.write_for_guest(to, piece).is_err() {
                            break true;
                        }
                        done += piece.len() as u64;
                    }
                }
            };
            // What can be read can be written.
            let _ = memory.write_for_guest(at, &DmaTransfer::status(failed));
        }
    }

    fn device_mut<D: 'static>(&mut self) -> Option<&mut D> {
        let mut devices = self.slots.iter_mut().map(|slot| slot.device.as_mut() as &mut dyn Any);
        devices.find_map(<dyn Any>::downcast_mut::<D>)
    }
}
