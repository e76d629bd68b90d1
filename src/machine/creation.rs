//! Creates a virtual machine with its CPUs: at the start, at a reset, and for a saved state.

use std::sync::Arc;

use super::MachineError;
use super::cpu::{Cpu, CpuId};
use super::mapped_memory::MappedMemory;
use crate::arch::{Registers, SegmentRegister};
use crate::boot::{self, BootState};
use crate::kvm::{CpuFeatures, HostError, Kicker, Kvm};
use crate::memory::GuestMemory;

/// Segment type: code, readable, accessed (Intel SDM volume 3A, "Code- and Data-Segment Descriptor
/// Types").
const CODE: u8 = 0b1011;
/// Segment type: 64-bit task state segment, busy.
const BUSY_TASK: u8 = 0b1011;

/// A virtual machine around `memory`, which holds the guest already: its bootstrap processor, kicked by
/// `kicker`, is in `state`.
///
/// # Errors
///
/// [`HostError::Refused`] with the host's reason.
pub(super) fn power_on(
    kvm: &Kvm,
    memory: Arc<GuestMemory>,
    kicker: &Kicker,
    state: &BootState,
) -> Result<(MappedMemory, Vec<Cpu>), HostError> {
    let vm = kvm.create_vm(memory.clone())?;
    let vcpu = vm.create_vcpu(kvm, CpuId::BOOT.number(), kicker)?;
    let mut ram = MappedMemory::new(vm, memory);
    ram.map_written()?;
    let mut registers = vcpu.registers()?;
    enter_long_mode(&mut registers, state);
    vcpu.set_registers(&registers)?;
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

/// The state every guest finds at its first instruction; docs/boot-state.md is its table.
fn enter_long_mode(registers: &mut Registers, state: &BootState) {
    let code = SegmentRegister {
        limit: u32::MAX,
        selector: boot::CODE_SELECTOR,
        type_: CODE,
        present: 1,
        s: 1,
        l: 1,
        g: 1,
        ..Default::default()
    };
    let null = SegmentRegister { unusable: 1, ..Default::default() };
    let system = &mut registers.system;
    system.cs = code;
    (system.ds, system.es, system.fs, system.gs, system.ss, system.ldt) =
        (null, null, null, null, null, null);
    system.tr = SegmentRegister {
        base: state.tss.base,
        limit: u32::from(state.tss.limit),
        selector: boot::TASK_SELECTOR,
        type_: BUSY_TASK,
        present: 1,
        ..Default::default()
    };
    (system.gdt.base, system.gdt.limit) = (state.gdt.base, state.gdt.limit);
    (system.idt.base, system.idt.limit) = (state.idt.base, state.idt.limit);
    system.cr0 = boot::ENTRY_CR0;
    system.cr2 = 0;
    system.cr3 = state.page_tables;
    system.cr4 = boot::ENTRY_CR4;
    system.efer = boot::ENTRY_EFER;

    let general = &mut registers.general;
    *general = Default::default();
    general.rip = state.entry;
    general.rsp = state.stack_top;
    general.rflags = boot::ENTRY_RFLAGS;
    general.rdi = state.info;
    general.rbx = state.info;
}
