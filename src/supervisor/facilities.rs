//! How breakpoints, steps and the like work on this host: what `info debug` prints.

use super::breakpoint_bytes::Opcode;
use super::run_control::Supervisor;
use super::technique::Technique;
use crate::kvm::probe::{
    DATA_WATCHPOINTS, Fact, HARDWARE_BREAKPOINTS, HardwareBreakpoints, INTERRUPT_FREE_STEPPING,
    InterruptFreeStepping, PerRing, SINGLE_STEP, SOFTWARE_BREAKPOINTS, SingleStep, SoftwareBreakpoints,
};
use crate::kvm::{HostError, Kvm};

/// How one debugging facility works on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facility {
    /// What it is for.
    pub name: &'static str,
    /// How it is done.
    pub technique: String,
    /// Why in this way.
    pub reason: String,
}

/// All of them. What is not known of this host is measured now, on virtual machines of their own.
pub(crate) fn of(supervisor: &Supervisor<'_>) -> Vec<Facility> {
    let kvm = supervisor.machine.kvm();
    let switches = &supervisor.session.switches;
    let interrupts = match switches.step_interrupts {
        true => "delivered, as `step-irq on` was given",
        false => "held back, as a step would end in an interrupt handler; `step-irq on` delivers them",
    };
    let int3 = match switches.catch_int3 {
        true => ("stops it", "`catch int3 on` was given; going on hands it to the guest's handler"),
        false => ("goes to its handler", "kvm hands it over on every host; `catch int3 on` has it stop"),
    };
    let addresses = match switches.physical {
        true => ("guest-physical", "`phys on` was given"),
        false => ("virtual, through the guest's own page tables", "as its code uses them"),
    };
    [
        (
            "software breakpoints",
            software_technique(supervisor.technique()).to_owned(),
            per_ring(kvm, &SOFTWARE_BREAKPOINTS, software),
        ),
        (
            "hardware breakpoints",
            format!("debug registers, {} of 4 in use", supervisor.facilities.breakpoints.hardware_in_use()),
            per_ring(kvm, &HARDWARE_BREAKPOINTS, HardwareBreakpoints::describe),
        ),
        (
            "conditions and log points",
            format!("evaluated in kvm, {} set", supervisor.session.points.addresses().count()),
            "gdb is not asked, so a hit costs no round trip".to_owned(),
        ),
        ("the guest's own int3", int3.0.to_owned(), int3.1.to_owned()),
        (
            "steps",
            "KVM's single-step, with no breakpoint in place; kvm carries out hlt and int n".to_owned(),
            per_ring(kvm, &SINGLE_STEP, SingleStep::describe),
        ),
        ("interrupts while stepping", interrupts.to_owned(), free_of_interrupts(kvm)),
        (
            "watchpoints",
            supervisor.facilities.watchpoints.describe(),
            format!("debug registers {}", per_ring(kvm, &DATA_WATCHPOINTS, |found| found.write.describe())),
        ),
        ("addresses", addresses.0.to_owned(), addresses.1.to_owned()),
    ]
    .into_iter()
    .map(|(name, technique, reason)| Facility { name, technique, reason })
    .collect()
}

fn software_technique(technique: Technique) -> &'static str {
    match (technique.registers, technique.inserted) {
        (true, Opcode::Int3) => {
            "debug registers while there are some, then an int3 in guest memory while the guest runs"
        }
        (true, Opcode::Halt) => {
            "debug registers while there are some, then a hlt in guest memory while the guest runs, as int3 does not stop it"
        }
        (false, Opcode::Int3) => "an int3 in guest memory while the guest runs",
        (false, Opcode::Halt) => "a hlt in guest memory while the guest runs, as int3 does not stop it",
    }
}

fn software(found: SoftwareBreakpoints) -> &'static str {
    match found {
        SoftwareBreakpoints::Refused => "KVM refuses int3, and kvm takes that for the stop",
        found => found.describe(),
    }
}

fn free_of_interrupts(kvm: &Kvm) -> String {
    let words = INTERRUPT_FREE_STEPPING.get(kvm).map(InterruptFreeStepping::describe);
    format!("on this host: {}", or_error(words))
}

/// What is true of this host in each ring.
fn per_ring<T: Copy>(kvm: &Kvm, facts: &PerRing<T>, words: fn(T) -> &'static str) -> String {
    let ring = |fact: &Fact<T>| or_error(fact.get(kvm).map(words));
    let (ring0, ring3) = (ring(&facts.ring0), ring(&facts.ring3));
    match ring0 == ring3 {
        true => format!("on this host: {ring0}"),
        false => format!("on this host, ring 0: {ring0}; ring 3: {ring3}"),
    }
}

fn or_error(words: Result<&'static str, HostError>) -> String {
    words.map_or_else(|error| format!("not known ({error})"), str::to_owned)
}
