//! A vCPU: entered with a [`VmEntry`], exited with a [`VmExit`].

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use kvm_bindings::{
    CpuId, KVM_EXIT_DEBUG, KVM_EXIT_FAIL_ENTRY, KVM_EXIT_HLT, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_INTR,
    KVM_EXIT_IO, KVM_EXIT_IO_IN, KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_MMIO, KVM_EXIT_SET_TPR,
    KVM_EXIT_SHUTDOWN, KVM_EXIT_X86_RDMSR, KVM_EXIT_X86_WRMSR, kvm_run,
};
use kvm_ioctls::VcpuFd;

use super::cpuid::CpuidBit;
use super::run_thread::RunThread;
use super::{CpuFeatures, DebugStop, GuestDebug, HostError, Kicker, Refusal, VmEntry, VmExit};
use crate::memory::GuestMemory;

/// Set in the data of an emulation failure that includes the instruction's bytes.
const HAS_INSTRUCTION_BYTES: u64 = 1;
/// The opcode of `int3`.
const INT3: u8 = 0xCC;

/// A port access whose elements are reported one by one.
#[derive(Clone, Copy, Debug)]
struct PortAccess {
    port: u16,
    size: u8,
    input: bool,
    /// Offset of the next element to report, from the start of `kvm_run`.
    next: usize,
    left: u32,
}

/// What KVM supports for a vCPU on this host (KVM_CHECK_EXTENSION).
#[derive(Clone, Copy, Debug)]
pub(super) struct Capabilities {
    /// Coalesce port writes.
    pub(super) batching: bool,
    /// Leave the registers in `kvm_run` at every exit.
    pub(super) sharing: bool,
    /// Block interrupts while the guest is debugged.
    pub(super) blocking: bool,
    /// The local APIC is KVM's: it changes the vCPU's mode, and `hlt` is no exit.
    pub(super) kernel_lapic: bool,
}

/// State of a vCPU that only this program changes, cached when it is first read or written.
#[derive(Debug, Default)]
pub(super) struct CachedState {
    /// Frequency of the time stamp counter in kHz; 0 if the host does not report it.
    pub(super) tsc_khz: Cell<Option<u32>>,
    /// The frequency in kHz that the host has refused last; 0 if it has refused none.
    pub(super) refused_tsc_khz: Cell<u32>,
    /// KVM_MP_STATE_*: without KVM's own interrupt controllers, `hlt` is an exit, and no event wakes or
    /// starts a vCPU.
    pub(super) running: Cell<Option<u32>>,
}

/// A vCPU of a virtual machine.
#[derive(Debug)]
pub struct Vcpu {
    pub(super) fd: VcpuFd,
    /// Index in the virtual machine, and APIC ID.
    pub(super) index: u8,
    /// The guest's memory; held so that it stays mapped.
    memory: Arc<GuestMemory>,
    /// The CPU features of the guest.
    pub(super) cpuid: CpuId,
    /// The debug facilities last passed to KVM.
    pub(super) debugging: Cell<GuestDebug>,
    /// They must be passed again.
    pub(super) debugging_is_stale: Cell<bool>,
    pub(super) kicker: Kicker,
    pub(super) capabilities: Capabilities,
    pub(super) cached: CachedState,
    /// The registers in `kvm_run` are current.
    pub(super) shared: Cell<bool>,
    /// What `kvm_run` says of interrupts is older than the registers.
    pub(super) interrupt_state_is_stale: Cell<bool>,
    port: Option<PortAccess>,
    /// An MMIO read is waiting for its value.
    reading: bool,
    /// An access to a model-specific register is waiting for its answer.
    msr: bool,
    /// The exit that follows the coalesced writes.
    pub(super) after_batch: Option<u32>,
    /// The last exit left nothing to complete.
    exit_completed: bool,
    /// The thread that enters the guest; `None` if that is the one that created the vCPU.
    pub(super) thread: Option<RunThread>,
    /// The guest was entered by [`Self::begin`], and [`Self::finish`] was not called yet.
    pub(super) away: bool,
    /// A vCPU stays on the thread that created it: kicks are sent there, unless it has one of its own.
    not_send: PhantomData<*const ()>,
}

impl Vcpu {
    pub(super) fn new(
        mut fd: VcpuFd,
        index: u8,
        memory: Arc<GuestMemory>,
        cpuid: CpuId,
        kicker: Kicker,
        capabilities: Capabilities,
    ) -> Result<Vcpu, HostError> {
        if capabilities.batching {
            fd.map_coalesced_mmio_ring()
                .map_err(|e| HostError::refused("share its ring of port writes", e))?;
        }
        let mut vcpu = Vcpu {
            fd,
            index,
            memory,
            cpuid,
            debugging: Cell::new(GuestDebug::default()),
            debugging_is_stale: Cell::new(false),
            kicker,
            capabilities,
            cached: CachedState::default(),
            shared: Cell::new(false),
            interrupt_state_is_stale: Cell::new(true),
            port: None,
            reading: false,
            msr: false,
            after_batch: None,
            exit_completed: true,
            thread: None,
            away: false,
            not_send: PhantomData,
        };
        vcpu.aim_kicker();
        Ok(vcpu)
    }

    /// Kicks are meant for this vCPU from now on: of several that share a thread and a kicker, the one that runs next.
    pub fn aim_kicker(&mut self) {
        let immediate_exit = self.immediate_exit();
        self.kicker.aim(immediate_exit);
    }

    /// True if nothing is left to complete of the access that stopped the vCPU last and of the coalesced
    /// writes, as after [`Self::complete`].
    pub fn is_at_instruction_boundary(&self) -> bool {
        self.exit_completed && self.after_batch.is_none()
    }

    /// Index in the virtual machine, which is the APIC ID.
    pub fn index(&self) -> u8 {
        self.index
    }

    /// The guest's memory.
    pub fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }

    /// The CPU features of the guest.
    pub fn features(&self) -> CpuFeatures {
        CpuFeatures::of(&self.cpuid)
    }

    /// True if the host can coalesce port writes (see [`super::Vm::coalesce_port_writes`]).
    pub fn can_coalesce_writes(&self) -> bool {
        self.capabilities.batching
    }

    /// True if the guest's CPUID has this bit.
    pub(super) fn offers(&self, feature: CpuidBit) -> bool {
        feature.is_in(&self.cpuid)
    }

    /// A description of pending exceptions, interrupts and NMIs; `None` if there are none.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn pending_events(&self) -> Result<Option<String>, HostError> {
        let events =
            self.fd.get_vcpu_events().map_err(|e| HostError::refused("read the pending events", e))?;
        let mut words = Vec::new();
        if events.exception.injected != 0 || events.exception.pending != 0 {
            words.push(format!("exception {}", events.exception.nr));
        }
        if events.interrupt.injected != 0 {
            words.push(format!("interrupt {}", events.interrupt.nr));
        }
        if events.nmi.pending != 0 || events.nmi.injected != 0 {
            words.push("NMI".to_owned());
        }
        Ok(if words.is_empty() { None } else { Some(words.join(", ")) })
    }

    /// Discards pending exceptions: the next instruction starts anew (KVM_SET_VCPU_EVENTS in api.rst).
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn clear_exceptions(&self) -> Result<(), HostError> {
        let mut events =
            self.fd.get_vcpu_events().map_err(|e| HostError::refused("read the pending events", e))?;
        events.exception = Default::default();
        self.interrupt_state_is_stale.set(true);
        self.fd.set_vcpu_events(&events).map_err(|e| HostError::refused("write the pending events", e))
    }

    /// Discards pending exceptions, interrupts and NMIs.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn clear_events(&self) -> Result<(), HostError> {
        self.interrupt_state_is_stale.set(true);
        let none = kvm_bindings::kvm_vcpu_events {
            flags: kvm_bindings::KVM_VCPUEVENT_VALID_NMI_PENDING | kvm_bindings::KVM_VCPUEVENT_VALID_SHADOW,
            ..Default::default()
        };
        self.fd.set_vcpu_events(&none).map_err(|e| HostError::refused("write the pending events", e))
    }

    /// The next coalesced port write.
    #[inline]
    pub(super) fn collected_write(&mut self) -> Result<Option<VmExit>, HostError> {
        if !self.capabilities.batching {
            return Ok(None);
        }
        let write = self
            .fd
            .coalesced_mmio_read()
            .map_err(|e| HostError::refused("share its ring of port writes", e))?;
        Ok(write.map(|write| {
            let size = write.len.clamp(1, 4) as u8;
            let mut bytes = [0; 4];
            bytes[..usize::from(size)].copy_from_slice(&write.data[..usize::from(size)]);
            VmExit::PortOut { port: write.phys_addr as u16, size, value: u32::from_le_bytes(bytes) }
        }))
    }

    /// Sets the value of the read that stopped the guest.
    #[inline]
    pub(super) fn answer(&mut self, entry: VmEntry) {
        let value = match entry {
            VmEntry::Resume | VmEntry::Fault => u64::MAX,
            VmEntry::Value(value) => value,
        };
        if std::mem::take(&mut self.msr) {
            // `msr` is set only when the last exit was one for such a register, so this is the member of the union
            // that is in use.
            let run = self.fd.get_kvm_run();
            run.__bindgen_anon_1.msr.error = u8::from(entry == VmEntry::Fault);
            run.__bindgen_anon_1.msr.data = value;
        } else if self.reading {
            self.reading = false;
            // `reading` is set only when the last exit was an MMIO exit, so this is the member of the
            // union that is in use.
            self.fd.get_kvm_run().__bindgen_anon_1.mmio.data = value.to_le_bytes();
        } else if let Some(access) = self.port
            && access.input
        {
            // The element reported last lies just before `next`.
            let at = access.next - usize::from(access.size);
            let bytes = value.to_le_bytes();
            self.io_bytes(at, usize::from(access.size)).copy_from_slice(&bytes[..usize::from(access.size)]);
        }
    }

    /// Reports the next element of a port access.
    #[inline]
    pub(super) fn next_element(&mut self) -> Option<VmExit> {
        let mut access = self.port?;
        if access.left == 0 {
            self.port = None;
            return None;
        }
        let at = access.next;
        access.next += usize::from(access.size);
        access.left -= 1;
        self.port = Some(access);
        if access.input {
            return Some(VmExit::PortIn { port: access.port, size: access.size });
        }
        let mut bytes = [0; 4];
        bytes[..usize::from(access.size)].copy_from_slice(self.io_bytes(at, usize::from(access.size)));
        Some(VmExit::PortOut { port: access.port, size: access.size, value: u32::from_le_bytes(bytes) })
    }

    /// The data of the element of a string read that was reported last and of those that follow it, without the last
    /// of all; empty if it is the last one.
    pub fn elements_before_last(&mut self) -> &mut [u8] {
        match self.port {
            Some(access) if access.input && access.left > 0 => {
                let size = usize::from(access.size);
                self.io_bytes(access.next - size, access.left as usize * size)
            }
            _ => &mut [],
        }
    }

    /// The first `count` elements of [`Vcpu::elements_before_last`] have their values: the one after them is now the
    /// one that was reported last.
    ///
    /// # Panics
    ///
    /// If there are not so many elements.
    pub fn skip_elements(&mut self, count: usize) {
        if let (Some(access), true) = (&mut self.port, count > 0) {
            assert!(count <= access.left as usize, "more elements than were read");
            access.next += count * usize::from(access.size);
            access.left -= count as u32;
        }
    }

    /// `length` bytes of the port data page at offset `at` of `kvm_run`.
    #[inline]
    fn io_bytes(&mut self, at: usize, length: usize) -> &mut [u8] {
        let run = std::ptr::from_mut(self.fd.get_kvm_run()).cast::<u8>();
        // SAFETY: `at` starts at the offset KVM gave for the data of this exit and stays below offset + size
        // * count, all of which lies in the mapping of `kvm_run` that `self.fd` owns; the vCPU is not
        // running, so there is no other writer.
        unsafe { std::slice::from_raw_parts_mut(run.add(at), length) }
    }

    #[inline]
    pub(super) fn decode(&mut self, reason: u32) -> Result<VmExit, HostError> {
        self.exit_completed =
            !matches!(reason, KVM_EXIT_IO | KVM_EXIT_MMIO | KVM_EXIT_X86_RDMSR | KVM_EXIT_X86_WRMSR);
        let run = self.fd.get_kvm_run();
        Ok(match reason {
            KVM_EXIT_IO => {
                // SAFETY: the exit reason says that this member of the union is in use.
                let io = unsafe { run.__bindgen_anon_1.io };
                self.port = Some(PortAccess {
                    port: io.port,
                    size: io.size.min(4),
                    input: u32::from(io.direction) == KVM_EXIT_IO_IN,
                    next: io.data_offset as usize,
                    left: io.count,
                });
                self.next_element().unwrap_or(VmExit::Interrupted)
            }
            KVM_EXIT_MMIO => {
                // SAFETY: the exit reason says that this member of the union is in use.
                let mmio = unsafe { run.__bindgen_anon_1.mmio };
                let size = mmio.len.clamp(1, 8) as u8;
                if mmio.is_write == 0 {
                    self.reading = true;
                    VmExit::MmioRead { address: mmio.phys_addr, size }
                } else {
                    let mut bytes = [0; 8];
                    bytes[..usize::from(size)].copy_from_slice(&mmio.data[..usize::from(size)]);
                    VmExit::MmioWrite { address: mmio.phys_addr, size, value: u64::from_le_bytes(bytes) }
                }
            }
            KVM_EXIT_X86_RDMSR | KVM_EXIT_X86_WRMSR => {
                // SAFETY: the exit reason says that this member of the union is in use.
                let msr = unsafe { run.__bindgen_anon_1.msr };
                self.msr = true;
                match reason {
                    KVM_EXIT_X86_RDMSR => VmExit::MsrRead { index: msr.index },
                    _ => VmExit::MsrWrite { index: msr.index, value: msr.data },
                }
            }
            KVM_EXIT_HLT if self.debugging.get().halts => VmExit::Debug(self.before_halt()?),
            KVM_EXIT_HLT => VmExit::Halt { interruptible: run.if_flag != 0 },
            KVM_EXIT_SHUTDOWN => VmExit::Shutdown,
            KVM_EXIT_INTR => VmExit::Interrupted,
            KVM_EXIT_IRQ_WINDOW_OPEN => VmExit::InterruptWindow,
            KVM_EXIT_SET_TPR => VmExit::TaskPriority,
            KVM_EXIT_DEBUG => {
                // SAFETY: the exit reason says that this member of the union is in use.
                let debug = unsafe { run.__bindgen_anon_1.debug.arch };
                VmExit::Debug(DebugStop {
                    exception: debug.exception,
                    pc: debug.pc,
                    dr6: debug.dr6,
                    dr7: debug.dr7,
                })
            }
            KVM_EXIT_FAIL_ENTRY => {
                // SAFETY: the exit reason says that this member of the union is in use.
                let failure = unsafe { run.__bindgen_anon_1.fail_entry };
                VmExit::EntryFailed(failure.hardware_entry_failure_reason)
            }
            KVM_EXIT_INTERNAL_ERROR => {
                let refusal = refusal(run);
                match self.breakpoint(&refusal)? {
                    Some(stop) => VmExit::Debug(stop),
                    None => VmExit::Refused(refusal),
                }
            }
            other => VmExit::Unexpected(other),
        })
    }

    /// The debug stop that a refusal means, on hosts whose emulator does not support `int3`.
    #[cold]
    fn breakpoint(&self, refusal: &Refusal) -> Result<Option<DebugStop>, HostError> {
        let stops = self.debugging.get().software_breakpoints
            && refusal.suberror == Refusal::EMULATION
            && refusal.bytes().first() == Some(&INT3);
        if !stops {
            return Ok(None);
        }
        let pc = self.registers()?.next_instruction();
        Ok(Some(DebugStop { exception: DebugStop::BREAKPOINT, pc, dr6: 0, dr7: 0 }))
    }

    /// Sets RIP back to the `hlt` that stopped the vCPU.
    pub(super) fn before_halt(&self) -> Result<DebugStop, HostError> {
        let mut registers = self.registers()?;
        registers.general.rip = registers.general.rip.wrapping_sub(1);
        self.set_general_registers(&registers.general)?;
        let pc = registers.next_instruction();
        Ok(DebugStop { exception: DebugStop::BREAKPOINT, pc, dr6: 0, dr7: 0 })
    }

    pub(super) fn immediate_exit(&mut self) -> *const AtomicU8 {
        std::ptr::from_mut(&mut self.fd.get_kvm_run().immediate_exit).cast::<AtomicU8>()
    }

    pub(super) fn clear_kick(&mut self) {
        let flag = self.immediate_exit();
        // SAFETY: the byte lies in the mapping of `kvm_run` and is otherwise written only as an
        // atomic by a `Kicker`.
        unsafe { &*flag }.store(0, Ordering::SeqCst);
    }
}

/// Reads the details of an internal error, see `struct kvm_run` in api.rst.
fn refusal(run: &kvm_run) -> Refusal {
    // SAFETY: the exit reason says that this member of the union is in use.
    let internal = unsafe { run.__bindgen_anon_1.internal };
    let emulation = internal.suberror == Refusal::EMULATION;
    if !emulation || internal.ndata < 3 || internal.data[0] & HAS_INSTRUCTION_BYTES == 0 {
        return Refusal::new(internal.suberror, &[]);
    }
    // After the flags: one byte of length, then up to 15 bytes of instruction.
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&internal.data[1].to_le_bytes());
    bytes[8..].copy_from_slice(&internal.data[2].to_le_bytes());
    let length = usize::from(bytes[0]).min(15);
    Refusal::new(internal.suberror, &bytes[1..=length])
}
