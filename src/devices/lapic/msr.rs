//! The MSRs of a local APIC: IA32_APIC_BASE, IA32_TSC_DEADLINE and the registers of x2APIC mode.
//!
//! Manual: Intel SDM volume 3A, "Extended XAPIC (x2APIC)", and table "Local APIC Register Address Map Supported by
//! x2APIC". A read or write that raises #GP gives `None`.

use super::apic::{ApicMode, Consequence, LocalApic};
use super::registers as register;
use super::{BASE, registers::spurious};

/// IA32_APIC_BASE.
pub const APIC_BASE_MSR: u32 = 0x1B;
/// IA32_TSC_DEADLINE.
pub const TSC_DEADLINE_MSR: u32 = 0x6E0;
/// The first MSR of x2APIC mode.
pub const FIRST_X2APIC_MSR: u32 = 0x800;
/// The last MSR that belongs to x2APIC mode.
pub const LAST_X2APIC_MSR: u32 = 0x8FF;

mod base {
    pub const BOOTSTRAP: u64 = 1 << 8;
    pub const X2APIC: u64 = 1 << 10;
    pub const ENABLED: u64 = 1 << 11;
}

/// True if `msr` is a local APIC's.
pub const fn is_apic_msr(msr: u32) -> bool {
    matches!(msr, APIC_BASE_MSR | TSC_DEADLINE_MSR | FIRST_X2APIC_MSR..=LAST_X2APIC_MSR)
}

impl LocalApic {
    /// Value of IA32_APIC_BASE.
    pub fn base(&self) -> u64 {
        let mode = match self.mode {
            ApicMode::Disabled => 0,
            ApicMode::XApic => base::ENABLED,
            ApicMode::X2Apic => base::ENABLED | base::X2APIC,
        };
        BASE | mode | if self.bootstrap { base::BOOTSTRAP } else { 0 }
    }

    /// Writes IA32_APIC_BASE. The register page cannot be moved: another address raises #GP. Switching the APIC
    /// off returns its registers to their state after power-on.
    fn set_base(&mut self, value: u64) -> Option<Consequence> {
        let new = match value & (base::ENABLED | base::X2APIC) {
            0 => ApicMode::Disabled,
            base::ENABLED => ApicMode::XApic,
            base::X2APIC => return None,
            _ => ApicMode::X2Apic,
        };
        if value & !(base::BOOTSTRAP | base::ENABLED | base::X2APIC) != BASE {
            return None;
        }
        match (self.mode, new) {
            (ApicMode::X2Apic, ApicMode::XApic) | (ApicMode::Disabled, ApicMode::X2Apic) => return None,
            (from, to) if from == to => return Some(Consequence::default()),
            (_, ApicMode::Disabled) => {
                self.init();
                self.xapic_id = self.id as u8;
            }
            // The interrupt command register has another format.
            (_, ApicMode::X2Apic) => self.command &= 0xFFFF_FFFF,
            _ => {}
        }
        self.mode = new;
        self.update();
        Some(Consequence { deadline: true, ..Consequence::default() })
    }

    /// The guest reads `msr`.
    pub(super) fn read_msr(&self, msr: u32) -> Option<u64> {
        match msr {
            APIC_BASE_MSR => return Some(self.base()),
            TSC_DEADLINE_MSR => return Some(self.timer.tsc_deadline()),
            _ => {}
        }
        match self.x2apic_register(msr)? {
            register::END_OF_INTERRUPT
            | register::ARBITRATION_PRIORITY
            | register::REMOTE_READ
            | register::DESTINATION_FORMAT
            | register::COMMAND_HIGH => None,
            register::COMMAND_LOW => Some(self.command),
            number => self.register_value(number).map(u64::from),
        }
    }

    /// The guest writes `value` to `msr`.
    pub(super) fn write_msr(&mut self, msr: u32, value: u64) -> Option<Consequence> {
        match msr {
            APIC_BASE_MSR => return self.set_base(value),
            TSC_DEADLINE_MSR => {
                self.set_tsc_deadline(value);
                return Some(Consequence { deadline: true, ..Consequence::default() });
            }
            _ => {}
        }
        let number = self.x2apic_register(msr)?;
        let writable = match number {
            register::TASK_PRIORITY | register::SELF_IPI => 0xFF,
            register::END_OF_INTERRUPT | register::ERROR_STATUS => 0,
            register::SPURIOUS => spurious::WRITABLE,
            // The delivery status, which no longer exists, may be written.
            register::COMMAND_LOW => register::COMMAND_WRITABLE | 1 << 12,
            register::FIRST_LOCAL_VECTOR..=register::LAST_LOCAL_VECTOR => {
                let index = usize::from(number - register::FIRST_LOCAL_VECTOR);
                // Delivery status and remote IRR are read-only.
                register::lvt::WRITABLE[index] | 1 << 12 | 1 << 14
            }
            register::INITIAL_COUNT => u32::MAX,
            register::DIVIDE => super::timer::DIVIDE_BITS,
            _ => return None,
        };
        let high = if number == register::COMMAND_LOW { 0xFFFF_FFFF_0000_0000 } else { 0 };
        if value & !(high | u64::from(writable)) != 0 {
            return None;
        }
        match number {
            register::COMMAND_LOW => {
                let command = value & (high | u64::from(register::COMMAND_WRITABLE));
                Some(Consequence { ipi: self.send(command), ..Consequence::default() })
            }
            register::SELF_IPI => {
                self.send_to_itself(value as u8);
                Some(Consequence::default())
            }
            _ => Some(self.write(number, value as u32)),
        }
    }

    /// The number of the register that is `msr` in x2APIC mode; `None` if it is in another mode.
    fn x2apic_register(&self, msr: u32) -> Option<u16> {
        let number = msr.checked_sub(FIRST_X2APIC_MSR)?;
        (self.mode == ApicMode::X2Apic && number <= u32::from(register::SELF_IPI)).then_some(number as u16)
    }
}
