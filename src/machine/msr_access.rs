//! Accesses of the guest to the MSRs of its local APIC ([`crate::devices::lapic`]).

use tracing::info;

use super::Machine;
use super::cpu::CpuId;
use super::flight_recorder::Occurrence;
use super::run::Next;
use crate::devices::lapic::{APIC_BASE_MSR, TSC_DEADLINE_MSR, is_apic_msr};
use crate::kvm::HostError;

/// IA32_TIME_STAMP_COUNTER (Intel SDM volume 4).
const TSC: u32 = 0x10;

impl Machine {
    /// The guest reads an MSR. One that does not exist raises #GP.
    #[cold]
    pub(super) fn read_msr(&mut self, cpu: CpuId, index: u32) -> Result<Next, HostError> {
        self.record(cpu, Occurrence::MsrRead { index });
        let next = self.prepare_msr_access(cpu, index)?;
        let value = if is_apic_msr(index) { self.board.read_msr(cpu.number(), index) } else { None };
        match value {
            Some(value) => self.cpus[cpu].complete_read(value),
            None => self.cpus[cpu].fault(),
        }
        Ok(next)
    }

    /// The guest writes an MSR. One that does not exist, and a value that it does not take, raise #GP.
    #[cold]
    pub(super) fn write_msr(&mut self, cpu: CpuId, index: u32, value: u64) -> Result<Next, HostError> {
        self.record(cpu, Occurrence::MsrWrite { index, value });
        let next = self.prepare_msr_access(cpu, index)?;
        let written =
            if is_apic_msr(index) { self.board.write_msr(cpu.number(), index, value) } else { None };
        match written {
            Some(deadline) => {
                self.task_priority_changed(cpu, false);
                if deadline {
                    self.arm_timer()?;
                }
            }
            None => self.cpus[cpu].fault(),
        }
        Ok(next)
    }

    /// The guest begins to use its local APIC, or is saved: accesses to its MSRs exit from now on, and the local APIC
    /// learns what the guest has written to IA32_APIC_BASE before.
    #[inline]
    pub(super) fn take_over_apic_msrs(&mut self, cpu: CpuId) {
        if self.ram.vm().filter_apic_msrs() {
            self.take_over_apic_base(cpu);
        }
    }

    #[cold]
    fn take_over_apic_base(&mut self, cpu: CpuId) {
        let written = self.cpus[cpu].vcpu.apic_base();
        let known = self.board.lapics().read_msr(cpu.number(), APIC_BASE_MSR);
        if known != Some(written) && self.board.write_msr(cpu.number(), APIC_BASE_MSR, written).is_none() {
            info!("{cpu} has written {written:#x} to IA32_APIC_BASE, which the machine ignores");
        }
    }

    /// Tells the local APIC what it has to know: CR8, the time, and the time-stamp counter if that counts.
    fn prepare_msr_access(&mut self, cpu: CpuId, index: u32) -> Result<Next, HostError> {
        self.take_over_apic_msrs(cpu);
        self.sync_task_priority(cpu);
        let event = self.sync_clock()?;
        let khz = self.cpus[cpu].vcpu.tsc_khz();
        if index == TSC_DEADLINE_MSR
            && khz != 0
            && let Some(tsc) = self.cpus[cpu].vcpu.msr(TSC)?
        {
            let since_power_on = u128::from(self.clock.now().as_nanos()) * u128::from(khz) / 1_000_000;
            self.board.set_tsc(cpu.number(), khz, tsc.wrapping_sub(since_power_on as u64));
        }
        Ok(event.map_or(Next::Run, Next::Stop))
    }
}
