//! An exception whose frame the processor cannot push, because the stack lies in a page that is watched.
//!
//! Where KVM's instruction emulator runs the guest, KVM itself writes the frame of an exception, and it
//! takes a page that it may not write for no memory at all: one fault follows the other, up to the triple
//! fault. So before a triple fault counts while pages are protected, the instruction that led to it is
//! tried once with none protected; comparing the watched bytes shows what has been written.
//!
//! Manual: Intel SDM volume 3A, "Interrupt 8—Double Fault Exception".

use super::cpu::CpuId;
use super::run::Next;
use super::watchpoint_pages::Touch;
use super::{Event, Machine, Outcome};
use crate::arch::flags::CR0_PE;
use crate::kvm::{GuestDebug, HostError, VmExit};

/// RIP after a reset of the processor (Intel SDM volume 3A, "First Instruction Executed").
const RESET_RIP: u64 = 0xFFF0;

/// Bytes that are compared at once.
const PIECE: u64 = 8;

impl Machine {
    /// The guest has come to a triple fault: does it also without protected pages?
    #[cold]
    pub(super) fn shut_down(&mut self, cpu: CpuId) -> Result<Next, HostError> {
        let end = Next::Stop(Event::End(Outcome::TripleFault));
        if !self.watchpoint_pages.any() {
            return Ok(end);
        }
        let registers = self.cpus[cpu].registers()?;
        // AMD-V has reset the processor: there is no instruction to go back to.
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
                self.watchpoint_pages.note(Touch { physical, size: PIECE, write: true });
            }
        }
        match exit {
            VmExit::Shutdown => Ok(end),
            VmExit::Debug(stop) if debug.single_step => Ok(Next::Stop(Event::Debug(stop))),
            VmExit::Debug(_) => Ok(Next::Run),
            exit => self.deal_with(cpu, exit),
        }
    }

    /// The memory whose writes are watched, eight bytes at a time, with its addresses.
    fn written_bytes(&self) -> Vec<(u64, u64)> {
        let mut bytes = Vec::new();
        for watch in self.watchpoint_pages.watches().iter().filter(|watch| watch.writes) {
            let mut done = 0;
            while done < watch.length {
                let (at, size) = (watch.start + done, (watch.length - done).min(PIECE));
                bytes.push((at, self.memory.read_word(at, size as u8).unwrap_or(0)));
                done += size;
            }
        }
        bytes
    }
}
