//! INT 15h: memory, the A20 gate, copies to and from extended memory, waiting, the configuration.

use super::call::{BiosCall, BiosPlatform, Served};
use super::data_areas::{BASE_MEMORY, EBDA_SEGMENT, bda};
use super::int1a_time::{TICKS_A_DAY, ticks};
use super::{int15_memory_map, rom};

/// System control port A, whose bit 1 is the A20 gate.
const SYSTEM_CONTROL_A: u16 = 0x92;
const A20: u8 = 2;
/// Bit 0 resets the machine.
const FAST_RESET: u8 = 1;
/// What an unknown function reports in AH.
const UNSUPPORTED: u8 = 0x86;
/// A wait is under way.
const BUSY: u8 = 0x83;
/// Most words of a copy: 64 KiB.
const MOST_WORDS: u16 = 0x8000;
/// Nanoseconds of a tick.
const TICK: u64 = 54_925_493;

pub(super) fn serve(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    let done = match (call.ah(), call.al()) {
        (0x24, function) => return a20(function, call, platform),
        // The scan code is used as it is.
        (0x4F, _) => {
            call.set_carry(true);
            return Served::Done;
        }
        (0x86, _) => return wait(call, platform),
        (0x87, _) => return copy(call, platform),
        (0x88, _) => {
            call.set_ax(int15_memory_map::kib(platform));
            call.set_carry(false);
            return Served::Done;
        }
        // A device waits, or is ready: nothing else runs meanwhile.
        (0x90 | 0x91, _) => true,
        (0xC0, _) => {
            call.es = rom::SEGMENT;
            call.set_bx(rom::CONFIGURATION);
            true
        }
        (0xC1, _) => {
            call.es = EBDA_SEGMENT;
            call.set_carry(false);
            return Served::Done;
        }
        (0xE8, 0x01) => {
            let (below, above) = int15_memory_map::kib_and_blocks(platform);
            call.set_ax(below);
            call.set_bx(above);
            call.set_cx(below);
            call.set_dx(above);
            call.set_carry(false);
            return Served::Done;
        }
        (0xE8, 0x20) => {
            if int15_memory_map::entry(call, platform) {
                call.set_carry(false);
                return Served::Done;
            }
            false
        }
        _ => false,
    };
    call.set_ah(if done { 0 } else { UNSUPPORTED });
    call.set_carry(!done);
    Served::Done
}

fn a20(function: u8, call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    let port = platform.port_in(SYSTEM_CONTROL_A) & !FAST_RESET;
    match function {
        0 => platform.port_out(SYSTEM_CONTROL_A, port & !A20),
        1 => platform.port_out(SYSTEM_CONTROL_A, port | A20),
        2 => {
            call.set_al(u8::from(port & A20 != 0));
            call.set_cx(0);
        }
        // It is switched by the keyboard controller, and by port 92h.
        3 => call.set_bx(0x0003),
        _ => {
            call.set_ah(UNSUPPORTED);
            call.set_carry(true);
            return Served::Done;
        }
    }
    call.set_ah(0);
    call.set_carry(false);
    Served::Done
}

/// AH = 86h: waits for CX:DX microseconds, in steps of a timer tick. The end is kept in the data area.
fn wait(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    let now = ticks(platform);
    if platform.byte(bda::WAIT_ACTIVE) == 0 {
        let microseconds = u64::from(call.cx()) << 16 | u64::from(call.dx());
        // The tick that is running does not count.
        let steps = (microseconds * 1000).div_ceil(TICK) as u32 + 1;
        platform.set_double_word(bda::WAIT_END, (now + steps) % TICKS_A_DAY);
        platform.set_byte(bda::WAIT_ACTIVE, BUSY);
        return Served::Wait;
    }
    let left = (platform.double_word(bda::WAIT_END) + TICKS_A_DAY - now) % TICKS_A_DAY;
    // More than half a day: it is over.
    if left != 0 && left < TICKS_A_DAY / 2 {
        return Served::Wait;
    }
    platform.set_byte(bda::WAIT_ACTIVE, 0);
    call.set_ah(0);
    call.set_carry(false);
    Served::Done
}

/// AH = 87h: copies CX words between the addresses of two descriptors in the table at ES:SI.
fn copy(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    let table = call.in_es(call.esi as u16);
    let base = |entry: u64| {
        let low = platform.double_word(table + entry + 2) & 0xFF_FFFF;
        u64::from(low) | u64::from(platform.byte(table + entry + 7)) << 24
    };
    let (from, to) = (base(0x10), base(0x18));
    let words = call.cx();
    if words > MOST_WORDS {
        call.set_ah(0x02);
        call.set_carry(true);
        return Served::Done;
    }
    let mut bytes = vec![0; 2 * usize::from(words)];
    platform.read(from, &mut bytes);
    platform.write(to, &bytes);
    call.set_ah(0);
    call.set_carry(false);
    call.set_zero(true);
    Served::Done
}

/// The memory below 1 MiB, which INT 12h reports, and the map agree.
const _: () = assert!((BASE_MEMORY as u64) << 10 == super::data_areas::EBDA);

#[cfg(test)]
#[path = "int15_system_test.rs"]
mod tests;
