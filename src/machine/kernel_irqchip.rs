//! Machines whose interrupt controllers and interval timer are KVM's (`irqchip = kernel`).
//!
//! The board drives KVM's lines: what has changed waits in [`LineChanges`] and is passed on before the guest is entered
//! ([`Machine::pass_to_kernel`]). The machine's own 8259A, IOAPIC, local APICs and interval timer are not decoded. The
//! HPET is the machine's; while it replaces the interval timer, KVM's stands still.
//!
//! `hlt` sleeps in KVM_RUN, which no exit tells. A CPU that is kicked is looked at: one that sleeps is
//! [`RunState::Halted`], and one that sleeps with interrupts off ends the run, as its exit does in user space. So that it
//! is found without other kicks, a timer kicks the CPU [`FIRST_LOOK`] after the guest continues and then at growing
//! intervals.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::board::Board;
use super::cpu::{Cpu, CpuId, RunState};
use super::run::Next;
use super::{Event, Machine};
use crate::kvm::{DeadlineTimer, GuestDebug, HaltState, HostError, VmExit};
use crate::settings::IrqchipMode;

/// Time from the guest's continuation to the first look for a CPU that sleeps with interrupts off.
pub(super) const FIRST_LOOK: Duration = Duration::from_millis(10);
/// Longest time between two such looks.
pub(super) const LONGEST_INTERVAL: Duration = Duration::from_millis(160);

/// A change of an input of KVM's interrupt controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineChange {
    /// The level of an ISA line.
    Line(u8, bool),
    /// The level of a pin of the IOAPIC alone.
    Pin(u8, bool),
    /// The HPET replaces the interval timer, or does not any more.
    Replaced(bool),
}

/// Changes that KVM does not know yet, oldest first.
pub(super) type LineChanges = VecDeque<LineChange>;

/// Makes a CPU exit at times, so that it is noticed when it sleeps.
#[derive(Debug)]
pub(super) struct HaltWatch {
    timer: DeadlineTimer,
    expired: Arc<AtomicBool>,
    interval: Duration,
}

impl HaltWatch {
    /// A watch of the CPU that the calling thread runs.
    fn new() -> Result<HaltWatch, HostError> {
        let expired = Arc::default();
        Ok(HaltWatch { timer: DeadlineTimer::new(&expired)?, expired, interval: FIRST_LOOK })
    }

    /// The guest continues: looks are frequent again.
    fn begin(&mut self) {
        self.interval = FIRST_LOOK;
        self.timer.arm(self.interval);
    }

    /// Waits longer for the next look, if it was the timer that has kicked the CPU.
    fn go_on(&mut self) {
        if self.expired.swap(false, Ordering::AcqRel) {
            self.interval = (self.interval * 2).min(LONGEST_INTERVAL);
            self.timer.arm(self.interval);
        }
    }
}

impl Machine {
    /// Whose interrupt controllers and interval timer it has.
    pub fn irqchip(&self) -> IrqchipMode {
        if self.ram.vm().has_irqchip() { IrqchipMode::Kernel } else { IrqchipMode::User }
    }

    /// A copy of the board to be looked at, with copies of KVM's interrupt controllers and interval timer; `None` if the
    /// machine has its own, and [`Machine::board`] shows everything.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn board_with_copies(&self) -> Result<Option<Board>, HostError> {
        if self.irqchip() == IrqchipMode::User {
            return Ok(None);
        }
        let state = self.ram.vm().irqchip_state(self.cpus.iter().map(Cpu::vcpu))?;
        let lapics: Vec<_> =
            self.cpus.iter().map(|cpu| cpu.vcpu.lapic_state()).collect::<Result<_, HostError>>()?;
        let copy = self.board.with_copies(&state, &lapics);
        copy.map(Some).map_err(|error| HostError::because("show its interrupt controllers", error))
    }

    /// True if `hlt` sleeps in KVM.
    #[inline]
    pub(super) fn halts_in_kernel(&self, cpu: CpuId) -> bool {
        self.cpus[cpu].vcpu.has_kernel_lapic()
    }

    /// The guest continues, after a stop or at its start.
    pub(super) fn begin_halt_watch(&mut self) -> Result<(), HostError> {
        if self.runs_in_parallel() {
            self.begin_looks();
            return Ok(());
        }
        let cpu = &mut self.cpus[self.current];
        if !cpu.vcpu.has_kernel_lapic() {
            return Ok(());
        }
        // KVM may have taken an interrupt from its controllers that a step must not deliver.
        cpu.interrupt_may_wait = true;
        let watch = match &mut cpu.halt_watch {
            Some(watch) => watch,
            none => none.insert(HaltWatch::new()?),
        };
        watch.begin();
        Ok(())
    }

    /// Passes on what waits for KVM: changed lines, requests for NMIs, an interrupt that a step has held back.
    #[cold]
    pub(super) fn pass_to_kernel(&mut self, cpu: CpuId) -> Result<(), HostError> {
        self.pass_lines()?;
        self.take_processor_requests(cpu)?;
        if let Some(vector) = self.cpus[cpu].withdrawn_interrupt.take() {
            self.cpus[cpu].vcpu.return_interrupt(vector)?;
            self.cpus[cpu].interrupt_may_wait = true;
        }
        Ok(())
    }

    /// Tells KVM the lines that have changed.
    pub(super) fn pass_lines(&mut self) -> Result<(), HostError> {
        let vm = self.ram.vm();
        while let Some(change) = self.board.next_line_change() {
            match change {
                LineChange::Line(line, level) => vm.set_irq_line(line, level)?,
                LineChange::Pin(pin, level) => vm.set_ioapic_pin(pin, level)?,
                LineChange::Replaced(replaced) => vm.replace_pit(replaced)?,
            }
        }
        Ok(())
    }

    /// The CPU was kicked. Finds out whether it sleeps; the end of the run if nothing can wake it.
    #[cold]
    pub(super) fn look_at_halt(&mut self, cpu: CpuId) -> Result<Next, HostError> {
        if let Some(watch) = &mut self.cpus[cpu].halt_watch {
            watch.go_on();
        }
        let state = self.sync_run_state(cpu)?;
        if matches!(state, HaltState::Halted { .. }) && self.cpus[cpu].guest_debug().halts {
            self.cpus[cpu].run_state = RunState::Running;
            return Ok(Next::Stop(Event::Debug(self.cpus[cpu].vcpu.stop_at_halt()?)));
        }
        if self.cpus.len() > 1 {
            return self.look_at_end(cpu);
        }
        match state {
            HaltState::Halted { interruptible: false } if !self.interrupt_pending(cpu) => {
                Ok(Next::Stop(Event::End(self.halted_outcome(cpu)?)))
            }
            _ => Ok(Next::Run),
        }
    }

    /// Takes the run state of a CPU from KVM.
    pub(super) fn sync_run_state(&mut self, cpu: CpuId) -> Result<HaltState, HostError> {
        let several = self.cpus.len() > 1;
        let cpu = &mut self.cpus[cpu];
        if !cpu.vcpu.has_kernel_lapic() || cpu.run_state == RunState::WaitForDisk {
            return Ok(HaltState::Running);
        }
        let state = cpu.vcpu.halt_state()?;
        cpu.run_state = match state {
            HaltState::Halted { interruptible: false } if several => RunState::HaltedForGood,
            HaltState::Halted { .. } => RunState::Halted,
            HaltState::WaitForSipi => RunState::WaitForSipi,
            HaltState::Running => RunState::Running,
        };
        Ok(state)
    }

    /// Sleeps in KVM, until an interrupt wakes the CPU and it exits, or until an input causes an event.
    pub(super) fn sleep_in_kernel(&mut self, cpu: CpuId) -> Result<Next, HostError> {
        if let Some(event) = self.pending_event()? {
            return Ok(Next::Stop(event));
        }
        if self.interrupt_pending(cpu) {
            self.pass_to_kernel(cpu)?;
        }
        let exit = self.cpus[cpu].run()?;
        if exit != VmExit::Interrupted {
            self.cpus[cpu].run_state = RunState::Running;
        }
        self.handle_exit(cpu, exit)
    }

    /// Sleeps in a `hlt` that a debugger has stepped, until an interrupt has come, which is not delivered yet, or an
    /// input causes an event. Where debug registers do not stop the guest, it executes one more instruction.
    pub(super) fn step_sleep_in_kernel(&mut self, cpu: CpuId) -> Result<Next, HostError> {
        let before = *self.cpus[cpu].guest_debug();
        let next = self.cpus[cpu].registers()?.next_instruction();
        self.hold_interrupts(cpu)?;
        self.cpus[cpu].renew_guest_debug();
        self.cpus[cpu].set_guest_debug(GuestDebug {
            single_step: true,
            block_interrupts: true,
            hardware_breakpoints: [Some(next), None, None, None],
            ..GuestDebug::default()
        })?;
        let slept = self.sleep_until_woken(cpu);
        self.cpus[cpu].renew_guest_debug();
        self.cpus[cpu].set_guest_debug(before)?;
        slept
    }

    fn sleep_until_woken(&mut self, cpu: CpuId) -> Result<Next, HostError> {
        loop {
            if let Some(event) = self.pending_event()? {
                return Ok(Next::Stop(event));
            }
            if self.runs_in_parallel()
                && self.deadline_has_come()
                && let Some(event) = self.sync_clock()?
            {
                return Ok(Next::Stop(event));
            }
            self.pass_lines()?;
            self.take_processor_requests(cpu)?;
            let exit = self.cpus[cpu].run()?;
            let next = match exit {
                VmExit::Debug(_) => Next::Run,
                VmExit::Interrupted => {
                    if self.sync_run_state(cpu)? != HaltState::Running {
                        continue;
                    }
                    Next::Run
                }
                exit => self.handle_exit(cpu, exit)?,
            };
            self.sync_run_state(cpu)?;
            return Ok(next);
        }
    }
}
