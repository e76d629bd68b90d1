//! Machines with several CPUs, as sections.

use super::container;
use super::*;
use crate::boot::BytesImage;
use crate::machine::testing::machine;
use crate::machine::{PendingAction, RunState};

/// A saved machine with `cpus` CPUs; only the first one runs.
fn saved(cpus: usize) -> Option<SavedMachine> {
    let mut saved =
        SavedMachine::capture(&mut machine(1 << 22, &[0xF4])?, Some(PendingAction::Halted)).unwrap();
    saved.machine.cpus.resize(cpus, saved.machine.cpus[0].clone());
    saved.machine.cpus[1..].iter_mut().for_each(|cpu| cpu.run_state = RunState::WaitForSipi);
    Some(saved)
}

fn read(saved: &SavedMachine) -> Result<SavedMachine, SnapshotError> {
    let bytes = container::to_bytes(&saved.to_sections()).unwrap();
    let image = BytesImage::new("x.kvmstate", &bytes);
    SavedMachine::read(&image, &container::read_table(&image).unwrap())
}

#[test]
fn the_state_of_each_cpu_is_read_back() {
    for cpus in [1, 2, 64] {
        let Some(saved) = saved(cpus) else { return };
        assert_eq!(read(&saved).unwrap(), saved, "{cpus}");
    }
    let Some(mut one) = saved(1) else { return };
    one.machine.cpus[0].run_state = RunState::Halted;
    assert_eq!(read(&one).unwrap(), one);
}

#[test]
fn more_cpus_than_a_machine_can_have_are_refused() {
    let Some(saved) = saved(65) else { return };
    let message = read(&saved).unwrap_err().to_string();
    assert!(message.contains("a section `vcpu 64`, which this kvm"), "{message}");
}

#[test]
fn every_cpu_has_a_local_apic() {
    let Some(saved) = saved(2) else { return };
    let message = saved.verify("x.kvmstate").unwrap_err().to_string();
    assert!(message.contains("`lapic` is damaged: there are 1 for 2 CPUs"), "{message}");
}
