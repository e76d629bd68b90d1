//! Triple faults that are caused by the protection of watched pages.
//!
//! Where KVM's instruction emulator runs the guest, KVM itself pushes the exception frame. It treats a
//! read-only stack page as unmapped memory, so that the exception becomes a double fault and then a triple
//! fault. Before a triple fault is reported while pages are protected, the instruction is therefore
//! single-stepped once without protection; a comparison of the watched bytes shows the writes.
//!
//! Manual: Intel SDM volume 3A, "Interrupt 8—Double Fault Exception".

use super::cpu::CpuId;
use super::run::Next;
use super::watchpoint_pages::WatchedAccess;
use super::{Event, Machine, Outcome};
use crate::arch::flags::CR0_PE;
use crate::kvm::{GuestDebug, HostError, VmExit};

/// RIP after a reset of the processor (Intel SDM volume 3A, "First Instruction Executed").
const RESET_RIP: u64 = 0xFFF0;

/// Size in bytes of one comparison.
const UNIT: u64 = 8;

impl Machine {
    /// The guest has caused a triple fault: checks whether it does so without protected pages too.
    #[cold]
    pub(super) fn shut_down(&mut self, cpu: CpuId) -> Result<Next, HostError> {
        let end = Next::Stop(Event::End(Outcome::TripleFault(None)));
        if !self.watchpoint_pages.any() {
            return Ok(end);
        }
        let registers = self.cpus[cpu].registers()?;
        // AMD-V has reset the processor: the instruction is unknown.
        if registers.general.rip == RESET_RIP && registers.system.cr0 & CR0_PE == 0 {
            return Ok(end);
        }
        let before = self.written_bytes();
        self.ram.protect(Vec::new())?;
        let debug = *self.cpus[cpu].guest_debug();
        self.cpus[cpu].vcpu().clear_exceptions()?;
        let step = GuestDebug { single_step: true, block_interrupts: true, ..GuestDebug::default() };
        self.cpus[cpu].vcpu.set_guest_debug(step)?;
        let exit = self.cpus[cpu].run()?;
        self.cpus[cpu].vcpu.set_guest_debug(debug)?;
        self.protect()?;
        for (old, (physical, new)) in before.into_iter().zip(self.written_bytes()) {
            if old.1 != new {
                self.watchpoint_pages.record(WatchedAccess { physical, size: UNIT, write: true });
            }
        }
        match exit {
            VmExit::Shutdown => Ok(end),
            VmExit::Debug(stop) if debug.single_step => Ok(Next::Stop(Event::Debug(stop))),
            VmExit::Debug(_) => Ok(Next::Run),
            exit => self.handle_exit(cpu, exit),
        }
    }

    /// The memory whose writes are watched: addresses and values, eight bytes each.
    fn written_bytes(&self) -> Vec<(u64, u64)> {
        let mut bytes = Vec::new();
        for watch in self.watchpoint_pages.watches().iter().filter(|watch| watch.writes) {
            let mut done = 0;
            while done < watch.length {
                let (at, size) = (watch.start + done, (watch.length - done).min(UNIT));
                bytes.push((at, self.memory.read_word(at, size as u8).unwrap_or(0)));
                done += size;
            }
        }
        bytes
    }
}
