//! The memory of the machine: INT 15h, AH = 88h, AX = E801h and AX = E820h.

use std::ops::Range;

use super::call::{BiosCall, BiosPlatform};
use super::data_areas::EBDA;

/// `SMAP`: in EDX of the caller, and in EAX of the answer.
const SIGNATURE: u32 = 0x534D_4150;
/// Bytes of an entry.
const ENTRY: u32 = 20;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// ACPI and MP tables, and the ROM.
const FIRMWARE: Range<u64> = 0xF_0000..0x10_0000;

/// Type of a range.
const USABLE: u32 = 1;
const RESERVED: u32 = 2;

/// The memory map: ranges with their types, ascending.
pub(super) fn ranges(platform: &dyn BiosPlatform) -> Vec<(Range<u64>, u32)> {
    let mut map = vec![(0..EBDA, USABLE), (EBDA..0xA_0000, RESERVED), (FIRMWARE, RESERVED)];
    for range in platform.ram() {
        let range = range.start.max(MIB)..range.end;
        if !range.is_empty() {
            map.push((range, USABLE));
        }
    }
    map
}

/// RAM from 1 MiB on, up to the first hole.
fn extended(platform: &dyn BiosPlatform) -> u64 {
    platform.ram().first().map_or(0, |range| range.end.saturating_sub(MIB))
}

/// AH = 88h: KiB from 1 MiB on, at most 63 MiB: more would lead old programs into the hole below 16 MiB of some machines.
pub(super) fn kib(platform: &dyn BiosPlatform) -> u16 {
    (extended(platform).min(63 * MIB) >> 10) as u16
}

/// AX = E801h: KiB from 1 MiB to 16 MiB, and units of 64 KiB from there to 4 GiB.
pub(super) fn kib_and_blocks(platform: &dyn BiosPlatform) -> (u16, u16) {
    let extended = extended(platform);
    let below = extended.min(15 * MIB);
    ((below >> 10) as u16, ((extended - below).min(4 * GIB - 16 * MIB) >> 16) as u16)
}

/// AX = E820h: writes entry EBX of the map to ES:DI. False if the call was not that one.
pub(super) fn entry(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> bool {
    if call.edx != SIGNATURE || call.ecx < ENTRY {
        return false;
    }
    let map = ranges(platform);
    let Some((range, kind)) = map.get(call.ebx as usize) else { return false };
    let address = call.in_es(call.edi as u16);
    platform.write(address, &range.start.to_le_bytes());
    platform.write(address + 8, &(range.end - range.start).to_le_bytes());
    platform.write(address + 16, &kind.to_le_bytes());
    let next = call.ebx + 1;
    call.ebx = if (next as usize) < map.len() { next } else { 0 };
    call.eax = SIGNATURE;
    call.ecx = ENTRY;
    true
}
