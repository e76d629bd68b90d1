//! The run loop: takes inputs, runs the vCPU and handles its exits.

use tracing::{debug, info};

use super::board::{DeviceIndex, Effect};
use super::cpu::CpuId;
use super::exit_counts::ExitCounts;
use super::flight_recorder::Occurrence;
use super::inputs::Input;
use super::journal::JournalEvent;
use super::mouse_input::MouseInput;
use super::output::OutputSource;
use super::{Event, Machine, MachineError, Outcome};
use crate::devices::MachineRequest;
use crate::devices::pci::configuration::ADDRESS_PORT;
use crate::devices::table::Role;
use crate::kvm::{HostError, VmExit};

/// How the run loop continues after an exit or an input.
pub(super) enum Next {
    /// Enter the guest again.
    Run,
    /// Stop with an event for the caller.
    Stop(Event),
}

impl Next {
    pub(super) fn end(outcome: Outcome) -> Next {
        Next::Stop(Event::End(outcome))
    }
}

impl Machine {
    /// Runs the guest until the run ends.
    pub fn run(&mut self) -> Outcome {
        let outcome = match self.take_pending_action() {
            Some(Event::End(outcome)) => outcome,
            Some(_) => match self.perform_reset() {
                Event::End(outcome) => outcome,
                _ => self.run_on(),
            },
            None => self.run_on(),
        };
        self.log_totals();
        outcome
    }

    fn run_on(&mut self) -> Outcome {
        let outcome = self.run_to_end();
        match self.stop_cpus() {
            Ok(()) => outcome,
            Err(error) => Outcome::HostFailed(error),
        }
    }

    fn run_to_end(&mut self) -> Outcome {
        if let Err(error) = self.begin_halt_watch() {
            return Outcome::HostFailed(error);
        }
        loop {
            match self.advance() {
                // These events concern a supervisor only.
                Ok(
                    Next::Run
                    | Next::Stop(
                        Event::Attention
                        | Event::Reset
                        | Event::StopRequested
                        | Event::Debug(_)
                        | Event::WatchedAccess(_),
                    ),
                ) => {}
                Ok(Next::Stop(Event::End(outcome))) => break outcome,
                Ok(Next::Stop(Event::ResetRequested)) => {
                    if let Event::End(outcome) = self.perform_reset() {
                        break outcome;
                    }
                }
                Err(error) => break Outcome::HostFailed(error),
            }
        }
    }

    /// Logs the guest's accesses to unassigned addresses, at the end of a run or of a virtual machine.
    pub fn log_totals(&self) {
        self.board.unassigned().log_totals();
    }

    /// Instructions emulated in place of KVM since the machine was created.
    pub fn emulated(&self) -> u64 {
        self.emulated_before + self.cpus.iter().map(|cpu| cpu.emulated.total()).sum::<u64>()
    }

    /// How often the guest has exited, by reason.
    pub fn exit_counts(&self) -> &ExitCounts {
        &self.exit_counts
    }

    /// Runs the current CPU to its next exit, or sleeps while it is halted.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<Next, HostError> {
        if self.cpus.len() > 1 {
            return self.advance_several();
        }
        let cpu = self.current;
        if self.cpus[cpu].is_halted() { self.sleep_halted(cpu) } else { self.step(cpu) }
    }

    /// Takes pending inputs, runs a CPU to its next exit and handles the exit.
    #[inline]
    pub(super) fn step(&mut self, cpu: CpuId) -> Result<Next, HostError> {
        if let Some(next) = self.prepare_entry(cpu)? {
            return Ok(next);
        }
        match self.cpus[cpu].run() {
            Ok(exit) => self.handle_exit(cpu, exit),
            Err(error) => Err(self.reason(error)),
        }
    }

    /// Takes pending inputs and delivers what waits for a CPU; something else than an entry if that comes of it.
    #[inline]
    pub(super) fn prepare_entry(&mut self, cpu: CpuId) -> Result<Option<Next>, HostError> {
        if let Some(event) = self.pending_event()? {
            return Ok(Some(Next::Stop(event)));
        }
        if self.interrupt_pending(cpu) {
            self.deliver_interrupt(cpu)?;
            // That may have been INIT.
            if !self.halts_in_kernel(cpu) && !self.cpus[cpu].is_running() {
                return Ok(Some(Next::Run));
            }
        }
        Ok(None)
    }

    /// Why a CPU could not be run: memory that KVM could not read, or `error`, perhaps with that suspicion.
    #[cold]
    pub(super) fn reason(&self, error: HostError) -> HostError {
        match self.memory.suspected_file_failure() {
            Some(lost) => HostError::MemoryLost(lost),
            None => error.suspecting(self.memory.mapped_file()),
        }
    }

    /// Handles an exit of a CPU.
    #[inline]
    pub(super) fn handle_exit(&mut self, cpu: CpuId, exit: VmExit) -> Result<Next, HostError> {
        self.exit_counts.count(&exit);
        match exit {
            VmExit::PortOut { port, size, value } => {
                let what = Occurrence::PortWrite { port, size, value };
                self.recorder.record_port(self.journal.events(), cpu, port, what);
                self.port_out(port, size, value)
            }
            VmExit::PortIn { port, size } => {
                let device = self.board.decode(port);
                if self.board.shows_time(device)
                    && let Some(event) = self.sync_clock()?
                {
                    return Ok(Next::Stop(event));
                }
                if self.board.role(device) == Role::Ide && self.disks.may_have_early_answer() {
                    self.take_early_answers()?;
                }
                // This access may read pending input.
                let delivers_input = self.input_buffer.has_pending()
                    && matches!(self.board.role(device), Role::Keyboard | Role::Serial(_));
                if delivers_input {
                    self.deliver_input_to_reader(cpu)?;
                }
                if size > 1 {
                    self.read_block(cpu, device, port, size);
                }
                let (value, effect) = self.board.read_port(device, port, size);
                let what =
                    Occurrence::PortRead { port, size, value: value & !0 >> (32 - 8 * u32::from(size)) };
                self.recorder.record_port(self.journal.events(), cpu, port, what);
                if delivers_input {
                    self.deliver_input_to_reader(cpu)?;
                }
                self.cpus[cpu].complete_read(u64::from(value));
                Ok(self.apply(effect)?.unwrap_or(Next::Run))
            }
            // Accesses to RAM also exit: to an unmapped slot, to watched pages, and in the rest of an instruction
            // whose first part has caused the slot to be mapped.
            VmExit::MmioWrite { address, size, value } => {
                self.ram.map_at(address)?;
                self.watchpoint_pages.write(address, size);
                if self.memory.has_video_memory() && self.video_write(address, size, value) {
                    return Ok(Next::Run);
                }
                if self.memory.write_word(address, value, size).is_ok() {
                    return Ok(Next::Run);
                }
                self.record(cpu, Occurrence::MemoryWrite { address, size, value });
                self.prepare_memory_access(cpu, address)?;
                let effect = self.board.memory_write(address, size, value);
                self.task_priority_changed(cpu, false);
                Ok(self.apply(effect)?.unwrap_or(Next::Run))
            }
            VmExit::MmioRead { address, size } => {
                self.ram.map_at(address)?;
                let read = match self.video_read(address, size) {
                    Some(value) => Ok(value),
                    None => self.memory.read_word(address, size),
                };
                self.watchpoint_pages.read(address, size);
                let (value, effect) = match read {
                    Ok(value) => (value, Effect::default()),
                    Err(_) => {
                        self.prepare_memory_access(cpu, address)?;
                        let (value, effect) = self.board.memory_read(address, size);
                        self.record(cpu, Occurrence::MemoryRead { address, size, value });
                        (value, effect)
                    }
                };
                self.cpus[cpu].complete_read(value);
                Ok(self.apply(effect)?.unwrap_or(Next::Run))
            }
            VmExit::MsrRead { index } => self.read_msr(cpu, index),
            VmExit::MsrWrite { index, value } => self.write_msr(cpu, index, value),
            VmExit::Halt { interruptible } => {
                self.record(cpu, Occurrence::Halt { interruptible });
                self.halt(cpu, interruptible)
            }
            VmExit::Interrupted if self.halts_in_kernel(cpu) => self.look_at_halt(cpu),
            VmExit::Interrupted => Ok(Next::Run),
            // What waited may have gone; if it still waits, its delivery asks again.
            VmExit::InterruptWindow => {
                self.cpus[cpu].vcpu.want_interrupt_window(false);
                Ok(Next::Run)
            }
            VmExit::TaskPriority => {
                self.task_priority_changed(cpu, true);
                Ok(Next::Run)
            }
            VmExit::Debug(stop) => Ok(Next::Stop(Event::Debug(stop))),
            VmExit::Shutdown => {
                self.record(cpu, Occurrence::TripleFault);
                self.shut_down(cpu)
            }
            // The cause may be an unmapped slot: an instruction in it, or an operand of an instruction that KVM
            // does not emulate on MMIO.
            VmExit::Refused(refusal) if self.ram.map_all()? => {
                debug!("all memory mapped because of {refusal:?}");
                Ok(Next::Run)
            }
            VmExit::Refused(refusal) => {
                // A locked instruction is emulated as one only if no other CPU runs meanwhile, and pages are
                // uncovered for all of them.
                self.stop_cpus()?;
                if self.uncover_code(cpu)? {
                    return Ok(Next::Run);
                }
                self.emulate_refused(cpu, refusal)
            }
            VmExit::EntryFailed(reason) => Ok(Next::end(Outcome::EntryFailed(reason))),
            VmExit::Unexpected(reason) => Ok(Next::end(Outcome::Unexpected(reason))),
        }
    }

    /// Serves all elements of `rep ins` at once that have no effect besides; the next one stays.
    fn read_block(&mut self, cpu: CpuId, device: DeviceIndex, port: u16, size: u8) {
        let vcpu = &mut self.cpus[cpu].vcpu;
        let elements = vcpu.elements_before_last();
        if elements.is_empty() {
            return;
        }
        let reads = self.board.read_block(device, port, size, elements);
        vcpu.skip_elements(reads);
        self.exit_counts.count_port_reads(reads);
        self.recorder.count_port(port, reads);
    }

    /// Tells the devices whose access to `address` follows, and the time if they show it.
    fn prepare_memory_access(&mut self, cpu: CpuId, address: u64) -> Result<(), HostError> {
        self.board.select_cpu(cpu.number());
        // It may be the local APIC's.
        self.take_over_apic_msrs(cpu);
        self.sync_task_priority(cpu);
        if self.board.shows_time_at(address) {
            self.sync_clock()?;
        }
        Ok(())
    }

    #[inline]
    fn port_out(&mut self, port: u16, size: u8, value: u32) -> Result<Next, HostError> {
        let device = self.board.decode(port);
        if self.board.shows_time(device) {
            self.sync_clock()?;
        }
        let effect = self.board.write_port(device, port, size, value);
        match self.board.role(device) {
            Role::Serial(number) => {
                let serial = self.board.serial(number);
                if effect.output.is_some() {
                    if self.coalescing.sent(number, serial, self.ram.vm())? {
                        self.outputs.want_ticks(true);
                    }
                } else {
                    self.coalescing.configured(number, serial, self.ram.vm())?;
                }
            }
            Role::PciBus if port == ADDRESS_PORT && self.coalescing.pci_address_written(self.ram.vm())? => {
                self.outputs.want_ticks(true);
            }
            Role::Display => self.display_written()?,
            Role::Keyboard => {
                self.inputs.set_mouse_enabled(self.board.i8042().mouse_is_enabled());
                if self.input_buffer.has_pending() {
                    self.deliver_input()?;
                }
            }
            _ => {}
        }
        Ok(self.apply(effect)?.unwrap_or(Next::Run))
    }

    /// Applies the effect of an access; `None` if the guest continues.
    #[inline]
    pub(super) fn apply(&mut self, effect: Effect) -> Result<Option<Next>, HostError> {
        if let Some((source, byte)) = effect.output {
            self.send(source, byte);
        }
        if effect.deadline {
            self.arm_timer()?;
        }
        if effect.disk {
            self.submit_disk_requests();
        }
        if effect.memory {
            self.control_shadow()?;
        }
        match effect.request {
            None => Ok(None),
            Some(MachineRequest::Exit(value)) => Ok(Some(Next::end(Outcome::DebugExit { value }))),
            Some(MachineRequest::PowerOff) => Ok(Some(Next::end(Outcome::PoweredOff))),
            Some(MachineRequest::Reset) => Ok(Some(Next::Stop(Event::ResetRequested))),
            Some(MachineRequest::ServeBios) => self.serve_bios().map(Some),
            Some(MachineRequest::Stop) => Ok(Some(Next::Stop(Event::StopRequested))),
        }
    }

    /// The guest has written the registers that decide where it sees ROM and where RAM.
    #[cold]
    pub(super) fn control_shadow(&mut self) -> Result<(), HostError> {
        let control = self.board.pci().shadow_control();
        let failed = |error| HostError::because("exchange ROM and RAM", error);
        if self.memory.control_shadow(control).map_err(failed)? {
            self.ram.map_rom()?;
        }
        self.display_changed()
    }

    #[inline]
    fn send(&mut self, source: OutputSource, byte: u8) {
        let inputs = &self.inputs;
        self.outputs.send(source, byte, || inputs.run_is_ending());
    }

    /// Performs the reset that the guest has requested ([`Event::ResetRequested`]). Returns [`Event::Reset`], or
    /// [`Event::End`] with `--no-reboot` or if the guest cannot be loaded again.
    pub fn perform_reset(&mut self) -> Event {
        match self.reset_requested("the guest") {
            Ok(event) => event,
            Err(error) => Event::End(Outcome::HostFailed(error)),
        }
    }

    fn reset_requested(&mut self, by: &str) -> Result<Event, HostError> {
        self.stop_cpus()?;
        info!("reset by {by}");
        if self.no_reboot {
            return Ok(Event::End(Outcome::Reset));
        }
        self.outputs.want_ticks(false);
        match self.reset() {
            Ok(()) => {
                self.note(|| JournalEvent::Reset);
                self.record(CpuId::BOOT, Occurrence::Reset);
                Ok(Event::Reset)
            }
            Err(MachineError::Host(error)) => Err(error),
            Err(error) => Ok(Event::End(Outcome::Reload(Box::new(error)))),
        }
    }

    /// Takes inputs if some are pending ([`Self::take_inputs`]).
    #[inline]
    pub(super) fn pending_event(&mut self) -> Result<Option<Event>, HostError> {
        if self.inputs.has_pending() { self.take_inputs() } else { Ok(None) }
    }

    /// Takes inputs if some are pending, and the time if a deadline has come that no timer announces.
    pub(super) fn due_event(&mut self) -> Result<Option<Event>, HostError> {
        if let Some(event) = self.pending_event()? {
            return Ok(Some(event));
        }
        if self.deadline_has_come() { self.sync_clock() } else { Ok(None) }
    }

    /// Takes pending inputs and passes them to the devices; an event if an input concerns the whole machine.
    #[cold]
    pub(super) fn take_inputs(&mut self) -> Result<Option<Event>, HostError> {
        // Before the look at the clock and the queue: what comes later sets the flag again.
        self.inputs.clear_pending();
        let mut event = None;
        // The deadline timer may be what has set the flag.
        if self.deadline_has_come() {
            event = self.sync_clock()?;
        }
        self.rearm_timer()?;
        for input in self.inputs.take() {
            // Attention does not change the machine.
            if !matches!(input, Input::Attention | Input::Tick) {
                self.note(|| JournalEvent::Input(input.clone()));
            }
            match input {
                Input::Keystroke(key) => self.input_buffer.push_keystroke(key, &self.inputs),
                Input::InterruptKey(key) => {
                    if !self.input_buffer.guest_reads_input(&self.board) {
                        return Ok(Some(Event::End(Outcome::Quit)));
                    }
                    self.input_buffer.push_keystroke(key, &self.inputs);
                }
                Input::KeyEvents(events) => self.input_buffer.push_key_events(events, &self.inputs),
                Input::Mouse { dx, dy, wheel, buttons } => {
                    self.input_buffer.push_mouse(MouseInput { dx, dy, wheel, buttons });
                }
                Input::Serial(port, bytes) => self.input_buffer.push_serial(port, bytes),
                Input::TerminalView { screen } => self.input_buffer.set_screen_shown(screen),
                Input::Tick => {
                    self.coalescing.tick(self.ram.vm())?;
                    self.outputs.want_ticks(self.coalescing.active());
                }
                Input::Time { elapsed } => match self.advance_clock(elapsed)? {
                    Some(Event::End(outcome)) => return Ok(Some(Event::End(outcome))),
                    other => event = other.or(event),
                },
                Input::PowerButton => self.board.press_power_button(),
                Input::Nmi { cpu } => self.board.request_nmi(cpu),
                Input::Reset => match self.reset_requested("the user")? {
                    Event::End(outcome) => return Ok(Some(Event::End(outcome))),
                    reset => event = Some(reset),
                },
                // The user interface ends a run whose memory is lost.
                Input::Quit => {
                    let lost = self.memory.file_failure().map(HostError::MemoryLost);
                    return Ok(Some(Event::End(lost.map_or(Outcome::Quit, Outcome::HostFailed))));
                }
                Input::TimedOut => return Ok(Some(Event::End(Outcome::TimedOut))),
                Input::Terminated(signal) => return Ok(Some(Event::End(Outcome::Terminated(signal)))),
                Input::Disk { unit, number, result } => {
                    event = self.complete_disk_request(unit, number, result)?.or(event);
                }
                // A reset takes precedence: a client that receives any event also checks for requests.
                Input::Attention => event = event.or(Some(Event::Attention)),
            }
        }
        self.deliver_input()?;
        Ok(event)
    }
}
