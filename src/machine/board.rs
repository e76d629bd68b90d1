//! The board: all devices, and how an access reaches the right one.
//!
//! Built from [`crate::devices::table`]. The run loop passes accesses in and applies the [`Effect`] that is
//! returned; interrupt levels go straight to the [`InterruptLines`]. Each access of the guest is counted
//! once, whatever its width: the count is part of a [`Position`](super::journal::Position).

use std::any::Any;

use serde::Serialize;

use super::interrupts::InterruptLines;
use super::output::OutputSource;
use crate::devices::decode::PortDecoder;
use crate::devices::i8042::I8042;
use crate::devices::keyboard::KeyEvent;
use crate::devices::pci::PciBus;
use crate::devices::pic::DualPic;
use crate::devices::post::PostPort;
use crate::devices::rtc::Rtc;
use crate::devices::serial::SerialPort;
use crate::devices::table::{Registration, Role, TABLE, Timing};
use crate::devices::unassigned::UnassignedAccesses;
use crate::devices::vga::Vga;
use crate::devices::{Action, BoardDevice, MachineRequest, MachineTime, OPEN_BUS, Payload, StateError};
use crate::memory::LOW_RAM_LIMIT;

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
}

impl Effect {
    /// Both effects, `self` before `other`. A byte is lost if both have one.
    pub fn and(self, other: Effect) -> Effect {
        Effect {
            output: self.output.or(other.output),
            request: self.request.or(other.request),
            deadline: self.deadline | other.deadline,
        }
    }
}

/// A device that has an interrupt line, and what keeps it from interrupting the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct InterruptSource {
    /// Kind of the device, as in [`Registration::kind`].
    pub kind: &'static str,
    /// Number among the devices of its kind.
    pub number: u16,
    /// Its ISA interrupt line.
    pub line: u8,
    /// The guest has programmed the device so that it may interrupt.
    pub programmed: bool,
    /// The interrupt controller passes its line on.
    pub admitted: bool,
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
    timing: Timing,
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
    pic: u8,
    pci: u8,
    unassigned: u8,
    /// The devices that are told the time.
    timed: Vec<u8>,
    /// Levels of the interrupt lines.
    interrupts: InterruptLines,
    /// An interrupt controller requests an interrupt of the processor.
    interrupt_pending: bool,
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
    /// the VGA, the interrupt controller, the PCI bus, and the device for unassigned accesses.
    pub fn new(table: &'static [Registration]) -> Board {
        let slots: Vec<Slot> = table
            .iter()
            .map(|entry| Slot {
                device: (entry.create)(),
                base: entry.base,
                role: entry.role,
                interrupt: entry.interrupt,
                timing: entry.timing,
            })
            .collect();
        let find = |matches: &dyn Fn(&Slot) -> bool| {
            slots.iter().position(matches).map(|index| index as u8).expect("the table has the device")
        };
        let serial = [0, 1, 2, 3].map(|number| find(&|slot| slot.role == Role::Serial(number)));
        let i8042 = find(&|slot| slot.role == Role::Keyboard);
        let vga = find(&|slot| slot.role == Role::Display);
        let pic = find(&|slot| is::<DualPic>(slot.device.as_ref()));
        let pci = find(&|slot| is::<PciBus>(slot.device.as_ref()));
        let unassigned = find(&|slot| is::<UnassignedAccesses>(slot.device.as_ref()));
        let timed =
            (0..).zip(&slots).filter(|(_, slot)| slot.timing != Timing::None).map(|(at, _)| at).collect();
        let decoder = PortDecoder::new(table, unassigned);
        let interrupts = InterruptLines::default();
        Board {
            table,
            slots,
            decoder,
            serial,
            i8042,
            vga,
            pic,
            pci,
            unassigned,
            timed,
            interrupts,
            interrupt_pending: false,
            accesses: 0,
        }
    }

    /// Connects the port at which the guest stops itself in a debugger.
    pub fn connect_debugger_port(&mut self) {
        for (index, entry) in self.table.iter().enumerate() {
            if entry.role == Role::DebuggerPort {
                self.decoder.connect(entry, index as u8);
            }
        }
    }

    /// Returns all devices to their state after power-on. The count of accesses continues.
    pub fn reset(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.device.reset());
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

    /// [`Self::write_port`] with the device decoded.
    pub fn port_out(&mut self, port: u16, size: u8, value: u32) -> Effect {
        self.write_port(self.decode(port), port, size, value)
    }

    /// [`Self::read_port`] with the device decoded.
    pub fn port_in(&mut self, port: u16, size: u8) -> (u32, Effect) {
        self.read_port(self.decode(port), port, size)
    }

    /// The guest writes `size` (1 to 8) bytes to an address that is not RAM.
    pub fn memory_write(&mut self, address: u64, size: u8, value: u64) -> Effect {
        self.accesses += 1;
        let decoded = self.decoder.address(address).and_then(|(device, offset)| {
            Some((device, self.slots[usize::from(device)].device.mmio_write(offset, size, value)?))
        });
        let (device, action) = decoded.unwrap_or_else(|| {
            let unassigned = &mut self.slots[usize::from(self.unassigned)].device;
            (self.unassigned, unassigned.mmio_write(address, size, value).unwrap_or_default())
        });
        self.effect(DeviceIndex(device), action)
    }

    /// The guest reads `size` (1 to 8) bytes from an address that is not RAM.
    pub fn memory_read(&mut self, address: u64, size: u8) -> (u64, Effect) {
        self.accesses += 1;
        let decoded = self.decoder.address(address).and_then(|(device, offset)| {
            Some((device, self.slots[usize::from(device)].device.mmio_read(offset, size)?))
        });
        let (device, (value, action)) = decoded.unwrap_or_else(|| {
            let unassigned = &mut self.slots[usize::from(self.unassigned)].device;
            (self.unassigned, unassigned.mmio_read(address, size).unwrap_or_default())
        });
        (value, self.effect(DeviceIndex(device), action))
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
        if action.line.is_some() || device.0 == self.pic {
            self.update_line(device, action.line);
        }
        let slot = &self.slots[usize::from(device.0)];
        let output = action.output.and_then(|byte| match slot.role {
            Role::Serial(number) => Some((OutputSource::Serial(number), byte)),
            Role::DebugConsole => Some((OutputSource::DebugConsole, byte)),
            _ => None,
        });
        Effect { output, request: action.request, deadline: action.deadline }
    }

    /// A device reports `level` for its interrupt line, or the interrupt controllers were accessed.
    fn update_line(&mut self, device: DeviceIndex, level: Option<bool>) {
        let slot = &self.slots[usize::from(device.0)];
        if let (Some(level), Some(line)) = (level, slot.interrupt) {
            // A line that falls and rises again within one access makes an edge.
            let now = slot.device.line();
            self.set_line(line, device.0, level);
            self.set_line(line, device.0, now);
        }
        self.interrupt_pending = self.pic().output();
    }

    /// The device numbered `device` sets its output to `line`.
    fn set_line(&mut self, line: u8, device: u8, level: bool) {
        if let Some(level) = self.interrupts.set(line, device, level) {
            downcast_mut::<DualPic>(&mut self.slots[usize::from(self.pic)]).set_line(line, level);
        }
    }

    /// Reads the levels of all interrupt lines from the devices. They are those that the interrupt controllers know,
    /// or the levels after a reset, which are no edges.
    fn read_lines(&mut self) {
        for (index, slot) in self.slots.iter().enumerate() {
            if let Some(line) = slot.interrupt {
                let _ = self.interrupts.set(line, index as u8, slot.device.line());
            }
        }
        self.interrupt_pending = self.pic().output();
    }

    /// True if an interrupt controller requests an interrupt of the processor.
    #[inline]
    pub fn interrupt_pending(&self) -> bool {
        self.interrupt_pending
    }

    /// The processor takes the interrupt that is requested; its vector.
    pub fn acknowledge_interrupt(&mut self) -> u8 {
        let pic = downcast_mut::<DualPic>(&mut self.slots[usize::from(self.pic)]);
        let vector = pic.acknowledge();
        self.interrupt_pending = self.pic().output();
        vector
    }

    /// All devices that have an interrupt line, by line.
    pub fn interrupt_sources(&self) -> Vec<InterruptSource> {
        let with_line = self.table.iter().zip(&self.slots).filter_map(|(entry, slot)| {
            let line = slot.interrupt?;
            Some(InterruptSource {
                kind: entry.kind,
                number: entry.number,
                line,
                programmed: slot.device.may_interrupt(),
                admitted: self.pic().can_interrupt(line),
            })
        });
        let mut sources: Vec<InterruptSource> = with_line.collect();
        sources.sort_by_key(|source| source.line);
        sources
    }

    /// Sets what firmware would have found out and left in the CMOS RAM: the memory of `size` bytes, and the time of
    /// day at power-on, in seconds since 1970 UTC.
    pub fn set_up_cmos(&mut self, size: u64, time_of_day: i64) {
        let mut devices = self.slots.iter_mut().map(|slot| slot.device.as_mut() as &mut dyn Any);
        if let Some(rtc) = devices.find_map(<dyn Any>::downcast_mut::<Rtc>) {
            let low = size.min(LOW_RAM_LIMIT);
            rtc.set_memory_size(low, size - low);
            rtc.set_time_of_day(time_of_day);
        }
    }

    /// Sets whether the IDE function has flat base address registers
    /// ([`IdeFunction::new`](crate::devices::pci::ide::IdeFunction::new)). The PCI bus is then as after power-on.
    pub fn set_flat_ide_bars(&mut self, on: bool) {
        downcast_mut::<PciBus>(&mut self.slots[usize::from(self.pci)]).set_flat_ide_bars(on);
    }

    /// The two interrupt controllers.
    #[inline]
    pub fn pic(&self) -> &DualPic {
        downcast(&self.slots[usize::from(self.pic)])
    }

    /// True if the registers of the device show the time: it is told the time before each access.
    #[inline]
    pub fn shows_time(&self, device: DeviceIndex) -> bool {
        self.slots[usize::from(device.0)].timing == Timing::Accesses
    }

    /// The same for the device at a guest-physical address.
    pub fn shows_time_at(&self, address: u64) -> bool {
        self.decoder.address(address).is_some_and(|(device, _)| self.shows_time(DeviceIndex(device)))
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

    /// The VGA.
    #[inline]
    pub fn vga(&self) -> &Vga {
        downcast(&self.slots[usize::from(self.vga)])
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

    /// All devices that have state as payloads, each with its number among those of its kind. Optional devices in
    /// their state after power-on are left out.
    pub fn save(&self) -> Vec<(u16, Payload)> {
        let saved = self.table.iter().zip(&self.slots).filter_map(|(entry, slot)| {
            let payload = slot.device.save_state()?;
            let is_left_out = entry.is_optional() && (entry.create)().save_state().as_ref() == Some(&payload);
            (!is_left_out).then_some((entry.number, payload))
        });
        saved.collect()
    }

    /// The devices that [`Self::save`] has saved.
    ///
    /// # Errors
    ///
    /// [`StateError`], also for a device that is missing, occurs twice, or is unknown.
    pub fn restored(payloads: &[(u16, Payload)]) -> Result<Board, StateError> {
        let mut board = Board::default();
        board.restore(payloads)?;
        Ok(board)
    }

    /// Restores all devices from what [`Self::save`] has saved. After an error some of them are restored.
    ///
    /// # Errors
    ///
    /// As those of [`Self::restored`].
    fn restore(&mut self, payloads: &[(u16, Payload)]) -> Result<(), StateError> {
        let mut rest: Vec<&(u16, Payload)> = payloads.iter().collect();
        let stateful = self.table.iter().zip(&mut self.slots).filter(|(entry, _)| entry.has_state);
        for (entry, slot) in stateful {
            let Registration { kind, number, .. } = *entry;
            let found = rest.iter().position(|(n, payload)| *n == number && payload.kind == kind);
            if found.is_none() && entry.is_optional() {
                slot.device.reset();
                continue;
            }
            let (_, payload) = rest.swap_remove(found.ok_or(StateError::Missing { kind, number })?);
            slot.device.restore_state(payload)?;
        }
        if let Some((number, payload)) = rest.first() {
            return Err(StateError::Unknown { kind: payload.kind.clone(), number: *number });
        }
        self.read_lines();
        Ok(())
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
