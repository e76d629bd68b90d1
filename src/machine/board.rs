//! The board: all devices, and how an access reaches the right one.
//!
//! Built from [`crate::devices::table`]. The run loop passes accesses in and applies the [`Effect`] that is
//! returned; interrupt levels go straight to the [`InterruptLines`]. Each access of the guest is counted
//! once, whatever its width: the count is part of a [`Position`](super::journal::Position).

mod bios;
mod bus_master;
mod disks;
mod display;
mod firmware;
mod kernel_irqchip;
mod memory_accesses;
mod pci;
mod polling;
mod saved;
mod timers;
mod virtio;
mod wiring;

use std::any::Any;

use super::interrupts::InterruptLines;
use super::kernel_irqchip::LineChanges;
use super::output::OutputSource;
use crate::devices::acpi_pm::AcpiPm;
use crate::devices::decode::PortDecoder;
use crate::devices::hpet::Hpet;
use crate::devices::i8042::I8042;
use crate::devices::ide::IdeChannel;
use crate::devices::ide::bus_master::BusMaster;
use crate::devices::ioapic::IoApic;
use crate::devices::keyboard::KeyEvent;
use crate::devices::lapic::{LocalApics, ProcessorRequest};
use crate::devices::mouse::Movement;
use crate::devices::pci::PciBus;
use crate::devices::pic::DualPic;
use crate::devices::post::PostPort;
use crate::devices::serial::SerialPort;
use crate::devices::table::{Registration, Role, TABLE, Timing};
use crate::devices::unassigned::UnassignedAccesses;
use crate::devices::vbe::BochsVbe;
use crate::devices::vga::Vga;
use crate::devices::{Action, BoardDevice, MachineRequest, MachineTime, OPEN_BUS};
use wiring::Controllers;

pub use polling::IdleDevice;
pub use wiring::InterruptSource;

/// The effect of an access outside its device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effect {
    /// A byte that leaves the machine, and the device that sent it.
    pub output: Option<(OutputSource, u8)>,
    /// A request to the whole machine.
    pub request: Option<MachineRequest>,
    /// The next deadline of a device may have changed.
    pub deadline: bool,
    /// A drive may have a request ([`Board::take_disk_request`]), or the bus master data to transfer
    /// ([`Board::transfer_by_dma`]).
    pub disk: bool,
    /// What memory shows may have changed ([`PciBus::shadow_control`]).
    pub memory: bool,
}

impl Effect {
    /// Both effects, `self` before `other`. A byte is lost if both have one.
    pub fn and(self, other: Effect) -> Effect {
        Effect {
            output: self.output.or(other.output),
            request: self.request.or(other.request),
            deadline: self.deadline | other.deadline,
            disk: self.disk | other.disk,
            memory: self.memory | other.memory,
        }
    }
}

/// A device of the board, as [`Board::decode`] finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceIndex(u8);

/// A device and its attachment.
#[derive(Debug)]
struct Slot {
    device: Box<dyn BoardDevice>,
    base: u16,
    role: Role,
    interrupt: Option<u8>,
    second_interrupt: Option<u8>,
    timing: Timing,
    /// Interrupts may change with each access: an interrupt controller, or a device with outputs of its own.
    is_controller: bool,
}

/// All devices of the machine.
#[derive(Debug)]
pub struct Board {
    table: &'static [Registration],
    slots: Vec<Slot>,
    decoder: PortDecoder,
    /// Positions of the devices that the machine accesses by role.
    serial: [u8; 4],
    i8042: u8,
    vga: u8,
    vbe: u8,
    /// Where the guest has put video memory.
    video_base: Option<u64>,
    controllers: Controllers,
    pci: u8,
    unassigned: u8,
    /// The IDE channels, the primary one first.
    ide: Vec<u8>,
    /// The disks with the virtio interface.
    virtio: Vec<u8>,
    /// The bus master of the IDE channels.
    bus_master: u8,
    /// The devices that are told the time.
    timed: Vec<u8>,
    /// Levels of the interrupt lines.
    interrupts: InterruptLines,
    /// One bit for each processor of which something is requested.
    interrupt_pending: u64,
    /// What the local APICs request of their processors besides interrupts with a vector.
    requests: Vec<(u8, ProcessorRequest)>,
    /// What KVM's interrupt controllers are to be told, if they are used.
    line_changes: Option<LineChanges>,
    /// The processor whose accesses these are.
    cpu: u8,
    /// Accesses of the guest to devices.
    accesses: u64,
}

impl Default for Board {
    fn default() -> Board {
        Board::new(TABLE)
    }
}

impl Board {
    /// The devices of `table` in their state after power-on.
    ///
    /// # Panics
    ///
    /// If `table` lacks one of the devices that the machine uses by name: COM1 to COM4, the keyboard controller,
    /// the VGA and its linear modes, the interrupt controllers, the HPET, the PCI bus, the bus master, and the device
    /// for unassigned accesses.
    pub fn new(table: &'static [Registration]) -> Board {
        let slots: Vec<Slot> = table
            .iter()
            .map(|entry| {
                let device = (entry.create)();
                Slot {
                    is_controller: wiring::is_controller(device.as_ref()),
                    device,
                    base: entry.base,
                    role: entry.role,
                    interrupt: entry.interrupt,
                    second_interrupt: entry.second_interrupt,
                    timing: entry.timing,
                }
            })
            .collect();
        let find = |matches: &dyn Fn(&Slot) -> bool| {
            slots.iter().position(matches).map(|index| index as u8).expect("the table has the device")
        };
        let serial = [0, 1, 2, 3].map(|number| find(&|slot| slot.role == Role::Serial(number)));
        let i8042 = find(&|slot| slot.role == Role::Keyboard);
        let vga = find(&|slot| slot.role == Role::Display);
        let vbe = find(&|slot| is::<BochsVbe>(slot.device.as_ref()));
        let controllers = Controllers {
            pic: find(&|slot| is::<DualPic>(slot.device.as_ref())),
            ioapic: find(&|slot| is::<IoApic>(slot.device.as_ref())),
            lapics: find(&|slot| is::<LocalApics>(slot.device.as_ref())),
            hpet: find(&|slot| is::<Hpet>(slot.device.as_ref())),
            ..Controllers::default()
        };
        let pci = find(&|slot| is::<PciBus>(slot.device.as_ref()));
        let unassigned = find(&|slot| is::<UnassignedAccesses>(slot.device.as_ref()));
        let all = |matches: &dyn Fn(&Slot) -> bool| -> Vec<u8> {
            (0..).zip(&slots).filter(|(_, slot)| matches(slot)).map(|(at, _)| at).collect()
        };
        let ide = all(&|slot| is::<IdeChannel>(slot.device.as_ref()));
        let virtio = all(&|slot| slot.role == Role::VirtioDisk);
        let bus_master = find(&|slot| is::<BusMaster>(slot.device.as_ref()));
        let timed = all(&|slot| slot.timing != Timing::None);
        let decoder = PortDecoder::new(table, unassigned);
        let mut board = Board {
            table,
            slots,
            decoder,
            serial,
            i8042,
            vga,
            vbe,
            video_base: None,
            controllers,
            pci,
            unassigned,
            ide,
            virtio,
            bus_master,
            timed,
            interrupts: InterruptLines::default(),
            interrupt_pending: 0,
            requests: Vec::new(),
            line_changes: None,
            cpu: 0,
            accesses: 0,
        };
        board.read_lines();
        board
    }

    /// Returns all devices to their state after power-on. The count of accesses continues.
    pub fn reset(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.device.reset());
        self.cpu = 0;
        self.map_pci();
        self.read_lines();
    }

    /// The device at `port`.
    #[inline]
    pub fn decode(&self, port: u16) -> DeviceIndex {
        DeviceIndex(self.decoder.port(port))
    }

    /// What the machine does for a device besides passing accesses on.
    #[inline]
    pub fn role(&self, device: DeviceIndex) -> Role {
        self.slots[usize::from(device.0)].role
    }

    /// The guest writes `size` (1, 2 or 4) bytes to `port`, which is `device`'s. A wide access reaches byte-wide
    /// devices byte by byte, lowest first.
    #[inline]
    pub fn write_port(&mut self, device: DeviceIndex, port: u16, size: u8, value: u32) -> Effect {
        self.accesses += 1;
        if size == 1 {
            return self.write_byte(device, port, value as u8);
        }
        self.write_wide(device, port, size, value)
    }

    fn write_wide(&mut self, device: DeviceIndex, port: u16, size: u8, value: u32) -> Effect {
        let slot = &mut self.slots[usize::from(device.0)];
        if let Some(action) = slot.device.write_wide(port - slot.base, size, value) {
            return self.effect(device, action);
        }
        let bytes = &value.to_le_bytes()[..usize::from(size.min(4))];
        (port..=u16::MAX).zip(bytes).fold(Effect::default(), |all, (port, byte)| {
            all.and(self.write_byte(self.decode(port), port, *byte))
        })
    }

    /// The guest reads `size` (1, 2 or 4) bytes from `port`, which is `device`'s; what lies beyond the last port
    /// reads as all ones.
    #[inline]
    pub fn read_port(&mut self, device: DeviceIndex, port: u16, size: u8) -> (u32, Effect) {
        self.accesses += 1;
        if size == 1 {
            let (byte, effect) = self.read_byte(device, port);
            return (u32::from_le_bytes([byte, OPEN_BUS, OPEN_BUS, OPEN_BUS]), effect);
        }
        self.read_wide(device, port, size)
    }

    fn read_wide(&mut self, device: DeviceIndex, port: u16, size: u8) -> (u32, Effect) {
        let slot = &mut self.slots[usize::from(device.0)];
        if let Some((value, action)) = slot.device.read_wide(port - slot.base, size) {
            return (value, self.effect(device, action));
        }
        let (mut value, mut all) = ([OPEN_BUS; 4], Effect::default());
        for (port, byte) in (port..=u16::MAX).zip(&mut value[..usize::from(size.min(4))]) {
            let (read, one) = self.read_byte(self.decode(port), port);
            *byte = read;
            all = all.and(one);
        }
        (u32::from_le_bytes(value), all)
    }

    /// The guest reads `port`, which is `device`'s, again and again, `size` bytes each time: fills the beginning of
    /// `into` with what it reads, as far as these reads have no effect besides; returns how many reads that is.
    pub fn read_block(&mut self, device: DeviceIndex, port: u16, size: u8, into: &mut [u8]) -> usize {
        let slot = &mut self.slots[usize::from(device.0)];
        let reads = slot.device.read_block(port - slot.base, size, into) / usize::from(size.max(1));
        self.accesses += reads as u64;
        reads
    }

    /// [`Self::write_port`] with the device decoded.
    pub fn port_out(&mut self, port: u16, size: u8, value: u32) -> Effect {
        self.write_port(self.decode(port), port, size, value)
    }

    /// [`Self::read_port`] with the device decoded.
    pub fn port_in(&mut self, port: u16, size: u8) -> (u32, Effect) {
        self.read_port(self.decode(port), port, size)
    }

    #[inline]
    fn write_byte(&mut self, device: DeviceIndex, port: u16, value: u8) -> Effect {
        let slot = &mut self.slots[usize::from(device.0)];
        let action = slot.device.write(port - slot.base, value);
        self.effect(device, action)
    }

    #[inline]
    fn read_byte(&mut self, device: DeviceIndex, port: u16) -> (u8, Effect) {
        let slot = &mut self.slots[usize::from(device.0)];
        let (value, action) = slot.device.read(port - slot.base);
        (value, self.effect(device, action))
    }

    /// Applies the interrupt line level of `action`, and returns the rest of it.
    #[inline]
    fn effect(&mut self, device: DeviceIndex, action: Action) -> Effect {
        let is_controller = self.slots[usize::from(device.0)].is_controller;
        if action.line.is_some() || action.second_line.is_some() || is_controller {
            self.update_lines(device, action);
        }
        if action.configuration {
            self.pci_changed();
        }
        let slot = &self.slots[usize::from(device.0)];
        let output = action.output.and_then(|byte| match slot.role {
            Role::Serial(number) => Some((OutputSource::Serial(number), byte)),
            Role::DebugConsole => Some((OutputSource::DebugConsole, byte)),
            _ => None,
        });
        Effect {
            output,
            request: action.request,
            deadline: action.deadline,
            disk: action.disk,
            memory: action.memory,
        }
    }

    /// True if the registers of the device show the time: it is told the time before each access.
    #[inline]
    pub fn shows_time(&self, device: DeviceIndex) -> bool {
        self.slots[usize::from(device.0)].timing == Timing::Accesses
    }

    /// The same for the device at a guest-physical address.
    pub fn shows_time_at(&self, address: u64) -> bool {
        self.decoder.address(address).is_some_and(|(device, offset)| {
            self.shows_time(DeviceIndex(device)) && self.slots[usize::from(device)].device.shows_time(offset)
        })
    }

    /// The earliest time at which a device has something to do by itself.
    pub fn next_deadline(&self) -> Option<MachineTime> {
        self.timed.iter().filter_map(|at| self.slots[usize::from(*at)].device.next_deadline()).min()
    }

    /// Advances all devices to `now`, and passes the resulting effects to `apply`.
    pub fn advance(&mut self, now: MachineTime, mut apply: impl FnMut(Effect)) {
        for at in 0..self.timed.len() {
            let index = self.timed[at];
            let action = self.slots[usize::from(index)].device.advance(now);
            let effect = self.effect(DeviceIndex(index), action);
            if effect != Effect::default() {
                apply(effect);
            }
        }
    }

    /// A key of the keyboard is pressed or released.
    pub fn key(&mut self, event: KeyEvent) {
        let action = downcast_mut::<I8042>(&mut self.slots[usize::from(self.i8042)]).key(event);
        // A key does nothing but change the line.
        let _ = self.effect(DeviceIndex(self.i8042), action);
    }

    /// The mouse is moved, and its buttons are as in `buttons` from now on.
    pub fn move_mouse(&mut self, movement: Movement, buttons: Option<u8>) {
        let action =
            downcast_mut::<I8042>(&mut self.slots[usize::from(self.i8042)]).mouse_moved(movement, buttons);
        // As a key.
        let _ = self.effect(DeviceIndex(self.i8042), action);
    }

    /// A byte arrives at serial port `number` (0 is COM1). It is lost if there is no room.
    pub fn receive(&mut self, number: u8, byte: u8) -> Effect {
        let index = self.serial[usize::from(number)];
        let action = downcast_mut::<SerialPort>(&mut self.slots[usize::from(index)]).receive(byte);
        self.effect(DeviceIndex(index), action)
    }

    /// Serial port `number` (0 is COM1).
    #[inline]
    pub fn serial(&self, number: u8) -> &SerialPort {
        downcast(&self.slots[usize::from(self.serial[usize::from(number)])])
    }

    /// The keyboard controller, with the keyboard.
    #[inline]
    pub fn i8042(&self) -> &I8042 {
        downcast(&self.slots[usize::from(self.i8042)])
    }

    /// The power button is pressed.
    pub fn press_power_button(&mut self) {
        let found = (0..self.slots.len()).find(|at| is::<AcpiPm>(self.slots[*at].device.as_ref()));
        if let Some(index) = found {
            let action = downcast_mut::<AcpiPm>(&mut self.slots[index]).press_power_button();
            // A button does nothing but change the line.
            let _ = self.effect(DeviceIndex(index as u8), action);
        }
    }

    /// The VGA.
    #[inline]
    pub fn vga(&self) -> &Vga {
        downcast(&self.slots[usize::from(self.vga)])
    }

    /// All devices with their entries in the table, in its order.
    pub fn devices(&self) -> impl Iterator<Item = (&Registration, &dyn BoardDevice)> {
        self.table.iter().zip(self.slots.iter().map(|slot| slot.device.as_ref()))
    }

    /// The PCI bus.
    pub fn pci(&self) -> &PciBus {
        downcast(&self.slots[usize::from(self.pci)])
    }

    /// The counts of unassigned accesses.
    pub fn unassigned(&self) -> &UnassignedAccesses {
        downcast(&self.slots[usize::from(self.unassigned)])
    }

    /// The last POST code, if the guest has written one.
    pub fn post_code(&self) -> Option<u8> {
        let mut devices = self.slots.iter().map(|slot| slot.device.as_ref() as &dyn Any);
        devices.find_map(<dyn Any>::downcast_ref::<PostPort>)?.last()
    }

    /// The interrupt lines.
    pub fn interrupts(&self) -> &InterruptLines {
        &self.interrupts
    }

    /// Accesses of the guest to devices, since power-on.
    pub fn accesses(&self) -> u64 {
        self.accesses
    }

    /// Sets the count of accesses to that of a restored machine.
    pub(super) fn set_accesses(&mut self, accesses: u64) {
        self.accesses = accesses;
    }
}

fn is<D: 'static>(device: &dyn BoardDevice) -> bool {
    (device as &dyn Any).is::<D>()
}

/// The device in a slot that [`Board::new`] has found for this type.
#[inline]
fn downcast<D: 'static>(slot: &Slot) -> &D {
    (slot.device.as_ref() as &dyn Any).downcast_ref().expect("a role belongs to one type of device")
}

fn downcast_mut<D: 'static>(slot: &mut Slot) -> &mut D {
    (slot.device.as_mut() as &mut dyn Any).downcast_mut().expect("a role belongs to one type of device")
}

#[cfg(test)]
#[path = "board_test.rs"]
mod tests;

#[cfg(test)]
#[path = "mid_operation_test.rs"]
mod mid_operation;

#[cfg(test)]
#[path = "long_stop_test.rs"]
mod long_stop;
