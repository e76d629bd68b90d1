//! The supervised machine as commands and requests access it, between two instructions.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use tracing::warn;

use super::command_interpreter::{CommandReply, CommandSource};
use super::facilities::{self, Facility};
use super::guest_state::{GuestState, Pending};
use super::migrator::Migrator;
use super::notice::Notice;
use super::points::Points;
use super::request_queue::{GuestRequest, RequestQueue};
use super::run_control::Supervisor;
use super::session::CommandSession;
use super::stopped_machine::{PausedMachine, RunStatus, StoppedMachine};
use crate::arch::{DebugRegisters, ExtendedRegisters, Registers};
use crate::boot::{FileSection, Image, NamedStack, SourcePlace, Symbol};
use crate::inspect::backtrace::{Frame, backtrace};
use crate::inspect::core_file::{self, CoreFileError, WrittenCore};
use crate::inspect::crash::{Cause, CrashReport};
use crate::inspect::events::{EventList, unrecorded};
use crate::inspect::exits::ExitStatistics;
use crate::inspect::report_json::{self, ReportContext};
use crate::inspect::screen::Shot;
use crate::kvm::HostError;
use crate::machine::board::Board;
use crate::machine::exit_counts::ExitCounts;
use crate::machine::inputs::{Input, Inputs};
use crate::machine::snapshots::{InMemorySnapshotError, SnapshotInfo};
use crate::machine::{CpuId, Event, Machine, Outcome, PendingAction, RunState};
use crate::memory::GuestMemory;
use crate::settings::LayoutName;
use crate::state::{self, SaveReport, SnapshotError};

impl Supervisor<'_> {
    /// The guest is where a snapshot was taken. A pending action and a breakpoint there were reported before.
    fn was_restored(&mut self) {
        self.was_reset();
        for cpu in self.machine.cpu_ids() {
            self.set_reported_at(cpu, self.position_of(cpu).ok().map(|(_, pc)| pc));
        }
    }

    /// Serves the pending requests, until one ends the run.
    pub(crate) fn serve_requests(&mut self, requests: &RequestQueue) {
        while self.outcome().is_none()
            && let Some(request) = requests.next()
        {
            self.serve(request);
            self.note_registers_changed();
        }
    }

    fn serve(&mut self, request: GuestRequest) {
        match request {
            GuestRequest::Pause => self.set_paused(true),
            GuestRequest::Resume => self.set_paused(false),
            GuestRequest::Quit => self.quit(),
            GuestRequest::Command { line, source, reply } => {
                // A sender that has stopped waiting needs no answer.
                let _ = reply.send(self.run_command(source, &line));
            }
            GuestRequest::View(view) => view(self),
            GuestRequest::Migration(step) => step(self),
        }
    }

    /// Carries out a command line.
    pub(crate) fn run_command(&mut self, source: CommandSource, line: &str) -> CommandReply {
        let commands = Arc::clone(&self.services.commands);
        commands.run(self, source, line)
    }

    /// What has stopped the guest, and its state.
    fn crash_report(&self) -> CrashReport {
        let end = match self.state.session().and_then(|session| session.pending.as_ref()) {
            Some(Pending::End(outcome)) => Cause::of(outcome),
            _ => None,
        };
        CrashReport::of_cpu(self.machine, end.unwrap_or(Cause::Stopped), self.selected)
    }

    /// Takes the end of the run: how it ended, and what the guest would have come to next. `None` if it goes
    /// on.
    pub(crate) fn take_end(&mut self) -> Option<(Outcome, Option<PendingAction>)> {
        match std::mem::replace(&mut self.state, GuestState::Paused) {
            GuestState::Over { outcome, pending } => Some((outcome, pending)),
            other => {
                self.state = other;
                None
            }
        }
    }
}

/// The outcome of a run whose machine is left half restored.
fn not_restored<T, E: Display>(result: &Result<T, E>) -> Outcome {
    let reason = result.as_ref().err().map_or_else(String::new, E::to_string);
    Outcome::HostFailed(HostError::because("restore a snapshot", reason))
}

impl StoppedMachine for Supervisor<'_> {
    fn registers(&self) -> Result<Registers, HostError> {
        self.machine.cpu(self.selected).registers()
    }

    fn set_registers(&mut self, registers: &Registers) -> Result<(), HostError> {
        let (cpu, now) = (self.selected, StoppedMachine::registers(self)?);
        if registers.system != now.system {
            self.machine.set_system_registers(cpu, &registers.system)?;
        }
        if registers.general != now.general {
            self.machine.set_general_registers(cpu, &registers.general)?;
        }
        if registers.general.rip != now.general.rip {
            self.moved(cpu);
            self.set_reported_at(cpu, None);
            self.stops.current = None;
        }
        self.note_registers_changed();
        Ok(())
    }

    fn extended_registers(&self) -> Result<ExtendedRegisters, HostError> {
        self.machine.cpu(self.selected).vcpu().extended_registers()
    }

    fn debug_registers(&self) -> Result<Option<DebugRegisters>, HostError> {
        self.machine.cpu(self.selected).vcpu().debug_registers().map(Some)
    }

    fn msr(&self, index: u32) -> Result<Option<u64>, HostError> {
        self.machine.cpu(self.selected).vcpu().msr(index)
    }

    fn memory(&self) -> &GuestMemory {
        self.machine.memory()
    }

    fn add_symbols(&mut self, image: Box<dyn Image>, offset: u64) {
        self.machine.add_symbols(image, offset);
    }

    fn symbol_files(&self) -> Vec<(String, u64)> {
        self.machine.symbol_files().map(|(name, offset)| (name.to_owned(), offset)).collect()
    }

    fn symbol_at(&self, address: u64) -> Option<Symbol> {
        self.machine.symbol_at(address)
    }

    fn source_at(&self, address: u64) -> Option<SourcePlace> {
        self.machine.source_at(address)
    }

    fn backtrace(&self) -> Result<Vec<Frame>, HostError> {
        Ok(backtrace(&*self.machine, self.machine.memory(), &StoppedMachine::registers(self)?))
    }

    fn address_of(&self, name: &str) -> Option<u64> {
        self.machine.address_of(name)
    }

    fn file_sections(&self) -> Vec<FileSection> {
        self.machine.file_sections()
    }

    fn named_stacks(&self) -> Vec<NamedStack> {
        self.machine.named_stacks()
    }

    fn session(&mut self) -> &mut CommandSession {
        &mut self.session
    }

    fn points(&self) -> &Points {
        &self.session.points
    }

    fn exit_counts(&self) -> ExitCounts {
        *self.machine.exit_counts()
    }

    fn migrator(&self) -> Option<Arc<dyn Migrator>> {
        self.services.migrator.clone()
    }

    fn facilities(&self) -> Vec<Facility> {
        facilities::of(self)
    }

    fn reset(&mut self) -> bool {
        self.machine.inputs().push(Input::Reset);
        match self.machine.wait() {
            Event::End(outcome) => {
                match self.is_debugged() {
                    true => self.set_pending(Pending::End(outcome)),
                    false => Supervisor::end(self, outcome),
                }
                false
            }
            _ => {
                self.was_reset();
                true
            }
        }
    }

    fn take_snapshot(&mut self, name: &str) -> Result<SnapshotInfo, InMemorySnapshotError> {
        let pending = self.state.pending_action();
        self.snapshots.take(self.machine, name, pending)
    }

    fn restore_snapshot(&mut self, name: &str) -> Result<SnapshotInfo, InMemorySnapshotError> {
        let kept = self.snapshots.restore(self.machine, name);
        match &kept {
            Ok(_) => self.was_restored(),
            Err(InMemorySnapshotError::Mixture(_)) => Supervisor::end(self, not_restored(&kept)),
            Err(_) => {}
        }
        kept
    }

    fn delete_snapshots(&mut self, name: Option<&str>) -> Result<(), InMemorySnapshotError> {
        match name {
            Some(name) => self.snapshots.delete(self.machine, name),
            None => self.snapshots.delete_all(self.machine),
        }
    }

    fn snapshots(&self) -> (Vec<SnapshotInfo>, u64) {
        (self.snapshots.list(), self.snapshots.bytes())
    }

    fn snapshot(&mut self, file: &Path) -> Result<SaveReport, SnapshotError> {
        let pending = self.state.pending_action();
        state::save(self.machine, pending, file)
    }

    fn restore(&mut self, file: &Path) -> Result<Vec<String>, SnapshotError> {
        let restored = state::restore(self.machine, file);
        match &restored {
            Ok(_) => {
                self.was_restored();
                // They are of another guest.
                if let Err(error) = self.snapshots.delete_all(self.machine) {
                    warn!("{error}");
                }
            }
            Err(error) if error.is_fatal() => Supervisor::end(self, not_restored(&restored)),
            Err(_) => {}
        }
        restored
    }

    fn report(&self) -> String {
        let context = ReportContext { guest: self.machine.image().name(), exit_status: None };
        report_json::to_json(&self.crash_report(), context)
    }

    fn write_core(&self, file: &Path) -> Result<WrittenCore, CoreFileError> {
        core_file::write(self.machine, &self.crash_report(), file)
    }

    fn quit(&mut self) {
        self.machine.inputs().push(Input::Quit);
    }

    fn screen(&self) -> Shot {
        let screen = self.machine.screen();
        let colours = self.machine.board().vga().colours();
        Shot { cells: screen.cells(), view: screen.view(), colours, frame: screen.picture() }
    }

    fn board(&self) -> &Board {
        self.machine.board()
    }

    fn events(&self, most: usize) -> EventList {
        EventList::of(self.machine, most)
    }

    fn measure_exits(&mut self, on: bool) {
        self.machine.measure_exits(on);
    }

    fn exits(&mut self) -> ExitStatistics {
        let (now, counts) = (Instant::now(), *self.machine.exit_counts());
        let before = self.session.exits_shown.replace((now, counts));
        let since = before.map_or(self.machine.recorder().created(), |(at, _)| at);
        let statistics = ExitStatistics::new(
            &counts,
            before.as_ref().map(|(_, counts)| counts),
            now.duration_since(since),
            self.machine.recorder(),
            self.machine.emulated(),
        );
        let statistics = ExitStatistics { notes: unrecorded(self.machine), ..statistics };
        match self.machine.exit_times() {
            Some(times) => statistics.measured(times),
            None => statistics,
        }
    }

    fn board_with_copies(&self) -> Result<Option<Board>, HostError> {
        self.machine.board_with_copies()
    }

    fn inputs(&self) -> &Inputs {
        self.machine.inputs()
    }

    fn layout(&self) -> LayoutName {
        self.machine.layout()
    }

    fn status(&self) -> RunStatus {
        self.state.status()
    }

    fn is_debugged(&self) -> bool {
        self.state.is_debugged()
    }

    fn set_paused(&mut self, paused: bool) {
        if !self.is_debugged() {
            // A pause ends a step that has not stopped yet.
            self.actions.clear();
        }
        if !paused {
            self.stops.current = None;
            self.machine.take_back_disks();
        }
        self.state.set_paused(paused);
    }

    fn take_console_control(&mut self) {
        self.take_control();
    }

    fn step(&mut self, count: u64) -> String {
        self.step_for_console(count)
    }

    fn next_stop(&mut self) -> Receiver<Notice> {
        self.next_console_stop()
    }

    fn current_stop(&self) -> Option<Notice> {
        self.stops.current.clone()
    }

    fn cpus(&self) -> Vec<String> {
        let selected = self.selected;
        let line = |id| {
            let cpu = self.machine.cpu(id);
            let state = match cpu.run_state() {
                RunState::Running => "",
                RunState::Halted => " (halted)",
                RunState::HaltedForGood => " (halted with interrupts off)",
                RunState::WaitForDisk => " (waits for a disk)",
                RunState::WaitForSipi => " (waits for a start-up interrupt)",
            };
            let mark = if id == selected { '*' } else { ' ' };
            let rip = cpu.general_registers().map_or(0, |registers| registers.rip);
            format!("{mark} CPU #{}: rip {rip:#x}{state}", id.number())
        };
        self.machine.cpu_ids().map(line).collect()
    }

    fn cpu_count(&self) -> usize {
        self.machine.cpu_ids().count()
    }

    fn selected_cpu(&self) -> CpuId {
        self.selected
    }

    fn select_cpu(&mut self, cpu: CpuId) -> bool {
        let exists = cpu.index() < self.cpu_count();
        if exists {
            self.selected = cpu;
        }
        exists
    }

    fn registers_of(&self, cpu: CpuId) -> Result<Option<Registers>, HostError> {
        let exists = cpu.index() < self.cpu_count();
        exists.then(|| self.machine.cpu(cpu).registers()).transpose()
    }
}

impl PausedMachine for Supervisor<'_> {
    fn machine(&mut self) -> &mut Machine {
        self.machine
    }

    fn pending_action(&self) -> Option<PendingAction> {
        self.state.pending_action()
    }

    fn end(&mut self, outcome: Outcome) {
        Supervisor::end(self, outcome);
    }
}
