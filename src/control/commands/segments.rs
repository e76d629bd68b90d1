//! Commands that show descriptor tables.

use super::super::error::CommandError;
use super::values::place;
use crate::arch::descriptor::{self, Descriptor};
use crate::arch::gate::{GateEntry, GateKind, MAX_GATE_SIZE};
use crate::arch::{Mode, Registers};
use crate::inspect::translate::read_virtual;
use crate::supervisor::stopped_machine::StoppedMachine;

/// The descriptors of the GDT.
pub(in crate::control) fn gdt(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    let registers = guest.registers()?;
    let table = registers.system.gdt;
    let mut text = format!("GDT at {:#x}, limit {:#x}\n", table.base, table.limit);
    let (end, mut offset) = (u64::from(table.limit) + 1, 0);
    while offset + descriptor::SIZE <= end {
        let address = table.base.wrapping_add(offset);
        let mut bytes = [0; 16];
        let found = read_virtual(guest.memory(), &registers, address, &mut bytes);
        if found < descriptor::SIZE as usize {
            text.push_str(&format!("{offset:#06x}: nothing is mapped at {address:#x}\n"));
            break;
        }
        let (low, high) = bytes.split_at(8);
        let number = |half: &[u8]| half.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        let entry = Descriptor { value: number(low), address };
        // In long mode system segments have sixteen bytes.
        let is_long = entry.is_system() && entry.value != 0 && registers.mode().is_long();
        if entry.value != 0 {
            let upper = if is_long { number(high) << 32 } else { 0 };
            text.push_str(&format!("{offset:#06x}: {}\n", describe(&entry, upper)));
        }
        offset += if is_long { 16 } else { descriptor::SIZE };
    }
    Ok(text)
}

/// Names of system segments by their type (Intel SDM volume 3A, "System-Segment and Gate-Descriptor Types").
fn system_name(kind: u8) -> &'static str {
    match kind {
        1 => "16-bit TSS (available)",
        2 => "LDT",
        3 => "16-bit TSS (busy)",
        4 => "16-bit call gate",
        5 => "task gate",
        9 => "TSS (available)",
        11 => "TSS (busy)",
        12 => "call gate",
        _ => "reserved type",
    }
}

fn describe(entry: &Descriptor, upper_base: u64) -> String {
    let mut what = match (entry.is_system(), entry.is_code()) {
        (true, _) => system_name(entry.kind()).to_owned(),
        (false, true) => {
            let bits = match (entry.is_long(), entry.is_big()) {
                (true, _) => 64,
                (false, true) => 32,
                (false, false) => 16,
            };
            let conforming = if entry.is_conforming() { ", conforming" } else { "" };
            let readable = if entry.is_readable() { "" } else { ", execute-only" };
            format!("{bits}-bit code{conforming}{readable}")
        }
        (false, false) if entry.is_writable() => "data".to_owned(),
        (false, false) => "data, read-only".to_owned(),
    };
    if !entry.is_present() {
        what.push_str(", not present");
    }
    format!("{what}, ring {}, base {:#x}, limit {:#x}", entry.dpl(), entry.base() | upper_base, entry.limit())
}

/// The gates of the IDT, or the vectors of real mode.
pub(in crate::control) fn idt(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    let registers = guest.registers()?;
    let table = registers.system.idt;
    let mut text = format!("IDT at {:#x}, limit {:#x}\n", table.base, table.limit);
    let mut any = false;
    for vector in 0..=u8::MAX {
        let Some(entry) = GateEntry::of(&registers, vector) else { break };
        let mut bytes = [0; MAX_GATE_SIZE];
        let size = entry.size();
        if read_virtual(guest.memory(), &registers, entry.address, &mut bytes[..size]) < size {
            text.push_str(&format!("{vector:#04x}: nothing is mapped at {:#x}\n", entry.address));
            break;
        }
        if bytes.iter().all(|byte| *byte == 0) {
            continue;
        }
        any = true;
        text.push_str(&format!("{vector:#04x}: {}\n", gate(guest, &registers, &entry, bytes)));
    }
    if !any {
        text.push_str("no gate is set\n");
    }
    Ok(text)
}

fn gate(
    guest: &dyn StoppedMachine,
    registers: &Registers,
    entry: &GateEntry,
    bytes: [u8; MAX_GATE_SIZE],
) -> String {
    let Some(gate) = entry.decode(bytes) else { return "no valid gate".to_owned() };
    if registers.mode() == Mode::Real {
        let linear = (u64::from(gate.selector) << 4) + gate.offset;
        return format!("{:04x}:{:04x}, {}", gate.selector, gate.offset, place(guest, linear));
    }
    let kind = match gate.kind {
        GateKind::Interrupt => "interrupt",
        GateKind::Trap => "trap",
        GateKind::Task => return format!("task gate, selector {:#x}, ring {}", gate.selector, gate.dpl),
    };
    let ist = if gate.ist == 0 { String::new() } else { format!(", IST {}", gate.ist) };
    let present = if gate.is_present { "" } else { ", not present" };
    format!(
        "{kind} gate to {}, selector {:#x}, ring {}{ist}{present}",
        place(guest, gate.offset),
        gate.selector,
        gate.dpl
    )
}
