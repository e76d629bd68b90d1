//! Rights of pages, and guard pages below stacks.

use super::{Guest, LintKind, LintReport};
use crate::arch::PAGE_SIZE;
use crate::arch::paging::{Access, Paging};
use crate::inspect::maps::MapRange;

/// First address of the upper half.
const UPPER_HALF: u64 = 1 << 63;

pub(super) fn check(guest: &Guest<'_>, report: &mut LintReport) {
    if !guest.maps.has_paging {
        return;
    }
    let (usual, own): (Vec<&MapRange>, Vec<&MapRange>) =
        guest.maps.ranges.iter().partition(|range| is_as_booted(range));
    for range in own.iter().filter(|range| range.attributes.write && range.attributes.execute) {
        report.add(
            LintKind::WritableCode,
            range.start,
            format!(
                "the pages {:#x}-{:#x}{} are writable and executable: clear W for code, set NX for data",
                range.start,
                range.last,
                sections(guest, range)
            ),
        );
    }
    ring_3(guest, &own, report);
    guards(guest, report);
    let bytes: u64 = usual.iter().map(|range| range.last - range.start + 1).sum();
    if bytes > 0 {
        report.note(format!(
            "{} MiB are mapped to themselves, writable, executable and open to ring 3, as the boot tables have it; \
             `--strict` maps segments with the rights that the file asks for",
            bytes.div_ceil(1 << 20)
        ));
    }
}

/// True for RAM as the machine's own boot tables map it.
fn is_as_booted(range: &MapRange) -> bool {
    let rights = range.attributes;
    range.start == range.physical && rights.write && rights.execute && rights.user && !rights.global
}

/// The sections of the guest file in a range, in brackets.
fn sections(guest: &Guest<'_>, range: &MapRange) -> String {
    let sections = guest.names.sections();
    let found = sections
        .iter()
        .filter(|section| section.range.start <= range.last && section.range.end > range.start);
    let names: Vec<&str> = found.map(|section| section.name.as_str()).take(4).collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(" ")) }
}

/// Pages of the kernel that ring 3 may access. Which pages are the kernel's is known of a few only.
fn ring_3(guest: &Guest<'_>, own: &[&MapRange], report: &mut LintReport) {
    let find = |address: u64| own.iter().find(|range| range.start <= address && address <= range.last);
    let system = &guest.registers.system;
    let mut known = vec![("the GDT", system.gdt.base), ("the IDT", system.idt.base)];
    if system.tr.unusable == 0 && system.tr.selector != 0 {
        known.push(("the task state segment", system.tr.base));
    }
    if guest.registers.ring() == 0 {
        known.push(("the code at RIP, in ring 0,", guest.registers.next_instruction()));
        known.push(("the stack at RSP, in ring 0,", guest.registers.general.rsp));
    }
    for (what, address) in known {
        if find(address).is_some_and(|range| range.attributes.user) {
            report.add(
                LintKind::OpenToRing3,
                address,
                format!("{what} at {} is open to ring 3: clear U", guest.place(address)),
            );
        }
    }
    for range in own.iter().filter(|range| range.start >= UPPER_HALF && range.attributes.user) {
        report.add(
            LintKind::OpenToRing3,
            range.start,
            format!(
                "the pages {:#x}-{:#x}{} of the upper half are open to ring 3: clear U",
                range.start,
                range.last,
                sections(guest, range)
            ),
        );
    }
    let tables = Paging::new(guest.registers, Paging::WIDEST).table_pages(guest.memory).unwrap_or_default();
    let open = own.iter().filter(|range| range.attributes.user && range.attributes.write).find_map(|range| {
        let last = range.physical.saturating_add(range.last - range.start);
        let table = *tables.range(range.physical..=last).next()?;
        Some((range.start + (table - range.physical), table))
    });
    if let Some((address, table)) = open {
        report.add(
            LintKind::OpenToRing3,
            address,
            format!("the page table at guest-physical {table:#x} can be written by ring 3 at {address:#x}: clear U"),
        );
    }
}

/// Stacks below which a page can be written: an overflow is not noticed.
fn guards(guest: &Guest<'_>, report: &mut LintReport) {
    let paging = Paging::new(guest.registers, Paging::WIDEST);
    let write = Access { write: true, implicit: true, ..Access::default() };
    for (name, range) in &guest.stacks {
        let Some(below) = range.start.checked_sub(1) else { continue };
        let page = below & !(PAGE_SIZE - 1);
        let is_used = paging.check(guest.memory, range.start, write).is_ok();
        if is_used && paging.check(guest.memory, page, write).is_ok() {
            report.add(
                LintKind::NoGuard,
                range.start,
                format!(
                    "the stack {name} ({:#x}-{:#x}) has no guard page: an overflow overwrites {}; leave the page {page:#x} \
                     unmapped",
                    range.start,
                    range.end - 1,
                    guest.place(below)
                ),
            );
        }
    }
}
