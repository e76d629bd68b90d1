//! The machine's state as a value: everything except the contents of memory, taken at an instruction boundary
//! and restored into another machine, or later into the same one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracing::info;

use super::board::Board;
use super::clock::Clock;
use super::coalescing::CoalescingState;
use super::cpu::{Cpu, CpuId, CpuState};
use super::creation::{Processors, for_saved_state};
use super::flight_recorder::Occurrence;
use super::input_buffer::InputBufferState;
use super::inputs::Inputs;
use super::journal::{JournalEvent, Position};
use super::output::OutputQueue;
use super::rescue::RescuedException;
use super::{Event, Machine, MachineError, MachineSpec, Outcome};
use crate::boot::{BootOptions, GuestFile};
use crate::devices::lapic::LocalApics;
use crate::devices::vbe::BochsVbe;
use crate::devices::{MachineTime, Payload, Snapshot, StateError};
use crate::kvm::{CpuFeatures, HostError, KernelIrqchipState, Kvm};
use crate::memory::{GuestMemory, MemoryError, RomState};
use crate::settings::{BootKind, IrqchipMode};

/// The consequence of the guest's last instruction that is still to be performed before the guest continues. Snapshots hold
/// it: new ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PendingAction {
    /// The guest has requested a reset.
    Reset,
    /// The guest has halted with interrupts off.
    Halted,
    /// The guest has written this value to the debug exit port.
    Exit(u32),
    /// The guest has caused a triple fault.
    TripleFault,
    /// The guest has switched the machine off.
    PowerOff,
    /// The guest has caused a triple fault, of which the exception is known.
    RescuedTripleFault(RescuedException),
}

impl PendingAction {
    /// The action that repeats `outcome` when the run is continued; `None` if the guest causes it again by
    /// itself, or if the guest did not cause it.
    pub fn after(outcome: &Outcome) -> Option<PendingAction> {
        match outcome {
            Outcome::Halted { .. } => Some(PendingAction::Halted),
            Outcome::DebugExit { value } => Some(PendingAction::Exit(*value)),
            Outcome::TripleFault(None) => Some(PendingAction::TripleFault),
            Outcome::TripleFault(Some(rescued)) => Some(PendingAction::RescuedTripleFault(*rescued)),
            Outcome::PoweredOff => Some(PendingAction::PowerOff),
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
    /// The devices, each with its number among those of its kind.
    pub devices: Vec<(u16, Payload)>,
    /// The time on the machine's clock.
    pub now: MachineTime,
    /// The machine's position in its history.
    pub position: Position,
    /// Input that the guest has not read yet.
    pub input_buffer: InputBufferState,
    /// The serial ports whose output is coalesced.
    pub coalescing: CoalescingState,
    /// Number of resets.
    pub resets: u64,
    /// Performed before the guest continues.
    pub pending_action: Option<PendingAction>,
    /// KVM's interrupt controllers and interval timer, if the machine has those (`irqchip = kernel`).
    pub kernel_irqchip: Option<KernelIrqchipState>,
    /// Firmware in ROM, and the shadow RAM that the guest does not see, if the machine has any.
    pub rom: Option<RomState>,
}

impl MachineState {
    /// True if the machine has a display adapter with a linear framebuffer.
    pub fn has_video_memory(&self) -> bool {
        self.devices.iter().any(|(_, payload)| payload.kind == BochsVbe::KIND)
    }

    /// Whose interrupt controllers and interval timer the machine has.
    pub fn irqchip(&self) -> IrqchipMode {
        if self.kernel_irqchip.is_some() { IrqchipMode::Kernel } else { IrqchipMode::User }
    }

    /// The bootstrap processor, which every machine has.
    pub fn boot_cpu(&self) -> &CpuState {
        &self.cpus[CpuId::BOOT.index()]
    }

    /// The devices in their states, with a local APIC for each CPU.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn board(&self) -> Result<Board, StateError> {
        let board = Board::restored(&self.devices)?;
        let (apics, cpus) = (board.lapics().count(), self.cpus.len());
        if apics != cpus {
            let reason = format!("there are {apics} for {cpus} CPUs");
            return Err(StateError::Damaged { kind: LocalApics::KIND, reason });
        }
        Ok(board)
    }
}

/// What [`Machine::revert`] needs besides the state and the memory contents.
pub struct Restoration {
    /// The guest file.
    pub guest_file: GuestFile,
    /// How the guest was booted.
    pub options: BootOptions,
    /// The processor features that the guest was started with.
    pub features: CpuFeatures,
}

impl Machine {
    /// The state of the machine at an instruction boundary. A pending exit is completed first; a read without
    /// a value returns all ones.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn state(&mut self) -> Result<MachineState, HostError> {
        self.complete_exits()?;
        for cpu in self.cpu_ids() {
            self.take_over_apic_msrs(cpu);
            self.sync_task_priority(cpu);
            self.take_processor_requests(cpu)?;
            self.sync_run_state(cpu)?;
        }
        self.pass_lines()?;
        let kernel_irqchip = match self.irqchip() {
            IrqchipMode::User => None,
            IrqchipMode::Kernel => Some(self.ram.vm().irqchip_state(self.cpus.iter().map(Cpu::vcpu))?),
        };
        Ok(MachineState {
            cpus: self.cpus.iter().map(|cpu| cpu.state(&self.kvm)).collect::<Result<_, _>>()?,
            clock: self.ram.vm().clock()?,
            devices: self.board.save(),
            now: self.clock.now(),
            position: self.position(),
            input_buffer: self.input_buffer.state(),
            coalescing: self.coalescing.state(),
            resets: self.resets,
            pending_action: self.pending_action.or_else(|| match self.unreported()? {
                Event::ResetRequested => Some(PendingAction::Reset),
                Event::End(outcome) => PendingAction::after(outcome),
                _ => None,
            }),
            kernel_irqchip,
            rom: self.memory.rom_state(),
        })
    }

    /// Completes the pending exits of all CPUs and takes coalesced output from KVM; a read without a value
    /// returns all ones. A resulting reset or end becomes the pending action.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn complete_exits(&mut self) -> Result<(), HostError> {
        for cpu in self.cpu_ids() {
            if self.cpus[cpu].vcpu().is_at_instruction_boundary() {
                continue;
            }
            match self.complete_pending(cpu)? {
                Some(Event::ResetRequested) => self.pending_action = Some(PendingAction::Reset),
                Some(Event::End(outcome)) => self.pending_action = PendingAction::after(&outcome),
                _ => {}
            }
        }
        Ok(())
    }

    /// A machine that continues from `state`. `memory` already holds the contents that belong to it.
    /// `guest_file` and the boot options of `spec` are used by resets.
    ///
    /// # Errors
    ///
    /// [`MachineError::Host`] if the host cannot run such a guest, [`MachineError::State`] if a device
    /// cannot be in its state.
    pub fn restored(
        guest_file: GuestFile,
        spec: MachineSpec,
        features: &CpuFeatures,
        memory: Arc<GuestMemory>,
        state: &MachineState,
        inputs: Inputs,
        outputs: OutputQueue,
    ) -> Result<Machine, MachineError> {
        let board = state.board()?;
        let kvm = Kvm::open(&spec.device)?;
        let count = state.cpus.len() as u8;
        let processors = Processors { count, schedule: spec.schedule, inputs: &inputs };
        let (mut ram, cpus) = for_saved_state(&kvm, memory.clone(), &processors, features, state.irqchip())?;
        ram.map_written()?;
        let reset = spec.boot.saved_protocol().reset();
        let mut machine =
            Machine::assemble((guest_file, reset), spec, kvm, (ram, cpus), memory, inputs, outputs);
        machine.map_for_several()?;
        machine.load_state(board, state)?;
        Ok(machine)
    }

    /// Replaces the machine's state by `state`; `fill` writes the contents that belong to it to memory, which
    /// is zero. Disks that keep what is written in memory lose it, as `state` does not have it. Watched memory stays
    /// watched; debug facilities are off.
    ///
    /// # Errors
    ///
    /// [`MachineError`]. The machine is unchanged after [`MachineError::State`], [`MachineError::Disk`] and
    /// [`MachineError::Features`], and cannot continue after any other.
    pub fn revert(
        &mut self,
        restoration: Restoration,
        state: &MachineState,
        fill: &mut dyn FnMut(&GuestMemory) -> Result<(), MemoryError>,
    ) -> Result<(), MachineError> {
        let board = state.board()?;
        self.disks.check(&board)?;
        let (processors, irqchip) = (self.processors(state.cpus.len()), state.irqchip());
        let features = &restoration.features;
        let hardware = for_saved_state(&self.kvm, self.memory.clone(), &processors, features, irqchip)?;
        self.log_totals();
        self.emulated_before = self.emulated();
        (self.ram, self.cpus) = hardware;
        self.current = CpuId::BOOT;
        self.outputs.want_ticks(false);
        self.memory.discard()?;
        fill(&self.memory)?;
        self.ram.map_written()?;
        self.reset_action = restoration.options.saved_protocol().reset();
        (self.guest_file, self.options) = (restoration.guest_file, restoration.options);
        self.symbols.forget_guest_file();
        self.map_for_several()?;
        self.forget_disk_writes();
        self.load_state(board, state)?;
        self.repeat_disk_requests()?;
        self.protect_after_reset()?;
        self.resume_dirty_tracking()?;
        info!("the guest continues at {:#x}, from a saved state", state.boot_cpu().vcpu.rip());
        Ok(())
    }

    /// Sets the action to perform before the guest continues.
    pub fn set_pending_action(&mut self, action: PendingAction) {
        self.pending_action = Some(action);
    }

    /// Takes the pending action, as an event.
    pub fn take_pending_action(&mut self) -> Option<Event> {
        Some(match self.pending_action.take()? {
            PendingAction::Reset => Event::ResetRequested,
            PendingAction::Exit(value) => Event::End(Outcome::DebugExit { value }),
            PendingAction::TripleFault => Event::End(Outcome::TripleFault(None)),
            PendingAction::RescuedTripleFault(rescued) => Event::End(Outcome::TripleFault(Some(rescued))),
            PendingAction::PowerOff => Event::End(Outcome::PoweredOff),
            PendingAction::Halted => {
                Event::End(self.halted_outcome(self.current).unwrap_or_else(Outcome::HostFailed))
            }
        })
    }

    /// Restores `state` into CPUs that have not run yet.
    fn load_state(&mut self, board: Board, state: &MachineState) -> Result<(), HostError> {
        self.put_state(board, state)?;
        self.coalescing = self.scheduler.coalescing(&self.cpus);
        if self.coalescing.set_state(&state.coalescing, self.ram.vm())? {
            self.outputs.want_ticks(true);
        }
        Ok(())
    }

    /// Restores the CPUs from `state` and replaces the devices by `board`. The serial ports whose output is
    /// coalesced stay the same.
    pub(super) fn put_state(&mut self, board: Board, state: &MachineState) -> Result<(), HostError> {
        if self.memory.has_rom() || state.rom.is_some() {
            let failed = |error| HostError::because("restore ROM", error);
            self.memory.restore_rom(state.rom.as_ref()).map_err(failed)?;
            self.ram.map_rom()?;
        }
        self.ram.vm().set_clock(state.clock)?;
        for (cpu, state) in self.cpus.iter_mut().zip(&state.cpus) {
            cpu.set_state(state)?;
        }
        if let Some(irqchip) = &state.kernel_irqchip {
            for (cpu, (page, state)) in self.cpus.iter().zip(irqchip.lapics.iter().zip(&state.cpus)) {
                cpu.vcpu.set_lapic_page(page, &state.vcpu)?;
            }
            self.ram.vm().set_irqchip_state(irqchip)?;
        }
        self.note(|| JournalEvent::Restored { position: state.position });
        self.board = board;
        self.board.set_cpus(self.cpus.len() as u8);
        self.scheduler.forget();
        self.board.set_irqchip(self.irqchip());
        if self.magic_break {
            self.board.connect_debugger_port();
        }
        if self.options.kind.is_some_and(BootKind::has_bios) {
            self.board.connect_bios_port();
        }
        self.disks.forget_requests();
        self.board.set_accesses(state.position.accesses);
        self.journal.continue_from(state.position);
        self.recorder.clear();
        self.record(CpuId::BOOT, Occurrence::Restored);
        self.clock = Clock::at(state.now);
        self.display_replaced()?;
        self.inputs.set_mouse_enabled(self.board.i8042().mouse_is_enabled());
        self.input_buffer.set_state(&state.input_buffer, &self.inputs);
        (self.resets, self.pending_action) = (state.resets, state.pending_action);
        self.rearm_timer()
    }

    /// Repeats what drives and BIOS were waiting for when the state was saved. A new machine does so when its disks are
    /// attached ([`Machine::attach_disks`]); before that nobody would answer.
    pub(super) fn repeat_disk_requests(&mut self) -> Result<(), HostError> {
        self.submit_disk_requests();
        self.submit_bios_transfer();
        self.rearm_timer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_end_caused_by_the_guest_is_repeated() {
        assert_eq!(
            PendingAction::after(&Outcome::Halted { result: 7, returned: false }),
            Some(PendingAction::Halted)
        );
        assert_eq!(PendingAction::after(&Outcome::DebugExit { value: 3 }), Some(PendingAction::Exit(3)));
        assert_eq!(PendingAction::after(&Outcome::PoweredOff), Some(PendingAction::PowerOff));
        assert_eq!(PendingAction::after(&Outcome::TimedOut), None);
    }

    #[test]
    fn pending_actions_are_stored_as_in_the_first_version() {
        let rescued = RescuedException { vector: 14, error_code: Some(2) };
        for (action, bytes) in [
            (PendingAction::Reset, &[0][..]),
            (PendingAction::Halted, &[1]),
            (PendingAction::Exit(7), &[2, 7]),
            (PendingAction::TripleFault, &[3]),
            (PendingAction::PowerOff, &[4]),
            (PendingAction::RescuedTripleFault(rescued), &[5, 14, 1, 2]),
        ] {
            assert_eq!(postcard::to_stdvec(&action).unwrap(), bytes);
            assert_eq!(postcard::from_bytes::<PendingAction>(bytes).unwrap(), action);
        }
    }
}
