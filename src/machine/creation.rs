//! Creates a virtual machine with its CPUs: at the start, at a reset, and for a saved state.

use std::sync::Arc;

use super::MachineError;
use super::cpu::{Cpu, CpuId};
use super::mapped_memory::MappedMemory;
use crate::arch::Registers;
use crate::kvm::{CpuFeatures, HostError, Kicker, Kvm};
use crate::memory::GuestMemory;

/// A virtual machine around `memory`, which holds the guest already: its bootstrap processor, kicked by
/// `kicker`, has these registers.
///
/// # Errors
///
/// [`HostError::Refused`] with the host's reason.
pub(super) fn power_on(
    kvm: &Kvm,
    memory: Arc<GuestMemory>,
    kicker: &Kicker,
    registers: &Registers,
) -> Result<(MappedMemory, Vec<Cpu>), HostError> {
    let vm = kvm.create_vm(memory.clone())?;
    let vcpu = vm.create_vcpu(kvm, CpuId::BOOT.number(), kicker)?;
    let mut ram = MappedMemory::new(vm, memory);
    ram.map_written()?;
    vcpu.set_registers(registers)?;
    Ok((ram, vec![Cpu::new(vcpu, kicker.clone())]))
}

/// A virtual machine for a saved state: none of `memory` is mapped, and each CPU, kicked by its kicker,
/// has `features`.
///
/// # Errors
///
/// [`MachineError::Features`] if this host does not have all of them, [`MachineError::Host`] with the host's
/// reason.
pub(super) fn for_saved_state(
    kvm: &Kvm,
    memory: Arc<GuestMemory>,
    kicker: &Kicker,
    features: &CpuFeatures,
) -> Result<(MappedMemory, Vec<Cpu>), MachineError> {
    let mut vm = kvm.create_vm(memory.clone())?;
    let mut vcpu = vm.create_vcpu(kvm, CpuId::BOOT.number(), kicker)?;
    let here = vcpu.features();
    if here != *features {
        let missing = features.missing_in(&here);
        let (there, here) = (features.vendor(), here.vendor());
        if !missing.is_empty() || there != here {
            return Err(MachineError::Features { missing, there, here });
        }
        vm = kvm.create_vm(memory.clone())?;
        vcpu = vm.create_vcpu_with_features(kvm, CpuId::BOOT.number(), kicker, features)?;
    }
    Ok((MappedMemory::new(vm, memory), vec![Cpu::new(vcpu, kicker.clone())]))
}
