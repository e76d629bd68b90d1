//! Values of registers: `print $rip`, `set $cr4 = $cr4 | 4`, `info registers`.
//!
//! [`RegisterCache`] fetches registers from KVM in groups, once for each stop of the guest, as gdb
//! reads the same registers several times, and writes back the groups that were changed.

use gdbstub_arch::x86::reg::id::X86SegmentRegId;
use gdbstub_arch::x86::reg::id::{X86_64CoreRegId as Core64, X86CoreRegId as Core32};
use gdbstub_arch::x86::reg::{X86_64CoreRegs, X86CoreRegs, X86SegmentRegs};

use super::layout::{Layout, Register, SYSTEM, SystemRegister};
use super::register_set::{CoreRegisters, GdbRegisters};
use super::segments;
use super::xsave::{Field, extended_value, set_extended_value, stack_register, x87_registers};
use crate::arch::flags::{CR0_PG, EFER_LMA, EFER_LME};
use crate::arch::paging::is_canonical;
use crate::arch::{ExtendedRegisters, GeneralRegisters, Registers, SegmentRegister, SystemRegisters};
use crate::kvm::HostError;
use crate::machine::{CpuId, Machine};

/// The base that `swapgs` gives GS (Intel SDM volume 4, "IA32_KERNEL_GS_BASE").
const KERNEL_GS_BASE: u32 = 0xC000_0102;

/// Registers of a stopped vCPU that gdb has read or written. gdb accesses one vCPU after the other, so the registers of
/// one are enough.
#[derive(Debug, Default)]
pub(crate) struct RegisterCache {
    /// The vCPU of these registers.
    vcpu: CpuId,
    general: Option<GeneralRegisters>,
    system: Option<SystemRegisters>,
    extended: Option<Box<ExtendedRegisters>>,
    kernel_gs_base: Option<u64>,
    /// Registers that are not written to the vCPU yet.
    written: Written,
}

#[derive(Clone, Copy, Debug, Default)]
struct Written {
    general: bool,
    system: bool,
    extended: bool,
    kernel_gs_base: bool,
}

/// Where KVM has the value of a register.
enum Source {
    /// A general register, by its number in instructions (Intel SDM volume 2A, "ModR/M").
    General(u8),
    Ip,
    Flags,
    Segment(X86SegmentRegId),
    System(SystemRegister),
    /// In the XSAVE area.
    Extended(Field),
}

/// gdb lists the first general registers of x86-64 in another order than instructions number them.
const GENERAL_64: [u8; 16] = [0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15];

/// Where the value of `register` is; `None` for one that gdbstub_arch may have one day.
fn source(register: Register) -> Option<Source> {
    Some(match register {
        Register::Core64(Core64::Gpr(n)) => Source::General(*GENERAL_64.get(usize::from(n))?),
        Register::Core32(Core32::Eax) => Source::General(0),
        Register::Core32(Core32::Ecx) => Source::General(1),
        Register::Core32(Core32::Edx) => Source::General(2),
        Register::Core32(Core32::Ebx) => Source::General(3),
        Register::Core32(Core32::Esp) => Source::General(4),
        Register::Core32(Core32::Ebp) => Source::General(5),
        Register::Core32(Core32::Esi) => Source::General(6),
        Register::Core32(Core32::Edi) => Source::General(7),
        Register::Core64(Core64::Rip) | Register::Core32(Core32::Eip) => Source::Ip,
        Register::Core64(Core64::Eflags) | Register::Core32(Core32::Eflags) => Source::Flags,
        Register::Core64(Core64::Segment(id)) | Register::Core32(Core32::Segment(id)) => Source::Segment(id),
        Register::System(register) => Source::System(register),
        Register::Core64(Core64::St(n)) | Register::Core32(Core32::St(n)) => {
            Source::Extended(Field::Stack(n))
        }
        Register::Core64(Core64::Fpu(id)) | Register::Core32(Core32::Fpu(id)) => {
            Source::Extended(Field::X87(id))
        }
        Register::Core64(Core64::Xmm(n)) | Register::Core32(Core32::Xmm(n)) => {
            Source::Extended(Field::Xmm(n))
        }
        Register::Core64(Core64::Mxcsr) | Register::Core32(Core32::Mxcsr) => Source::Extended(Field::Mxcsr),
        Register::YmmHigh(n) => Source::Extended(Field::YmmHigh(n)),
        Register::OrigRax | Register::Core64(_) | Register::Core32(_) => return None,
    })
}

impl RegisterCache {
    /// The cache for the registers of `vcpu`. Registers of any other vCPU are dropped.
    pub(crate) fn of(&mut self, vcpu: CpuId) -> &mut RegisterCache {
        if self.vcpu != vcpu {
            *self = RegisterCache { vcpu, ..RegisterCache::default() };
        }
        self
    }

    /// Drops everything: the guest is about to run, or something else changes registers.
    pub(crate) fn forget(&mut self) {
        *self = RegisterCache::default();
    }

    /// General and system registers.
    ///
    /// # Errors
    ///
    /// [`HostError`] if KVM does not return them.
    pub(crate) fn both(&mut self, machine: &Machine) -> Result<Registers, HostError> {
        Ok(Registers { general: *self.general(machine)?, system: *self.system(machine)? })
    }

    /// The value of a register, zero-extended.
    ///
    /// # Errors
    ///
    /// [`HostError`] if KVM does not return it.
    pub(crate) fn get(&mut self, machine: &Machine, register: Register) -> Result<u128, HostError> {
        if let Register::OrigRax = register {
            return Ok(u128::from(u64::MAX));
        }
        let value = match source(register) {
            Some(Source::General(n)) => *general_register(self.general(machine)?, n),
            Some(Source::Ip) => self.general(machine)?.rip,
            Some(Source::Flags) => self.general(machine)?.rflags,
            Some(Source::Segment(id)) => segment(self.system(machine)?, id).selector.into(),
            Some(Source::System(SystemRegister::KernelGsBase)) => self.kernel_gs_base(machine)?,
            Some(Source::System(register)) => {
                system_register(self.system(machine)?, register).copied().unwrap_or(0)
            }
            Some(Source::Extended(field)) => return Ok(extended_value(self.extended(machine)?, field)),
            None => 0,
        };
        Ok(value.into())
    }

    /// All registers of `layout`.
    ///
    /// # Errors
    ///
    /// [`HostError`] if KVM does not return them.
    pub(crate) fn all(&mut self, machine: &Machine, layout: Layout) -> Result<GdbRegisters, HostError> {
        let mut general = *self.general(machine)?;
        let kernel_gs_base = self.kernel_gs_base(machine)?;
        let mut system = *self.system(machine)?;
        let area: &ExtendedRegisters = self.extended(machine)?;
        let segments = X86SegmentRegs {
            cs: system.cs.selector.into(),
            ss: system.ss.selector.into(),
            ds: system.ds.selector.into(),
            es: system.es.selector.into(),
            fs: system.fs.selector.into(),
            gs: system.gs.selector.into(),
        };
        let st = std::array::from_fn(|n| stack_register(area, n));
        let (fpu, mxcsr) = (x87_registers(area), extended_value(area, Field::Mxcsr) as u32);
        // Registers of i386 are the low halves of those of x86-64.
        let core = if layout.is_64_bit() {
            CoreRegisters::Core64(X86_64CoreRegs {
                regs: GENERAL_64.map(|n| *general_register(&mut general, n)),
                rip: general.rip,
                eflags: general.rflags as u32,
                segments,
                st,
                fpu,
                xmm: std::array::from_fn(|n| extended_value(area, Field::Xmm(n as u8))),
                mxcsr,
            })
        } else {
            CoreRegisters::Core32(X86CoreRegs {
                eax: general.rax as u32,
                ecx: general.rcx as u32,
                edx: general.rdx as u32,
                ebx: general.rbx as u32,
                esp: general.rsp as u32,
                ebp: general.rbp as u32,
                esi: general.rsi as u32,
                edi: general.rdi as u32,
                eip: general.rip as u32,
                eflags: general.rflags as u32,
                segments,
                st,
                fpu,
                xmm: std::array::from_fn(|n| extended_value(area, Field::Xmm(n as u8))),
                mxcsr,
            })
        };
        Ok(GdbRegisters {
            core,
            system: SYSTEM.map(|register| match system_register(&mut system, register) {
                Some(value) => *value,
                None => kernel_gs_base,
            }),
            ymm_high: std::array::from_fn(|n| extended_value(area, Field::YmmHigh(n as u8))),
            ymm_halves: layout.ymm_halves(),
            orig_rax: layout.is_linux().then_some(u64::MAX),
        })
    }

    /// Notes a new value of a register; [`Self::store`] writes it.
    ///
    /// # Errors
    ///
    /// The reason why the register cannot have this value.
    pub(crate) fn set(&mut self, machine: &Machine, register: Register, value: u128) -> Result<(), String> {
        let host = |error: HostError| error.to_string();
        let low = value as u64;
        if let Register::OrigRax = register {
            // gdb writes back what it has recorded.
            return Ok(());
        }
        let source = source(register).ok_or("this register cannot be written")?;
        let is_address = matches!(
            source,
            Source::Ip
                | Source::System(
                    SystemRegister::FsBase | SystemRegister::GsBase | SystemRegister::KernelGsBase
                )
        );
        // The processor holds no other address there; some hosts fail to run a guest that has one.
        if is_address && !is_canonical(self.system(machine).map_err(host)?.cr4, low) {
            return Err(format!("{low:#x} is no address: its upper bits are not all the same"));
        }
        match source {
            Source::General(n) => {
                *general_register(self.general(machine).map_err(host)?, n) = low;
                self.written.general = true;
            }
            Source::Ip => {
                self.general(machine).map_err(host)?.rip = low;
                self.written.general = true;
            }
            Source::Flags => {
                let general = self.general(machine).map_err(host)?;
                general.rflags = general.rflags & !u64::from(u32::MAX) | low & u64::from(u32::MAX);
                self.written.general = true;
            }
            Source::Segment(id) => {
                let now = self.both(machine).map_err(host)?;
                let system = self.system(machine).map_err(host)?;
                let loaded = segments::load(machine.memory(), &now, id, low)?;
                *segment(system, id) = loaded;
                self.written.system = true;
            }
            Source::System(register) => self.set_system(machine, register, low).map_err(host)?,
            Source::Extended(field) => {
                set_extended_value(self.extended(machine).map_err(host)?, field, value);
                self.written.extended = true;
            }
        }
        Ok(())
    }

    fn set_system(
        &mut self,
        machine: &Machine,
        register: SystemRegister,
        value: u64,
    ) -> Result<(), HostError> {
        let system = self.system(machine)?;
        match system_register(system, register) {
            Some(place) => {
                *place = value;
                // The processor sets and clears LMA by itself.
                let active = system.efer & EFER_LME != 0 && system.cr0 & CR0_PG != 0;
                if !matches!(register, SystemRegister::FsBase | SystemRegister::GsBase) {
                    system.efer = system.efer & !EFER_LMA | if active { EFER_LMA } else { 0 };
                }
                self.written.system = true;
            }
            None => {
                self.kernel_gs_base = Some(value);
                self.written.kernel_gs_base = true;
            }
        }
        Ok(())
    }

    /// Writes the registers that were [`Self::set`] to the vCPU, and empties the cache: KVM may have corrected reserved bits.
    ///
    /// # Errors
    ///
    /// The reason why KVM refuses a group of registers; nothing of that group has changed then.
    pub(crate) fn store(&mut self, machine: &mut Machine) -> Result<(), String> {
        let cache = std::mem::take(self);
        let cpu = cache.vcpu;
        let written = cache.written;
        let host = |error: HostError| error.to_string();
        if let Some(system) = cache.system.filter(|_| written.system) {
            store_system(machine, cpu, &system)?;
        }
        if let Some(general) = cache.general.filter(|_| written.general) {
            machine.set_general_registers(cpu, &general).map_err(host)?;
        }
        if let Some(extended) = cache.extended.filter(|_| written.extended) {
            machine.set_extended_registers(cpu, &extended).map_err(host)?;
        }
        if let Some(base) = cache.kernel_gs_base.filter(|_| written.kernel_gs_base)
            && !machine.set_msr(cpu, KERNEL_GS_BASE, base).map_err(host)?
        {
            return Err(format!("this host does not take {base:#x} for the base that swapgs gives GS"));
        }
        Ok(())
    }

    fn general(&mut self, machine: &Machine) -> Result<&mut GeneralRegisters, HostError> {
        if self.general.is_none() {
            self.general = Some(machine.cpu(self.vcpu).vcpu().general_registers()?);
        }
        Ok(self.general.get_or_insert_default())
    }

    fn system(&mut self, machine: &Machine) -> Result<&mut SystemRegisters, HostError> {
        if self.system.is_none() {
            self.system = Some(machine.cpu(self.vcpu).vcpu().system_registers()?);
        }
        Ok(self.system.get_or_insert_default())
    }

    fn extended(&mut self, machine: &Machine) -> Result<&mut ExtendedRegisters, HostError> {
        if self.extended.is_none() {
            self.extended = Some(Box::new(machine.cpu(self.vcpu).vcpu().extended_registers()?));
        }
        Ok(self.extended.get_or_insert_with(|| Box::new([0; _])))
    }

    fn kernel_gs_base(&mut self, machine: &Machine) -> Result<u64, HostError> {
        match self.kernel_gs_base {
            Some(base) => Ok(base),
            None => {
                let base = machine.cpu(self.vcpu).vcpu().msr(KERNEL_GS_BASE)?.unwrap_or(0);
                Ok(*self.kernel_gs_base.insert(base))
            }
        }
    }
}

/// Some hosts accept a state and then have another one, which counts as a refusal.
fn store_system(machine: &mut Machine, cpu: CpuId, wanted: &SystemRegisters) -> Result<(), String> {
    let host = |error: HostError| error.to_string();
    let before = machine.cpu(cpu).vcpu().system_registers().map_err(host)?;
    machine.set_system_registers(cpu, wanted).map_err(|error| {
        format!("{error}; CR0, CR3, CR4, EFER and CS must together be a state the processor can be in")
    })?;
    let after = machine.cpu(cpu).vcpu().system_registers().map_err(host)?;
    for (name, wanted, found) in [
        ("CR0", wanted.cr0, after.cr0),
        ("CR4", wanted.cr4, after.cr4),
        ("EFER", wanted.efer, after.efer),
        ("CR8", wanted.cr8, after.cr8),
    ] {
        // CR0.ET is always set.
        if (wanted ^ found) & !(1 << 4) != 0 {
            machine.set_system_registers(cpu, &before).map_err(host)?;
            return Err(format!(
                "this host takes {wanted:#x} for {name} and makes {found:#x} of it; the registers are as before"
            ));
        }
    }
    Ok(())
}

fn general_register(general: &mut GeneralRegisters, number: u8) -> &mut u64 {
    match number {
        0 => &mut general.rax,
        1 => &mut general.rcx,
        2 => &mut general.rdx,
        3 => &mut general.rbx,
        4 => &mut general.rsp,
        5 => &mut general.rbp,
        6 => &mut general.rsi,
        7 => &mut general.rdi,
        8 => &mut general.r8,
        9 => &mut general.r9,
        10 => &mut general.r10,
        11 => &mut general.r11,
        12 => &mut general.r12,
        13 => &mut general.r13,
        14 => &mut general.r14,
        _ => &mut general.r15,
    }
}

fn segment(system: &mut SystemRegisters, id: X86SegmentRegId) -> &mut SegmentRegister {
    match id {
        X86SegmentRegId::CS => &mut system.cs,
        X86SegmentRegId::SS => &mut system.ss,
        X86SegmentRegId::DS => &mut system.ds,
        X86SegmentRegId::ES => &mut system.es,
        X86SegmentRegId::FS => &mut system.fs,
        X86SegmentRegId::GS => &mut system.gs,
    }
}

/// Where a system register is; `None` for the base that `swapgs` gives GS, which KVM has among the MSRs.
fn system_register(system: &mut SystemRegisters, register: SystemRegister) -> Option<&mut u64> {
    Some(match register {
        SystemRegister::FsBase => &mut system.fs.base,
        SystemRegister::GsBase => &mut system.gs.base,
        SystemRegister::KernelGsBase => return None,
        SystemRegister::Cr0 => &mut system.cr0,
        SystemRegister::Cr2 => &mut system.cr2,
        SystemRegister::Cr3 => &mut system.cr3,
        SystemRegister::Cr4 => &mut system.cr4,
        SystemRegister::Cr8 => &mut system.cr8,
        SystemRegister::Efer => &mut system.efer,
    })
}
