//! The complete state of a vCPU as plain data, from which a guest continues in another vCPU, another process
//! or on another host.
//!
//! The vCPU must be between two instructions (see [`Vcpu::is_at_instruction_boundary`]): KVM completes an instruction that
//! stopped for an access only at the next entry.
//!
//! Manual: KVM_GET_REGS, KVM_GET_SREGS2, KVM_GET_XSAVE, KVM_GET_XCRS, KVM_GET_MSRS, KVM_GET_DEBUGREGS,
//! KVM_GET_VCPU_EVENTS and KVM_GET_MP_STATE in api.rst.

use std::os::fd::AsRawFd;

use kvm_bindings::{
    Msrs, kvm_debugregs, kvm_mp_state, kvm_msr_entry, kvm_sregs2, kvm_vcpu_events, kvm_xcr, kvm_xcrs,
};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::registers::system_to_kvm;
use super::{HostError, Kvm, Vcpu, saved_msrs};
use crate::arch::{ExtendedRegisters, GeneralRegisters, SegmentRegister, SystemRegisters, TableRegister};

/// KVM_GET_SREGS2 and KVM_SET_SREGS2 in linux/kvm.h.
const GET_SREGS2: libc::c_ulong = 0x8140_AECC;
const SET_SREGS2: libc::c_ulong = 0x4140_AECD;
/// The page-directory pointers in a [`kvm_sregs2`] are those of the vCPU.
const PDPTRS_VALID: u64 = kvm_bindings::KVM_SREGS2_FLAGS_PDPTRS_VALID as u64;

/// IA32_TIME_STAMP_COUNTER (Intel SDM volume 4).
const TSC: u32 = 0x10;

/// Maximum number of extended control registers.
const MOST_XCRS: usize = 16;
/// Maximum number of model-specific registers accepted: several times the number that KVM lists.
const MOST_MSRS: usize = 1024;

/// The complete state of a vCPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuState {
    general: GeneralRegisters,
    system: System,
    /// Page-directory pointers, which the processor caches apart from memory under PAE paging.
    pdptrs: Option<[u64; 4]>,
    /// As [`ExtendedRegisters`].
    extended: Vec<u8>,
    /// Extended control registers: number and value.
    xcrs: Vec<(u32, u64)>,
    /// Model-specific registers: number and value.
    msrs: Vec<(u32, u64)>,
    /// The guest's own DR0 to DR3, DR6 and DR7, independent of the host's debug facilities.
    debug: [u64; 6],
    events: Events,
    /// KVM_MP_STATE_*.
    running: u32,
    /// Frequency of the time stamp counter in kHz; 0 if the host does not report it.
    tsc_khz: u32,
}

/// A segment register, in the format of snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Segment {
    base: u64,
    limit: u32,
    selector: u16,
    /// Type, S, DPL, present, AVL, L, D/B and G as in a descriptor, and in the highest bit whether it is
    /// unusable.
    attributes: u32,
}

/// [`SystemRegisters`] in the format of snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct System {
    /// CS, DS, ES, FS, GS, SS, TR, LDTR.
    segments: [Segment; 8],
    /// GDTR and IDTR.
    tables: [TableRegister; 2],
    /// CR0, CR2, CR3, CR4, CR8, EFER, IA32_APIC_BASE.
    control: [u64; 7],
    interrupt_bitmap: [u64; 4],
}

/// Events pending for the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Events {
    /// Injected, vector, has an error code, pending.
    exception: [u8; 4],
    error_code: u32,
    /// Injected, vector, by an instruction, shadow.
    interrupt: [u8; 4],
    /// Injected, pending, masked.
    nmi: [u8; 3],
    sipi_vector: u32,
    flags: u32,
    /// In SMM, pending, inside an NMI, INIT latched.
    smi: [u8; 4],
    triple_fault: u8,
    payload: Option<u64>,
}

impl VcpuState {
    /// RIP.
    pub fn rip(&self) -> u64 {
        self.general.rip
    }

    /// The value of a model-specific register, if it is part of the state.
    pub(super) fn msr(&self, index: u32) -> Option<u64> {
        self.msrs.iter().find(|(number, _)| *number == index).map(|(_, value)| *value)
    }

    /// An external interrupt with this vector is delivered before the next instruction.
    pub fn inject_interrupt(&mut self, vector: u8) {
        let [_, _, _, shadow] = self.events.interrupt;
        self.events.interrupt = [1, vector, 0, shadow];
    }

    /// Checks the lengths of the variable parts.
    ///
    /// # Errors
    ///
    /// A description of the problem.
    pub fn check(&self) -> Result<(), String> {
        if self.extended.len() != size_of::<ExtendedRegisters>() {
            return Err(format!("{} bytes of vector registers", self.extended.len()));
        }
        if self.xcrs.len() > MOST_XCRS || self.msrs.len() > MOST_MSRS {
            let (xcrs, msrs) = (self.xcrs.len(), self.msrs.len());
            return Err(format!("{xcrs} extended control and {msrs} model-specific registers"));
        }
        Ok(())
    }
}

impl Vcpu {
    /// The complete state of the vCPU.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason, and if the vCPU is in the middle of an access.
    pub fn state(&self, kvm: &Kvm) -> Result<VcpuState, HostError> {
        if !self.is_at_instruction_boundary() {
            const REASON: &str = "it is in the middle of an instruction";
            return Err(HostError::because("read the state of the vCPU", REASON));
        }
        let debug =
            self.fd.get_debug_regs().map_err(|e| HostError::refused("read the debug registers", e))?;
        let events =
            self.fd.get_vcpu_events().map_err(|e| HostError::refused("read the pending events", e))?;
        let [db0, db1, db2, db3] = debug.db;
        Ok(VcpuState {
            general: self.general_registers()?,
            system: System::from(&self.system_registers()?),
            pdptrs: self.pdptrs(),
            extended: self.extended_registers()?.to_vec(),
            xcrs: self.xcrs()?,
            msrs: self.msrs(saved_msrs::of(kvm)?)?,
            debug: [db0, db1, db2, db3, debug.dr6, debug.dr7],
            events: Events::from_kvm(&events),
            running: self.running()?,
            tsc_khz: self.tsc_khz(),
        })
    }

    /// Loads the state of another vCPU. Guest memory must already hold that machine's contents.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if the processor cannot be in that state; the vCPU then holds a mixture.
    pub fn set_state(&mut self, state: &VcpuState) -> Result<(), HostError> {
        state.check().map_err(|reason| HostError::because("take the state of a vCPU", reason))?;
        let mut xcrs = kvm_xcrs { nr_xcrs: state.xcrs.len() as u32, ..Default::default() };
        for (entry, (xcr, value)) in xcrs.xcrs.iter_mut().zip(&state.xcrs) {
            *entry = kvm_xcr { xcr: *xcr, value: *value, ..Default::default() };
        }
        let mut extended = [0; size_of::<ExtendedRegisters>()];
        extended.copy_from_slice(&state.extended);
        let [db0, db1, db2, db3, dr6, dr7] = state.debug;
        let debug = kvm_debugregs { db: [db0, db1, db2, db3], dr6, dr7, ..Default::default() };

        if let Some(mismatch) = self.set_tsc_frequency(state.tsc_khz) {
            warn!("{mismatch}");
        }
        // EFER and CR4 before what depends on them.
        self.set_system_registers(&state.system.into())?;
        self.set_pdptrs(state)?;
        if !state.xcrs.is_empty() {
            self.fd.set_xcrs(&xcrs).map_err(|e| HostError::refused("write XCR0", e))?;
        }
        self.set_extended_registers(&extended)?;
        self.set_msrs(&state.msrs)?;
        self.set_general_registers(&state.general)?;
        self.fd.set_debug_regs(&debug).map_err(|e| HostError::refused("write the debug registers", e))?;
        self.set_running(state.running)?;
        // Last: writing registers drops a pending exception.
        self.fd
            .set_vcpu_events(&state.events.to_kvm())
            .map_err(|e| HostError::refused("write the pending events", e))
    }

    /// The page-directory pointers, if KVM reports them and they are in use.
    fn pdptrs(&self) -> Option<[u64; 4]> {
        let mut registers = kvm_sregs2::default();
        // SAFETY: the descriptor is that of a vCPU, the request reads, and the structure is the one it
        // fills.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), GET_SREGS2, &mut registers) };
        (result == 0 && registers.flags & PDPTRS_VALID != 0).then_some(registers.pdptrs)
    }

    fn set_pdptrs(&mut self, state: &VcpuState) -> Result<(), HostError> {
        let Some(pdptrs) = state.pdptrs else { return Ok(()) };
        let system = system_to_kvm(&state.system.into());
        let registers = kvm_sregs2 {
            cs: system.cs,
            ds: system.ds,
            es: system.es,
            fs: system.fs,
            gs: system.gs,
            ss: system.ss,
            tr: system.tr,
            ldt: system.ldt,
            gdt: system.gdt,
            idt: system.idt,
            cr0: system.cr0,
            cr2: system.cr2,
            cr3: system.cr3,
            cr4: system.cr4,
            cr8: system.cr8,
            efer: system.efer,
            apic_base: system.apic_base,
            flags: PDPTRS_VALID,
            pdptrs,
        };
        // SAFETY: the descriptor is that of a vCPU, the request writes, and the structure is the one it
        // reads.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), SET_SREGS2, &registers) };
        if result == 0 {
            return Ok(());
        }
        Err(HostError::because("write the page-directory pointers", std::io::Error::last_os_error()))
    }

    /// The model-specific registers `wanted`, all of which KVM has reported before.
    fn msrs(&self, wanted: &[u32]) -> Result<Vec<(u32, u64)>, HostError> {
        const WHAT: &str = "read the model-specific registers";
        let entries: Vec<kvm_msr_entry> =
            wanted.iter().map(|index| kvm_msr_entry { index: *index, ..Default::default() }).collect();
        let mut msrs = Msrs::from_entries(&entries).map_err(|_| HostError::too_long(WHAT))?;
        let read = self.fd.get_msrs(&mut msrs).map_err(|e| HostError::refused(WHAT, e))?;
        match wanted.get(read) {
            None => Ok(msrs.as_slice().iter().map(|entry| (entry.index, entry.data)).collect()),
            Some(index) => Err(HostError::because(WHAT, format!("it does not report {index:#x} any more"))),
        }
    }

    /// Writes model-specific registers. A register that the host rejects is skipped if it already has the
    /// value.
    fn set_msrs(&self, values: &[(u32, u64)]) -> Result<(), HostError> {
        const WHAT: &str = "write the model-specific registers";
        // The time stamp counter continues from the written value, so it is written last.
        let (tsc, others): (Vec<_>, Vec<_>) = values.iter().partition(|(index, _)| *index == TSC);
        let entries: Vec<kvm_msr_entry> = others
            .into_iter()
            .chain(tsc)
            .map(|(index, data)| kvm_msr_entry { index, data, ..Default::default() })
            .collect();
        let mut done = 0;
        while let Some(left) = entries.get(done..)
            && let Some(_) = left.first()
        {
            let msrs = Msrs::from_entries(left).map_err(|_| HostError::too_long(WHAT))?;
            done += self.fd.set_msrs(&msrs).map_err(|e| HostError::refused(WHAT, e))?;
            let Some(refused) = entries.get(done) else { break };
            let (index, data) = (refused.index, refused.data);
            if self.msr(index)? != Some(data) {
                let reason = format!("the processor here does not take {data:#x} for register {index:#x}");
                return Err(HostError::because(WHAT, reason));
            }
            done += 1;
        }
        Ok(())
    }

    /// KVM_MP_STATE_*.
    pub(super) fn running(&self) -> Result<u32, HostError> {
        if let Some(known) = self.cached.running.get().filter(|_| !self.capabilities.kernel_lapic) {
            return Ok(known);
        }
        let found = self.fd.get_mp_state().map_err(|e| HostError::refused("read the vCPU's mode", e))?;
        self.cached.running.set(Some(found.mp_state));
        Ok(found.mp_state)
    }

    pub(super) fn set_running(&self, wanted: u32) -> Result<(), HostError> {
        if self.running()? != wanted {
            self.fd
                .set_mp_state(kvm_mp_state { mp_state: wanted })
                .map_err(|e| HostError::refused("write the vCPU's mode", e))?;
            self.cached.running.set(Some(wanted));
        }
        Ok(())
    }
}

impl From<&SegmentRegister> for Segment {
    fn from(segment: &SegmentRegister) -> Segment {
        let fields = [
            (segment.type_, 0),
            (segment.s, 4),
            (segment.dpl, 5),
            (segment.present, 7),
            (segment.avl, 12),
            (segment.l, 13),
            (segment.db, 14),
            (segment.g, 15),
            (segment.unusable, 31),
        ];
        Segment {
            base: segment.base,
            limit: segment.limit,
            selector: segment.selector,
            attributes: fields.into_iter().fold(0, |bits, (field, at)| bits | u32::from(field) << at),
        }
    }
}

impl From<Segment> for SegmentRegister {
    fn from(segment: Segment) -> SegmentRegister {
        let field = |at: u32, mask: u32| (segment.attributes >> at & mask) as u8;
        SegmentRegister {
            base: segment.base,
            limit: segment.limit,
            selector: segment.selector,
            type_: field(0, 0xF),
            s: field(4, 1),
            dpl: field(5, 3),
            present: field(7, 1),
            avl: field(12, 1),
            l: field(13, 1),
            db: field(14, 1),
            g: field(15, 1),
            unusable: field(31, 1),
        }
    }
}

impl From<&SystemRegisters> for System {
    fn from(s: &SystemRegisters) -> System {
        System {
            segments: [&s.cs, &s.ds, &s.es, &s.fs, &s.gs, &s.ss, &s.tr, &s.ldt].map(Segment::from),
            tables: [s.gdt, s.idt],
            control: [s.cr0, s.cr2, s.cr3, s.cr4, s.cr8, s.efer, s.apic_base],
            interrupt_bitmap: s.interrupt_bitmap,
        }
    }
}

impl From<System> for SystemRegisters {
    fn from(system: System) -> SystemRegisters {
        let [cs, ds, es, fs, gs, ss, tr, ldt] = system.segments.map(SegmentRegister::from);
        let [gdt, idt] = system.tables;
        let [cr0, cr2, cr3, cr4, cr8, efer, apic_base] = system.control;
        SystemRegisters {
            cs,
            ds,
            es,
            fs,
            gs,
            ss,
            tr,
            ldt,
            gdt,
            idt,
            cr0,
            cr2,
            cr3,
            cr4,
            cr8,
            efer,
            apic_base,
            interrupt_bitmap: system.interrupt_bitmap,
        }
    }
}

impl Events {
    fn from_kvm(events: &kvm_vcpu_events) -> Events {
        let (exception, interrupt) = (&events.exception, &events.interrupt);
        let (nmi, smi) = (&events.nmi, &events.smi);
        Events {
            exception: [exception.injected, exception.nr, exception.has_error_code, exception.pending],
            error_code: exception.error_code,
            interrupt: [interrupt.injected, interrupt.nr, interrupt.soft, interrupt.shadow],
            nmi: [nmi.injected, nmi.pending, nmi.masked],
            sipi_vector: events.sipi_vector,
            flags: events.flags,
            smi: [smi.smm, smi.pending, smi.smm_inside_nmi, smi.latched_init],
            triple_fault: events.triple_fault.pending,
            payload: (events.exception_has_payload != 0).then_some(events.exception_payload),
        }
    }

    fn to_kvm(self) -> kvm_vcpu_events {
        let mut events = kvm_vcpu_events {
            sipi_vector: self.sipi_vector,
            flags: self.flags,
            exception_has_payload: u8::from(self.payload.is_some()),
            exception_payload: self.payload.unwrap_or(0),
            ..Default::default()
        };
        let exception = &mut events.exception;
        [exception.injected, exception.nr, exception.has_error_code, exception.pending] = self.exception;
        exception.error_code = self.error_code;
        let interrupt = &mut events.interrupt;
        [interrupt.injected, interrupt.nr, interrupt.soft, interrupt.shadow] = self.interrupt;
        [events.nmi.injected, events.nmi.pending, events.nmi.masked] = self.nmi;
        let smi = &mut events.smi;
        [smi.smm, smi.pending, smi.smm_inside_nmi, smi.latched_init] = self.smi;
        events.triple_fault.pending = self.triple_fault;
        events
    }
}

#[cfg(test)]
#[path = "vcpu_state_test.rs"]
mod tests;
