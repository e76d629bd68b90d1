//! Debug facilities of a vCPU: single steps, breakpoints and watchpoints.
//!
//! Manual: KVM_SET_GUEST_DEBUG in api.rst; Intel SDM volume 3B, "Debug Registers".

use kvm_bindings::{
    KVM_GUESTDBG_BLOCKIRQ, KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_INJECT_DB, KVM_GUESTDBG_SINGLESTEP,
    KVM_GUESTDBG_USE_HW_BP, KVM_GUESTDBG_USE_SW_BP, kvm_guest_debug,
};

use super::{DebugStop, HostError, Vcpu};
use crate::arch::flags::DR6_MATCHES;

/// DR7: exact breakpoints, and the bit that is always set.
const DR7_BASE: u64 = 0x600;
/// DR6: debug-register access detected (BD), single step (BS), task switch (BT).
const DR6_OTHERS: u64 = 0b111 << 13;

/// Which debug facilities the host uses on a vCPU; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestDebug {
    /// Stop after the next instruction.
    pub single_step: bool,
    /// Stop at every `int3` instead of letting the guest handle it.
    pub software_breakpoints: bool,
    /// Stop at every `hlt` that the host reports, with RIP set back to the `hlt`; reported as
    /// [`super::DebugStop::BREAKPOINT`].
    pub halts: bool,
    /// Stop before the instruction at each of these linear addresses (DR0 to DR3).
    pub hardware_breakpoints: [Option<u64>; 4],
    /// Stop after an instruction that accesses one of these. Each uses the debug register with its index,
    /// which must not hold a breakpoint.
    pub watchpoints: [Option<Watchpoint>; 4],
    /// Block interrupts. Requires another facility to be on; ignored on hosts without support (Linux before
    /// 5.15).
    pub block_interrupts: bool,
}

/// Data whose accesses stop the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watchpoint {
    /// Linear address, a multiple of the length.
    pub address: u64,
    /// Number of bytes watched.
    pub length: WatchLength,
    /// Stop on reads as well as on writes.
    pub reads: bool,
}

/// Number of bytes that a debug register watches; the values are the LEN field of DR7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchLength {
    /// 1 byte.
    One = 0,
    /// 2 bytes.
    Two = 1,
    /// 8 bytes.
    Eight = 2,
    /// 4 bytes.
    Four = 3,
}

impl WatchLength {
    /// The number of bytes.
    pub fn bytes(self) -> usize {
        match self {
            WatchLength::One => 1,
            WatchLength::Two => 2,
            WatchLength::Four => 4,
            WatchLength::Eight => 8,
        }
    }
}

impl GuestDebug {
    /// The part of a debug exception that belongs to the guest and not to the host, as bits of DR6; for
    /// example a step by the guest's own trap flag. While the host uses a debug register, KVM reports every
    /// debug exception to it. `None` if no part belongs to the guest; 0 for an exception without a bit, such
    /// as that of `int1`.
    ///
    /// Manual: Intel SDM volume 3B, "Debug Status Register (DR6)".
    pub fn guest_exception_bits(&self, stop: &DebugStop) -> Option<u64> {
        if stop.exception != DebugStop::DEBUG || self.single_step {
            return None;
        }
        let places = self.hardware_breakpoints.iter().zip(&self.watchpoints).enumerate();
        let used = places
            .filter(|(_, (breakpoint, watchpoint))| breakpoint.is_some() || watchpoint.is_some())
            .fold(0, |bits, (slot, _)| bits | 1 << slot);
        let others = stop.dr6 & DR6_OTHERS;
        (others != 0 || stop.dr6 & used == 0).then_some(others)
    }

    fn to_kvm(self) -> kvm_guest_debug {
        let mut debug = kvm_guest_debug::default();
        for (slot, address) in self.hardware_breakpoints.into_iter().enumerate() {
            if let Some(address) = address {
                debug.arch.debugreg[slot] = address;
                // Enabled globally; the type and length bits of an execution breakpoint are 0.
                debug.arch.debugreg[7] |= DR7_BASE | 2 << (2 * slot);
            }
        }
        for (slot, watchpoint) in self.watchpoints.into_iter().enumerate() {
            if let Some(watchpoint) = watchpoint {
                debug.arch.debugreg[slot] = watchpoint.address;
                let kind = if watchpoint.reads { 0b11 } else { 0b01 };
                let condition = (watchpoint.length as u64) << 2 | kind;
                debug.arch.debugreg[7] |= DR7_BASE | 2 << (2 * slot) | condition << (16 + 4 * slot);
            }
        }
        for (wanted, flag) in [
            (self.single_step, KVM_GUESTDBG_SINGLESTEP),
            (self.software_breakpoints, KVM_GUESTDBG_USE_SW_BP),
            (debug.arch.debugreg[7] != 0, KVM_GUESTDBG_USE_HW_BP),
        ] {
            if wanted {
                debug.control |= KVM_GUESTDBG_ENABLE | flag;
            }
        }
        if self.block_interrupts && debug.control != 0 {
            debug.control |= KVM_GUESTDBG_BLOCKIRQ;
        }
        debug
    }
}

impl Vcpu {
    /// Switches debug facilities on and off, from the next entry on. Costs nothing if they are unchanged.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`], for example for a breakpoint at an address that is not canonical.
    pub fn set_guest_debug(&mut self, debug: GuestDebug) -> Result<(), HostError> {
        if self.debugging.get() == debug && !self.debugging_is_stale.get() {
            return Ok(());
        }
        self.fd
            .set_guest_debug(&self.possible(debug).to_kvm())
            .map_err(|e| HostError::refused("switch its debug facilities", e))?;
        self.debugging.set(debug);
        self.debugging_is_stale.set(false);
        self.share_registers(debug != GuestDebug::default());
        Ok(())
    }

    /// Injects a debug exception (#DB) at the next entry, with these bits (BD, BS, BT) in DR6.
    ///
    /// Manual: KVM_SET_GUEST_DEBUG and KVM_SET_DEBUGREGS in api.rst; Intel SDM volume 3B, "Debug Exceptions".
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`], for example if another exception is pending.
    pub fn inject_debug_exception(&mut self, bits: u64) -> Result<(), HostError> {
        const WHAT: &str = "hand the guest its debug exception";
        let mut registers = self.fd.get_debug_regs().map_err(|e| HostError::refused(WHAT, e))?;
        // As on the processor: match bits describe this exception only, the other bits stay set.
        registers.dr6 = registers.dr6 & !DR6_MATCHES | bits & DR6_OTHERS;
        self.fd.set_debug_regs(&registers).map_err(|e| HostError::refused(WHAT, e))?;
        let mut debug = self.possible(self.debugging.get()).to_kvm();
        debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_DB;
        self.fd.set_guest_debug(&debug).map_err(|e| HostError::refused(WHAT, e))
    }

    /// `debug` without the facilities that this host does not support.
    fn possible(&self, debug: GuestDebug) -> GuestDebug {
        GuestDebug { block_interrupts: debug.block_interrupts && self.capabilities.blocking, ..debug }
    }

    /// Makes the next [`Self::set_guest_debug`] call KVM even if nothing changed. A processor that runs the
    /// guest steps by RFLAGS.TF, which KVM sets in that call only, and which instructions and handlers clear.
    pub fn renew_guest_debug(&self) {
        self.debugging_is_stale.set(true);
    }
}

#[cfg(test)]
#[path = "guest_debug_test.rs"]
mod tests;
