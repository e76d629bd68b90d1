//! The registers of a stopped vCPU.
//!
//! A debugger reads the registers at every stop; KVM then leaves most of them in `kvm_run`. Every function
//! here that writes a register invalidates that copy.

use kvm_bindings::{
    Msrs, kvm_debugregs, kvm_dtable, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs, kvm_xcrs, kvm_xsave,
};
use kvm_ioctls::SyncReg;

use super::{HostError, Vcpu};
use crate::arch::{
    DebugRegisters, ExtendedRegisters, GeneralRegisters, Registers, SegmentRegister, SystemRegisters,
    TableRegister,
};

impl Vcpu {
    /// General, control and segment registers.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn registers(&self) -> Result<Registers, HostError> {
        Ok(Registers { general: self.general_registers()?, system: self.system_registers()? })
    }

    /// The general registers, RIP and RFLAGS.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn general_registers(&self) -> Result<GeneralRegisters, HostError> {
        if self.shared.get() {
            return Ok(general_from_kvm(&self.fd.sync_regs().regs));
        }
        let registers = self.fd.get_regs().map_err(|e| HostError::refused("read the registers", e))?;
        Ok(general_from_kvm(&registers))
    }

    /// Segments, descriptor tables, control registers, EFER.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn system_registers(&self) -> Result<SystemRegisters, HostError> {
        if self.shared.get() {
            return Ok(system_from_kvm(&self.fd.sync_regs().sregs));
        }
        let registers =
            self.fd.get_sregs().map_err(|e| HostError::refused("read the system registers", e))?;
        Ok(system_from_kvm(&registers))
    }

    /// Writes general, control and segment registers.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if they are a state the processor cannot be in.
    pub fn set_registers(&self, registers: &Registers) -> Result<(), HostError> {
        self.forget_registers();
        self.fd
            .set_sregs(&system_to_kvm(&registers.system))
            .map_err(|e| HostError::refused("write the system registers", e))?;
        self.fd
            .set_regs(&general_to_kvm(&registers.general))
            .map_err(|e| HostError::refused("write the registers", e))
    }

    /// Writes the general registers, RIP and RFLAGS.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_general_registers(&self, registers: &GeneralRegisters) -> Result<(), HostError> {
        self.forget_registers();
        self.fd.set_regs(&general_to_kvm(registers)).map_err(|e| HostError::refused("write the registers", e))
    }

    /// Writes segments, descriptor tables, control registers and EFER.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if they are a state the processor cannot be in.
    pub fn set_system_registers(&mut self, registers: &SystemRegisters) -> Result<(), HostError> {
        self.forget_registers();
        self.fd
            .set_sregs(&system_to_kvm(registers))
            .map_err(|e| HostError::refused("write the system registers", e))?;
        // The local APIC is not KVM's: KVM reads CR8 from here at every entry.
        self.fd.get_kvm_run().cr8 = registers.cr8;
        Ok(())
    }

    /// x87, SSE, AVX and other extended registers.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn extended_registers(&self) -> Result<ExtendedRegisters, HostError> {
        let state = self.fd.get_xsave().map_err(|e| HostError::refused("read the vector registers", e))?;
        let mut bytes = [0; size_of::<ExtendedRegisters>()];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(state.region) {
            *bytes = word.to_le_bytes();
        }
        Ok(bytes)
    }

    /// Writes x87, SSE, AVX and other extended registers.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if a reserved bit is set.
    pub fn set_extended_registers(&self, registers: &ExtendedRegisters) -> Result<(), HostError> {
        const WHAT: &str = "write the vector registers";
        let mut state = kvm_xsave::default();
        for (word, bytes) in state.region.iter_mut().zip(registers.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        // SAFETY: the structure is as large as this call reads: no feature that needs more has been enabled
        // for this process.
        unsafe { self.fd.set_xsave(&state) }.map_err(|e| HostError::refused(WHAT, e))
    }

    /// A model-specific register (Intel SDM volume 4); `None` if the host does not report it.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn msr(&self, index: u32) -> Result<Option<u64>, HostError> {
        const WHAT: &str = "read a model-specific register";
        let Ok(mut msrs) = Msrs::from_entries(&[kvm_msr_entry { index, ..Default::default() }]) else {
            return Ok(None);
        };
        let read = self.fd.get_msrs(&mut msrs).map_err(|e| HostError::refused(WHAT, e))?;
        Ok(if read == 1 { msrs.as_slice().first().map(|entry| entry.data) } else { None })
    }

    /// Writes a model-specific register; false if the host rejects the value.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_msr(&self, index: u32, data: u64) -> Result<bool, HostError> {
        const WHAT: &str = "write a model-specific register";
        self.forget_registers();
        let Ok(msrs) = Msrs::from_entries(&[kvm_msr_entry { index, data, ..Default::default() }]) else {
            return Ok(false);
        };
        Ok(self.fd.set_msrs(&msrs).map_err(|e| HostError::refused(WHAT, e))? == 1)
    }

    /// XCR0 (Intel SDM volume 1, "Enabling the XSAVE Feature Set"); 1 if the device has no such registers.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn xcr0(&self) -> Result<u64, HostError> {
        // The x87 bit is always set.
        Ok(self.xcrs()?.iter().find(|(number, _)| *number == 0).map_or(1, |(_, value)| *value))
    }

    /// The extended control registers, number and value; none on a processor without XSAVE, or if the device has none.
    pub(super) fn xcrs(&self) -> Result<Vec<(u32, u64)>, HostError> {
        let xcrs = match self.fd.get_xcrs() {
            Ok(xcrs) => xcrs,
            Err(error) if matches!(error.errno(), libc::ENOTTY | libc::EINVAL) => return Ok(Vec::new()),
            Err(error) => return Err(HostError::refused("read XCR0", error)),
        };
        Ok(xcrs.xcrs.iter().take(xcrs.nr_xcrs as usize).map(|xcr| (xcr.xcr, xcr.value)).collect())
    }

    /// Writes XCR0; false if the host rejects the value.
    pub fn set_xcr0(&self, value: u64) -> bool {
        let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..Default::default() };
        xcrs.xcrs[0].value = value;
        self.fd.set_xcrs(&xcrs).is_ok()
    }

    /// The guest's debug registers.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn debug_registers(&self) -> Result<DebugRegisters, HostError> {
        let read = self.fd.get_debug_regs().map_err(|e| HostError::refused("read the debug registers", e))?;
        Ok(DebugRegisters { addresses: read.db, dr6: read.dr6, dr7: read.dr7 })
    }

    /// The guest's DR6.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn dr6(&self) -> Result<u64, HostError> {
        self.fd.get_debug_regs().map(|registers| registers.dr6).map_err(|e| HostError::refused("read DR6", e))
    }

    /// Writes the guest's DR6.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_dr6(&self, value: u64) -> Result<(), HostError> {
        let registers = self.fd.get_debug_regs().map_err(|e| HostError::refused("read DR6", e))?;
        let registers = kvm_debugregs { dr6: value, ..registers };
        self.fd.set_debug_regs(&registers).map_err(|e| HostError::refused("write DR6", e))
    }

    /// EAX, EBX, ECX and EDX of a CPUID leaf as the guest sees it; zeros if it has no such leaf.
    pub fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        const SUBLEAVES_DIFFER: u32 = kvm_bindings::KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
        let entry = self.cpuid.as_slice().iter().find(|entry| {
            entry.function == leaf && (entry.flags & SUBLEAVES_DIFFER == 0 || entry.index == subleaf)
        });
        entry.map_or([0; 4], |entry| [entry.eax, entry.ebx, entry.ecx, entry.edx])
    }

    /// True if the guest's CPUID offers AVX (CPUID.01H:ECX bit 28).
    pub fn has_avx(&self) -> bool {
        self.cpuid.as_slice().iter().any(|entry| entry.function == 1 && entry.ecx & 1 << 28 != 0)
    }

    /// Enables or disables KVM's copy of the registers in `kvm_run`, from the next stop on. Reading the copy
    /// takes no system call; only a debugger reads registers at every stop.
    ///
    /// Manual: KVM_CAP_SYNC_REGS in api.rst.
    pub(super) fn share_registers(&mut self, wanted: bool) {
        for registers in [SyncReg::Register, SyncReg::SystemRegister] {
            if wanted && self.capabilities.sharing {
                self.fd.set_sync_valid_reg(registers);
            } else {
                self.fd.clear_sync_valid_reg(registers);
            }
        }
    }

    /// Called before the registers are written: invalidates KVM's copy, and the debug facilities, because a
    /// step may start elsewhere.
    pub(super) fn forget_registers(&self) {
        self.shared.set(false);
        self.interrupt_state_is_stale.set(true);
        self.debugging_is_stale.set(true);
    }
}

fn general_from_kvm(from: &kvm_regs) -> GeneralRegisters {
    let kvm_regs {
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rsp,
        rbp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip,
        rflags,
    } = *from;
    GeneralRegisters {
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rsp,
        rbp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip,
        rflags,
    }
}

fn general_to_kvm(from: &GeneralRegisters) -> kvm_regs {
    let GeneralRegisters {
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rsp,
        rbp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip,
        rflags,
    } = *from;
    kvm_regs { rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags }
}

fn segment_from_kvm(from: kvm_segment) -> SegmentRegister {
    let kvm_segment { base, limit, selector, type_, present, dpl, db, s, l, g, avl, unusable, .. } = from;
    SegmentRegister { base, limit, selector, type_, present, dpl, db, s, l, g, avl, unusable }
}

fn segment_to_kvm(from: SegmentRegister) -> kvm_segment {
    let SegmentRegister { base, limit, selector, type_, present, dpl, db, s, l, g, avl, unusable } = from;
    kvm_segment { base, limit, selector, type_, present, dpl, db, s, l, g, avl, unusable, padding: 0 }
}

fn table_from_kvm(from: kvm_dtable) -> TableRegister {
    TableRegister { base: from.base, limit: from.limit }
}

fn table_to_kvm(from: TableRegister) -> kvm_dtable {
    kvm_dtable { base: from.base, limit: from.limit, ..Default::default() }
}

fn system_from_kvm(from: &kvm_sregs) -> SystemRegisters {
    SystemRegisters {
        cs: segment_from_kvm(from.cs),
        ds: segment_from_kvm(from.ds),
        es: segment_from_kvm(from.es),
        fs: segment_from_kvm(from.fs),
        gs: segment_from_kvm(from.gs),
        ss: segment_from_kvm(from.ss),
        tr: segment_from_kvm(from.tr),
        ldt: segment_from_kvm(from.ldt),
        gdt: table_from_kvm(from.gdt),
        idt: table_from_kvm(from.idt),
        cr0: from.cr0,
        cr2: from.cr2,
        cr3: from.cr3,
        cr4: from.cr4,
        cr8: from.cr8,
        efer: from.efer,
        apic_base: from.apic_base,
        interrupt_bitmap: from.interrupt_bitmap,
    }
}

pub(super) fn system_to_kvm(from: &SystemRegisters) -> kvm_sregs {
    kvm_sregs {
        cs: segment_to_kvm(from.cs),
        ds: segment_to_kvm(from.ds),
        es: segment_to_kvm(from.es),
        fs: segment_to_kvm(from.fs),
        gs: segment_to_kvm(from.gs),
        ss: segment_to_kvm(from.ss),
        tr: segment_to_kvm(from.tr),
        ldt: segment_to_kvm(from.ldt),
        gdt: table_to_kvm(from.gdt),
        idt: table_to_kvm(from.idt),
        cr0: from.cr0,
        cr2: from.cr2,
        cr3: from.cr3,
        cr4: from.cr4,
        cr8: from.cr8,
        efer: from.efer,
        apic_base: from.apic_base,
        interrupt_bitmap: from.interrupt_bitmap,
    }
}
