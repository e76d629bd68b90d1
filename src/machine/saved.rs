//! The machine as a value: everything but the contents of memory, taken between two instructions and
//! given to another machine, or to the same one later.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use tracing::info;

use super::board::Board;
use super::clock::Clock;
use super::coalescing::{Coalescing, CoalescingState};
use super::cpu::{CpuId, CpuState};
use super::creation::for_saved_state;
use super::input_buffer::InputBufferState;
use super::inputs::Inputs;
use super::journal::{JournalEvent, Position};
use super::output::OutputQueues;
use super::{Event, Machine, MachineError, MachineSpec, Outcome};
use crate::boot::{BootOptions, Image, Protocol, SymbolSource};
use crate::devices::{MachineTime, Payload};
use crate::kvm::{CpuFeatures, HostError, Kvm};
use crate::memory::{GuestMemory, MemoryError};

/// What happens before a guest goes on: it has carried out an instruction whose consequence has not come
/// yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PendingAction {
    /// It has asked for a reset.
    Reset,
    /// It has halted with interrupts off.
    Halted,
    /// It has written this to the debug exit port.
    Exit(u32),
    /// It has come to a triple fault.
    TripleFault,
}

impl PendingAction {
    /// What a run that has ended like this comes to again when it is continued; `None` if the guest comes
    /// to it by itself, or if the end was not its doing.
    pub fn after(outcome: &Outcome) -> Option<PendingAction> {
        match outcome {
            Outcome::Halted { .. } => Some(PendingAction::Halted),
            Outcome::DebugExit { value } => Some(PendingAction::Exit(*value)),
            Outcome::TripleFault => Some(PendingAction::TripleFault),
            Outcome::Reset => Some(PendingAction::Reset),
            _ => None,
        }
    }
}

/// A machine without the contents of its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineState {
    /// All CPUs, the bootstrap processor first.
    pub cpus: Vec<CpuState>,
    /// KVM's clock, in nanoseconds.
    pub clock: u64,
    /// The chips, each with its number among those of its kind.
    pub devices: Vec<(u16, Payload)>,
    /// The time on the machine's clock.
    pub now: MachineTime,
    /// The machine's place in its history.
    pub position: Position,
    /// What waits for the guest.
    pub input_buffer: InputBufferState,
    /// Which serial ports have their output collected.
    pub coalescing: CoalescingState,
    /// How often the machine was reset.
    pub resets: u64,
    /// What happens before the guest goes on.
    pub pending_action: Option<PendingAction>,
}

impl MachineState {
    /// The bootstrap processor, which every machine has.
    pub fn boot_cpu(&self) -> &CpuState {
        &self.cpus[CpuId::BOOT.index()]
    }
}

/// What a machine goes on from, besides its state and memory.
pub struct Revival {
    /// The guest file.
    pub image: Box<dyn Image>,
    /// Where its symbols come from.
    pub symbols: SymbolSource,
    /// How the guest was booted.
    pub options: BootOptions,
    /// The features it was given.
    pub features: CpuFeatures,
}

impl Machine {
    /// The machine as it is between two instructions: an access that the vCPU stopped at is completed
    /// first, and reads all ones if it is a read that has not been answered.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn state(&mut self) -> Result<MachineState, HostError> {
        self.complete_exits()?;
        Ok(MachineState {
            cpus: self.cpus.iter().map(|cpu| cpu.state(&self.kvm)).collect::<Result<_, _>>()?,
            clock: self.ram.vm().clock()?,
            devices: self.board.save(),
            now: self.clock.now(),
            position: self.position(),
            input_buffer: self.input_buffer.state(),
            coalescing: self.coalescing.state(),
            resets: self.resets,
            pending_action: self.pending_action,
        })
    }

    /// Completes what the guest has begun: an access, which reads all ones if it has not been answered, and
    /// output that KVM has collected. What comes of it is put off.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn complete_exits(&mut self) -> Result<(), HostError> {
        for cpu in self.cpu_ids() {
            if self.cpus[cpu].vcpu().is_settled() {
                continue;
            }
            match self.settle(cpu)? {
                Some(Event::ResetAsked) => self.pending_action = Some(PendingAction::Reset),
                Some(Event::End(outcome)) => self.pending_action = PendingAction::after(&outcome),
                _ => {}
            }
        }
        Ok(())
    }

    /// A machine that goes on where another was when `state` was taken, in `memory`, which holds already
    /// what it held there. Of `spec`, the image and the boot options are for resets.
    ///
    /// # Errors
    ///
    /// [`MachineError::Host`] if the host cannot run such a guest, [`MachineError::State`] if the state is
    /// one a chip cannot be in.
    pub fn revived(
        spec: MachineSpec,
        symbols: SymbolSource,
        features: &CpuFeatures,
        memory: Arc<GuestMemory>,
        state: &MachineState,
        inputs: Inputs,
        outputs: OutputQueues,
    ) -> Result<Machine, MachineError> {
        let board = Board::restored(&state.devices)?;
        let kvm = Kvm::open()?;
        let (mut ram, cpus) = for_saved_state(&kvm, memory.clone(), inputs.kicker(), features)?;
        ram.map_written()?;
        let reset = Protocol::of(spec.image.as_ref()).reset();
        let mut machine =
            Machine::assemble(spec, (symbols, reset), kvm, (ram, cpus), memory, inputs, outputs);
        machine.take_over(board, state)?;
        Ok(machine)
    }

    /// Goes back, or over, to `state`: `fill` puts into memory, which is zero, what it held when the state
    /// was taken. WatchpointPages memory stays watched; debug facilities are off.
    ///
    /// # Errors
    ///
    /// [`MachineError`]. Where it is [`MachineError::State`] or the host does not know the features,
    /// the machine is as it was. Any other leaves it without a guest that could go on.
    pub fn revert(
        &mut self,
        revival: Revival,
        state: &MachineState,
        fill: &mut dyn FnMut(&GuestMemory) -> Result<(), MemoryError>,
    ) -> Result<(), MachineError> {
        let board = Board::restored(&state.devices)?;
        let kicker = self.cpus[CpuId::BOOT].kicker().clone();
        let hardware = for_saved_state(&self.kvm, self.memory.clone(), &kicker, &revival.features)?;
        self.log_totals();
        (self.ram, self.cpus) = hardware;
        self.current = CpuId::BOOT;
        self.outputs.want_ticks(false);
        self.memory.discard()?;
        fill(&self.memory)?;
        self.ram.map_written()?;
        self.reset_action = Protocol::of(revival.image.as_ref()).reset();
        (self.image, self.symbols, self.options) = (revival.image, revival.symbols, revival.options);
        self.symbol_index = OnceLock::new();
        self.take_over(board, state)?;
        self.watch_again()?;
        self.follow_again()?;
        info!("the guest goes on at {:#x}, from a saved state", state.boot_cpu().vcpu.rip());
        Ok(())
    }

    /// `action` happens before the guest goes on.
    pub fn set_pending_action(&mut self, action: PendingAction) {
        self.pending_action = Some(action);
    }

    /// Takes the pending action, as an event.
    pub fn take_pending_action(&mut self) -> Option<Event> {
        Some(match self.pending_action.take()? {
            PendingAction::Reset => Event::ResetAsked,
            PendingAction::Exit(value) => Event::End(Outcome::DebugExit { value }),
            PendingAction::TripleFault => Event::End(Outcome::TripleFault),
            PendingAction::Halted => match self.cpus[self.current].general_registers() {
                Ok(registers) => Event::End(Outcome::Halted { result: registers.rax }),
                Err(error) => Event::End(Outcome::HostFailed(error)),
            },
        })
    }

    /// Puts `state` into a processor that nothing has run on.
    fn take_over(&mut self, board: Board, state: &MachineState) -> Result<(), HostError> {
        self.put_state(board, state)?;
        self.coalescing = Coalescing::new(self.cpus[CpuId::BOOT].vcpu.can_coalesce_writes());
        if self.coalescing.set_state(&state.coalescing, self.ram.vm())? {
            self.outputs.want_ticks(true);
        }
        if self.board.next_deadline().is_some() {
            self.outputs.want_ticks(true);
        }
        Ok(())
    }

    /// Puts `state`, whose chips are `board`, into the processor and in the place of the chips; which serial
    /// ports have their output collected stays as it is.
    pub(super) fn put_state(&mut self, board: Board, state: &MachineState) -> Result<(), HostError> {
        self.ram.vm().set_clock(state.clock)?;
        for (cpu, state) in self.cpus.iter_mut().zip(&state.cpus) {
            cpu.set_state(state)?;
        }
        self.note(|| JournalEvent::Restored { position: state.position });
        self.board = board;
        self.board.set_accesses(state.position.accesses);
        self.journal.continue_from(state.position);
        self.clock = Clock::at(state.now);
        self.screen.publish(self.board.vga().view());
        self.input_buffer.set_state(&state.input_buffer, &self.inputs);
        (self.resets, self.pending_action) = (state.resets, state.pending_action);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_is_the_guests_doing_comes_again() {
        assert_eq!(PendingAction::after(&Outcome::Halted { result: 7 }), Some(PendingAction::Halted));
        assert_eq!(PendingAction::after(&Outcome::DebugExit { value: 3 }), Some(PendingAction::Exit(3)));
        assert_eq!(PendingAction::after(&Outcome::TimedOut), None);
    }
}
