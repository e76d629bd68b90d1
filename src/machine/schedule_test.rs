//! Machines with several CPUs, on the host's KVM.

use std::time::{Duration, Instant};

use super::super::inputs::Input;
use super::super::testing::{ENTRY, machine_with};
use super::super::{CpuId, CpuState};
use super::*;
use crate::kvm::GuestDebug;

/// Where processors are started.
const START: u64 = 0x7_0000;

/// Starts all other processors at [`START`], then counts at 0x300000.
const START_ALL: &[u8] = b"\
    \xB8\x00\x03\xE0\xFE\
    \xC7\x00\x00\x45\x0C\x00\
    \xC7\x00\x70\x46\x0C\x00\
    \xFF\x04\x25\x00\x00\x30\x00\
    \xEB\xF7";
/// `jmp .` in real mode.
const SPIN: &[u8] = b"\xEB\xFE";
/// `inc word [0x100]` without end.
const COUNT: &[u8] = b"\xFF\x06\x00\x01\xEB\xFA";
/// `cli; hlt`.
const HALT: &[u8] = b"\xFA\xF4";

fn started(cpus: u8, schedule: Schedule, code: &[u8]) -> Option<Machine> {
    let mut machine = machine_with(16 << 20, START_ALL, cpus, schedule)?;
    machine.memory().write(START, code).unwrap();
    machine.memory().write(0x30_0000, &[0; 8]).unwrap();
    // Until the processors have been started.
    let all_run = |machine: &Machine| {
        machine.cpu_ids().all(|cpu| machine.cpu(cpu).run_state() != RunState::WaitForSipi)
    };
    for _ in 0..1000 {
        run_for(&mut machine, Duration::from_millis(2));
        if all_run(&machine) {
            return Some(machine);
        }
    }
    panic!("the processors have not started");
}

/// Runs the machine for a time; how long it took to stop it.
fn run_for(machine: &mut Machine, time: Duration) -> Duration {
    let inputs = machine.inputs().clone();
    let pusher = std::thread::spawn(move || {
        std::thread::sleep(time);
        let pushed = Instant::now();
        inputs.push(Input::Attention);
        pushed
    });
    let event = machine.run_to_event();
    let stopped = Instant::now();
    assert!(matches!(event, Event::Attention), "{event:?}");
    stopped.saturating_duration_since(pusher.join().unwrap())
}

fn states(machine: &mut Machine) -> Vec<CpuState> {
    machine.state().unwrap().cpus
}

#[test]
fn all_processors_stop_within_a_millisecond() {
    let Some(mut machine) = started(4, Schedule::Parallel, SPIN) else { return };
    // Other work on the host delays some.
    let shortest = (0..40).map(|_| run_for(&mut machine, Duration::from_millis(3))).min().unwrap();
    assert!(shortest < Duration::from_millis(1), "{shortest:?}");
    for cpu in &states(&mut machine)[1..] {
        assert_eq!(cpu.vcpu.rip(), 0, "in its loop");
    }
}

#[test]
fn a_stopped_machine_stays_as_it_is() {
    for schedule in [Schedule::Parallel, Schedule::Serial] {
        let Some(mut machine) = started(3, schedule, SPIN) else { return };
        run_for(&mut machine, Duration::from_millis(5));
        let before = (states(&mut machine), machine.memory().read_u64(0x30_0000).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        let after = (states(&mut machine), machine.memory().read_u64(0x30_0000).unwrap());
        // The time-stamp counters go on.
        let without_time = |(cpus, count): &(Vec<CpuState>, u64)| {
            (cpus.iter().map(|cpu| (cpu.vcpu.rip(), cpu.run_state)).collect::<Vec<_>>(), *count)
        };
        assert_eq!(without_time(&before), without_time(&after), "{schedule:?}");
    }
}

#[test]
fn all_processors_make_progress() {
    for schedule in [Schedule::Parallel, Schedule::Serial] {
        // DS is 0: they share the counter at 0x100.
        let Some(mut machine) = started(3, schedule, COUNT) else { return };
        let counts = |machine: &Machine| {
            (machine.memory().read_u64(0x100).unwrap(), machine.memory().read_u64(0x30_0000).unwrap())
        };
        let before = counts(&machine);
        for _ in 0..1000 {
            run_for(&mut machine, Duration::from_millis(5));
            let now = counts(&machine);
            if now.0 != before.0 && now.1 != before.1 {
                break;
            }
        }
        let after = counts(&machine);
        assert!(after.0 != before.0 && after.1 != before.1, "{schedule:?}: {before:x?}, {after:x?}");
    }
}

#[test]
fn a_processor_that_is_held_executes_nothing() {
    for schedule in [Schedule::Parallel, Schedule::Serial] {
        let Some(mut machine) = started(2, schedule, COUNT) else { return };
        let second = CpuId::new(1);
        machine.set_held(second, true);
        let before = machine.memory().read_u64(0x100).unwrap();
        run_for(&mut machine, Duration::from_millis(20));
        assert_eq!(machine.memory().read_u64(0x100).unwrap(), before, "{schedule:?}");
        machine.set_held(second, false);
        machine.set_held(CpuId::BOOT, true);
        let before = machine.memory().read_u64(0x30_0000).unwrap();
        run_for(&mut machine, Duration::from_millis(20));
        assert_eq!(machine.memory().read_u64(0x30_0000).unwrap(), before, "{schedule:?}");
    }
}

#[test]
fn a_processor_that_halts_for_good_leaves_the_others_running() {
    for schedule in [Schedule::Parallel, Schedule::Serial] {
        let Some(mut machine) = started(2, schedule, HALT) else { return };
        run_for(&mut machine, Duration::from_millis(20));
        assert_eq!(machine.cpu(CpuId::new(1)).run_state(), RunState::HaltedForGood, "{schedule:?}");
        let before = machine.memory().read_u64(0x30_0000).unwrap();
        run_for(&mut machine, Duration::from_millis(20));
        assert_ne!(machine.memory().read_u64(0x30_0000).unwrap(), before, "{schedule:?}");
    }
}

#[test]
fn a_reset_leaves_the_other_processors_waiting() {
    for schedule in [Schedule::Parallel, Schedule::Serial] {
        let Some(mut machine) = started(3, schedule, SPIN) else { return };
        machine.inputs().push(Input::Reset);
        assert!(matches!(machine.run_to_event(), Event::Reset), "{schedule:?}");
        let states: Vec<RunState> = machine.cpu_ids().map(|cpu| machine.cpu(cpu).run_state()).collect();
        let waiting = RunState::WaitForSipi;
        assert_eq!(states, [RunState::Running, waiting, waiting], "{schedule:?}");
    }
}

#[test]
fn a_processor_that_is_brought_back_carries_its_own_hlt_out_and_stays_before_an_inserted_one() {
    let Some(mut machine) = machine_with(64 << 20, &[0xF4, 0xF4], 2, Schedule::Parallel) else { return };
    let debug = GuestDebug { halts: true, ..GuestDebug::default() };
    machine.cpu_mut(CpuId::BOOT).set_guest_debug(debug).unwrap();
    let stop = DebugStop { exception: DebugStop::BREAKPOINT, pc: ENTRY, dr6: 0, dr7: 0 };
    let take_back = |machine: &mut Machine| {
        machine.take_back(CpuId::BOOT, VmExit::Debug(stop)).unwrap();
        let cpu = machine.cpu(CpuId::BOOT);
        (cpu.general_registers().unwrap().rip - ENTRY, cpu.run_state())
    };
    assert!(machine.memory().insert_breakpoint(ENTRY, 0xF4));
    assert_eq!(take_back(&mut machine), (0, RunState::Running));
    machine.memory().remove_breakpoints();
    // Interrupts are off at the guest's entry.
    assert_eq!(take_back(&mut machine), (1, RunState::HaltedForGood));
}
