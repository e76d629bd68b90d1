//! The vCPU's registers one by one, as gdb has them, and back.
//!
//! What gdb asks for is fetched from the host in groups, once for each stop of the guest: gdb reads the
//! same registers several times.
//!
//! Manual: Intel SDM volume 1, "x87 FPU Tag Word" and "XSAVE Area"; volume 2A, "FXSAVE".

use crate::arch::{GeneralRegisters, SegmentRegister, SystemRegisters};

use super::arch::{Control, Register};
use super::segments;
use super::threads::VcpuNumber;
use crate::arch::Registers;
use crate::arch::flags::{CR0_PG, EFER_LMA, EFER_LME};
use crate::arch::paging::is_canonical;
use crate::kvm::{ExtendedRegisters, HostError};
use crate::machine::{CpuId, Machine};

/// Tags of an x87 register (two bits each).
const VALID: u16 = 0;
const ZERO: u16 = 1;
const SPECIAL: u16 = 2;
const EMPTY: u16 = 3;

/// Offsets in the XSAVE area, in bytes.
const FCW: usize = 0;
const FSW: usize = 2;
const TAGS: usize = 4;
const OPCODE: usize = 6;
const LAST_IP: usize = 8;
const LAST_DP: usize = 16;
const MXCSR: usize = 24;
const STACK: usize = 32;
const XMM: usize = 160;
const COMPONENTS: usize = 512;
const YMM_HIGH: usize = 576;

/// Components of the XSAVE area that are not in their initial state.
const X87: u8 = 1;
const SSE: u8 = 2;
const AVX: u8 = 4;

/// The base that `swapgs` gives GS (Intel SDM volume 4, "IA32_KERNEL_GS_BASE").
const KERNEL_GS_BASE: u32 = 0xC000_0102;

/// Registers of a stopped vCPU that gdb has asked for, and what it has written to them. gdb asks for those
/// of one vCPU after the other, so that those of one are enough.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    /// Whose they are.
    vcpu: VcpuNumber,
    general: Option<GeneralRegisters>,
    system: Option<SystemRegisters>,
    extended: Option<Box<ExtendedRegisters>>,
    kernel_gs_base: Option<u64>,
    /// What is in the cache and not in the vCPU yet.
    written: Written,
}

#[derive(Clone, Copy, Debug, Default)]
struct Written {
    general: bool,
    system: bool,
    extended: bool,
    kernel_gs_base: bool,
}

impl Cache {
    /// The cache for the registers of `vcpu`; of no other one is anything kept.
    pub(crate) fn of(&mut self, vcpu: VcpuNumber) -> &mut Cache {
        if self.vcpu != vcpu {
            *self = Cache { vcpu, ..Cache::default() };
        }
        self
    }

    /// Drops everything: the guest is about to run, or somebody else changes registers.
    pub(crate) fn forget(&mut self) {
        *self = Cache::default();
    }

    /// General and system registers.
    ///
    /// # Errors
    ///
    /// [`HostError`] if the host does not tell.
    pub(crate) fn both(&mut self, machine: &Machine) -> Result<Registers, HostError> {
        Ok(Registers { general: *self.general(machine)?, system: *self.system(machine)? })
    }

    /// The value of a register, zero-extended.
    ///
    /// # Errors
    ///
    /// [`HostError`] if the host does not tell.
    pub(crate) fn get(&mut self, machine: &Machine, register: Register) -> Result<u128, HostError> {
        let value = match register {
            Register::General(n) => *general_register(self.general(machine)?, n),
            Register::Ip => self.general(machine)?.rip,
            Register::Flags => self.general(machine)?.rflags,
            Register::Segment(n) => segment(self.system(machine)?, n).selector.into(),
            Register::FsBase => self.system(machine)?.fs.base,
            Register::GsBase => self.system(machine)?.gs.base,
            Register::KernelGsBase => self.kernel_gs_base(machine)?,
            Register::Control(control) => *control_register(self.system(machine)?, control),
            Register::Stack(_)
            | Register::Float(_)
            | Register::Xmm(_)
            | Register::Mxcsr
            | Register::YmmHigh(_) => return Ok(extended_value(self.extended(machine)?, register)),
        };
        Ok(value.into())
    }

    /// Notes what a register is to be; [`Self::store`] writes it.
    ///
    /// # Errors
    ///
    /// Why the register cannot have this value, in words.
    pub(crate) fn set(&mut self, machine: &Machine, register: Register, value: u128) -> Result<(), String> {
        let host = |error: HostError| error.to_string();
        let low = value as u64;
        if matches!(register, Register::Ip | Register::FsBase | Register::GsBase | Register::KernelGsBase) {
            // The processor holds no other address there; some hosts fail to run a guest that has one.
            if !is_canonical(self.system(machine).map_err(host)?.cr4, low) {
                return Err(format!("{low:#x} is no address: its upper bits are not all the same"));
            }
        }
        match register {
            Register::General(n) => *general_register(self.general(machine).map_err(host)?, n) = low,
            Register::Ip => self.general(machine).map_err(host)?.rip = low,
            Register::Flags => {
                let general = self.general(machine).map_err(host)?;
                general.rflags = general.rflags & !u64::from(u32::MAX) | low & u64::from(u32::MAX);
            }
            Register::Segment(n) => {
                let now = self.both(machine).map_err(host)?;
                let system = self.system(machine).map_err(host)?;
                let loaded = segments::load(machine.memory(), &now, n, low)?;
                *segment(system, n) = loaded;
            }
            Register::FsBase => self.system(machine).map_err(host)?.fs.base = low,
            Register::GsBase => self.system(machine).map_err(host)?.gs.base = low,
            Register::KernelGsBase => self.kernel_gs_base = Some(low),
            Register::Control(control) => {
                let system = self.system(machine).map_err(host)?;
                *control_register(system, control) = low;
                // The processor sets and clears LMA by itself.
                let active = system.efer & EFER_LME != 0 && system.cr0 & CR0_PG != 0;
                system.efer = system.efer & !EFER_LMA | if active { EFER_LMA } else { 0 };
            }
            Register::Stack(_)
            | Register::Float(_)
            | Register::Xmm(_)
            | Register::Mxcsr
            | Register::YmmHigh(_) => {
                set_extended_value(self.extended(machine).map_err(host)?, register, value);
            }
        }
        match register {
            Register::General(_) | Register::Ip | Register::Flags => self.written.general = true,
            Register::Segment(_) | Register::FsBase | Register::GsBase | Register::Control(_) => {
                self.written.system = true;
            }
            Register::KernelGsBase => self.written.kernel_gs_base = true,
            _ => self.written.extended = true,
        }
        Ok(())
    }

    /// Gives the vCPU what was [`Self::set`]. What the host then has is asked for again, for it may
    /// have corrected reserved bits.
    ///
    /// # Errors
    ///
    /// Why the host does not take it, in words; nothing of the refused group has changed then.
    pub(crate) fn store(&mut self, machine: &mut Machine) -> Result<(), String> {
        let cache = std::mem::take(self);
        let written = cache.written;
        let host = |error: HostError| error.to_string();
        if let Some(system) = cache.system.filter(|_| written.system) {
            store_system(machine, &system)?;
        }
        if let Some(general) = cache.general.filter(|_| written.general) {
            machine.cpu_mut(CpuId::BOOT).set_general_registers(&general).map_err(host)?;
        }
        if let Some(extended) = cache.extended.filter(|_| written.extended) {
            machine.cpu(CpuId::BOOT).vcpu().set_extended_registers(&extended).map_err(host)?;
        }
        if let Some(base) = cache.kernel_gs_base.filter(|_| written.kernel_gs_base)
            && !machine.cpu(CpuId::BOOT).vcpu().set_msr(KERNEL_GS_BASE, base).map_err(host)?
        {
            return Err(format!("this host does not take {base:#x} for the base that swapgs gives GS"));
        }
        Ok(())
    }

    fn general(&mut self, machine: &Machine) -> Result<&mut GeneralRegisters, HostError> {
        if self.general.is_none() {
            self.general = Some(machine.cpu(CpuId::BOOT).vcpu().general_registers()?);
        }
        Ok(self.general.get_or_insert_default())
    }

    fn system(&mut self, machine: &Machine) -> Result<&mut SystemRegisters, HostError> {
        if self.system.is_none() {
            self.system = Some(machine.cpu(CpuId::BOOT).vcpu().system_registers()?);
        }
        Ok(self.system.get_or_insert_default())
    }

    fn extended(&mut self, machine: &Machine) -> Result<&mut ExtendedRegisters, HostError> {
        if self.extended.is_none() {
            self.extended = Some(Box::new(machine.cpu(CpuId::BOOT).vcpu().extended_registers()?));
        }
        Ok(self.extended.get_or_insert_with(|| Box::new([0; _])))
    }

    fn kernel_gs_base(&mut self, machine: &Machine) -> Result<u64, HostError> {
        match self.kernel_gs_base {
            Some(base) => Ok(base),
            None => {
                let base = machine.cpu(CpuId::BOOT).vcpu().msr(KERNEL_GS_BASE)?.unwrap_or(0);
                Ok(*self.kernel_gs_base.insert(base))
            }
        }
    }
}

/// Some hosts take a state and then are in another one: that is a refusal, too.
fn store_system(machine: &mut Machine, wanted: &SystemRegisters) -> Result<(), String> {
    let host = |error: HostError| error.to_string();
    let before = machine.cpu(CpuId::BOOT).vcpu().system_registers().map_err(host)?;
    machine.cpu_mut(CpuId::BOOT).set_system_registers(wanted).map_err(|error| {
        format!("{error}; CR0, CR3, CR4, EFER and CS must together be a state the processor can be in")
    })?;
    let after = machine.cpu(CpuId::BOOT).vcpu().system_registers().map_err(host)?;
    for (name, wanted, found) in [
        ("CR0", wanted.cr0, after.cr0),
        ("CR4", wanted.cr4, after.cr4),
        ("EFER", wanted.efer, after.efer),
        ("CR8", wanted.cr8, after.cr8),
    ] {
        // CR0.ET is always set.
        if (wanted ^ found) & !(1 << 4) != 0 {
            machine.cpu_mut(CpuId::BOOT).set_system_registers(&before).map_err(host)?;
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

/// A segment register by its place in gdb's order.
fn segment(system: &mut SystemRegisters, number: u8) -> &mut SegmentRegister {
    match number {
        0 => &mut system.cs,
        1 => &mut system.ss,
        2 => &mut system.ds,
        3 => &mut system.es,
        4 => &mut system.fs,
        _ => &mut system.gs,
    }
}

fn control_register(system: &mut SystemRegisters, control: Control) -> &mut u64 {
    match control {
        Control::Cr0 => &mut system.cr0,
        Control::Cr2 => &mut system.cr2,
        Control::Cr3 => &mut system.cr3,
        Control::Cr4 => &mut system.cr4,
        Control::Cr8 => &mut system.cr8,
        Control::Efer => &mut system.efer,
    }
}

/// `count` bytes (at most 16) at `offset` of the XSAVE area, the lowest first.
fn bytes_at(area: &ExtendedRegisters, offset: usize, count: usize) -> u128 {
    let bytes = area.get(offset..offset + count).unwrap_or_default();
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u128::from(*byte))
}

fn set_bytes_at(area: &mut ExtendedRegisters, offset: usize, count: usize, value: u128) {
    let bytes = area.get_mut(offset..offset + count).unwrap_or_default();
    bytes.iter_mut().zip(value.to_le_bytes()).for_each(|(byte, new)| *byte = new);
}

/// Where a vector or x87 register lies, and its size.
fn place(register: Register) -> (usize, usize) {
    match register {
        Register::Stack(n) => (STACK + 16 * usize::from(n), 10),
        Register::Xmm(n) => (XMM + 16 * usize::from(n), 16),
        Register::YmmHigh(n) => (YMM_HIGH + 16 * usize::from(n), 16),
        Register::Float(0) => (FCW, 2),
        Register::Float(1) => (FSW, 2),
        Register::Float(2) => (TAGS, 1),
        // Pointers to the last instruction and operand: the segment above the offset.
        Register::Float(3) => (LAST_IP + 4, 2),
        Register::Float(4) => (LAST_IP, 4),
        Register::Float(5) => (LAST_DP + 4, 2),
        Register::Float(6) => (LAST_DP, 4),
        Register::Float(_) => (OPCODE, 2),
        _ => (MXCSR, 4),
    }
}

fn extended_value(area: &ExtendedRegisters, register: Register) -> u128 {
    if register == Register::Float(2) {
        return full_tags(area).into();
    }
    let (offset, size) = place(register);
    bytes_at(area, offset, size)
}

fn set_extended_value(area: &mut ExtendedRegisters, register: Register, value: u128) {
    let (offset, size) = place(register);
    let component = match register {
        Register::Xmm(_) | Register::Mxcsr => SSE,
        Register::YmmHigh(_) => AVX,
        _ => X87,
    };
    let value = if register == Register::Float(2) { short_tags(value) } else { value };
    set_bytes_at(area, offset, size, value);
    let in_use = bytes_at(area, COMPONENTS, 1) | u128::from(component);
    set_bytes_at(area, COMPONENTS, 1, in_use);
}

/// The tag word in its short form: which registers are not empty.
fn short_tags(full: u128) -> u128 {
    (0..8).filter(|n| full >> (2 * n) & 3 != u128::from(EMPTY)).fold(0, |tags, n| tags | 1 << n)
}

/// The tag word in its long form: the short form says only which registers are empty.
fn full_tags(area: &ExtendedRegisters) -> u16 {
    let top = bytes_at(area, FSW, 2) >> 11 & 7;
    let used = bytes_at(area, TAGS, 1);
    (0..8).fold(0, |tags, physical| {
        let tag = if used >> physical & 1 == 0 {
            EMPTY
        } else {
            // Registers are stored from the top of the stack on, tags by their fixed numbers.
            tag_of(extended_value(area, Register::Stack(((physical + 8 - top) % 8) as u8)))
        };
        tags | tag << (2 * physical)
    })
}

fn tag_of(register: u128) -> u16 {
    let exponent = register >> 64 & 0x7FFF;
    let integer_bit = register >> 63 & 1 != 0;
    match exponent {
        0 if register as u64 == 0 => ZERO,
        1..=0x7FFE if integer_bit => VALID,
        _ => SPECIAL,
    }
}

#[cfg(test)]
#[path = "registers_test.rs"]
mod tests;
