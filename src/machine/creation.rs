//! Creates a virtual machine with its CPUs: at the start, at a reset, and for a saved state.

use std::sync::Arc;

use tracing::info;

use super::MachineError;
use super::cpu::{Cpu, CpuId};
use super::inputs::Inputs;
use super::mapped_memory::MappedMemory;
use crate::arch::Registers;
use crate::devices::pci::firmware;
use crate::kvm::{CpuFeatures, HostError, Kicker, Kvm, Vcpu, Vm};
use crate::memory::GuestMemory;
use crate::settings::{IrqchipMode, Schedule};

/// With `filter`, accesses to the MSRs of local APICs exit from the start: the guest uses them already, or will.
fn create_vm(
    kvm: &Kvm,
    memory: &Arc<GuestMemory>,
    irqchip: IrqchipMode,
    filter: bool,
) -> Result<Vm, HostError> {
    let vm = match irqchip {
        IrqchipMode::User => kvm.create_vm(memory.clone())?,
        IrqchipMode::Kernel => {
            kvm.create_vm_with_irqchip(memory.clone(), firmware::level_triggered_lines())?
        }
    };
    info!("interrupt controllers and interval timer (irqchip): {}", irqchip.name());
    if filter {
        vm.filter_apic_msrs();
    }
    Ok(vm)
}

/// The processors of a new virtual machine.
pub(super) struct Processors<'a> {
    /// How many there are.
    pub(super) count: u8,
    /// How several of them run.
    pub(super) schedule: Schedule,
    /// The input queue. Its kicker is that of all CPUs, which take turns, or that of the bootstrap processor. CPUs
    /// with threads of their own report their exits to it.
    pub(super) inputs: &'a Inputs,
}

impl Processors<'_> {
    fn in_parallel(&self) -> bool {
        self.count > 1 && self.schedule == Schedule::Parallel
    }

    /// With KVM's interrupt controllers, which start CPUs and let them sleep, each needs a thread.
    fn check(&self, irqchip: IrqchipMode) -> Result<(), HostError> {
        if irqchip == IrqchipMode::Kernel && self.count > 1 && self.schedule == Schedule::Serial {
            const REASON: &str =
                "use those of user space (`--irqchip user`), or threads (`--schedule parallel`)";
            return Err(HostError::because("run processors by turns with its interrupt controllers", REASON));
        }
        Ok(())
    }

    /// All CPUs, with the vCPUs that `create` creates.
    fn create(
        &self,
        kvm: &Kvm,
        create: impl Fn(u8, &Kicker) -> Result<Vcpu, HostError>,
    ) -> Result<Vec<Cpu>, HostError> {
        let most = kvm.max_vcpus();
        if usize::from(self.count) > most {
            let reason = format!("this host gives a virtual machine {most} at most; use fewer (`--cpus`)");
            return Err(HostError::because("create so many vCPUs", reason));
        }
        let mut cpus = (0..self.count)
            .map(|number| {
                let id = CpuId::new(number);
                let own = self.in_parallel() && id != CpuId::BOOT;
                let kicker = if own { Kicker::default() } else { self.inputs.kicker().clone() };
                let mut vcpu = create(number, &kicker)?;
                if self.in_parallel() {
                    let inputs = self.inputs.clone();
                    vcpu.run_on_own_thread(Box::new(move || inputs.cpu_returned(id)))?;
                }
                let mut cpu = Cpu::new(vcpu, kicker);
                if id != CpuId::BOOT {
                    cpu.wait_for_start()?;
                }
                Ok(cpu)
            })
            .collect::<Result<Vec<Cpu>, HostError>>()?;
        if self.count > 1 && !self.in_parallel() {
            // The last one that was created is what the shared kicker is aimed at.
            cpus[CpuId::BOOT].vcpu.aim_kicker();
        }
        Ok(cpus)
    }
}

/// A virtual machine around `memory`, which holds the guest already: its bootstrap processor has these registers, and so
/// have those after it that execute instructions from the start.
///
/// # Errors
///
/// [`HostError::Refused`] with the host's reason.
pub(super) fn power_on(
    kvm: &Kvm,
    memory: Arc<GuestMemory>,
    processors: &Processors<'_>,
    (registers, others): (&Registers, &[Registers]),
    irqchip: IrqchipMode,
) -> Result<(MappedMemory, Vec<Cpu>), HostError> {
    processors.check(irqchip)?;
    let count = processors.count;
    let vm = create_vm(kvm, &memory, irqchip, count > 1)?;
    let mut cpus = processors.create(kvm, |index, kicker| vm.create_vcpu(kvm, index, count, kicker))?;
    let mut ram = MappedMemory::new(vm, memory);
    ram.map_written()?;
    cpus[CpuId::BOOT].vcpu.set_registers(registers)?;
    for (cpu, registers) in cpus.iter_mut().skip(1).zip(others) {
        cpu.start_at(registers)?;
    }
    Ok((ram, cpus))
}

/// A virtual machine for a saved state: none of `memory` is mapped, and each CPU has `features`.
///
/// # Errors
///
/// [`MachineError::Features`] if this host does not have all of them, [`MachineError::Host`] with the host's
/// reason.
pub(super) fn for_saved_state(
    kvm: &Kvm,
    memory: Arc<GuestMemory>,
    processors: &Processors<'_>,
    features: &CpuFeatures,
    irqchip: IrqchipMode,
) -> Result<(MappedMemory, Vec<Cpu>), MachineError> {
    let count = processors.count;
    processors.check(irqchip)?;
    let vm = create_vm(kvm, &memory, irqchip, true)?;
    let cpus = processors.create(kvm, |index, kicker| vm.create_vcpu(kvm, index, count, kicker))?;
    let here = cpus[CpuId::BOOT].vcpu.features();
    if here == *features {
        return Ok((MappedMemory::new(vm, memory), cpus));
    }
    let missing = features.missing_in(&here);
    let (there, here) = (features.vendor(), here.vendor());
    if !missing.is_empty() || there != here {
        return Err(MachineError::Features { missing, there, here });
    }
    drop(cpus);
    let vm: Vm = create_vm(kvm, &memory, irqchip, true)?;
    let cpus =
        processors.create(kvm, |index, kicker| vm.create_vcpu_with_features(kvm, index, kicker, features))?;
    Ok((MappedMemory::new(vm, memory), cpus))
}
