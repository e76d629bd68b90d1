//! How interrupts reach the processors: device, line, 8259A and IOAPIC, local APIC.
//!
//! An ISA line goes to the 8259A and to a pin of the IOAPIC, as on a PC. The IOAPIC's messages go to the local APICs;
//! the output of the 8259A is LINT0 of each. The HPET drives pins of its own, or replaces the PIT and the RTC.
//!
//! Whatever is called from outside leaves the bits of [`Board::interrupt_pending`] right.

use serde::Serialize;

use super::{Board, BoardDevice, DeviceIndex, downcast, downcast_mut, is};
use crate::devices::Action;
use crate::devices::hpet::{Hpet, LEGACY_IRQ_0, LEGACY_IRQ_8};
use crate::devices::ioapic::{IoApic, PINS, pin_of_isa_line};
use crate::devices::lapic::{LocalApics, ProcessorRequest};
use crate::devices::pic::DualPic;
use crate::devices::rtc::Rtc;
use crate::machine::kernel_irqchip::LineChange;

/// The ISA line of the PIT, and that of the RTC.
const LEGACY_LINES: [u8; 2] = [0, 8];

/// Positions of the interrupt controllers, and levels between them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Controllers {
    pub(super) pic: u8,
    pub(super) ioapic: u8,
    pub(super) lapics: u8,
    pub(super) hpet: u8,
    /// Levels of the IOAPIC's pins as the HPET drives them.
    pub(super) hpet_pins: u32,
    /// The HPET replaces the PIT and the RTC.
    pub(super) legacy_replaced: bool,
}

/// A source of interrupts, and what keeps it from interrupting the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct InterruptSource {
    /// Kind of the device, as in [`crate::devices::table::Registration::kind`].
    pub kind: &'static str,
    /// Number among the devices of its kind.
    pub number: u16,
    /// Its ISA interrupt line, if it has one.
    pub line: Option<u8>,
    /// The guest has programmed the device so that it may interrupt.
    pub programmed: bool,
    /// The interrupt controllers pass its interrupt on.
    pub admitted: bool,
}

/// True if accesses to `device` may change what is requested of the processors.
pub(super) fn is_controller(device: &dyn BoardDevice) -> bool {
    is::<DualPic>(device) || is::<IoApic>(device) || is::<LocalApics>(device) || is::<Hpet>(device)
}

impl Board {
    /// A device reports the levels of its interrupt lines, or a controller was accessed or advanced.
    pub(super) fn update_lines(&mut self, device: DeviceIndex, action: Action) {
        let slot = &self.slots[usize::from(device.0)];
        let first = (slot.interrupt, action.line, slot.device.line());
        let second = (slot.second_interrupt, action.second_line, slot.device.second_line());
        for change in [first, second] {
            // A line that falls and rises again within one access makes an edge.
            if let (Some(line), Some(level), now) = change {
                self.set_line(line, device.0, level);
                self.set_line(line, device.0, now);
            }
        }
        if let Some(channel) = self.ide.iter().position(|index| *index == device.0) {
            let levels = [action.line.unwrap_or(false), self.slots[usize::from(device.0)].device.line()];
            levels.into_iter().for_each(|level| self.bus_master_mut().set_line(channel, level));
        }
        if device.0 == self.controllers.hpet {
            self.update_hpet();
        }
        self.pass_on();
    }

    /// The device numbered `device` sets its output to `line`.
    pub(super) fn set_line(&mut self, line: u8, device: u8, level: bool) {
        let is_disconnected = self.controllers.legacy_replaced
            && LEGACY_LINES.contains(&line)
            && device != self.controllers.hpet;
        let Some(level) = self.interrupts.set(line, device, level && !is_disconnected) else { return };
        if let Some(changes) = &mut self.line_changes {
            changes.push_back(LineChange::Line(line, level));
            return;
        }
        self.pic_mut().set_line(line, level);
        if let Some(pin) = pin_of_isa_line(line) {
            let level = level || self.controllers.hpet_pins >> pin & 1 == 1;
            self.ioapic_mut().set_pin(pin, level);
        }
    }

    /// Takes the outputs of the HPET.
    fn update_hpet(&mut self) {
        let hpet = downcast_mut::<Hpet>(&mut self.slots[usize::from(self.controllers.hpet)]);
        let (pins, legacy, pulses) = (hpet.lines(), hpet.legacy(), hpet.take_pulses());
        if legacy.is_some() != self.controllers.legacy_replaced {
            self.controllers.legacy_replaced = legacy.is_some();
            if let Some(changes) = &mut self.line_changes {
                changes.push_back(LineChange::Replaced(legacy.is_some()));
            }
            self.reconnect_legacy();
        }
        let changed = pins ^ self.controllers.hpet_pins;
        self.controllers.hpet_pins = pins;
        for pin in (0..PINS as u8).filter(|pin| (changed | pulses) >> pin & 1 == 1) {
            let others = self.isa_level_of_pin(pin);
            if pulses >> pin & 1 == 1 {
                self.set_pin(pin, false);
                self.set_pin(pin, true);
            }
            self.set_pin(pin, others || pins >> pin & 1 == 1);
        }
        let hpet = self.controllers.hpet;
        let levels = legacy.map_or([false; 2], |(timer, clock)| [timer, clock]);
        let pulsed = [pulses & LEGACY_IRQ_0 != 0, pulses & LEGACY_IRQ_8 != 0];
        for ((line, level), pulsed) in LEGACY_LINES.into_iter().zip(levels).zip(pulsed) {
            if pulsed {
                self.set_line(line, hpet, false);
                self.set_line(line, hpet, true);
            }
            self.set_line(line, hpet, level);
        }
    }

    fn set_pin(&mut self, pin: u8, level: bool) {
        match &mut self.line_changes {
            Some(changes) => changes.push_back(LineChange::Pin(pin, level)),
            None => self.ioapic_mut().set_pin(pin, level),
        }
    }

    /// Connects or disconnects the PIT and the RTC.
    fn reconnect_legacy(&mut self) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if let Some(line) = slot.interrupt.filter(|line| LEGACY_LINES.contains(line)) {
                let level = slot.device.line();
                self.set_line(line, index as u8, level);
            }
        }
    }

    /// Level of a pin of the IOAPIC as ISA devices drive it.
    fn isa_level_of_pin(&self, pin: u8) -> bool {
        (0..16).any(|line| pin_of_isa_line(line) == Some(pin) && self.interrupts.level(line))
    }

    /// Passes on what the controllers have for each other, and finds out what is requested of the processors.
    pub(super) fn pass_on(&mut self) {
        if self.line_changes.is_some() {
            return self.find_pending();
        }
        // An end of interrupt may cause a message, and that nothing more: two rounds.
        for _ in 0..2 {
            if self.ioapic().has_messages() {
                let messages: Vec<_> = self.ioapic_mut().take_messages().collect();
                messages.iter().for_each(|message| self.lapics_mut().deliver(message));
            }
            if self.lapics().has_output() {
                let ended: Vec<u8> = self.lapics_mut().take_ended().collect();
                ended.into_iter().for_each(|vector| self.ioapic_mut().end_of_interrupt(vector));
                let requests: Vec<_> = self.lapics_mut().take_requests().collect();
                self.requests.extend(requests);
            }
        }
        let external = self.pic().output();
        let cpus = self.lapics().count() as u8;
        for cpu in 0..cpus {
            self.lapics_mut().set_lint(cpu, 0, external);
        }
        self.find_pending();
    }

    pub(super) fn find_pending(&mut self) {
        if let Some(changes) = &self.line_changes {
            // Whichever processor is entered first passes them on.
            let lines = if changes.is_empty() { 0 } else { u64::MAX };
            self.interrupt_pending = self.requests.iter().fold(lines, |pending, (cpu, _)| pending | 1 << cpu);
            return;
        }
        let lapics = self.lapics();
        let is_pending = |cpu: u8| self.has_vector(cpu) || lapics.apic(cpu).is_held_by_task_priority();
        let vectors = (0..lapics.count() as u8).filter(|cpu| is_pending(*cpu));
        let requests = self.requests.iter().map(|(cpu, _)| *cpu);
        self.interrupt_pending = vectors.chain(requests).fold(0, |pending, cpu| pending | 1 << cpu);
    }

    /// Reads the levels of all interrupt lines from the devices. They are those that the interrupt controllers know,
    /// or the levels after a reset, which are no edges.
    pub(super) fn read_lines(&mut self) {
        if let Some(changes) = &mut self.line_changes {
            changes.clear();
        }
        let hpet = downcast::<Hpet>(&self.slots[usize::from(self.controllers.hpet)]);
        self.controllers.hpet_pins = hpet.lines();
        self.controllers.legacy_replaced = hpet.legacy().is_some();
        let legacy = hpet.legacy();
        self.interrupts = Default::default();
        for (index, slot) in self.slots.iter().enumerate() {
            if let Some(line) = slot.second_interrupt {
                let _ = self.interrupts.set(line, index as u8, slot.device.second_line());
            }
            let Some(line) = slot.interrupt else { continue };
            let is_disconnected = legacy.is_some() && LEGACY_LINES.contains(&line);
            let _ = self.interrupts.set(line, index as u8, slot.device.line() && !is_disconnected);
        }
        for (line, level) in LEGACY_LINES.into_iter().zip(legacy.map_or([false; 2], |(a, b)| [a, b])) {
            let _ = self.interrupts.set(line, self.controllers.hpet, level);
        }
        self.find_pending();
    }

    /// True if something is requested of processor `cpu`: an interrupt, also one that its task priority holds back, an
    /// NMI, or INIT.
    #[inline]
    pub fn interrupt_pending(&self, cpu: u8) -> bool {
        self.interrupt_pending >> cpu & 1 == 1
    }

    /// True if [`Self::acknowledge_interrupt`] has a vector for processor `cpu`.
    pub fn has_vector(&self, cpu: u8) -> bool {
        let apic = self.lapics().apic(cpu);
        apic.pending_vector().is_some() || self.pic().output() && apic.accepts_pic()
    }

    /// Processor `cpu` takes the interrupt that is requested; its vector.
    pub fn acknowledge_interrupt(&mut self, cpu: u8) -> u8 {
        let vector = if self.lapics().apic(cpu).pending_vector().is_some() {
            self.lapics_mut().apic_mut(cpu).acknowledge()
        } else {
            self.lapics_mut().apic_mut(cpu).pic_acknowledged();
            self.pic_mut().acknowledge()
        };
        self.pass_on();
        vector
    }

    /// True if something else than an interrupt with a vector is requested of processor `cpu`.
    pub fn has_request(&self, cpu: u8) -> bool {
        self.requests.iter().any(|(of, _)| *of == cpu)
    }

    /// A value that changes when something else is requested of processor `cpu`; 0 if nothing is.
    pub fn requested(&self, cpu: u8) -> u64 {
        if !self.interrupt_pending(cpu) {
            return 0;
        }
        let apic = self.lapics().apic(cpu);
        let vector = apic.pending_vector().map_or(0, u64::from);
        let external = u64::from(self.pic().output() && apic.accepts_pic());
        let others = self.requests.iter().filter(|(of, _)| *of == cpu).count() as u64;
        1 << 63 | others << 9 | external << 8 | vector
    }

    /// The local APIC of processor `cpu` is as after INIT.
    pub fn init_local_apic(&mut self, cpu: u8) {
        self.lapics_mut().apic_mut(cpu).init();
        self.find_pending();
    }

    /// The machine has `cpus` processors (1 to 64). Must be called after [`Self::reset`] again.
    pub fn set_cpus(&mut self, cpus: u8) {
        self.lapics_mut().set_count(cpus);
        let mut devices = self.slots.iter_mut().map(|slot| slot.device.as_mut() as &mut dyn std::any::Any);
        if let Some(rtc) = devices.find_map(<dyn std::any::Any>::downcast_mut::<Rtc>) {
            rtc.set_cpus(usize::from(cpus));
        }
        self.find_pending();
    }

    /// Takes the oldest request of a processor that is no interrupt with a vector.
    pub fn take_request(&mut self, cpu: u8) -> Option<ProcessorRequest> {
        let at = self.requests.iter().position(|(of, _)| *of == cpu)?;
        let (_, request) = self.requests.remove(at);
        self.find_pending();
        Some(request)
    }

    /// An NMI is requested of processor `cpu`.
    pub fn request_nmi(&mut self, cpu: u8) {
        self.requests.push((cpu, ProcessorRequest::Nmi));
        self.find_pending();
    }

    /// The task priority of processor `cpu`, as in CR8.
    pub fn task_priority(&self, cpu: u8) -> u8 {
        self.lapics().apic(cpu).cr8()
    }

    /// Processor `cpu` has written `value` to CR8.
    pub fn set_task_priority(&mut self, cpu: u8, value: u8) {
        if self.line_changes.is_none() && self.task_priority(cpu) != value {
            self.lapics_mut().apic_mut(cpu).set_cr8(value);
            self.find_pending();
        }
    }

    /// Processor `cpu` reads a local APIC's MSR. `None` raises #GP.
    pub fn read_msr(&mut self, cpu: u8, msr: u32) -> Option<u64> {
        self.accesses += 1;
        self.lapics().read_msr(cpu, msr)
    }

    /// Processor `cpu` writes a local APIC's MSR. `None` raises #GP; true if the next deadline may have changed.
    pub fn write_msr(&mut self, cpu: u8, msr: u32, value: u64) -> Option<bool> {
        self.accesses += 1;
        let action = self.lapics_mut().write_msr(cpu, msr, value)?;
        self.pass_on();
        Some(action.deadline)
    }

    /// Tells the local APIC of processor `cpu` the time-stamp counter: it runs at `khz`, and was `offset` at machine
    /// time 0.
    pub fn set_tsc(&mut self, cpu: u8, khz: u32, offset: u64) {
        self.lapics_mut().apic_mut(cpu).set_tsc(khz, offset);
    }

    /// The accesses that follow are those of processor `cpu`.
    #[inline]
    pub fn select_cpu(&mut self, cpu: u8) {
        if self.cpu != cpu {
            self.cpu = cpu;
            self.lapics_mut().select(cpu);
        }
    }

    /// All sources of interrupts, by line; those without a line last.
    pub fn interrupt_sources(&self) -> Vec<InterruptSource> {
        let apic = self.lapics().apic(0);
        let admitted = |line: u8| {
            let pin = pin_of_isa_line(line);
            apic.accepts_pic() && self.pic().can_interrupt(line)
                || pin.is_some_and(|pin| self.ioapic().can_interrupt(pin))
        };
        let with_line = self.table.iter().zip(&self.slots).flat_map(|(entry, slot)| {
            let first = slot.interrupt.map(|line| {
                let replaced = self.controllers.legacy_replaced && LEGACY_LINES.contains(&line);
                (line, slot.device.may_interrupt() && !replaced)
            });
            let second = slot.second_interrupt.map(|line| (line, slot.device.second_may_interrupt()));
            [first, second].into_iter().flatten().map(|(line, programmed)| InterruptSource {
                kind: entry.kind,
                number: entry.number,
                line: Some(line),
                programmed,
                admitted: admitted(line),
            })
        });
        let mut sources: Vec<InterruptSource> = with_line.collect();
        sources.sort_by_key(|source| source.line);
        let hpet = downcast::<Hpet>(&self.slots[usize::from(self.controllers.hpet)]);
        let others = [("hpet", hpet.can_interrupt()), ("lapic", apic.timer_can_interrupt())];
        sources.extend(others.map(|(kind, programmed)| InterruptSource {
            kind,
            number: 0,
            line: None,
            programmed,
            admitted: programmed,
        }));
        sources
    }

    /// The two 8259A interrupt controllers.
    pub fn pic(&self) -> &DualPic {
        downcast(&self.slots[usize::from(self.controllers.pic)])
    }

    /// The I/O APIC.
    pub fn ioapic(&self) -> &IoApic {
        downcast(&self.slots[usize::from(self.controllers.ioapic)])
    }

    /// The local APICs.
    pub fn lapics(&self) -> &LocalApics {
        downcast(&self.slots[usize::from(self.controllers.lapics)])
    }

    fn pic_mut(&mut self) -> &mut DualPic {
        downcast_mut(&mut self.slots[usize::from(self.controllers.pic)])
    }

    fn ioapic_mut(&mut self) -> &mut IoApic {
        downcast_mut(&mut self.slots[usize::from(self.controllers.ioapic)])
    }

    fn lapics_mut(&mut self) -> &mut LocalApics {
        downcast_mut(&mut self.slots[usize::from(self.controllers.lapics)])
    }
}
