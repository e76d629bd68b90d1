//! Requests of other threads to a machine that runs: those of the console, the debug server and a migration.
//!
//! A [`RequestSender`] may live in any thread. The vCPU thread serves its requests between two instructions of
//! the guest, whether the guest computes, is halted, is paused, is stopped by a debugger or waits for one.
//! Sending pushes an [`Input::Attention`], so a run without requests pays nothing for the queue.
//!
//! What changes the guest's course is plain data ([`GuestRequest::Pause`], [`GuestRequest::Command`] and the like),
//! so that a recording can contain it. Functions only read: one for views, and one for a migration, which
//! reaches the whole machine.

use std::fmt;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, Weak};

use super::command_interpreter::{CommandReply, CommandSource};
use super::notice::Notice;
use super::stopped_machine::{PausedMachine, RunStatus, StoppedMachine};
use crate::arch::Registers;
use crate::machine::inputs::{Input, Inputs};

/// Requests that may be pending; further senders block until there is room.
const MOST_PENDING: usize = 16;

/// What [`GuestRequest::View`] calls.
pub type ViewFunction = Box<dyn FnOnce(&dyn StoppedMachine) + Send>;

/// What [`GuestRequest::Migration`] calls.
pub type MigrationStep = Box<dyn FnOnce(&mut dyn PausedMachine) + Send>;

/// One request, served with the machine stopped between two instructions.
pub enum GuestRequest {
    /// Keep the guest paused until it is resumed.
    Pause,
    /// Resume a paused guest, or start one that waits for a debugger.
    Resume,
    /// End the run as the user's quit does.
    Quit,
    /// Carry out a command line.
    Command {
        /// The line.
        line: String,
        /// Who gives it.
        source: CommandSource,
        /// Takes the answer.
        reply: Sender<CommandReply>,
    },
    /// Read the machine.
    View(ViewFunction),
    /// A step of a migration: dirty pages, state, and who owns the guest afterwards.
    Migration(MigrationStep),
}

/// The run is over: no request is served any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the run is over")]
pub struct RunOver;

/// The receiving end, which the supervisor's loop reads. Dropping it fails all pending and later requests with
/// [`RunOver`].
pub struct RequestQueue {
    requests: Receiver<GuestRequest>,
    subscribers: Subscribers,
}

/// Who reads notices.
type Subscribers = Arc<Mutex<Vec<SyncSender<Notice>>>>;

/// Notices that a subscriber may be behind; further ones are lost to it.
const MOST_NOTICES: usize = 1024;

/// The sending end; clones send to the same queue.
#[derive(Clone)]
pub struct RequestSender {
    requests: SyncSender<GuestRequest>,
    inputs: Inputs,
    subscribers: Weak<Mutex<Vec<SyncSender<Notice>>>>,
}

impl RequestQueue {
    /// A queue to the machine that takes its input from `inputs`, and its sending end.
    pub fn new(inputs: Inputs) -> (RequestQueue, RequestSender) {
        let (sender, requests) = sync_channel(MOST_PENDING);
        let subscribers = Subscribers::default();
        let known = Arc::downgrade(&subscribers);
        (
            RequestQueue { requests, subscribers },
            RequestSender { requests: sender, inputs, subscribers: known },
        )
    }

    /// Sends a notice to all subscribers without waiting for them, unless it has no text.
    pub fn notify(&self, notice: Notice) {
        if notice.text.is_empty() {
            return;
        }
        let mut subscribers = self.subscribers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        subscribers.retain(|subscriber| {
            !matches!(subscriber.try_send(notice.clone()), Err(TrySendError::Disconnected(_)))
        });
    }

    /// The oldest pending request.
    pub fn next(&self) -> Option<GuestRequest> {
        self.requests.try_recv().ok()
    }
}

impl RequestSender {
    /// Pauses the guest until [`Self::resume`]. Returns before the guest has stopped.
    ///
    /// # Errors
    ///
    /// [`RunOver`].
    pub fn pause(&self) -> Result<(), RunOver> {
        self.send(GuestRequest::Pause)
    }

    /// Resumes a paused guest. One that waits for a debugger starts without it.
    ///
    /// # Errors
    ///
    /// [`RunOver`].
    pub fn resume(&self) -> Result<(), RunOver> {
        self.send(GuestRequest::Resume)
    }

    /// Ends the run as the user's quit does.
    ///
    /// # Errors
    ///
    /// [`RunOver`].
    pub fn quit(&self) -> Result<(), RunOver> {
        self.send(GuestRequest::Quit)
    }

    /// What the guest is doing.
    ///
    /// # Errors
    ///
    /// [`RunOver`].
    pub fn status(&self) -> Result<RunStatus, RunOver> {
        self.with_stopped_machine(|machine| machine.status())
    }

    /// The registers of the selected CPU between two instructions; `None` if the host does not return them.
    ///
    /// # Errors
    ///
    /// [`RunOver`].
    pub fn registers(&self) -> Result<Option<Registers>, RunOver> {
        self.with_stopped_machine(|machine| machine.registers().ok())
    }

    /// Carries out a command line, and returns the answer.
    ///
    /// # Errors
    ///
    /// [`RunOver`], also if the run ends before the command has been carried out.
    pub fn run_command(&self, source: CommandSource, line: &str) -> Result<CommandReply, RunOver> {
        let (reply, answer) = channel();
        self.send(GuestRequest::Command { line: line.to_owned(), source, reply })?;
        answer.recv().map_err(|_| RunOver)
    }

    /// Calls `view` on the vCPU thread with the machine stopped, and returns its result.
    ///
    /// The guest does not run meanwhile, so `view` should be short. It must not send requests itself and wait
    /// for them: that would deadlock.
    ///
    /// # Errors
    ///
    /// [`RunOver`], also if the run ends before the request has been served.
    pub fn with_stopped_machine<T: Send + 'static>(
        &self,
        view: impl FnOnce(&dyn StoppedMachine) -> T + Send + 'static,
    ) -> Result<T, RunOver> {
        let (sender, answer) = channel();
        self.send(GuestRequest::View(Box::new(move |machine| {
            // A sender that has stopped waiting needs no answer.
            let _ = sender.send(view(machine));
        })))?;
        answer.recv().map_err(|_| RunOver)
    }

    /// The same for a step of a migration, which reaches the whole machine.
    ///
    /// # Errors
    ///
    /// [`RunOver`], also if the run ends before the request has been served.
    pub fn with_paused_machine<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut dyn PausedMachine) -> T + Send + 'static,
    ) -> Result<T, RunOver> {
        let (sender, answer) = channel();
        self.send(GuestRequest::Migration(Box::new(move |machine| {
            let _ = sender.send(step(machine));
        })))?;
        answer.recv().map_err(|_| RunOver)
    }

    /// What a guest without a debugger reports by itself: why it has stopped, and the text of log points.
    /// Ends with the run.
    pub fn notices(&self) -> Receiver<Notice> {
        let (sender, notices) = sync_channel(MOST_NOTICES);
        if let Some(subscribers) = self.subscribers.upgrade() {
            subscribers.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(sender);
        }
        notices
    }

    /// Queues `request` without waiting for it to be served.
    ///
    /// # Errors
    ///
    /// [`RunOver`]. A run that ends before the request has been served drops it.
    pub fn send(&self, request: GuestRequest) -> Result<(), RunOver> {
        self.requests.send(request).map_err(|_| RunOver)?;
        self.inputs.push(Input::Attention);
        Ok(())
    }

    /// The machine's input queue.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }
}

impl fmt::Debug for RequestQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestQueue").finish_non_exhaustive()
    }
}

impl fmt::Debug for RequestSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestSender").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_fail_once_the_run_is_over() {
        let (queue, requests) = RequestQueue::new(Inputs::new());
        let pending = requests.clone();
        let thread = std::thread::spawn(move || pending.with_stopped_machine(|_| 1));
        while requests.inputs().is_idle() {
            std::thread::yield_now();
        }
        drop(queue);
        assert_eq!(thread.join().unwrap(), Err(RunOver));
        assert_eq!(requests.with_paused_machine(|_| 2), Err(RunOver));
        assert_eq!(requests.pause(), Err(RunOver));
    }
}
