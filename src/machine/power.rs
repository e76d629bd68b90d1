//! Power on: a fresh virtual machine and vCPU around memory a guest was loaded into.

use std::sync::Arc;

use crate::arch::SegmentRegister;

use super::MachineError;
use crate::arch::Registers;
use crate::boot::{self, BootState};
use crate::kvm::{CpuFeatures, HostError, Kicker, Kvm, Vcpu, Vm};
use crate::memory::{AttachedSlots, GuestMemory, PageSet, ProtectedPages, SlotChange, SlotMapping};

/// Segment type: code, readable, accessed (Intel SDM volume 3A, "Code- and Data-Segment Descriptor
/// Types").
const CODE: u8 = 0b1011;
/// Segment type: 64-bit task state segment, busy.
const BUSY_TASK: u8 = 0b1011;

/// The part of the machine that a reset replaces as a whole.
#[derive(Debug)]
pub struct Processor {
    pub(super) vcpu: Vcpu,
    pub(super) vm: Vm,
    slots: AttachedSlots,
    memory: Arc<GuestMemory>,
    /// KVM notes which pages the guest writes.
    logging: bool,
}

impl Processor {
    /// A vCPU at the guest's first instruction.
    pub(super) fn new(
        kvm: &Kvm,
        memory: Arc<GuestMemory>,
        kicker: &Kicker,
        state: &BootState,
    ) -> Result<Processor, HostError> {
        let vm = kvm.create_vm(memory.clone())?;
        let vcpu = vm.create_vcpu(kvm, 0, kicker)?;
        let mut processor = Processor { vcpu, vm, slots: AttachedSlots::default(), memory, logging: false };
        processor.attach_written()?;
        let mut registers = processor.vcpu.registers()?;
        enter_long_mode(&mut registers, state);
        processor.vcpu.set_registers(&registers)?;
        Ok(processor)
    }

    /// A vCPU with `features` for the state of another, around memory nothing of which is attached.
    ///
    /// # Errors
    ///
    /// [`MachineError::Features`] if this host does not have all of them, or what the host says.
    pub(super) fn blank(
        kvm: &Kvm,
        memory: Arc<GuestMemory>,
        kicker: &Kicker,
        features: &CpuFeatures,
    ) -> Result<Processor, MachineError> {
        let mut vm = kvm.create_vm(memory.clone())?;
        let mut vcpu = vm.create_vcpu(kvm, 0, kicker)?;
        let here = vcpu.features();
        if here != *features {
            let missing = features.missing_in(&here);
            let (there, here) = (features.vendor(), here.vendor());
            if !missing.is_empty() || there != here {
                return Err(MachineError::Features { missing, there, here });
            }
            vm = kvm.create_vm(memory.clone())?;
            vcpu = vm.create_vcpu_with_features(kvm, 0, kicker, features)?;
        }
        Ok(Processor { vcpu, vm, slots: AttachedSlots::default(), memory, logging: false })
    }

    /// Attaches the pieces of RAM that hold something.
    pub(super) fn attach_written(&mut self) -> Result<(), HostError> {
        self.slots.attach_written(&self.memory).into_iter().try_for_each(|part| self.attach(part))
    }

    /// Attaches the piece of RAM that holds `address`, if it is RAM and not attached yet.
    pub(super) fn reach(&mut self, address: u64) -> Result<(), HostError> {
        self.slots.attach_at(&self.memory, address).into_iter().try_for_each(|part| self.attach(part))
    }

    /// Attaches all of RAM; false if it was already.
    pub(super) fn reach_all(&mut self) -> Result<bool, HostError> {
        let rest = self.slots.attach_rest(&self.memory);
        for part in &rest {
            self.attach(*part)?;
        }
        Ok(!rest.is_empty())
    }

    /// Protects exactly the pages `wanted`.
    ///
    /// # Errors
    ///
    /// What the host or the memory says. The pages are protected as before then, unless the host refuses
    /// that, too.
    pub(super) fn protect(&mut self, wanted: Vec<ProtectedPages>) -> Result<(), HostError> {
        let before = self.slots.clone();
        let changes = self
            .slots
            .protect(&self.memory, wanted)
            .map_err(|e| HostError::because("watch guest memory", e))?;
        let mut done = 0;
        let failed = changes.iter().find_map(|change| {
            let result = self.tell(*change);
            done += usize::from(result.is_ok());
            result.err()
        });
        let Some(error) = failed else { return Ok(()) };
        for change in changes[..done].iter().rev() {
            self.tell(match *change {
                SlotChange::Detach(part) => SlotChange::Attach(part),
                SlotChange::Attach(part) => SlotChange::Detach(part),
            })?;
        }
        self.slots = before;
        Err(error)
    }

    fn tell(&self, change: SlotChange) -> Result<(), HostError> {
        match change {
            SlotChange::Detach(part) => {
                // KVM forgets with the slot what was written there.
                if self.logging {
                    self.memory.mark_written(&self.dirty_pages(&part)?);
                }
                self.vm.detach(part.slot)
            }
            SlotChange::Attach(part) => self.attach(part),
        }
    }

    fn attach(&self, part: SlotMapping) -> Result<(), HostError> {
        self.vm.attach(part, self.logging)
    }

    /// Has KVM note the pages that the guest writes from now on, in all of RAM that is attached or will
    /// be, or ends that.
    pub(super) fn log_writes(&mut self, wanted: bool) -> Result<(), HostError> {
        self.logging = wanted;
        let parts = self.slots.attached(&self.memory);
        parts.into_iter().filter(|part| !part.read_only).try_for_each(|part| self.attach(part))
    }

    /// The pages that the guest and this side have written since the last call or [`Self::log_writes`].
    pub(super) fn take_dirty(&self) -> Result<PageSet, HostError> {
        let mut found = self.memory.take_host_writes();
        if !self.logging {
            return Ok(found);
        }
        for part in self.slots.attached(&self.memory) {
            match self.dirty_pages(&part) {
                Ok(pages) => found.extend(&pages),
                Err(error) => {
                    self.memory.mark_written(&found);
                    return Err(error);
                }
            }
        }
        Ok(found)
    }

    /// What KVM has noted for a part.
    fn dirty_pages(&self, part: &SlotMapping) -> Result<PageSet, HostError> {
        let mut found = PageSet::default();
        if !part.read_only {
            found.insert_bits(part.slot.guest, &self.vm.take_dirty_pages(part.slot)?);
        }
        Ok(found)
    }
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
