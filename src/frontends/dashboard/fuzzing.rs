//! Arbitrary bytes as what a guest and a terminal give the dashboard: serial text, code, stack, page tables and keys.

use std::time::Instant;

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;

use super::feed::News;
use super::keys::KeyReader;
use super::paint;
use super::sample::{Guest, MOST_ENTRIES, Sample};
use super::serial_text::SerialText;
use super::state::DashboardState;
use super::views::{self, DashboardPicture, ScreenContents};
use crate::arch::Registers;
use crate::boot::SourcePlace;
use crate::inspect::maps::Maps;
use crate::inspect::names::NoNames;
use crate::memory::GuestMemory;

/// Lines around the middle of a pane.
const LINES: usize = 20;
/// Where the bytes lie in the guest's memory.
const PLACE: u64 = 0x1000;
/// Bytes of RAM.
const RAM: u64 = 1 << 20;

/// Shows `bytes`, and handles them as keys.
///
/// # Panics
///
/// If text of the guest could control the terminal.
pub fn show_anything(bytes: &[u8]) {
    let mut serial = SerialText::default();
    serial.push(bytes);
    let lines: Vec<String> = serial.last_lines(LINES).collect();
    assert!(lines.iter().all(|line| !line.contains(char::is_control)));

    let mut state = DashboardState::default();
    state.set_rows(LINES as u16);
    let now = Instant::now();
    state.take_news(News::Sample(Box::new(sample(bytes))), now);
    for key in KeyReader::default().feed(bytes) {
        state.key(key);
    }
    let size = |at: usize| 10 + u16::from(bytes.get(at).copied().unwrap_or(80)) / 2;
    let (width, height) = (size(0), size(1) / 2);
    let screen = ScreenContents::Serial(lines);
    let drawn =
        views::draw(&DashboardPicture { state: &state, guest: "guest", screen: &screen }, width, height);
    let mut out = Vec::new();
    paint::append_changes(&Buffer::empty(Rect::new(0, 0, width, height)), &drawn, true, &mut out);
    let text = String::from_utf8(out).expect("cells are text");
    assert!(!text.replace("\x1b[", "").contains(char::is_control));
}

/// A guest that has `bytes` as its code, its stack and its page tables.
fn sample(bytes: &[u8]) -> Sample {
    let Ok(memory) = GuestMemory::new(RAM) else { return Sample::default() };
    let count = bytes.len().min((RAM - PLACE) as usize);
    // RAM is there.
    let _ = memory.write(PLACE, &bytes[..count]);
    let choice = bytes.first().copied().unwrap_or(0);
    let mut registers = Registers::default();
    registers.general.rip = PLACE + u64::from(choice);
    registers.general.rsp = if choice & 1 == 0 { PLACE } else { u64::MAX - u64::from(choice) };
    registers.system.cs.l = choice >> 1 & 1;
    registers.system.cr0 = u64::from(choice >> 2 & 1) | u64::from(choice >> 3 & 1) << 31;
    registers.system.cr3 = PLACE;
    registers.system.efer = if choice & 16 == 0 { 0 } else { 0x500 };
    let guest = Guest {
        memory: &memory,
        registers: &registers,
        symbol: &|_| None,
        source: &|address| {
            let file = String::from_utf8_lossy(bytes).into_owned();
            Some(SourcePlace { file, line: address as u32 })
        },
        breakpoint: &|_| choice & 32 != 0,
    };
    Sample {
        code: guest.code(registers.next_instruction(), LINES),
        stack: guest.words(registers.top_of_stack(), LINES),
        maps: Some(Maps::capture_at_most(&memory, &registers, 0, MOST_ENTRIES).describe(&memory, &NoNames)),
        registers: Some(registers),
        ..Sample::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::FuzzDriver;

    #[test]
    fn anything_can_be_shown() {
        FuzzDriver::new("dashboard")
            .dictionary(&[b"\x1b[", b"\x1b[A", b"\t", b"\r", b"\n", b"\xE2\x98\xBA", b"\xC2\x9B", b"gz?v"])
            .delimiters(b"\x1b\n")
            .run(show_anything);
    }
}
