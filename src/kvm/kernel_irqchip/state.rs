//! The state of KVM's interrupt controllers and interval timer as plain data.
//!
//! Manual: KVM_GET_IRQCHIP, KVM_GET_PIT2, KVM_GET_LAPIC in api.rst.

use kvm_bindings::{
    KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_PIT_FLAGS_HPET_LEGACY,
    KVM_PIT_FLAGS_SPEAKER_DATA_ON, kvm_ioapic_state, kvm_irqchip, kvm_lapic_state, kvm_pic_state,
    kvm_pit_channel_state, kvm_pit_state2,
};
use serde::{Deserialize, Serialize};

use crate::kvm::vm::Vm;
use crate::kvm::{HostError, Vcpu, VcpuState};

/// Guest-physical address of the IOAPIC, which cannot be moved.
const IOAPIC_BASE: u64 = 0xFEC0_0000;
/// Bytes of the registers of a local APIC.
const LAPIC_LENGTH: usize = 0x400;
/// IA32_TSC_DEADLINE (Intel SDM volume 4).
const TSC_DEADLINE: u32 = 0x6E0;
/// Spurious-interrupt vector register of a local APIC, its software enable bit, and the local vectors of LINT0 and
/// LINT1 (Intel SDM volume 3A, "Local APIC Registers").
const SPURIOUS: usize = 0xF0;
const SOFTWARE_ENABLED: u32 = 1 << 8;
const LINT0: usize = 0x350;
const LINT1: usize = 0x360;
/// KVM's mode of a counter that the guest has not programmed: it has no timer.
const NO_MODE: u8 = 0xFF;
/// Delivery modes of local vectors.
const EXT_INT: u32 = 0x700;
const NMI: u32 = 0x400;

/// The state of the chips outside of the vCPUs, and of the local APIC of each vCPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelIrqchipState {
    /// The 8259A: the master, and the slave.
    pub pics: [PicRegisters; 2],
    /// The IOAPIC.
    pub ioapic: IoApicRegisters,
    /// The interval timer.
    pub pit: PitRegisters,
    /// The local APICs, that of the bootstrap processor first.
    pub lapics: Vec<LapicPage>,
}

/// An 8259A, in the terms of KVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the registers of the datasheet, and KVM's names")]
pub struct PicRegisters {
    pub last_irr: u8,
    pub irr: u8,
    pub imr: u8,
    pub isr: u8,
    pub priority_add: u8,
    pub irq_base: u8,
    pub read_reg_select: u8,
    pub poll: u8,
    pub special_mask: u8,
    pub init_state: u8,
    pub auto_eoi: u8,
    pub rotate_on_auto_eoi: u8,
    pub special_fully_nested_mode: u8,
    pub init4: u8,
    pub elcr: u8,
    pub elcr_mask: u8,
}

/// An IOAPIC, in the terms of KVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoApicRegisters {
    /// The selected register.
    pub select: u32,
    /// The identification.
    pub id: u32,
    /// Pins that request an interrupt.
    pub irr: u32,
    /// The redirection entries.
    pub entries: [u64; 24],
}

/// An interval timer, in the terms of KVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PitRegisters {
    /// The counters.
    pub counters: [PitCounter; 3],
    /// The HPET has replaced it.
    pub replaced: bool,
    /// The output of counter 2 reaches the speaker.
    pub speaker: bool,
}

/// A counter of the interval timer, in the terms of KVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the registers of the datasheet, and KVM's names")]
pub struct PitCounter {
    pub count: u32,
    pub latched_count: u16,
    pub count_latched: u8,
    pub status_latched: u8,
    pub status: u8,
    pub read_state: u8,
    pub write_state: u8,
    pub write_latch: u8,
    pub rw_mode: u8,
    pub mode: u8,
    pub bcd: u8,
    pub gate: u8,
    /// Nanoseconds since the count was loaded.
    pub since_load: i64,
}

/// The registers of a local APIC: the first 1024 bytes of its page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LapicPage(Vec<u8>);

/// A local APIC, with the MSRs that belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LapicState {
    /// Its registers.
    pub page: LapicPage,
    /// IA32_APIC_BASE.
    pub base: u64,
    /// IA32_TSC_DEADLINE; 0 if its timer is not armed so.
    pub tsc_deadline: u64,
}

impl LapicPage {
    /// The 32-bit register at `offset`, a multiple of 16 below 0x400.
    pub fn register(&self, offset: usize) -> u32 {
        let bytes = self.0.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    }

    fn set_register(&mut self, offset: usize, value: u32) {
        if let Some(bytes) = self.0.get_mut(offset..offset + 4) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }
}

impl KernelIrqchipState {
    /// Checks that the chips of a machine with `cpus` processors can be in this state.
    ///
    /// # Errors
    ///
    /// A description of the problem.
    pub fn check(&self, cpus: usize) -> Result<(), String> {
        let flag = |value: u8| value <= 1;
        for pic in &self.pics {
            let flags = [
                pic.read_reg_select,
                pic.poll,
                pic.special_mask,
                pic.auto_eoi,
                pic.rotate_on_auto_eoi,
                pic.special_fully_nested_mode,
                pic.init4,
            ];
            if !flags.into_iter().all(flag) || pic.priority_add > 7 || pic.init_state > 3 {
                return Err("an 8259A in an impossible mode".to_owned());
            }
        }
        for counter in &self.pit.counters {
            let flags = [counter.count_latched, counter.status_latched, counter.bcd, counter.gate];
            // 3 is the latched low byte of two; KVM's mode after power-on is 0xFF.
            let is_possible = counter.count_latched <= 4
                && flags[1..].iter().copied().all(flag)
                && [counter.read_state, counter.write_state].into_iter().all(|state| state <= 4)
                && counter.rw_mode <= 3
                && (counter.mode <= 7 || counter.mode == NO_MODE)
                && counter.count <= 0x1_0000
                && counter.since_load >= 0;
            if !is_possible {
                return Err("a counter of the interval timer in an impossible mode".to_owned());
            }
        }
        if self.ioapic.irr >> 24 != 0 {
            return Err("an IOAPIC with more than 24 pins".to_owned());
        }
        if self.lapics.len() != cpus || self.lapics.iter().any(|page| page.0.len() != LAPIC_LENGTH) {
            return Err(format!("{} local APICs, for {cpus} processors", self.lapics.len()));
        }
        Ok(())
    }
}

impl KernelIrqchipState {
    /// True if an interrupt of the interval timer is requested or in service: by line 0 of the 8259A, or pin 2 of the
    /// IOAPIC.
    fn timer_interrupt_waits(&self) -> bool {
        (self.pics[0].irr | self.pics[0].isr) & 1 != 0 || self.ioapic.irr >> 2 & 1 != 0
    }
}

impl Vm {
    /// The state of KVM's interrupt controllers and interval timer, with the local APICs of `vcpus`, which are all of
    /// the virtual machine.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn irqchip_state<'a>(
        &self,
        vcpus: impl Iterator<Item = &'a Vcpu>,
    ) -> Result<KernelIrqchipState, HostError> {
        let pit = self.fd().get_pit2().map_err(|e| HostError::refused("report its interval timer", e))?;
        let now = monotonic();
        Ok(KernelIrqchipState {
            pics: [self.pic(KVM_IRQCHIP_PIC_MASTER)?, self.pic(KVM_IRQCHIP_PIC_SLAVE)?],
            ioapic: self.ioapic()?,
            pit: PitRegisters {
                counters: pit.channels.map(|channel| PitCounter::from_kvm(&channel, now)),
                replaced: pit.flags & KVM_PIT_FLAGS_HPET_LEGACY != 0,
                speaker: pit.flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON != 0,
            },
            lapics: vcpus.map(Vcpu::lapic_page).collect::<Result<_, _>>()?,
        })
    }

    /// Restores the chips outside of the vCPUs, after the local APICs ([`Vcpu::set_lapic_page`]). The levels of lines
    /// are part of the state: lines that are high are not raised again.
    ///
    /// KVM starts the interval timer anew: what it does by that comes before the controllers' state. A timer that fires
    /// once would fire again, so it stays stopped if its interrupt is still to be served; otherwise it is not known
    /// whether it has fired.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_irqchip_state(&self, state: &KernelIrqchipState) -> Result<(), HostError> {
        let mut pit = state.pit;
        if state.timer_interrupt_waits() && pit.counters[0].fires_once() {
            pit.counters[0].mode = NO_MODE;
        }
        self.set_pit(&pit)?;
        for (chip_id, pic) in [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE].into_iter().zip(state.pics) {
            self.set_pic(chip_id, pic)?;
        }
        let IoApicRegisters { select, id, irr, entries } = state.ioapic;
        let mut ioapic =
            kvm_ioapic_state { base_address: IOAPIC_BASE, ioregsel: select, id, irr, ..Default::default() };
        for (entry, bits) in ioapic.redirtbl.iter_mut().zip(entries) {
            entry.bits = bits;
        }
        let mut chip = kvm_irqchip { chip_id: KVM_IRQCHIP_IOAPIC, ..Default::default() };
        chip.chip.ioapic = ioapic;
        self.fd().set_irqchip(&chip).map_err(|e| HostError::refused("take the state of its IOAPIC", e))
    }

    /// Lets the HPET replace the interval timer, whose ticks stop, or ends that.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn replace_pit(&self, replaced: bool) -> Result<(), HostError> {
        let mut pit = self.fd().get_pit2().map_err(|e| HostError::refused("report its interval timer", e))?;
        pit.flags &= !KVM_PIT_FLAGS_HPET_LEGACY;
        pit.flags |= if replaced { KVM_PIT_FLAGS_HPET_LEGACY } else { 0 };
        self.fd().set_pit2(&pit).map_err(|e| HostError::refused("replace its interval timer", e))
    }

    /// Masks all inputs of the 8259A, since KVM would interrupt a guest that has not set their vectors, and makes
    /// `level_triggered` of them level-triggered.
    pub(super) fn set_up_pics(&self, level_triggered: u16) -> Result<(), HostError> {
        let chips = [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE].into_iter();
        for (chip_id, elcr) in chips.zip(level_triggered.to_le_bytes()) {
            let pic = self.pic(chip_id)?;
            self.set_pic(chip_id, PicRegisters { imr: 0xFF, elcr: elcr & pic.elcr_mask, ..pic })?;
        }
        Ok(())
    }

    fn set_pit(&self, state: &PitRegisters) -> Result<(), HostError> {
        let now = monotonic();
        let flags =
            [(state.replaced, KVM_PIT_FLAGS_HPET_LEGACY), (state.speaker, KVM_PIT_FLAGS_SPEAKER_DATA_ON)];
        let pit = kvm_pit_state2 {
            channels: state.counters.map(|counter| counter.to_kvm(now)),
            flags: flags.into_iter().filter_map(|(set, flag)| set.then_some(flag)).sum(),
            ..Default::default()
        };
        self.fd().set_pit2(&pit).map_err(|e| HostError::refused("take the state of its interval timer", e))
    }

    fn pic(&self, chip_id: u32) -> Result<PicRegisters, HostError> {
        let mut chip = kvm_irqchip { chip_id, ..Default::default() };
        self.fd().get_irqchip(&mut chip).map_err(|e| HostError::refused("report an 8259A", e))?;
        // SAFETY: for this chip KVM has filled this member of the union; any bytes are one.
        let pic = unsafe { chip.chip.pic };
        Ok(PicRegisters {
            last_irr: pic.last_irr,
            irr: pic.irr,
            imr: pic.imr,
            isr: pic.isr,
            priority_add: pic.priority_add,
            irq_base: pic.irq_base,
            read_reg_select: pic.read_reg_select,
            poll: pic.poll,
            special_mask: pic.special_mask,
            init_state: pic.init_state,
            auto_eoi: pic.auto_eoi,
            rotate_on_auto_eoi: pic.rotate_on_auto_eoi,
            special_fully_nested_mode: pic.special_fully_nested_mode,
            init4: pic.init4,
            elcr: pic.elcr,
            elcr_mask: pic.elcr_mask,
        })
    }

    fn set_pic(&self, chip_id: u32, pic: PicRegisters) -> Result<(), HostError> {
        let mut chip = kvm_irqchip { chip_id, ..Default::default() };
        chip.chip.pic = kvm_pic_state {
            last_irr: pic.last_irr,
            irr: pic.irr,
            imr: pic.imr,
            isr: pic.isr,
            priority_add: pic.priority_add,
            irq_base: pic.irq_base,
            read_reg_select: pic.read_reg_select,
            poll: pic.poll,
            special_mask: pic.special_mask,
            init_state: pic.init_state,
            auto_eoi: pic.auto_eoi,
            rotate_on_auto_eoi: pic.rotate_on_auto_eoi,
            special_fully_nested_mode: pic.special_fully_nested_mode,
            init4: pic.init4,
            elcr: pic.elcr,
            elcr_mask: pic.elcr_mask,
        };
        self.fd().set_irqchip(&chip).map_err(|e| HostError::refused("take the state of an 8259A", e))
    }

    fn ioapic(&self) -> Result<IoApicRegisters, HostError> {
        let mut chip = kvm_irqchip { chip_id: KVM_IRQCHIP_IOAPIC, ..Default::default() };
        self.fd().get_irqchip(&mut chip).map_err(|e| HostError::refused("report its IOAPIC", e))?;
        // SAFETY: for this chip KVM has filled this member of the union; any bytes are one.
        let ioapic = unsafe { chip.chip.ioapic };
        Ok(IoApicRegisters {
            select: ioapic.ioregsel,
            id: ioapic.id,
            irr: ioapic.irr,
            // SAFETY: both members of the union are 64 bits, and any are valid.
            entries: ioapic.redirtbl.map(|entry| unsafe { entry.bits }),
        })
    }
}

impl PitCounter {
    /// True in the modes that request one interrupt: 0, 1, 4 and 5.
    fn fires_once(&self) -> bool {
        matches!(self.mode, 0 | 1 | 4 | 5)
    }

    fn from_kvm(channel: &kvm_pit_channel_state, now: i64) -> PitCounter {
        PitCounter {
            count: channel.count,
            latched_count: channel.latched_count,
            count_latched: channel.count_latched,
            status_latched: channel.status_latched,
            status: channel.status,
            read_state: channel.read_state,
            write_state: channel.write_state,
            write_latch: channel.write_latch,
            rw_mode: channel.rw_mode,
            mode: channel.mode,
            bcd: channel.bcd,
            gate: channel.gate,
            since_load: now.saturating_sub(channel.count_load_time).max(0),
        }
    }

    fn to_kvm(self, now: i64) -> kvm_pit_channel_state {
        kvm_pit_channel_state {
            count: self.count,
            latched_count: self.latched_count,
            count_latched: self.count_latched,
            status_latched: self.status_latched,
            status: self.status,
            read_state: self.read_state,
            write_state: self.write_state,
            write_latch: self.write_latch,
            rw_mode: self.rw_mode,
            mode: self.mode,
            bcd: self.bcd,
            gate: self.gate,
            count_load_time: now.saturating_sub(self.since_load),
        }
    }
}

impl Vcpu {
    /// The registers of the local APIC, which is KVM's.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn lapic_page(&self) -> Result<LapicPage, HostError> {
        let lapic = self.fd.get_lapic().map_err(|e| HostError::refused("report a local APIC", e))?;
        Ok(LapicPage(lapic.regs.iter().map(|byte| *byte as u8).collect()))
    }

    /// The local APIC, which is KVM's, with its MSRs.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn lapic_state(&self) -> Result<LapicState, HostError> {
        Ok(LapicState {
            page: self.lapic_page()?,
            base: self.system_registers()?.apic_base,
            tsc_deadline: self.msr(TSC_DEADLINE)?.unwrap_or(0),
        })
    }

    /// Restores the registers of the local APIC, after the state of the vCPU, `state`.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn set_lapic_page(&self, page: &LapicPage, state: &VcpuState) -> Result<(), HostError> {
        self.write_lapic(page)?;
        // KVM ignores a deadline while the timer is in another mode.
        if let Some(deadline) = state.msr(TSC_DEADLINE).filter(|deadline| *deadline != 0) {
            self.set_msr(TSC_DEADLINE, deadline)?;
        }
        Ok(())
    }

    /// Switches the local APIC on, and lets it pass interrupts of the 8259A and NMIs on, as a BIOS leaves that of the
    /// bootstrap processor.
    pub(in crate::kvm) fn connect_virtual_wire(&self) -> Result<(), HostError> {
        let mut page = self.lapic_page()?;
        page.set_register(SPURIOUS, page.register(SPURIOUS) | SOFTWARE_ENABLED);
        page.set_register(LINT0, EXT_INT);
        page.set_register(LINT1, NMI);
        self.write_lapic(&page)
    }

    /// Makes the local APIC of an application processor known. KVM looks local APICs up by their identifications, and
    /// does not enter that of a vCPU which is being created: interrupts of the others would not arrive.
    pub(in crate::kvm) fn announce_lapic(&self) -> Result<(), HostError> {
        self.write_lapic(&self.lapic_page()?)
    }

    fn write_lapic(&self, page: &LapicPage) -> Result<(), HostError> {
        let mut lapic = kvm_lapic_state::default();
        for (register, byte) in lapic.regs.iter_mut().zip(&page.0) {
            *register = *byte as _;
        }
        self.fd.set_lapic(&lapic).map_err(|e| HostError::refused("take the state of a local APIC", e))
    }
}

/// The host's monotonic clock in nanoseconds, which KVM's interval timer counts by.
fn monotonic() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the call, which cannot fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}
