//! The state of the local APICs in words.
//!
//! Manual: Intel SDM volume 3A, "Advanced Programmable Interrupt Controller (APIC)".

use super::LocalApics;
use super::apic::{ApicMode, LocalApic};
use super::registers::{lvt, spurious};
use super::timer::TimerMode;
use super::vectors::VectorSet;
use crate::devices::explain::numbers;

/// Names of the entries of the local vector table.
const ENTRIES: [&str; lvt::COUNT] =
    ["timer", "thermal sensor", "performance counters", "LINT0", "LINT1", "error"];
/// Delivery modes.
const MODES: [&str; 8] =
    ["fixed", "reserved", "SMI", "reserved", "NMI", "INIT", "reserved", "ExtINT (8259A)"];

/// The state in words, several lines for each local APIC.
pub(super) fn lines(apics: &LocalApics) -> Vec<String> {
    (0..apics.count() as u8).flat_map(|cpu| of_apic(apics.apic(cpu), cpu)).collect()
}

fn of_apic(apic: &LocalApic, cpu: u8) -> Vec<String> {
    let mode = match apic.mode() {
        ApicMode::Disabled => "switched off by IA32_APIC_BASE",
        ApicMode::XApic => "xAPIC",
        ApicMode::X2Apic => "x2APIC",
    };
    let enabled =
        if apic.is_software_enabled() { "enabled" } else { "disabled by the spurious vector register" };
    let vectors = |set: &VectorSet| numbers((0..=255).filter(|vector| set.contains(*vector)));
    let mut lines = vec![
        format!(
            "CPU {cpu}: {mode}, identification {:#x}, {enabled}, spurious vector {:#04x}",
            apic.physical_id(),
            apic.spurious & spurious::VECTOR
        ),
        format!(
            "CPU {cpu}: requested (IRR) {}; in service (ISR) {}; task priority {:#04x}, processor priority {:#04x}",
            vectors(&apic.requests),
            vectors(&apic.in_service),
            apic.task_priority,
            apic.processor_priority()
        ),
    ];
    for (entry, name) in apic.lvt.iter().zip(ENTRIES) {
        // Masked is what entries are until they are used.
        if entry & lvt::MASKED == 0 {
            let mode = MODES[(entry >> lvt::MODE_SHIFT & 7) as usize];
            let mode = if name == "timer" || name == "error" { "fixed" } else { mode };
            lines.push(format!("CPU {cpu}: {name}: vector {:#04x}, {mode}", entry & 0xFF));
        }
    }
    let timer = match TimerMode::of_lvt(apic.lvt[lvt::TIMER]) {
        TimerMode::OneShot => "one-shot",
        TimerMode::Periodic => "periodic",
        TimerMode::TscDeadline => "TSC deadline",
        TimerMode::Reserved => "in a reserved mode",
    };
    lines.push(format!(
        "CPU {cpu}: the timer is {timer}, initial count {:#x}, current count {:#x}",
        apic.timer.initial(),
        apic.timer.current()
    ));
    lines
}
