//! The IDT, the GDT and the task state segment.
//!
//! Manual: Intel SDM volume 3A, "Interrupt and Exception Handling", "Task Management".

use super::{Guest, LintKind, LintReport};
use crate::arch::gate::{GateEntry, MAX_GATE_SIZE};
use crate::arch::{Mode, Registers};
use crate::inspect::fault::{name, vector};
use crate::inspect::tables::{GdtEntry, GdtView, IdtView, TssView};
use crate::inspect::translate::read_virtual;

/// The exceptions that any code can raise.
const NEEDED: [u8; 5] =
    [vector::DIVIDE, vector::UNDEFINED, vector::DOUBLE_FAULT, vector::PROTECTION, vector::PAGE_FAULT];
/// Exceptions that software of ring 3 may raise by an instruction of their own.
const FOR_SOFTWARE: [u8; 2] = [vector::BREAKPOINT, vector::OVERFLOW];
/// Number of exception vectors.
const EXCEPTIONS: u8 = 32;
/// Tops of two stacks that are nearer than this are one stack: a frame and the registers that a handler saves.
const NEAREST_STACKS: u64 = 256;

pub(super) fn check(guest: &Guest<'_>, report: &mut LintReport) {
    let registers = guest.registers;
    if matches!(registers.mode(), Mode::Real | Mode::Virtual8086) {
        return;
    }
    let gdt = GdtView::of(guest.memory, registers);
    idt(guest, report);
    for text in &gdt.notes {
        report.add(LintKind::Descriptor, gdt.base, format!("the GDT at {:#x}: {text}", gdt.base));
    }
    for entry in &gdt.entries {
        for note in &entry.notes {
            let address = gdt.base.wrapping_add(entry.selector);
            report.add(
                LintKind::Descriptor,
                address,
                format!("GDT entry {:#x} ({}): {note}", entry.selector, entry.kind),
            );
        }
    }
    overlaps(registers, &gdt.entries, report);
    task_state(guest, &gdt.entries, report);
}

fn idt(guest: &Guest<'_>, report: &mut LintReport) {
    let (registers, view) = (guest.registers, IdtView::of(guest.memory, guest.registers, guest.names));
    if view.entries.iter().all(|entry| entry.handler.is_none()) {
        report.add(
            LintKind::Gate,
            view.base,
            format!(
                "the IDT at {:#x} has no gate: every exception is a triple fault; set gates and load them",
                view.base
            ),
        );
        return;
    }
    if view.entries.iter().all(|entry| entry.is_first) {
        report.note("the IDT is that of the start: exceptions end the run with a report, and interrupts have no gates");
        return;
    }
    // Gates of the start are no work of the guest's.
    for entry in view.entries.iter().filter(|entry| !entry.is_first) {
        let address = GateEntry::of(registers, entry.vector).map_or(view.base, |gate| gate.address);
        let which = gate_name(entry.vector);
        for note in &entry.notes {
            report.add(LintKind::Gate, address, format!("{which}: {note}"));
        }
        let is_open = dpl(guest, entry.vector) == Some(3) && entry.handler.is_some();
        if entry.vector < EXCEPTIONS && !FOR_SOFTWARE.contains(&entry.vector) && is_open {
            let why = "ring 3 can call it by `int`, without an error code; use ring 0 in the gate";
            report.add(LintKind::Gate, address, format!("{which} is open to ring 3: {why}"));
        }
        if entry.vector == vector::DOUBLE_FAULT && entry.ist == 0 && registers.mode().is_long() {
            let why = "it runs on the stack that may have overflowed; give it an IST";
            report.add(LintKind::Gate, address, format!("{which} has no stack of its own: {why}"));
        }
    }
    for vector in NEEDED.iter().filter(|vector| view.entries.iter().all(|entry| entry.vector != **vector)) {
        report.add(
            LintKind::Gate,
            view.base,
            format!(
                "the IDT at {:#x} has no gate for {}: it ends in a triple fault; set one",
                view.base,
                name(*vector)
            ),
        );
    }
}

fn gate_name(vector: u8) -> String {
    if vector < EXCEPTIONS { format!("the gate for {}", name(vector)) } else { format!("gate {vector:#04x}") }
}

/// The ring that may call the gate by a software interrupt.
fn dpl(guest: &Guest<'_>, vector: u8) -> Option<u8> {
    let entry = GateEntry::of(guest.registers, vector)?;
    let mut bytes = [0; MAX_GATE_SIZE];
    let read = read_virtual(guest.memory, guest.registers, entry.address, &mut bytes[..entry.size()]);
    if read < entry.size() { None } else { entry.decode(bytes).map(|gate| gate.dpl) }
}

/// Tables that lie on top of one another, and segments of protected mode that overlap in part.
fn overlaps(registers: &Registers, entries: &[GdtEntry], report: &mut LintReport) {
    let system = &registers.system;
    let mut tables = vec![
        ("the GDT", system.gdt.base, u64::from(system.gdt.limit)),
        ("the IDT", system.idt.base, u64::from(system.idt.limit)),
    ];
    if system.tr.unusable == 0 && system.tr.selector & !3 != 0 {
        tables.push(("the task state segment", system.tr.base, u64::from(system.tr.limit)));
    }
    let overlap =
        |a: (u64, u64), b: (u64, u64)| a.0 <= b.0.saturating_add(b.1) && b.0 <= a.0.saturating_add(a.1);
    for (at, one) in tables.iter().enumerate() {
        for other in &tables[at + 1..] {
            if overlap((one.1, one.2), (other.1, other.2)) {
                let at = one.1.max(other.1);
                let text = format!(
                    "{} and {} overlap at {at:#x}: move one of them, or lower its limit",
                    one.0, other.0
                );
                report.add(LintKind::Descriptor, at, text);
            }
        }
    }
    if registers.mode().is_long() {
        return;
    }
    let segments: Vec<&GdtEntry> = entries.iter().filter(|entry| entry.is_memory && entry.present).collect();
    for (at, one) in segments.iter().enumerate() {
        for other in &segments[at + 1..] {
            let (a, b) = ((one.base, u64::from(one.limit)), (other.base, u64::from(other.limit)));
            let holds = |a: (u64, u64), b: (u64, u64)| a.0 <= b.0 && b.0 + b.1 <= a.0 + a.1;
            if overlap(a, b) && !holds(a, b) && !holds(b, a) {
                let text = format!(
                    "the segments {:#x} ({}) and {:#x} ({}) overlap in part: check their bases and limits",
                    one.selector, one.kind, other.selector, other.kind
                );
                report.add(LintKind::Descriptor, a.0.max(b.0), text);
            }
        }
    }
}

fn task_state(guest: &Guest<'_>, entries: &[GdtEntry], report: &mut LintReport) {
    let view = TssView::of(guest.memory, guest.registers, guest.names);
    let has_ring_3 = entries.iter().any(|entry| entry.is_memory && entry.ring == 3 && entry.present);
    if view.width == 0 {
        if has_ring_3 {
            let text = "there are segments for ring 3, and TR holds no task state segment: an interrupt of ring 3 \
                        finds no stack; load one with `ltr`";
            report.add(LintKind::TaskState, 0, text);
        }
        return;
    }
    for note in &view.notes {
        report.add(
            LintKind::TaskState,
            view.base,
            format!("the task state segment at {:#x}: {note}", view.base),
        );
    }
    for stack in &view.stacks {
        for note in &stack.notes {
            report.add(
                LintKind::TaskState,
                stack.pointer,
                format!(
                    "{} of the task state segment, {}: {note}; write the top of a stack there",
                    stack.name, stack.place
                ),
            );
        }
    }
    let set: Vec<_> = view.stacks.iter().filter(|stack| stack.pointer != 0).collect();
    if has_ring_3 && view.stacks.first().is_some_and(|stack| stack.pointer == 0) {
        let text = format!(
            "there are segments for ring 3, and the stack for ring 0 in the task state segment at {:#x} is not set; \
             write RSP0",
            view.base
        );
        report.add(LintKind::TaskState, view.base, text);
    }
    for (at, one) in set.iter().enumerate() {
        for other in &set[at + 1..] {
            if one.pointer.abs_diff(other.pointer) < NEAREST_STACKS && view.width == 64 {
                let text = format!(
                    "{} and {} of the task state segment are one stack, {}: the second event overwrites the first; use \
                     two",
                    one.name, other.name, one.place
                );
                report.add(LintKind::TaskState, one.pointer, text);
            }
        }
    }
}
