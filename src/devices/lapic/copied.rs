//! Copies of KVM's local APICs, to be looked at.

use super::apic::{ApicMode, LocalApic};
use super::registers::{self as register, lvt};
use super::timer::ApicTimer;
use super::{LocalApics, PendingRequests};
use crate::kvm::LapicState;

/// IA32_APIC_BASE: the local APIC is on; it is in x2APIC mode (Intel SDM volume 4).
const ENABLED: u64 = 1 << 11;
const X2APIC: u64 = 1 << 10;

impl LocalApics {
    /// The local APICs in these states, that of the bootstrap processor first.
    pub fn copies_of(states: &[LapicState]) -> LocalApics {
        let apics: Vec<LocalApic> = (0..).zip(states).map(|(id, state)| copy(id, state)).collect();
        LocalApics { requests: vec![PendingRequests::default(); apics.len()], apics, ..LocalApics::default() }
    }
}

fn copy(id: u32, state: &LapicState) -> LocalApic {
    let value = |number: u16| state.page.register(usize::from(number) * 16);
    let mut apic = LocalApic::new(id, id == 0);
    apic.mode = match (state.base & ENABLED, state.base & X2APIC) {
        (0, _) => ApicMode::Disabled,
        (_, 0) => ApicMode::XApic,
        _ => ApicMode::X2Apic,
    };
    apic.task_priority = value(register::TASK_PRIORITY) as u8;
    apic.spurious = value(register::SPURIOUS);
    for (number, entry) in (register::FIRST_LOCAL_VECTOR..).zip(0..lvt::COUNT) {
        apic.lvt[entry] = value(number);
    }
    for vector in 0..=255u8 {
        let is_in = |first: u16| value(first + u16::from(vector / 32)) >> (vector % 32) & 1 == 1;
        apic.in_service.set(vector, is_in(register::IN_SERVICE));
        apic.trigger_mode.set(vector, is_in(register::TRIGGER_MODE));
        apic.requests.set(vector, is_in(register::REQUESTS));
    }
    apic.timer = ApicTimer::stopped(value(register::INITIAL_COUNT), value(register::DIVIDE));
    apic.timer.start(value(register::CURRENT_COUNT));
    apic.timer.set_tsc_deadline(apic.timer_mode(), state.tsc_deadline);
    apic.update();
    apic
}
