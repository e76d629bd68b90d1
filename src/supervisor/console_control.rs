//! A guest without a debugger whose breakpoints, log points and steps are those of the console.
//!
//! The supervisor's loop calls [`Supervisor::run_to_console_stop`] while such a guest runs. When it stops, it is
//! paused, and the reason goes to the log, to all consoles and to those who wait for it.

use std::sync::mpsc::{Receiver, Sender, channel};

use tracing::info;

use super::command_interpreter::CommandSource;
use super::lookahead::Kind;
use super::notice::Notice;
use super::resume_actions::ResumeAction;
use super::run_control::{Advance, Stop, Supervisor};
use super::stopped_machine::RunStatus;
use crate::machine::RunState;
use crate::machine::inputs::Input;

/// The stops of a guest under console control.
#[derive(Debug, Default)]
pub(crate) struct ConsoleStops {
    /// How many there have been in this run.
    count: u64,
    /// The one that the guest is still at, as it was reported.
    pub(super) current: Option<Notice>,
    /// The number of the one that the text in [`Supervisor::messages`] reports.
    unreported: Option<u64>,
    /// Receive the next one.
    waiters: Vec<Sender<Notice>>,
}

impl Supervisor<'_> {
    /// True if breakpoints or steps of the console are in effect.
    pub(crate) fn is_console_controlled(&self) -> bool {
        self.state.is_console_controlled()
    }

    /// Runs the guest until it stops at a breakpoint of the console, something is to be printed, an input needs
    /// attention or the run ends.
    pub(crate) fn run_to_console_stop(&mut self) {
        let steps = self.actions.any_steps();
        let stops = !self.session.points.is_empty()
            || self.session.switches.catch_int3
            || self.session.catches.any()
            || self.services.trace.mode
            || self.machine.magic_break();
        if !stops && !steps {
            self.state.release_console_control();
            return;
        }
        let periodic = self.needs_periodic_stops();
        self.periodic_attention.set(periodic, self.machine.inputs());
        if let Advance::Stopped(stop) = self.advance()
            && stop != Stop::Reset
        {
            self.pause_at(stop);
        }
        if !self.is_running() {
            self.periodic_attention.set(false, self.machine.inputs());
        }
    }

    fn is_running(&self) -> bool {
        self.status() == RunStatus::Running
    }

    /// Pauses the guest at a stop. The reason goes to the log and to the commands that wait for the stop, and becomes
    /// the next notice.
    fn pause_at(&mut self, stop: Stop) {
        self.state.set_paused(true);
        self.actions.clear();
        self.note_registers_changed();
        let mut text = std::mem::take(&mut self.messages);
        text.push_str(self.reason(stop));
        if let Some(cpu) = self.one_of_several() {
            text.push_str(&format!("{cpu}: "));
        }
        text.push_str(&self.run_command(CommandSource::Console, "dis $pc 1").text);
        for line in text.lines() {
            info!("console: the guest has stopped: {line}");
        }
        self.stops.count += 1;
        let stop = Some(self.stops.count);
        self.stops.unreported = stop;
        let notice = Notice { text: text.trim_end().to_owned(), stop };
        for waiter in self.stops.waiters.drain(..) {
            // One that has stopped waiting needs no answer.
            let _ = waiter.send(notice.clone());
        }
        self.stops.current = Some(notice);
        self.messages = text;
    }

    /// The reason of a stop that no breakpoint has printed.
    fn reason(&self, stop: Stop) -> &'static str {
        match stop {
            Stop::Trap => "the guest has executed an int3 or int1 of its own\n",
            Stop::Watch(_) => "watched data was accessed\n",
            Stop::Stepped
            | Stop::Software
            | Stop::Hardware
            | Stop::Point
            | Stop::Requested
            | Stop::Reset
            | Stop::Ended => "",
        }
    }

    /// Takes the notice for the consoles; without text while a debugger is connected, which prints it itself.
    pub(crate) fn take_notice(&mut self) -> Notice {
        let stop = self.stops.unreported.take();
        match self.state.is_debugged() {
            true => Notice::default(),
            false => Notice { text: std::mem::take(&mut self.messages), stop },
        }
    }

    /// Puts the guest under console control.
    pub(crate) fn take_control(&mut self) {
        if self.outcome().is_none() {
            self.state.take_console_control();
        }
    }

    /// Executes at most `count` instructions; returns where the guest has stopped.
    pub(crate) fn step_for_console(&mut self, count: u64) -> String {
        self.take_control();
        self.state.set_paused(true);
        self.cpu = self.selected;
        if self.machine.cpu(self.cpu).run_state() == RunState::WaitForSipi {
            return format!(
                "{} waits for a start-up interrupt of another CPU; `resume` lets all run\n",
                self.cpu
            );
        }
        self.actions.stay_by_default();
        self.actions.set(self.cpu, ResumeAction::Step);
        let mut left = count;
        while left > 0 {
            let waits = self.waits_for_interrupt();
            if waits {
                // Has the step return instead of waiting for the interrupt.
                self.machine.inputs().push(Input::Attention);
            }
            match self.advance() {
                Advance::Stopped(Stop::Stepped) => left -= 1,
                Advance::Stopped(Stop::Reset) => {}
                Advance::Stopped(stop) => {
                    self.pause_at(stop);
                    return std::mem::take(&mut self.messages);
                }
                Advance::Going if waits => {
                    // What it waits for may come from the others.
                    self.actions.clear();
                    self.actions.set(self.selected, ResumeAction::Step);
                    return "the guest waits in hlt for an interrupt; it stops at the first instruction after \
                            that\n"
                        .to_owned();
                }
                Advance::Going => {}
                Advance::Over => return "the run is over\n".to_owned(),
            }
        }
        self.pause_at(Stop::Stepped);
        std::mem::take(&mut self.messages)
    }

    /// True if the next step begins or continues a wait for an interrupt.
    fn waits_for_interrupt(&mut self) -> bool {
        let cpu = self.cpu;
        if self.machine.cpu(cpu).is_halted() {
            return true;
        }
        let Ok((registers, pc)) = self.position() else { return false };
        self.facilities.forget_code();
        self.facilities.lookahead.kind(self.machine.memory(), &registers, pc) == Kind::Halt
    }

    /// Receives the reason of the next stop.
    pub(crate) fn next_console_stop(&mut self) -> Receiver<Notice> {
        let (sender, stop) = channel();
        self.stops.waiters.push(sender);
        stop
    }
}
