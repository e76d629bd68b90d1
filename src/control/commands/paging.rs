//! Commands that show what the guest's page tables map.

use super::super::command::{invalid, no_more, shown, split_json};
use super::super::error::CommandError;
use super::values::number;
use crate::arch::PAGE_SIZE;
use crate::arch::paging::{Paging, Rights, entry_bits};
use crate::inspect::mappings::each_page;
use crate::inspect::maps::{Maps, MapsDiff};
use crate::memory::GuestMemory;
use crate::supervisor::stopped_machine::{GuestNames, StoppedMachine};

/// Maximum number of lines.
const MOST_LINES: usize = 4096;

/// A range of pages with the same rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: u64,
    /// The last address in it.
    last: u64,
    physical: u64,
    rights: Rights,
}

/// The mapped ranges; neighbours are merged if their rights are the same and, with `physical`, if they are
/// neighbours in physical memory, too.
fn merged(paging: &Paging, memory: &GuestMemory, physical: bool) -> (Vec<Range>, bool) {
    let mut ranges: Vec<Range> = Vec::new();
    let complete = each_page(paging, memory, 0, &mut |page| {
        let start = page.mapping.physical & !(page.size - 1);
        let (last, rights) = (page.address + (page.size - 1), page.mapping.rights);
        match ranges.last_mut() {
            Some(range)
                if range.last.checked_add(1) == Some(page.address)
                    && range.rights == rights
                    && (!physical || range.physical + (page.address - range.start) == start) =>
            {
                range.last = last;
            }
            _ => ranges.push(Range { start: page.address, last, physical: start, rights }),
        }
        ranges.len() <= MOST_LINES
    });
    (ranges, complete)
}

/// Letters for rights: user, read, write, execute.
fn letters(rights: Rights) -> String {
    let letter = |on, letter| if on { letter } else { '-' };
    [letter(rights.user, 'u'), 'r', letter(rights.write, 'w'), letter(rights.execute, 'x')].iter().collect()
}

/// The mapped ranges of virtual addresses, as QEMU shows them, with `x` in addition.
pub(in crate::control) fn ranges(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    show(guest, false)
}

/// The same with guest-physical addresses, as Bochs shows them.
pub(in crate::control) fn tables(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    show(guest, true)
}

/// What QEMU says of the ranges when paging is off. Plug-ins of gdb look for this line.
const DISABLED: &str = "PG disabled\n";
/// What is said otherwise when paging is off.
const OFF: &str = "paging is off: addresses are guest-physical ones\n";
/// What is said when there is more.
const MORE: &str = "... and more, which is not shown\n";

fn show(guest: &mut dyn StoppedMachine, physical: bool) -> Result<String, CommandError> {
    let registers = guest.registers()?;
    let paging = Paging::new(&registers, Paging::WIDEST);
    if paging.levels() == 0 {
        return Ok(if physical { OFF } else { DISABLED }.to_owned());
    }
    let (ranges, complete) = merged(&paging, guest.memory(), physical);
    let mut text = String::new();
    for Range { start, last, physical: first, rights } in ranges.iter().take(MOST_LINES) {
        let (size, letters) = ((last - start).wrapping_add(1), letters(*rights));
        text.push_str(&match physical {
            true => format!(
                "{start:016x}-{last:016x} -> {first:016x}-{:016x} {letters}\n",
                first + (last - start)
            ),
            false => format!("{start:016x}-{:016x} {size:016x} {letters}\n", last.wrapping_add(1)),
        });
    }
    if ranges.is_empty() {
        text.push_str("nothing is mapped\n");
    }
    if !complete || ranges.len() > MOST_LINES {
        text.push_str(MORE);
    }
    Ok(text)
}

/// The mapped ranges with their attributes and what they belong to, or what has changed since they were shown.
pub(in crate::control) fn maps(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let (json, arguments) = split_json(arguments);
    let (registers, cpu) = (guest.registers()?, guest.selected_cpu());
    let start = match arguments {
        "" | "save" | "diff" => 0,
        address => {
            let (start, rest) = number(guest, address)?;
            no_more(rest)?;
            start
        }
    };
    let maps = Maps::capture(guest.memory(), &registers, start);
    let text = match arguments {
        "save" => format!("{} ranges are saved; `maps diff` shows what changes\n", maps.ranges.len()),
        "diff" => {
            let before = guest.session().maps.remove(&cpu);
            let before = before.ok_or_else(|| {
                invalid("there are no maps to compare with; `maps` or `maps save` keeps those of now")
            })?;
            shown(&MapsDiff::between(&before, &maps, guest.memory(), &GuestNames(guest)), json)
        }
        _ => shown(&maps.describe(guest.memory(), &GuestNames(guest)), json),
    };
    if start == 0 {
        guest.session().maps.insert(cpu, maps);
    }
    Ok(text)
}

/// Bits of an entry with their letters, as QEMU shows them.
const BITS: [(u64, char); 9] = [
    (entry_bits::NO_EXECUTE, 'X'),
    (1 << 8, 'G'),
    (entry_bits::LARGE, 'P'),
    (entry_bits::DIRTY, 'D'),
    (entry_bits::ACCESSED, 'A'),
    (entry_bits::NO_CACHE, 'C'),
    (entry_bits::WRITE_THROUGH, 'T'),
    (entry_bits::USER, 'U'),
    (entry_bits::WRITABLE, 'W'),
];

/// Each mapped page with the bits of its entry.
pub(in crate::control) fn pages(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let start = if arguments.is_empty() {
        0
    } else {
        let (start, rest) = number(guest, arguments)?;
        no_more(rest)?;
        start
    };
    let registers = guest.registers()?;
    let paging = Paging::new(&registers, Paging::WIDEST);
    if paging.levels() == 0 {
        return Ok(OFF.to_owned());
    }
    let (mut text, mut lines, mut next) = (String::new(), 0, None);
    let complete = each_page(&paging, guest.memory(), start, &mut |page| {
        if lines == MOST_LINES {
            next = Some(page.address);
            return false;
        }
        lines += 1;
        let large = page.size > PAGE_SIZE;
        let bits: String = BITS
            .iter()
            // In the entry of a small page this bit selects a memory type.
            .map(|(bit, letter)| {
                let on = page.entry & bit != 0 && (large || *bit != entry_bits::LARGE);
                if on { *letter } else { '-' }
            })
            .collect();
        let physical = page.mapping.physical & !(page.size - 1);
        text.push_str(&format!("{:016x}: {physical:016x} {bits}\n", page.address));
        true
    });
    match next {
        Some(next) => text.push_str(&format!("... `info tlb {next:#x}` shows the rest\n")),
        None if !complete => text.push_str(MORE),
        None if text.is_empty() => text.push_str("nothing is mapped\n"),
        None => {}
    }
    Ok(text)
}
