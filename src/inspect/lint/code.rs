//! Code that interrupts make go wrong: functions that use memory below RSP, and handlers that change vector registers.
//!
//! Code is decoded from the beginning of each section, and from each gate on along jumps and calls that name their
//! targets. Both are estimates: what is reported was decoded, but not all code is found.
//!
//! Manual: Intel SDM volume 1, "FXSAVE and FXRSTOR Instructions".

use std::collections::BTreeSet;

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind,
    Register,
};

use super::{Guest, LintKind, LintReport};
use crate::arch::Mode;
use crate::inspect::disassembly::LONGEST_INSTRUCTION;
use crate::inspect::red_zone::{FINDING, RedZoneSearch};
use crate::inspect::tables::{IdtEntry, IdtView};
use crate::inspect::translate::read_virtual;

/// Most bytes of code that are decoded in search of the red zone.
const MOST_CODE: u64 = 1 << 20;
/// Most instructions that are decoded of all handlers together, and of one.
const MOST_OF_HANDLERS: usize = 20_000;
const MOST_OF_ONE: usize = 1000;
/// Vectors from here on are interrupts.
const FIRST_INTERRUPT: u8 = 32;
/// Most functions that are named.
const MOST_NAMED: usize = 5;

pub(super) fn check(guest: &Guest<'_>, report: &mut LintReport) {
    if matches!(guest.registers.mode(), Mode::Real | Mode::Virtual8086) {
        return;
    }
    let idt = IdtView::of(guest.memory, guest.registers, guest.names);
    let handlers: Vec<&IdtEntry> =
        idt.entries.iter().filter(|entry| entry.handler.is_some() && !entry.is_first).collect();
    let is_interrupted = handlers.iter().any(|entry| entry.vector >= FIRST_INTERRUPT && entry.ist == 0);
    if guest.registers.bitness() == 64 && is_interrupted {
        red_zone(guest, report);
    }
    vector_registers(guest, &handlers, report);
}

fn red_zone(guest: &Guest<'_>, report: &mut LintReport) {
    let (mut found, mut functions, mut left) = (Vec::new(), BTreeSet::new(), MOST_CODE);
    for section in guest.names.sections().iter().filter(|section| section.executable) {
        let length = (section.range.end - section.range.start).min(left);
        if length < section.range.end - section.range.start {
            report.note(format!(
                "code from {:#x} on was not searched for a red zone",
                section.range.start + length
            ));
        }
        left -= length;
        // Memory, not the file: code may have been changed. What is not mapped is left out.
        let mut bytes = vec![0; length as usize];
        let read = read_virtual(guest.memory, guest.registers, section.range.start, &mut bytes);
        let mut decoder = Decoder::with_ip(64, &bytes[..read], section.range.start, DecoderOptions::NONE);
        let mut search = RedZoneSearch::default();
        while decoder.can_decode() {
            let instruction = decoder.decode();
            if search.next(&instruction) {
                let function = guest.names.symbol_at(instruction.ip()).map(|symbol| symbol.name);
                if functions.insert(function.clone()) {
                    found.push((instruction.ip(), function));
                }
            }
        }
    }
    let Some((first, _)) = found.first() else { return };
    let named: Vec<String> = found
        .iter()
        .take(MOST_NAMED)
        .map(|(address, name)| match name {
            Some(name) => format!("`{name}` at {address:#x}"),
            None => format!("code at {address:#x}"),
        })
        .collect();
    let more = match found.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more functions"),
    };
    let verb = if found.len() == 1 { "uses" } else { "use" };
    let text = format!("{}{more} {verb} {FINDING}", named.join(", "));
    report.add(LintKind::RedZone, *first, text);
}

fn vector_registers(guest: &Guest<'_>, handlers: &[&IdtEntry], report: &mut LintReport) {
    let (mut seen, mut left) = (BTreeSet::new(), MOST_OF_HANDLERS);
    for entry in handlers {
        let Some(handler) = entry.handler.filter(|handler| seen.insert(*handler)) else { continue };
        if left == 0 {
            report.note(format!(
                "handlers from vector {:#04x} on were not searched for vector registers",
                entry.vector
            ));
            return;
        }
        if let Some((address, register)) = changed_register(guest, handler, &mut left) {
            let text = format!(
                "the handler of vector {:#04x}, {}, changes {} at {} and has not saved it: what it interrupts loses it; \
                 build handlers with -mgeneral-regs-only, or save with `fxsave`",
                entry.vector,
                guest.place(handler),
                format!("{register:?}").to_lowercase(),
                guest.place(address)
            );
            report.add(LintKind::VectorRegisters, address, text);
        }
    }
}

/// The first vector register that a handler changes without having saved it, and where.
fn changed_register(guest: &Guest<'_>, handler: u64, left: &mut usize) -> Option<(u64, Register)> {
    let bitness = guest.registers.bitness();
    let mut factory = InstructionInfoFactory::new();
    let (mut waiting, mut seen, mut saved) = (vec![handler], BTreeSet::new(), BTreeSet::new());
    while let Some(address) = waiting.pop() {
        if !seen.insert(address) {
            continue;
        }
        if *left == 0 || seen.len() > MOST_OF_ONE {
            return None;
        }
        *left -= 1;
        let instruction = decode(guest, bitness, address)?;
        if is_save(instruction.mnemonic()) {
            return None;
        }
        for used in factory.info(&instruction).used_registers() {
            let register = used.register();
            if !register.is_vector_register() && !register.is_mm() {
                continue;
            }
            let number = (register.is_mm(), register.number());
            let changes = matches!(
                used.access(),
                OpAccess::Write | OpAccess::ReadWrite | OpAccess::CondWrite | OpAccess::ReadCondWrite
            );
            if !changes && instruction.op0_kind() == OpKind::Memory {
                saved.insert(number);
            } else if changes && !saved.contains(&number) {
                return Some((address, register));
            }
        }
        let (next, target) = (instruction.next_ip(), instruction.near_branch_target());
        match instruction.flow_control() {
            FlowControl::Next | FlowControl::IndirectCall | FlowControl::Interrupt => waiting.push(next),
            FlowControl::UnconditionalBranch => waiting.push(target),
            FlowControl::ConditionalBranch | FlowControl::Call => waiting.extend([next, target]),
            _ => {}
        }
    }
    None
}

fn decode(guest: &Guest<'_>, bitness: u32, address: u64) -> Option<Instruction> {
    let mut bytes = [0; LONGEST_INSTRUCTION];
    let read = read_virtual(guest.memory, guest.registers, address, &mut bytes);
    let instruction = Decoder::with_ip(bitness, &bytes[..read], address, DecoderOptions::NONE).decode();
    (!instruction.is_invalid()).then_some(instruction)
}

/// True for instructions that save all vector registers.
fn is_save(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Fxsave
            | Mnemonic::Fxsave64
            | Mnemonic::Xsave
            | Mnemonic::Xsave64
            | Mnemonic::Xsavec
            | Mnemonic::Xsavec64
            | Mnemonic::Xsaveopt
            | Mnemonic::Xsaveopt64
            | Mnemonic::Xsaves
            | Mnemonic::Xsaves64
    )
}
