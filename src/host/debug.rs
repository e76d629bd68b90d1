//! What a debugger asks of a vCPU: which debug facilities are on.
//!
//! Manual: KVM_SET_GUEST_DEBUG in api.rst; Intel SDM volume 3B, "Debug Registers".

use kvm_bindings::{
    KVM_GUESTDBG_BLOCKIRQ, KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_HW_BP,
    KVM_GUESTDBG_USE_SW_BP, kvm_guest_debug,
};

use super::{HostError, Vcpu};

/// DR7: exact breakpoints, and the bit that is always set.
const DR7_BASE: u64 = 0x600;

/// Which debug facilities the host uses on a vCPU; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestDebug {
    /// Stop after the next instruction.
    pub single_step: bool,
    /// Stop at every `int3` instead of letting the guest handle it.
    pub software_breakpoints: bool,
    /// Stop at every `hlt` that the host reports, with RIP at the `hlt` again; told as
    /// [`super::DebugStop::BREAKPOINT`].
    pub halts: bool,
    /// Stop before the instruction at each of these linear addresses (DR0 to DR3).
    pub hardware_breakpoints: [Option<u64>; 4],
    /// Stop after the instruction that accesses one of these; each takes the debug register of its
    /// place, which must not hold a breakpoint.
    pub watchpoints: [Option<Watchpoint>; 4],
    /// Let no interrupt in. Needs another facility to be on; left out on hosts that cannot (Linux before
    /// 5.15).
    pub block_interrupts: bool,
}

/// Data whose accesses stop the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watchpoint {
    /// Linear address, a multiple of the length.
    pub address: u64,
    /// How many bytes are watched.
    pub length: WatchLength,
    /// Reads stop the guest, too, not only writes.
    pub reads: bool,
}

/// How many bytes a debug register watches; the values are the LEN field of DR7.
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

impl GuestDebug {
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
    /// Switches debug facilities on and off, from the next entry. Costs nothing where they are set like
    /// that already.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`], for example for a breakpoint at an address that is not canonical.
    pub fn set_guest_debug(&mut self, debug: GuestDebug) -> Result<(), HostError> {
        if self.debugging.get() == debug && !self.debugging_is_stale.get() {
            return Ok(());
        }
        let possible =
            GuestDebug { block_interrupts: debug.block_interrupts && self.abilities.blocking, ..debug };
        self.fd
            .set_guest_debug(&possible.to_kvm())
            .map_err(|e| HostError::refused("switch its debug facilities", e))?;
        self.debugging.set(debug);
        self.debugging_is_stale.set(false);
        self.share_registers(debug != GuestDebug::default());
        Ok(())
    }

    /// Has the next [`Self::set_guest_debug`] tell KVM again what it knows. A processor that runs the
    /// guest steps by RFLAGS.TF, which KVM sets in that call only, and which instructions and handlers
    /// clear.
    pub fn renew_guest_debug(&self) {
        self.debugging_is_stale.set(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_wanted_is_nothing_switched_on() {
        assert_eq!(GuestDebug::default().to_kvm(), kvm_guest_debug::default());
    }

    #[test]
    fn interrupts_wait_while_the_guest_is_stepped() {
        let debug = GuestDebug { single_step: true, block_interrupts: true, ..GuestDebug::default() };
        let control = debug.to_kvm().control;
        assert_eq!(control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_BLOCKIRQ);
    }

    #[test]
    fn hardware_breakpoints_keep_their_slots() {
        let debug = GuestDebug {
            hardware_breakpoints: [None, Some(0x10_0000), None, Some(0x20_0000)],
            ..GuestDebug::default()
        }
        .to_kvm();
        assert_eq!(debug.control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP);
        assert_eq!(debug.arch.debugreg, [0, 0x10_0000, 0, 0x20_0000, 0, 0, 0, 0x688]);
    }

    #[test]
    fn watchpoints_share_the_debug_registers_with_breakpoints() {
        let write = Watchpoint { address: 0x5000, length: WatchLength::Eight, reads: false };
        let either = Watchpoint { address: 0x6004, length: WatchLength::Four, reads: true };
        let debug = GuestDebug {
            hardware_breakpoints: [Some(0x10_0000), None, None, None],
            watchpoints: [None, Some(write), None, Some(either)],
            block_interrupts: true,
            ..GuestDebug::default()
        }
        .to_kvm();
        assert_eq!(debug.control, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP | KVM_GUESTDBG_BLOCKIRQ);
        assert_eq!(debug.arch.debugreg, [0x10_0000, 0x5000, 0, 0x6004, 0, 0, 0, 0xF090_068A]);
    }

    #[test]
    fn interrupts_are_not_held_back_when_nothing_is_debugged() {
        let debug = GuestDebug { block_interrupts: true, ..GuestDebug::default() };
        assert_eq!(debug.to_kvm(), kvm_guest_debug::default());
    }
}
