//! What happens while no processor executes instructions: in `hlt`, and while a supervisor keeps the guest stopped.

use std::time::Duration;

use tracing::debug;

use super::cpu::{CpuId, RunState};
use super::run::Next;
use super::{Event, Machine, Outcome};
use crate::arch::Registers;
use crate::arch::paging::Paging;
use crate::boot;
use crate::kvm::HostError;

impl Machine {
    /// Handles `hlt`. With interrupts off nothing can wake the processor, so the run ends.
    pub(super) fn halt(&mut self, cpu: CpuId, interruptible: bool) -> Result<Next, HostError> {
        if self.cpus.len() > 1 {
            return self.halt_one(cpu, interruptible);
        }
        if !interruptible {
            return Ok(Next::Stop(Event::End(self.halted_outcome(cpu)?)));
        }
        debug!("the guest waits for an interrupt");
        self.cpus[cpu].run_state = RunState::Halted;
        if self.halts_in_kernel(cpu) {
            self.cpus[cpu].vcpu.set_halted(true)?;
            return self.step_sleep_in_kernel(cpu);
        }
        self.sleep_halted(cpu)
    }

    /// The end of a run by a processor that has halted with interrupts off.
    pub(super) fn halted_outcome(&mut self, cpu: CpuId) -> Result<Outcome, HostError> {
        let registers = self.cpus[cpu].registers()?;
        if let Some(rescued) = self.rescue(cpu, &registers)? {
            return Ok(rescued);
        }
        let code = self.next_code::<{ boot::ENTRY_RETURN_MARK_LENGTH }>(&registers);
        let returned = code.is_some_and(|code| boot::entry_has_returned(&code));
        Ok(Outcome::Halted { result: registers.general.rax, returned })
    }

    /// The bytes that a processor with these registers executes next.
    pub(super) fn next_code<const LENGTH: usize>(&self, registers: &Registers) -> Option<[u8; LENGTH]> {
        let mut code = [0; LENGTH];
        self.memory.read(self.next_code_at(registers)?, &mut code).ok()?;
        Some(code)
    }

    /// The guest-physical address of the instruction that a processor with these registers executes next; `None` if it is
    /// not mapped.
    pub(super) fn next_code_at(&self, registers: &Registers) -> Option<u64> {
        let at = Paging::new(registers, Paging::WIDEST).find(&*self.memory, registers.next_instruction());
        Some(at.ok()?.physical)
    }

    /// Sleeps while the processor waits in `hlt`, until an interrupt wakes it or an input causes an event.
    pub(super) fn sleep_halted(&mut self, cpu: CpuId) -> Result<Next, HostError> {
        if self.halts_in_kernel(cpu) && self.cpus[cpu].run_state != RunState::WaitForDisk {
            return self.sleep_in_kernel(cpu);
        }
        let next = self.sleep_until_wake_up(cpu);
        self.wake_up()?;
        next
    }

    fn sleep_until_wake_up(&mut self, cpu: CpuId) -> Result<Next, HostError> {
        loop {
            if let Some(event) = self.due_event()? {
                return Ok(Next::Stop(event));
            }
            // Or a disk has answered.
            if self.cpus[cpu].is_running() || self.wakes(cpu)? {
                self.cpus[cpu].run_state = RunState::Running;
                return Ok(Next::Run);
            }
            self.fall_asleep();
            match self.next_deadline_on_host() {
                Some(deadline) => self.inputs.wait_until(deadline),
                None => self.inputs.wait(),
            }
        }
    }

    /// Keeps the guest stopped until an input causes an event.
    pub(super) fn stay_stopped(&mut self) -> Result<Event, HostError> {
        self.pause_clock()?;
        loop {
            self.inputs.wait();
            if let Some(event) = self.take_inputs()? {
                return Ok(event);
            }
        }
    }

    /// Advances the machine's clock and all devices; an event if a device requests a reset or the end.
    pub(super) fn advance_clock(&mut self, elapsed: Duration) -> Result<Option<Event>, HostError> {
        let now = self.clock.advance(elapsed);
        let mut effects = Vec::new();
        self.board.advance(now, |effect| effects.push(effect));
        let mut event = None;
        for effect in effects {
            if let Some(Next::Stop(stop)) = self.apply(effect)? {
                event = event.or(Some(stop));
            }
        }
        Ok(event)
    }
}
