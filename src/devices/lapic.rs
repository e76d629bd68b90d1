//! The local APICs, one for each processor, with their register page at 0xFEE00000 and their MSRs.
//!
//! Manual: Intel SDM volume 3A, chapter "Advanced Programmable Interrupt Controller (APIC)".
//!
//! Implemented: request, in-service and trigger mode registers, task and processor priority with CR8, end of
//! interrupt with a broadcast that the guest can suppress, software and hardware disabling, the local vector table,
//! errors, the interrupt command register with all modes and shorthands, physical destinations and logical ones in
//! the flat, cluster and x2APIC model, the timer in its three modes, and x2APIC mode.
//!
//! Not implemented: moving the register page (an attempt raises #GP), interrupts of the thermal sensor, of the
//! performance counters and of corrected machine checks, which the machine does not have, system management
//! interrupts (ignored), remote read, and focus processors. A lowest-priority interrupt with a shorthand goes to all
//! that the shorthand names.
//!
//! The machine selects the processor ([`LocalApics::select`]) before an access to the page, and advances the time
//! before it. After each access, message and advance it takes the requests ([`LocalApics::take_requests`]), passes
//! the ends of level-triggered interrupts ([`LocalApics::take_ended`]) to the IOAPIC, and finds in
//! [`LocalApic::pending_vector`] and [`LocalApic::accepts_pic`] what the processor can be interrupted with. A reset
//! or a new device has one local APIC; [`LocalApics::set_count`] adds the others.

mod apic;
mod copied;
mod explain;
mod ipi;
mod msr;
mod registers;
mod saved;
mod timer;
mod vectors;

use serde::{Deserialize, Serialize};

use super::interrupt_message::{DeliveryMode, InterruptMessage};
use super::{Action, Device, MachineTime};
use apic::Consequence;
use ipi::{Ipi, Receivers};
use vectors::VectorSet;

pub use apic::{ApicMode, LocalApic, ProcessorRequest};
pub use msr::{APIC_BASE_MSR, FIRST_X2APIC_MSR, LAST_X2APIC_MSR, TSC_DEADLINE_MSR, is_apic_msr};
pub use saved::LocalApicsState;

/// Guest-physical address of the register page.
pub const BASE: u64 = 0xFEE0_0000;
/// Length of the register page in bytes.
pub const LENGTH: u64 = 0x1000;
/// Version of the chip, as its version register says: P4 and later.
pub const CHIP_VERSION: u8 = 0x14;
/// Most processors of a machine.
pub const MOST_CPUS: usize = 64;

/// Registers lie 16 bytes apart, 32 bits wide each.
const REGISTER_DISTANCE: u64 = 16;

/// What a local APIC requests of its processor, until the machine takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PendingRequests {
    nmi: bool,
    init: bool,
    start_up: Option<u8>,
}

/// The local APICs of all processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalApics {
    apics: Vec<LocalApic>,
    requests: Vec<PendingRequests>,
    /// Level-triggered interrupts that have ended.
    ended: VectorSet,
    selected: usize,
}

impl Default for LocalApics {
    /// The local APIC of the bootstrap processor.
    fn default() -> LocalApics {
        let apics = vec![LocalApic::new(0, true)];
        LocalApics {
            apics,
            requests: vec![PendingRequests::default()],
            ended: VectorSet::default(),
            selected: 0,
        }
    }
}

impl LocalApics {
    /// Has one local APIC for each of `cpus` processors (1 to 64): new ones are in their state after power-on.
    pub fn set_count(&mut self, cpus: u8) {
        let count = usize::from(cpus).clamp(1, MOST_CPUS);
        self.apics.truncate(count);
        for id in self.apics.len()..count {
            let mut apic = LocalApic::new(id as u32, false);
            apic.timer.join(&self.apics[0].timer);
            self.apics.push(apic);
        }
        self.requests.resize(count, PendingRequests::default());
        self.selected = self.selected.min(count - 1);
    }

    /// Number of local APICs.
    pub fn count(&self) -> usize {
        self.apics.len()
    }

    /// The accesses that follow are those of processor `cpu`. One that does not exist is ignored.
    #[inline]
    pub fn select(&mut self, cpu: u8) {
        if usize::from(cpu) < self.apics.len() {
            self.selected = cpu.into();
        }
    }

    /// The local APIC of processor `cpu`.
    ///
    /// # Panics
    ///
    /// If there is no such processor.
    #[inline]
    pub fn apic(&self, cpu: u8) -> &LocalApic {
        &self.apics[usize::from(cpu)]
    }

    /// The local APIC of processor `cpu`.
    ///
    /// # Panics
    ///
    /// If there is no such processor.
    #[inline]
    pub fn apic_mut(&mut self, cpu: u8) -> &mut LocalApic {
        &mut self.apics[usize::from(cpu)]
    }

    /// Delivers a message to its destinations.
    pub fn deliver(&mut self, message: &InterruptMessage) {
        if message.mode == DeliveryMode::LowestPriority {
            if let Some(index) = ipi::lowest_priority(&self.apics, message) {
                self.accept(index, message);
            }
            return;
        }
        for index in 0..self.apics.len() {
            if ipi::is_destination(&self.apics[index], message) {
                self.accept(index, message);
            }
        }
    }

    /// Sets pin LINT0 or LINT1 (`pin` 0 or 1) of processor `cpu` to `level`.
    pub fn set_lint(&mut self, cpu: u8, pin: u8, level: bool) {
        if let Some(apic) = self.apics.get_mut(usize::from(cpu))
            && let Some(request) = apic.set_lint(pin, level)
        {
            self.requests[usize::from(cpu)].add(request);
        }
    }

    /// Takes what the local APICs request of their processors, each with its number.
    pub fn take_requests(&mut self) -> impl Iterator<Item = (u8, ProcessorRequest)> {
        self.requests.iter_mut().enumerate().flat_map(|(cpu, pending)| {
            std::iter::from_fn(move || pending.next()).map(move |request| (cpu as u8, request))
        })
    }

    /// True if [`Self::take_requests`] or [`Self::take_ended`] have something.
    pub fn has_output(&self) -> bool {
        !self.ended.is_empty() || self.requests.iter().any(|pending| *pending != PendingRequests::default())
    }

    /// Takes the vectors of level-triggered interrupts that have ended, for the IOAPIC.
    pub fn take_ended(&mut self) -> impl Iterator<Item = u8> + use<> {
        self.ended.take()
    }

    /// Processor `cpu` reads `msr`, for which [`is_apic_msr`] holds. `None` raises #GP.
    pub fn read_msr(&self, cpu: u8, msr: u32) -> Option<u64> {
        self.apics.get(usize::from(cpu))?.read_msr(msr)
    }

    /// Processor `cpu` writes `value` to `msr`, for which [`is_apic_msr`] holds. `None` raises #GP.
    pub fn write_msr(&mut self, cpu: u8, msr: u32, value: u64) -> Option<Action> {
        let consequence = self.apics.get_mut(usize::from(cpu))?.write_msr(msr, value)?;
        Some(self.carry_out(cpu.into(), consequence))
    }

    fn accept(&mut self, index: usize, message: &InterruptMessage) {
        if let Some(request) = self.apics[index].accept(message) {
            self.requests[index].add(request);
        }
    }

    fn carry_out(&mut self, sender: usize, consequence: Consequence) -> Action {
        if let Some(Ipi { receivers, message }) = consequence.ipi {
            match receivers {
                Receivers::Destination => self.deliver(&message),
                Receivers::Sender => self.accept(sender, &message),
                Receivers::All | Receivers::AllButSender => {
                    let all = receivers == Receivers::All;
                    for index in (0..self.apics.len()).filter(|index| all || *index != sender) {
                        self.accept(index, &message);
                    }
                }
            }
        }
        if let Some(vector) = consequence.ended {
            self.ended.set(vector, true);
        }
        Action { deadline: consequence.deadline, ..Action::NONE }
    }
}

/// Only aligned 32-bit accesses are defined (Intel SDM volume 3A, "The Local APIC Block Diagram"). In x2APIC mode
/// and while the APIC is switched off there is no register page.
impl Device for LocalApics {
    fn explain(&self) -> Vec<String> {
        explain::lines(self)
    }

    fn mmio_read(&mut self, offset: u64, size: u8) -> Option<(u64, Action)> {
        let apic = &mut self.apics[self.selected];
        if size != 4 || apic.mode() != ApicMode::XApic {
            return None;
        }
        let aligned = offset.is_multiple_of(REGISTER_DISTANCE);
        let value = if aligned { apic.read((offset / REGISTER_DISTANCE) as u16) } else { 0 };
        Some((value.into(), Action::NONE))
    }

    fn mmio_write(&mut self, offset: u64, size: u8, value: u64) -> Option<Action> {
        let apic = &mut self.apics[self.selected];
        if size != 4 || apic.mode() != ApicMode::XApic {
            return None;
        }
        if !offset.is_multiple_of(REGISTER_DISTANCE) {
            return Some(Action::NONE);
        }
        let consequence = apic.write((offset / REGISTER_DISTANCE) as u16, value as u32);
        Some(self.carry_out(self.selected, consequence))
    }

    fn shows_time(&self, offset: u64) -> bool {
        use registers::{CURRENT_COUNT, DIVIDE, FIRST_LOCAL_VECTOR, INITIAL_COUNT};
        let register = (offset / REGISTER_DISTANCE) as u16;
        [FIRST_LOCAL_VECTOR, INITIAL_COUNT, CURRENT_COUNT, DIVIDE].contains(&register)
    }

    fn next_deadline(&self) -> Option<MachineTime> {
        self.apics.iter().filter_map(LocalApic::next_deadline).min()
    }

    fn advance(&mut self, now: MachineTime) -> Action {
        self.apics.iter_mut().for_each(|apic| apic.advance(now));
        Action::NONE
    }
}

#[cfg(test)]
#[path = "lapic/lapic_test.rs"]
mod tests;
