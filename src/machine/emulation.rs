//! Emulation of the instructions that KVM refuses ([`crate::emulate`]), with the machine's memory and devices.

use super::board::{Board, Effect};
use super::cpu::{Cpu, CpuId};
use super::flight_recorder::Occurrence;
use super::run::Next;
use super::watchpoint_pages::WatchpointPages;
use super::{Machine, Outcome};
use crate::emulate::{Bus, Emulated, RaisedHere, deliver, emulate};
use crate::kvm::{HostError, Refusal};

impl Machine {
    /// Emulates the instruction that KVM has refused, if the emulator supports it.
    #[cold]
    pub(super) fn emulate_refused(&mut self, cpu: CpuId, refusal: Refusal) -> Result<Next, HostError> {
        if refusal.suberror != Refusal::EMULATION {
            return Ok(Next::end(Outcome::Refused(refusal, None)));
        }
        self.board.select_cpu(cpu.number());
        self.take_over_apic_msrs(cpu);
        self.sync_task_priority(cpu);
        let priority = self.board.task_priority(cpu.number());
        let mut bus = EmulationBus {
            board: &mut self.board,
            watchpoint_pages: &mut self.watchpoint_pages,
            effect: Effect::default(),
        };
        let Cpu { vcpu, emulated: counter, .. } = &mut self.cpus[cpu];
        let emulated = emulate(vcpu, &*self.memory, &mut bus, counter)?;
        let last = counter.last();
        let effect = bus.effect;
        self.record(
            cpu,
            Occurrence::Emulated {
                rip: last.rip,
                mnemonic: last.mnemonic as u16,
                vector: last.vector,
                error_code: last.error_code,
            },
        );
        // The instruction may have written the local APIC's register, or CR8.
        let by_cr8 = self.board.task_priority(cpu.number()) == priority;
        self.task_priority_changed(cpu, by_cr8);
        let next = self.apply(effect)?.unwrap_or(Next::Run);
        Ok(match emulated {
            Emulated::Done => next,
            Emulated::TripleFault => Next::end(Outcome::TripleFault(None)),
            Emulated::Unsupported(obstacle) => Next::end(Outcome::Refused(refusal, Some(obstacle))),
        })
    }
}

impl Machine {
    /// Delivers an exception that the instruction at RIP raises, in place of executing it; false if that is not possible,
    /// or ends in a triple fault.
    ///
    /// # Errors
    ///
    /// [`HostError`] if the host does not give or take the registers.
    pub(crate) fn deliver_exception(&mut self, cpu: CpuId, raised: RaisedHere) -> Result<bool, HostError> {
        let RaisedHere { vector, error_code, .. } = raised;
        let mut bus = EmulationBus {
            board: &mut self.board,
            watchpoint_pages: &mut self.watchpoint_pages,
            effect: Effect::default(),
        };
        let vcpu = &self.cpus[cpu].vcpu;
        let rip = vcpu.registers()?.general.rip;
        let delivered = deliver(raised, vcpu, &*self.memory, &mut bus)? == Emulated::Done;
        if delivered {
            self.record(cpu, Occurrence::Exception { vector, error_code, rip });
        }
        Ok(delivered)
    }
}

/// The bus of the instruction emulator: addresses that are not RAM belong to devices.
struct EmulationBus<'a> {
    board: &'a mut Board,
    watchpoint_pages: &'a mut WatchpointPages,
    /// The combined effect of the accesses.
    effect: Effect,
}

impl Bus for EmulationBus<'_> {
    fn read(&mut self, address: u64, size: u8) -> u64 {
        let (value, effect) = self.board.memory_read(address, size);
        self.effect = self.effect.and(effect);
        value
    }

    fn write(&mut self, address: u64, size: u8, value: u64) {
        self.effect = self.effect.and(self.board.memory_write(address, size, value));
    }

    fn ram_accessed(&mut self, address: u64, length: usize, write: bool) {
        self.watchpoint_pages.accessed(address, length as u64, write);
    }
}
