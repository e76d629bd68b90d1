//! The door by which others reach a guest while its run goes on: a console, a memory debug server, whoever
//! moves the guest to another host.
//!
//! A [`RequestSender`] lives in any thread. What it asks for is a function, which the vCPU's thread calls between
//! two instructions of the guest and whose result goes back to the caller. It makes no difference whether
//! the guest computes, waits for an interrupt, is paused, is stopped by a debugger or waits for one. The
//! caller pushes an [`Input::Attention`]: a guest that nobody asks about pays nothing for the door.

use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};

use super::stopped_machine::PausedMachine;
use crate::machine::inputs::{Input, Inputs};

/// Requests that may wait; more callers wait until there is room.
const MOST_WAITING: usize = 16;

/// What is asked of a guest.
pub type GuestRequest = Box<dyn FnOnce(&mut dyn PausedMachine) + Send>;

/// The run is over: nothing can be asked any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the run is over")]
pub struct RunOver;

/// The inside of the door, which whoever runs the machine looks at. Dropping it closes the door.
pub struct RequestQueue {
    requests: Receiver<GuestRequest>,
}

/// The outside of the door; cloning gives another handle to the same one.
#[derive(Clone)]
pub struct RequestSender {
    requests: SyncSender<GuestRequest>,
    inputs: Inputs,
}

impl RequestQueue {
    /// A door to the machine that `inputs` lead to, and its outside.
    pub fn new(inputs: Inputs) -> (RequestQueue, RequestSender) {
        let (sender, requests) = sync_channel(MOST_WAITING);
        (RequestQueue { requests }, RequestSender { requests: sender, inputs })
    }

    /// The oldest request that has not been carried out, if there is one.
    pub fn next(&self) -> Option<GuestRequest> {
        self.requests.try_recv().ok()
    }
}

impl RequestSender {
    /// Has `request` carried out on the vCPU's thread and waits for what it returns.
    ///
    /// The guest stands still meanwhile, so a request is to be short, or to have a reason. From within
    /// a request nothing may be asked: it would wait for itself.
    ///
    /// # Errors
    ///
    /// [`RunOver`], also if the run ends before the request has been carried out.
    pub fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(&mut dyn PausedMachine) -> T + Send + 'static,
    ) -> Result<T, RunOver> {
        let (sender, answer) = channel();
        self.send(Box::new(move |guest| {
            // Who has stopped waiting does not want to know.
            let _ = sender.send(request(guest));
        }))?;
        answer.recv().map_err(|_| RunOver)
    }

    /// Has `request` carried out on the vCPU's thread, some time soon.
    ///
    /// # Errors
    ///
    /// [`RunOver`]. A run that ends before the request has been carried out drops it.
    pub fn send(&self, request: GuestRequest) -> Result<(), RunOver> {
        self.requests.send(request).map_err(|_| RunOver)?;
        self.inputs.push(Input::Attention);
        Ok(())
    }

    /// The door through which everything from outside enters the machine.
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
    fn nobody_waits_at_the_door_of_a_run_that_is_over() {
        let (door, caller) = RequestQueue::new(Inputs::new());
        let waiting = caller.clone();
        let thread = std::thread::spawn(move || waiting.ask(|_| 1));
        while caller.inputs().is_idle() {
            std::thread::yield_now();
        }
        drop(door);
        assert_eq!(thread.join().unwrap(), Err(RunOver));
        assert_eq!(caller.ask(|_| 2), Err(RunOver));
    }
}
