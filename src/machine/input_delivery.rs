//! When input reaches the guest's devices: as fast as the guest takes it.
//!
//! A guest that reads its keyboard takes a key by reading it from the controller. The BIOS's handler reads each key at once
//! and keeps up to 15 for the program, which may read them later: a boot loader whose user pastes a line is slower than
//! that. So keys also wait while the machine's own BIOS has no room for them.

use super::Machine;
use super::bios::MachinePlatform;
use super::cpu::CpuId;
use crate::bios::{self, rom};
use crate::kvm::HostError;
use crate::settings::BootKind;

impl Machine {
    /// Gives the devices as much of the pending input as they can take now.
    pub(super) fn deliver_input(&mut self) -> Result<(), HostError> {
        let held = self.input_buffer.has_keys() && self.bios_would_lose_keys()?;
        self.deliver_held(held)
    }

    /// The same around a read of a device by `cpu`. Only a read by the BIOS is one whose key might be lost.
    pub(super) fn deliver_input_to_reader(&mut self, cpu: CpuId) -> Result<(), HostError> {
        let held = self.input_buffer.has_keys()
            && self.bios_would_lose_keys()?
            && self.cpus[cpu].registers()?.system.cs.selector == rom::SEGMENT;
        self.deliver_held(held)
    }

    fn deliver_held(&mut self, held: bool) -> Result<(), HostError> {
        if self.input_buffer.deliver(&mut self.board, &self.inputs, held) {
            self.arm_timer()?;
        }
        Ok(())
    }

    /// True if the machine's own BIOS takes the keys, and has no room. A guest with an IDT of its own takes them itself,
    /// whatever is left of the BIOS's data. So does one whose boot CPU cannot be asked now: it runs at the same time as
    /// others.
    fn bios_would_lose_keys(&mut self) -> Result<bool, HostError> {
        // Firmware has its vectors at the same addresses, and no call of it would say when there is room again.
        let is_firmware = self.options.kind == Some(BootKind::Rom);
        if is_firmware || !bios::would_lose_keys(&MachinePlatform::new(self)) {
            return Ok(false);
        }
        let boot_cpu = &self.cpus[CpuId::BOOT];
        Ok(!boot_cpu.is_away() && boot_cpu.registers()?.system.idt.base == 0)
    }
}
