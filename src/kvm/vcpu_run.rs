//! Entering the guest: on the calling thread, or on the thread of the vCPU.

use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;

use kvm_bindings::KVM_EXIT_INTR;

use super::run_thread::RunThread;
use super::{HostError, Vcpu, VmEntry, VmExit};

impl Vcpu {
    /// Gives the vCPU a thread of its own, which enters the guest from now on. It calls `returned` after each exit.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if the host has no more threads.
    pub fn run_on_own_thread(&mut self, returned: Box<dyn Fn() + Send>) -> Result<(), HostError> {
        let (fd, immediate_exit) = (self.fd.as_raw_fd(), self.immediate_exit());
        self.kicker.clear(immediate_exit);
        self.thread = Some(RunThread::start(fd, self.index, immediate_exit, self.kicker.clone(), returned)?);
        Ok(())
    }

    /// Runs the vCPU until it exits. One with a thread of its own returns [`VmExit::Interrupted`] at times.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if KVM cannot run the vCPU at all.
    #[inline]
    pub fn run(&mut self, entry: VmEntry) -> Result<VmExit, HostError> {
        if let Some(exit) = self.before_entry(entry)? {
            return Ok(exit);
        }
        let ran = match &self.thread {
            None => self.fd.run().map(drop).map_err(io::Error::from),
            Some(thread) => {
                thread.enter();
                thread.wait_at_most(&self.kicker)
            }
        };
        self.after_exit(ran)
    }

    /// Enters the guest on the vCPU's own thread, and does not wait: [`Self::finish`] is called next, when the thread
    /// reports the exit or after a kick. An exit that needs no entry is returned at once.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if KVM cannot run the vCPU at all.
    pub fn begin(&mut self, entry: VmEntry) -> Result<Option<VmExit>, HostError> {
        if let Some(exit) = self.before_entry(entry)? {
            return Ok(Some(exit));
        }
        match &self.thread {
            None => {
                let ran = self.fd.run().map(drop).map_err(io::Error::from);
                self.after_exit(ran).map(Some)
            }
            Some(thread) => {
                thread.enter();
                self.away = true;
                Ok(None)
            }
        }
    }

    /// True from a [`Self::begin`] without an exit until [`Self::finish`]. The vCPU can only be kicked meanwhile.
    #[inline]
    pub fn is_away(&self) -> bool {
        self.away
    }

    /// Waits for the exit of the entry that [`Self::begin`] has made.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if KVM cannot run the vCPU at all.
    pub fn finish(&mut self) -> Result<VmExit, HostError> {
        self.away = false;
        match &self.thread {
            None => Ok(VmExit::Interrupted),
            Some(thread) => {
                let ran = thread.wait();
                self.after_exit(ran)
            }
        }
    }

    /// What there is to report before the guest is entered, if anything.
    #[inline]
    fn before_entry(&mut self, entry: VmEntry) -> Result<Option<VmExit>, HostError> {
        if let Some(write) = self.collected_write()? {
            return Ok(Some(write));
        }
        if let Some(reason) = self.after_batch.take() {
            return self.decode(reason).map(Some);
        }
        self.answer(entry);
        Ok(self.next_element())
    }

    #[inline]
    fn after_exit(&mut self, ran: io::Result<()>) -> Result<VmExit, HostError> {
        self.shared.set(self.fd.get_kvm_run().kvm_valid_regs != 0);
        self.interrupt_state_is_stale.set(false);
        let reason = match ran {
            Ok(()) => self.fd.get_kvm_run().exit_reason,
            Err(error) => match error.kind() {
                ErrorKind::Interrupted | ErrorKind::WouldBlock => {
                    self.clear_kick();
                    KVM_EXIT_INTR
                }
                _ => return Err(HostError::because("run the vCPU", error)),
            },
        };
        if let Some(write) = self.collected_write()? {
            self.after_batch = Some(reason);
            return Ok(write);
        }
        self.decode(reason)
    }

    /// Completes the access that stopped the vCPU, without executing another instruction.
    ///
    /// KVM completes an instruction that stopped for an access only at the next entry; before that, RIP and
    /// the registers may still be those before the instruction. [`VmExit::Interrupted`] means that nothing is
    /// left to complete.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if KVM cannot run the vCPU at all.
    pub fn complete(&mut self, entry: VmEntry) -> Result<VmExit, HostError> {
        self.fd.set_kvm_immediate_exit(1);
        let exit = self.run(entry);
        self.clear_kick();
        exit
    }
}

impl Drop for Vcpu {
    fn drop(&mut self) {
        if std::mem::take(&mut self.away) {
            self.kicker.kick();
            if let Some(thread) = &self.thread {
                let _ = thread.wait();
            }
        }
        // It uses the file and `kvm_run`.
        self.thread = None;
        let immediate_exit = self.immediate_exit();
        self.kicker.clear(immediate_exit);
    }
}
