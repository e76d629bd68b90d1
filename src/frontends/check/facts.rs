//! Queries all host properties and collects them as rows.

use std::borrow::Cow;
use std::path::Path;

use super::descriptions::{self, Answer};
use super::report::Mark::{Bad, Good, Plain};
use super::report::{Group, Report, Row, Value};
use crate::kvm::probe::{
    AFTER_TRIPLE_FAULT, COALESCED_WRITES, DATA_WATCHPOINTS, DIRTY_LOG, FOREIGN_HYPERCALL,
    HARDWARE_BREAKPOINTS, INSTRUCTIONS, INT_N_IN_RING_3, INTERRUPT_FREE_STEPPING, KvmCapabilities, MODES,
    ModeSupport, PORT_EXIT, ProbeMode, READ_ONLY_MEMORY, RESUME_FLAG, SINGLE_STEP, SOFTWARE_BREAKPOINTS,
    SPEED, SYSTEM_CALLS, Speed, VMCALL, VMMCALL,
};
use crate::kvm::{HostError, Kvm};
use crate::os::sandbox::Confinement;

/// The word for a property that could not be measured.
const NOT_MEASURED: &str = "not_measured";

/// The complete report, with all properties measured.
pub(super) fn all(kvm: &Kvm) -> Report {
    let long = MODES.iter().find(|known| known.mode == ProbeMode::Long);
    let usable = long.is_some_and(|known| matches!(known.fact.get(kvm), Ok(ModeSupport::Runs)));
    let groups = vec![
        host(kvm.device(), &KvmCapabilities::of(kvm)),
        modes(kvm),
        instructions(kvm),
        kernel_entries(kvm),
        debugging(kvm),
        memory(kvm),
        speed(kvm),
    ];
    let conclusion =
        if usable { summary(kvm) } else { "Guests cannot run here: 64-bit code does not.".into() };
    Report { usable, groups, conclusion }
}

/// The report for a host where the device cannot be used.
pub(super) fn without_kvm(device: &Path, error: &HostError) -> Report {
    let why = error.to_string();
    let conclusion = format!("Guests cannot run here: {why}.");
    let rows = vec![
        row("device", device.display().to_string(), Ok(descriptions::device(error))),
        Row::new("remedy", "what to do", Value::Text(why), Plain, "see below".into()),
    ];
    Report { usable: false, groups: vec![Group { key: "host", title: "Host", rows }], conclusion }
}

fn host(device: &Path, offers: &KvmCapabilities) -> Group {
    let text = |key, what, text: &str| {
        Row::new(key, what, Value::Text(text.to_owned()), Plain, text.to_owned().into())
    };
    let count = |key, what, count: i32| {
        Row::new(key, what, Value::Count(count.into()), Plain, count.to_string().into())
    };
    let yes_no = |key, what, yes: bool| {
        let words = if yes { "offered" } else { "not offered" };
        Row::new(key, what, Value::Flag(yes), Plain, words.into())
    };
    let modules = if offers.modules.is_empty() { "others".to_owned() } else { offers.modules.join(", ") };
    let rows = vec![
        row("device", device.display().to_string(), Ok(("usable", Good, "usable"))),
        count("api_version", "version of its interface", offers.api_version),
        text("kernel", "kernel", &offers.kernel),
        text("modules", "modules", &modules),
        text("vendor", "processor", &offers.vendor),
        count("recommended_vcpus", "vCPUs recommended", offers.recommended_vcpus),
        count("most_vcpus", "vCPUs at most", offers.most_vcpus),
        count("memory_slots", "pieces of memory at most", offers.memory_slots),
        yes_no("shared_registers", "registers without a call", offers.shared_registers),
        count("dirty_ring", "entries of the dirty ring", offers.dirty_ring),
        yes_no("cpuid_huge_pages", "pages of 1 GiB, by CPUID", offers.huge_pages),
        yes_no("cpuid_bit_counts", "lzcnt and tzcnt, by CPUID", offers.bit_counts),
        text("confinement", "receivers confined by", &Confinement::available().to_string()),
    ];
    Group { key: "host", title: "Host", rows }
}

fn modes(kvm: &Kvm) -> Group {
    let rows = MODES.iter().map(|known| {
        let (key, what) = match known.mode {
            ProbeMode::Real => ("real", "real mode"),
            ProbeMode::Protected => ("protected", "32-bit, no paging"),
            ProbeMode::Paging32 => ("paging_32", "32-bit, paging (PSE)"),
            ProbeMode::PagingPae => ("paging_pae", "32-bit, paging (PAE)"),
            ProbeMode::Long => ("long", "64-bit, ring 0"),
            ProbeMode::LongHuge => ("huge_pages", "64-bit, pages of 1 GiB"),
            ProbeMode::LongRing3 => ("long_ring3", "64-bit, ring 3"),
        };
        row(key, what, known.fact.get(kvm).map(descriptions::started))
    });
    Group { key: "modes", title: "Modes a guest can run in", rows: rows.collect() }
}

fn instructions(kvm: &Kvm) -> Group {
    let instructions = INSTRUCTIONS.iter();
    let rows = instructions.map(|it| row(it.name, it.text, it.behaviour(kvm).map(descriptions::behaviour)));
    Group { key: "instructions", title: "Instructions in ring 0", rows: rows.collect() }
}

fn kernel_entries(kvm: &Kvm) -> Group {
    let rows = vec![
        row("int_n", "int n in ring 3", INT_N_IN_RING_3.behaviour(kvm).map(descriptions::behaviour)),
        row("syscall", "syscall in ring 3", SYSTEM_CALLS.get(kvm).map(descriptions::system_calls)),
        row("vmcall", "vmcall in ring 0", VMCALL.get(kvm).map(descriptions::hypercall)),
        row("vmmcall", "vmmcall in ring 0", VMMCALL.get(kvm).map(descriptions::hypercall)),
        row(
            "foreign_hypercall",
            "... the other vendor's, KVM alone",
            FOREIGN_HYPERCALL.get(kvm).map(descriptions::foreign_hypercall),
        ),
    ];
    Group { key: "calls", title: "System calls and hypercalls", rows }
}

fn debugging(kvm: &Kvm) -> Group {
    let (software, hardware, watch) = (&SOFTWARE_BREAKPOINTS, &HARDWARE_BREAKPOINTS, &DATA_WATCHPOINTS);
    let rows = vec![
        row(
            "software_breakpoints_ring0",
            "software breakpoints, ring 0",
            software.ring0.get(kvm).map(descriptions::software_breakpoints),
        ),
        row(
            "software_breakpoints_ring3",
            "software breakpoints, ring 3",
            software.ring3.get(kvm).map(descriptions::software_breakpoints),
        ),
        row(
            "hardware_breakpoints_ring0",
            "hardware breakpoints, ring 0",
            hardware.ring0.get(kvm).map(descriptions::hardware_breakpoints),
        ),
        row(
            "hardware_breakpoints_ring3",
            "hardware breakpoints, ring 3",
            hardware.ring3.get(kvm).map(descriptions::hardware_breakpoints),
        ),
        row("resume_flag", "RFLAGS.RF at one of them", RESUME_FLAG.get(kvm).map(descriptions::resume_flag)),
        row(
            "write_watchpoints_ring0",
            "watched writes, ring 0",
            watch.ring0.get(kvm).map(|it| it.write).map(descriptions::hardware_breakpoints),
        ),
        row(
            "write_watchpoints_ring3",
            "watched writes, ring 3",
            watch.ring3.get(kvm).map(|it| it.write).map(descriptions::hardware_breakpoints),
        ),
        row(
            "read_watchpoints_ring0",
            "watched reads, ring 0",
            watch.ring0.get(kvm).map(|it| it.read).map(descriptions::hardware_breakpoints),
        ),
        row(
            "read_watchpoints_ring3",
            "watched reads, ring 3",
            watch.ring3.get(kvm).map(|it| it.read).map(descriptions::hardware_breakpoints),
        ),
        row(
            "single_step_ring0",
            "single steps, ring 0",
            SINGLE_STEP.ring0.get(kvm).map(descriptions::single_step),
        ),
        row(
            "single_step_ring3",
            "single steps, ring 3",
            SINGLE_STEP.ring3.get(kvm).map(descriptions::single_step),
        ),
        row(
            "interrupt_free_stepping",
            "steps without interrupts",
            INTERRUPT_FREE_STEPPING.get(kvm).map(descriptions::interrupt_free_stepping),
        ),
        row(
            "after_triple_fault",
            "after a triple fault",
            AFTER_TRIPLE_FAULT.get(kvm).map(descriptions::after_triple_fault),
        ),
    ];
    Group { key: "debugging", title: "Debugging", rows }
}

fn memory(kvm: &Kvm) -> Group {
    let rows = vec![
        row("dirty_log", "log of written pages", DIRTY_LOG.get(kvm).map(descriptions::dirty_log)),
        row("read_only", "read-only memory", READ_ONLY_MEMORY.get(kvm).map(descriptions::read_only_memory)),
        row(
            "collected_writes",
            "writes to a busy port",
            COALESCED_WRITES.get(kvm).map(descriptions::collected_writes),
        ),
    ];
    Group { key: "writes", title: "Memory and ports", rows }
}

fn speed(kvm: &Kvm) -> Group {
    let mut rows = Vec::new();
    let rings = [
        ("ring0", "ring0_ns", "code in ring 0", "... an instruction", &SPEED.ring0),
        ("ring3", "ring3_ns", "code in ring 3", "... an instruction", &SPEED.ring3),
    ];
    for (key, key_ns, what, what_ns, fact) in rings {
        let speed = fact.get(kvm);
        let time = speed.as_ref().ok().copied().flatten().map(|speed| speed.picoseconds);
        rows.push(row(key, what, speed.map(descriptions::speed)));
        rows.push(measured(key_ns, what_ns, time));
    }
    rows.push(measured("port_exit_ns", "a port write, and back", PORT_EXIT.get(kvm).ok().flatten()));
    Group { key: "speed", title: "Speed, roughly", rows }
}

/// A row for an answer with its own description.
fn row(key: &'static str, what: impl Into<Cow<'static, str>>, answer: Result<Answer, HostError>) -> Row {
    match answer {
        Ok((word, mark, words)) => Row::new(key, what, Value::Word(word), mark, words.into()),
        Err(error) => {
            Row::new(key, what, Value::Word(NOT_MEASURED), Bad, format!("not measured: {error}").into())
        }
    }
}

/// A row for a time in picoseconds.
fn measured(key: &'static str, what: &'static str, picoseconds: Option<u64>) -> Row {
    let words = match picoseconds {
        Some(time) if time >= 1_000_000 => format!("{}.{} us", time / 1_000_000, time / 100_000 % 10),
        Some(time) => format!("{}.{:02} ns", time / 1000, time / 10 % 100),
        None => "not measured".to_owned(),
    };
    Row::new(key, what, Value::Time(picoseconds), Plain, words.into())
}

/// The conclusion for a host where guests can run.
fn summary(kvm: &Kvm) -> String {
    let interpreted =
        |speed: &Result<Option<Speed>, HostError>| matches!(speed, Ok(Some(speed)) if speed.is_interpreted());
    if interpreted(&SPEED.ring0.get(kvm)) {
        "Guests can run here. Their ring 0 is interpreted by KVM, which is slow. What KVM refuses is emulated \
         by kvm, which is slower still: guests built with -mgeneral-regs-only need none of that."
            .to_owned()
    } else {
        "Guests can run here.".to_owned()
    }
}
