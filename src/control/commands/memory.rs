//! Commands that show memory: the memory map, dumps, disassembly and page-table walks.

use super::super::command::{invalid, no_more, shown, split_json};
use super::super::error::CommandError;
use super::values::{count, number, symbol};
use crate::devices::lapic;
use crate::devices::vga::{BUFFER_CELLS, TEXT_BUFFER};
use crate::inspect::disassembly::{self, LONGEST_INSTRUCTION};
use crate::inspect::hexdump;
use crate::inspect::translate::read_virtual;
use crate::inspect::walk::WalkView;
use crate::memory::VIDEO_MEMORY;
use crate::supervisor::stopped_machine::StoppedMachine;

/// Maximum and default number of bytes in a dump.
const MOST_BYTES: u64 = 4096;
const USUAL_BYTES: u64 = 64;
/// Maximum and default number of instructions.
const MOST_INSTRUCTIONS: u64 = 200;
const USUAL_INSTRUCTIONS: u64 = 10;

/// The guest-physical memory map.
pub(in crate::control) fn map(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    let text_end = TEXT_BUFFER + 2 * BUFFER_CELLS as u64;
    let mut rows: Vec<(u64, u64, String)> = Vec::new();
    for range in guest.memory().ram() {
        let size = (range.end - range.start) >> 20;
        rows.push((range.start, range.end, format!("RAM, {size} MiB")));
    }
    if guest.memory().has_video_memory() {
        let size = (VIDEO_MEMORY.end - VIDEO_MEMORY.start) >> 20;
        rows.push((VIDEO_MEMORY.start, VIDEO_MEMORY.end, format!("video memory, {size} MiB")));
    }
    rows.push((TEXT_BUFFER, text_end, "  VGA text buffer in it".to_owned()));
    rows.push((lapic::BASE, lapic::BASE + lapic::LENGTH, "local APIC registers".to_owned()));
    rows.sort();
    let lines = rows.iter().map(|(start, end, what)| format!("{start:#014x}..{end:#014x} {what}\n"));
    Ok(lines.collect::<String>() + "everything else: unassigned; reads return 0, writes are ignored\n")
}

/// Guest-physical memory in hexadecimal and ASCII.
pub(in crate::control) fn dump(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    if arguments.is_empty() {
        return Err(invalid("an address is missing"));
    }
    let (start, rest) = number(guest, arguments)?;
    let wanted = if rest.is_empty() { USUAL_BYTES } else { count(guest, rest, MOST_BYTES)? };
    let memory = guest.memory();
    // Up to the end of RAM.
    let end = memory.parts().find(|range| range.contains(&start)).map(|range| range.end);
    let length = wanted.min(end.ok_or(CommandError::NotRam { address: start })? - start);
    let mut bytes = vec![0; length as usize];
    memory.read(start, &mut bytes).map_err(|_| CommandError::NotRam { address: start })?;
    let mut text = String::new();
    for (line, address) in bytes.chunks(hexdump::LINE).zip((start..).step_by(hexdump::LINE)) {
        hexdump::add_line(&mut text, address, line);
    }
    if length < wanted {
        text.push_str(&format!("{:010x}  RAM ends here\n", start + length));
    }
    Ok(text)
}

/// Disassembles code in the guest's current mode.
pub(in crate::control) fn disassemble(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let registers = guest.registers()?;
    let here = registers.next_instruction();
    let (mut address, rest) = if arguments.is_empty() { (here, "") } else { number(guest, arguments)? };
    let count = if rest.is_empty() { USUAL_INSTRUCTIONS } else { count(guest, rest, MOST_INSTRUCTIONS)? };
    let bitness = registers.bitness();
    // Jumps are relative to the instruction pointer, which counts from the base of CS.
    let base = here.wrapping_sub(registers.general.rip);
    let mut text = if bitness == 64 {
        String::new()
    } else {
        format!("{bitness}-bit code, CS {:#06x} with base {base:#x}\n", registers.system.cs.selector)
    };
    let mut source = None;
    for _ in 0..count {
        let mut bytes = [0; LONGEST_INSTRUCTION];
        let found = read_virtual(guest.memory(), &registers, address, &mut bytes);
        let bytes = bytes.get(..found).unwrap_or(&[]);
        let Some(first) = bytes.first() else {
            if text.lines().any(|line| line.contains(": ")) {
                text.push_str(&format!("   {address:#x}: nothing is mapped here\n"));
                break;
            }
            return Err(CommandError::NotMapped { address });
        };
        let line = guest.source_at(address);
        let is_new = line.is_some() && line != source;
        let behind = line.as_ref().filter(|_| is_new).map(|line| format!(" ; {line}")).unwrap_or_default();
        source = line.or(source);
        let name = symbol(guest, address).map_or_else(String::new, |symbol| format!(" <{symbol}>"));
        let mark = if address == here { "=>" } else { "  " };
        let decoded = disassembly::decode(bytes, bitness, address.wrapping_sub(base));
        let (what, length) = match decoded {
            Some(decoded) => {
                let target = decoded.target.and_then(|target| symbol(guest, base.wrapping_add(target)));
                let target = target.map_or_else(String::new, |symbol| format!(" <{symbol}>"));
                (decoded.text + &target, decoded.length)
            }
            None => (format!("(no instruction begins with {first:#04x})"), 1),
        };
        text.push_str(&format!("{mark} {address:#x}{name}: {what}{behind}\n"));
        let Some(next) = address.checked_add(length as u64) else { break };
        address = next;
    }
    Ok(text)
}

/// The page-table walk of a virtual address.
pub(in crate::control) fn walk(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let (json, arguments) = split_json(arguments);
    if arguments.is_empty() {
        return Err(invalid("an address is missing"));
    }
    let (address, rest) = number(guest, arguments)?;
    no_more(rest)?;
    Ok(shown(&WalkView::of(guest.memory(), &guest.registers()?, address), json))
}
