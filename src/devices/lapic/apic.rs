//! One local APIC: registers, priorities, local interrupts and errors.

use serde::{Deserialize, Serialize};

use super::ipi::{Ipi, command};
use super::registers::{self as register, error, lvt, spurious};
use super::timer::{ApicTimer, TimerMode};
use super::vectors::{FIRST_LEGAL, VectorSet};
use crate::devices::MachineTime;
use crate::devices::interrupt_message::{DeliveryMode, InterruptMessage};

/// How software reaches the local APIC (IA32_APIC_BASE, bits 11 and 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApicMode {
    /// It is switched off.
    Disabled,
    /// By its register page in memory.
    XApic,
    /// By MSRs.
    X2Apic,
}

/// What a local APIC requests of its processor besides interrupts with a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcessorRequest {
    /// A non-maskable interrupt.
    Nmi,
    /// The processor returns to its state after power-on and waits for a start-up.
    Init,
    /// A waiting processor starts in real mode at this page (vector * 1000h).
    StartUp(u8),
}

/// What a write to a register causes outside the local APIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Consequence {
    pub(super) ipi: Option<Ipi>,
    /// Vector of a level-triggered interrupt that has ended.
    pub(super) ended: Option<u8>,
    /// The next deadline may have changed.
    pub(super) deadline: bool,
}

/// The local APIC of one processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalApic {
    pub(super) id: u32,
    pub(super) bootstrap: bool,
    pub(super) mode: ApicMode,
    /// The identification in xAPIC mode, which can be written.
    pub(super) xapic_id: u8,
    pub(super) task_priority: u8,
    /// Bits 31 to 24 of the logical destination register in xAPIC mode.
    pub(super) logical_destination: u8,
    /// Bits 31 to 28 of the destination format register.
    pub(super) model: u8,
    pub(super) spurious: u32,
    pub(super) in_service: VectorSet,
    pub(super) trigger_mode: VectorSet,
    pub(super) requests: VectorSet,
    /// Errors that the guest can read.
    pub(super) errors: u32,
    /// Errors since it last wrote the error status register.
    pub(super) new_errors: u32,
    pub(super) command: u64,
    pub(super) lvt: [u32; lvt::COUNT],
    /// Levels of LINT0 and LINT1.
    pub(super) lint: [bool; 2],
    /// An ExtINT message has arrived that the 8259A has not answered.
    pub(super) external: bool,
    pub(super) timer: ApicTimer,
    /// The request that the processor takes next.
    #[serde(skip)]
    pub(super) pending: Option<u8>,
}

impl LocalApic {
    /// The local APIC with identification `id` after power-on. That of the bootstrap processor is software-enabled
    /// and passes interrupts of the 8259A and NMIs on, as a BIOS leaves it.
    pub fn new(id: u32, bootstrap: bool) -> LocalApic {
        let mut apic = LocalApic {
            id,
            bootstrap,
            mode: ApicMode::XApic,
            xapic_id: id as u8,
            task_priority: 0,
            logical_destination: 0,
            model: 0xF,
            spurious: spurious::VECTOR,
            in_service: VectorSet::default(),
            trigger_mode: VectorSet::default(),
            requests: VectorSet::default(),
            errors: 0,
            new_errors: 0,
            command: 0,
            lvt: [lvt::MASKED; lvt::COUNT],
            lint: [false; 2],
            external: false,
            timer: ApicTimer::default(),
            pending: None,
        };
        if bootstrap {
            apic.spurious |= spurious::SOFTWARE_ENABLED;
            apic.lvt[lvt::LINT0..][..2].copy_from_slice(&lvt::BIOS_LINT);
        }
        apic
    }

    /// The state after INIT: as after power-on, with its mode and identification.
    pub fn init(&mut self) {
        let mut timer = self.timer;
        timer.reset();
        let new = LocalApic::new(self.id, self.bootstrap);
        *self = LocalApic { mode: self.mode, xapic_id: self.xapic_id, lint: self.lint, timer, ..new };
    }

    /// How software reaches it.
    pub fn mode(&self) -> ApicMode {
        self.mode
    }

    /// The time-stamp counter runs at `khz` and was `offset` at machine time 0. Until this is set, it counts
    /// nanoseconds of machine time. 0 counts as 1 kHz.
    pub fn set_tsc(&mut self, khz: u32, offset: u64) {
        self.timer.set_tsc(khz, offset);
    }

    /// Vector of the highest request that the processor's priority admits.
    #[inline]
    pub fn pending_vector(&self) -> Option<u8> {
        self.pending
    }

    /// True if there is a request that only the task priority holds back.
    pub fn is_held_by_task_priority(&self) -> bool {
        let Some(highest) = self.requests.highest() else { return false };
        let served = self.in_service.highest().unwrap_or(0);
        self.pending.is_none() && self.mode != ApicMode::Disabled && highest >> 4 > served >> 4
    }

    /// The processor takes the pending interrupt. Returns its vector; the spurious one if there is none.
    pub fn acknowledge(&mut self) -> u8 {
        let Some(vector) = self.pending else { return (self.spurious & spurious::VECTOR) as u8 };
        self.requests.set(vector, false);
        self.in_service.set(vector, true);
        self.update();
        vector
    }

    /// True if the processor takes interrupts of the 8259A: LINT0 passes them on, an ExtINT message has arrived,
    /// or the APIC is switched off.
    #[inline]
    pub fn accepts_pic(&self) -> bool {
        let wire = self.lvt[lvt::LINT0] & (lvt::MASKED | lvt::MODE) == lvt::EXT_INT;
        wire || self.external || self.mode == ApicMode::Disabled
    }

    /// The processor has taken an interrupt of the 8259A.
    pub fn pic_acknowledged(&mut self) {
        self.external = false;
    }

    /// The task priority as control register CR8 has it: bits 7 to 4.
    pub fn cr8(&self) -> u8 {
        self.task_priority >> 4
    }

    /// The guest writes control register CR8 (0 to 15).
    pub fn set_cr8(&mut self, value: u8) {
        self.task_priority = value << 4;
        self.update();
    }

    /// True if what pin LINT0 requests waits while the processor's interrupts are off, or if it requests nothing.
    pub fn lint0_is_maskable(&self) -> bool {
        let entry = self.lvt[lvt::LINT0];
        let mode = DeliveryMode::of_code((entry >> lvt::MODE_SHIFT & 7) as u8);
        entry & lvt::MASKED != 0 || mode.is_none_or(DeliveryMode::is_maskable)
    }

    /// True if the timer runs and its interrupt is not masked.
    pub fn timer_can_interrupt(&self) -> bool {
        self.next_deadline().is_some()
    }

    /// Level of pin LINT0 or LINT1 (`pin` 0 or 1). What the pin requests depends on the guest; an ExtINT is up to
    /// the caller, see [`Self::accepts_pic`].
    pub fn set_lint(&mut self, pin: u8, level: bool) -> Option<ProcessorRequest> {
        let pin = usize::from(pin & 1);
        let before = std::mem::replace(&mut self.lint[pin], level);
        if level && !before { self.local_interrupt(lvt::LINT0 + pin) } else { None }
    }

    /// Delivers the interrupt of an entry of the local vector table.
    fn local_interrupt(&mut self, index: usize) -> Option<ProcessorRequest> {
        let entry = self.lvt[index];
        if entry & lvt::MASKED != 0 || self.mode == ApicMode::Disabled {
            return None;
        }
        // Timer and error have no delivery mode; their bits are 0, which is fixed.
        match DeliveryMode::of_code((entry >> lvt::MODE_SHIFT & 7) as u8)? {
            DeliveryMode::Fixed => self.request(entry as u8, false),
            DeliveryMode::Nmi => return Some(ProcessorRequest::Nmi),
            DeliveryMode::Init => return Some(ProcessorRequest::Init),
            _ => {}
        }
        None
    }

    /// Identification in physical destinations.
    pub(super) fn physical_id(&self) -> u32 {
        if self.mode == ApicMode::X2Apic { self.id } else { u32::from(self.xapic_id) }
    }

    /// Identification in logical destinations.
    pub(super) fn logical_id(&self) -> u32 {
        match self.mode {
            ApicMode::X2Apic => (self.id >> 4) << 16 | 1 << (self.id & 0xF),
            _ => u32::from(self.logical_destination),
        }
    }

    /// Model of the destination format register.
    pub(super) fn destination_model(&self) -> u8 {
        self.model
    }

    /// True if interrupts with a vector are accepted.
    pub(super) fn accepts_interrupts(&self) -> bool {
        self.mode != ApicMode::Disabled && self.is_software_enabled()
    }

    pub(super) fn is_software_enabled(&self) -> bool {
        self.spurious & spurious::SOFTWARE_ENABLED != 0
    }

    /// Processor priority register.
    pub(super) fn processor_priority(&self) -> u8 {
        let served = self.in_service.highest().unwrap_or(0);
        if self.task_priority >> 4 >= served >> 4 { self.task_priority } else { served & 0xF0 }
    }

    /// Finds the pending request anew.
    pub(super) fn update(&mut self) {
        let priority = self.processor_priority() >> 4;
        let highest = self.requests.highest();
        self.pending = highest.filter(|vector| vector >> 4 > priority && self.mode != ApicMode::Disabled);
    }

    /// A message arrives whose destination this APIC is.
    pub(super) fn accept(&mut self, message: &InterruptMessage) -> Option<ProcessorRequest> {
        if self.mode == ApicMode::Disabled {
            return None;
        }
        match message.mode {
            DeliveryMode::Fixed | DeliveryMode::LowestPriority => {
                if self.accepts_interrupts() {
                    self.request(message.vector, message.level_triggered);
                }
                None
            }
            DeliveryMode::Nmi => Some(ProcessorRequest::Nmi),
            DeliveryMode::Init => Some(ProcessorRequest::Init),
            DeliveryMode::StartUp => Some(ProcessorRequest::StartUp(message.vector)),
            DeliveryMode::ExtInt => {
                self.external = true;
                None
            }
            // The machine has no system management mode.
            DeliveryMode::Smi => None,
        }
    }

    fn request(&mut self, vector: u8, level_triggered: bool) {
        if vector < FIRST_LEGAL {
            return self.report_error(error::RECEIVED_ILLEGAL_VECTOR);
        }
        self.requests.set(vector, true);
        self.trigger_mode.set(vector, level_triggered);
        self.update();
    }

    /// Records an error, and delivers the error interrupt for it if it is a new one.
    fn report_error(&mut self, bit: u32) {
        if self.new_errors & bit == 0 {
            self.new_errors |= bit;
            let _ = self.local_interrupt(lvt::ERROR);
        }
    }

    /// Ends the interrupt with the highest priority; its vector if the source has to be informed.
    fn end_of_interrupt(&mut self) -> Option<u8> {
        let vector = self.in_service.highest()?;
        self.in_service.set(vector, false);
        self.update();
        let level = self.trigger_mode.contains(vector);
        // A level-triggered LINT pin that is still high requests again.
        for pin in [0, 1] {
            let entry = self.lvt[lvt::LINT0 + pin];
            if self.lint[pin] && entry >> 15 & 1 == 1 && entry as u8 == vector {
                let _ = self.local_interrupt(lvt::LINT0 + pin);
            }
        }
        (level && self.spurious & spurious::SUPPRESS_BROADCAST == 0).then_some(vector)
    }

    /// When the timer interrupts next.
    pub(super) fn next_deadline(&self) -> Option<MachineTime> {
        self.timer.deadline().filter(|_| self.lvt[lvt::TIMER] & lvt::MASKED == 0)
    }

    pub(super) fn timer_mode(&self) -> TimerMode {
        TimerMode::of_lvt(self.lvt[lvt::TIMER])
    }

    /// Advances the timer to `now`.
    pub(super) fn advance(&mut self, now: MachineTime) {
        if self.timer.advance(self.timer_mode(), now) {
            let _ = self.local_interrupt(lvt::TIMER);
        }
    }

    /// Writes IA32_TSC_DEADLINE. A deadline that has passed expires at once.
    pub(super) fn set_tsc_deadline(&mut self, value: u64) {
        self.timer.set_tsc_deadline(self.timer_mode(), value);
        self.advance(self.timer.now());
    }

    /// Reads a register; what is no register reads as 0 and is an error.
    pub(super) fn read(&mut self, number: u16) -> u32 {
        self.register_value(number).unwrap_or_else(|| {
            self.report_error(error::ILLEGAL_REGISTER);
            0
        })
    }

    /// Value of a register; `None` if there is none that can be read.
    pub(super) fn register_value(&self, number: u16) -> Option<u32> {
        let x2apic = self.mode == ApicMode::X2Apic;
        Some(match number {
            register::ID if x2apic => self.id,
            register::ID => u32::from(self.xapic_id) << 24,
            register::VERSION => register::VERSION_VALUE,
            register::TASK_PRIORITY => self.task_priority.into(),
            register::PROCESSOR_PRIORITY => self.processor_priority().into(),
            register::ARBITRATION_PRIORITY | register::END_OF_INTERRUPT | register::REMOTE_READ => 0,
            register::LOGICAL_DESTINATION if x2apic => self.logical_id(),
            register::LOGICAL_DESTINATION => u32::from(self.logical_destination) << 24,
            register::DESTINATION_FORMAT => u32::from(self.model) << 28 | register::DESTINATION_FORMAT_ONES,
            register::SPURIOUS => self.spurious,
            0x10..0x18 => self.in_service.register(usize::from(number - register::IN_SERVICE)),
            0x18..0x20 => self.trigger_mode.register(usize::from(number - register::TRIGGER_MODE)),
            0x20..0x28 => self.requests.register(usize::from(number - register::REQUESTS)),
            register::ERROR_STATUS => self.errors,
            register::COMMAND_LOW => self.command as u32,
            register::COMMAND_HIGH => (self.command >> 32) as u32,
            register::FIRST_LOCAL_VECTOR..=register::LAST_LOCAL_VECTOR => {
                self.lvt[usize::from(number - register::FIRST_LOCAL_VECTOR)]
            }
            register::INITIAL_COUNT => self.timer.initial(),
            register::CURRENT_COUNT => self.timer.current(),
            register::DIVIDE => self.timer.divide(),
            _ => return None,
        })
    }

    /// Writes a register; a write to what is no register does nothing and is an error.
    pub(super) fn write(&mut self, number: u16, value: u32) -> Consequence {
        let mut consequence = Consequence::default();
        match number {
            register::ID => self.xapic_id = (value >> 24) as u8,
            register::TASK_PRIORITY => {
                self.task_priority = value as u8;
                self.update();
            }
            register::END_OF_INTERRUPT => consequence.ended = self.end_of_interrupt(),
            register::LOGICAL_DESTINATION => self.logical_destination = (value >> 24) as u8,
            register::DESTINATION_FORMAT => self.model = (value >> 28) as u8,
            register::SPURIOUS => self.write_spurious(value),
            register::ERROR_STATUS => self.errors = std::mem::take(&mut self.new_errors),
            register::COMMAND_LOW => {
                let low = u64::from(value & register::COMMAND_WRITABLE);
                consequence.ipi = self.send(self.command & !0xFFFF_FFFF | low);
            }
            register::COMMAND_HIGH => {
                self.command = self.command & 0xFFFF_FFFF | u64::from(value & 0xFF00_0000) << 32;
            }
            register::FIRST_LOCAL_VECTOR..=register::LAST_LOCAL_VECTOR => {
                self.write_local_vector(usize::from(number - register::FIRST_LOCAL_VECTOR), value);
            }
            register::INITIAL_COUNT => self.timer.set_initial(self.timer_mode(), value),
            register::DIVIDE => self.timer.set_divide(value),
            // These exist, and cannot be written.
            _ if self.register_value(number).is_some() => {}
            _ => self.report_error(error::ILLEGAL_REGISTER),
        }
        consequence.deadline = matches!(
            number,
            register::SPURIOUS | register::FIRST_LOCAL_VECTOR | register::INITIAL_COUNT | register::DIVIDE
        );
        consequence
    }

    fn write_spurious(&mut self, value: u32) {
        self.spurious = value & spurious::WRITABLE;
        if !self.is_software_enabled() {
            self.lvt.iter_mut().for_each(|entry| *entry |= lvt::MASKED);
        }
    }

    fn write_local_vector(&mut self, index: usize, value: u32) {
        let before = self.timer_mode();
        self.lvt[index] = value & lvt::WRITABLE[index];
        if !self.is_software_enabled() {
            self.lvt[index] |= lvt::MASKED;
        }
        if index == lvt::TIMER {
            self.timer.change_mode(before, self.timer_mode());
        }
    }

    /// Writes the interrupt command register, and gives what it sends.
    pub(super) fn send(&mut self, value: u64) -> Option<Ipi> {
        self.command = value;
        command(value, self.mode).unwrap_or_else(|bit| {
            self.report_error(bit);
            None
        })
    }

    /// Sends itself an interrupt (SELF IPI register).
    pub(super) fn send_to_itself(&mut self, vector: u8) {
        if vector < FIRST_LEGAL {
            self.report_error(error::SEND_ILLEGAL_VECTOR);
        } else if self.accepts_interrupts() {
            self.request(vector, false);
        }
    }
}
