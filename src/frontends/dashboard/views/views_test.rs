use std::time::Instant;

use super::super::keys::PressedKey;
use super::super::sample::{CodeLine, Listing, Sample, SourceLine, Word};
use super::*;
use crate::arch::PAGE_SIZE;
use crate::boot::SourcePlace;
use crate::devices::vga::{Vga, VideoFrame};
use crate::inspect::events::{EventLine, EventList};
use crate::inspect::maps::{DescribedMaps, DescribedRange, MapRange, PageAttributes};

fn sample() -> Sample {
    let mut registers = Registers::default();
    (registers.system.cr0, registers.system.cs.l, registers.system.efer) = (1, 1, 0x500);
    (registers.general.rip, registers.general.rsp, registers.general.rflags) = (0x1001, 0x8000, 0x246);
    let code = |address, text: &str| CodeLine { address, text: text.to_owned(), ..CodeLine::default() };
    let code = vec![
        CodeLine { label: Some("main".to_owned()), breakpoint: true, ..code(0x1000, "push rbp") },
        CodeLine { target_symbol: Some("work".to_owned()), ..code(0x1001, "call 0x2000") },
        code(0x1006, "ret"),
    ];
    let word = |value, symbol: Option<&str>| Word {
        address: 0x8000,
        value,
        size: 8,
        symbol: symbol.map(str::to_owned),
    };
    let stack = vec![word(Some(0x2001), Some("work+0x1")), word(Some(0x6968), None), word(None, None)];
    Sample {
        status: Some(RunStatus::Paused),
        cpu_count: 1,
        registers: Some(registers),
        place: Some("main+0x1".to_owned()),
        code: Listing { lines: code, middle: 1 },
        stack: Listing { lines: stack, middle: 0 },
        ..Sample::default()
    }
}

fn state() -> DashboardState {
    let mut state = DashboardState::default();
    state.take_sample(sample(), Instant::now());
    state
}

fn serial() -> ScreenContents {
    ScreenContents::Serial(vec!["Hello".to_owned()])
}

fn drawn(state: &DashboardState, screen: &ScreenContents, width: u16, height: u16) -> Buffer {
    draw(&DashboardPicture { state, guest: "a.elf", screen }, width, height)
}

/// The text of a buffer, row by row, without the spaces at the end.
fn rows(buffer: &Buffer) -> Vec<String> {
    let row = |row: &[ratatui_core::buffer::Cell]| row.iter().map(|cell| cell.symbol()).collect::<String>();
    buffer.content.chunks(buffer.area.width.into()).map(|cells| row(cells).trim_end().to_owned()).collect()
}

#[test]
fn code_registers_stack_and_screen_stand_side_by_side() {
    let shown = rows(&drawn(&state(), &serial(), 80, 24));
    let wanted = [
        " kvm  a.elf  paused at main+0x1  64-bit mode, ring 0",
        "─ Code ──────────────────────────────│─ Registers ──────────────────────────────",
        "main:                                │RIP 0000000000001001  main+0x1",
        "* 00001000 push rbp                  │RFLAGS 00000246  PF ZF IF",
        "=>00001001 call work                 │RAX 0000000000000000  RBX 0000000000000000",
        "  00001006 ret                       │RCX 0000000000000000  RDX 0000000000000000",
    ];
    assert_eq!(shown[..6], wanted);
    assert_eq!(shown[12], "─ Serial port ───────────────────────│─ Stack ──────────────────────────────────");
    assert_eq!(shown[13], "Hello                                │00008000 0000000000002001 work+0x1");
    assert_eq!(shown[14], "                                     │00008000 0000000000006968 hi......");
    assert_eq!(shown[15], "                                     │00008000 not mapped");
    assert_eq!(shown[23], HINT);
    assert!(HINT.len() <= 80);
}

#[test]
fn source_lines_stand_above_their_instructions() {
    let mut state = state();
    let place = SourcePlace { file: "kernel/src/main.c".to_owned(), line: 12 };
    let mut next = sample();
    next.code.lines[1].source = Some(SourceLine { place: place.clone(), text: Some("work(7);".to_owned()) });
    next.code.lines[2].source = Some(SourceLine { place: SourcePlace { line: 13, ..place }, text: None });
    state.take_sample(next, Instant::now());
    let left = |width| {
        let shown = rows(&drawn(&state, &serial(), width, 24));
        shown[3..8].iter().map(|row| row.split('│').next().unwrap().trim_end().to_owned()).collect::<Vec<_>>()
    };
    let narrow =
        ["* 00001000 push rbp", "main.c:12  work(7);", "=>00001001 call work", "main.c:13", "  00001006 ret"];
    assert_eq!(left(80), narrow);
    assert_eq!(left(160)[1], "kernel/src/main.c:12  work(7);");
}

#[test]
fn mapped_ranges_are_those_of_maps_and_are_shortened_where_the_pane_is_narrow() {
    let mut next = sample();
    let attributes = PageAttributes {
        write: false,
        execute: true,
        user: false,
        global: true,
        cache_disable: false,
        write_through: false,
        pat: false,
    };
    let (start, last) = (0xFFFF_FFFF_8000_0000, 0xFFFF_FFFF_8000_2FFF);
    let range = MapRange { start, last, physical: 0x10_0000, page_size: PAGE_SIZE, attributes };
    let range = DescribedRange { range, what: ".text".to_owned() };
    next.maps = Some(DescribedMaps {
        mode: "4-level paging".to_owned(),
        has_paging: true,
        cr3: 0x1000,
        ranges: vec![range.clone()],
        stopped_at: Some(last + 1),
    });
    let mut state = DashboardState::default();
    state.take_sample(next, Instant::now());
    state.choice.focus = Pane::Maps;
    let narrow = rows(&drawn(&state, &serial(), 80, 24));
    assert!(narrow[19].ends_with("│ffffffff80000000   12K r-x-g .text"), "{narrow:#?}");
    assert!(narrow[20].ends_with("│... and more: `maps` of the console"));
    state.choice.zoomed = true;
    assert_eq!(rows(&drawn(&state, &serial(), 80, 24))[2], range.to_string());
    let off = state.maps.as_mut().unwrap();
    (off.has_paging, off.ranges) = (false, Vec::new());
    assert_eq!(rows(&drawn(&state, &serial(), 80, 24))[2], "paging is off");
}

#[test]
fn the_last_events_are_shown_and_scrolled_back() {
    let mut state = DashboardState::default();
    let mut next = sample();
    let line = |number: u64| EventLine {
        number,
        event: number + 1,
        cpu: 1,
        times: 1,
        text: format!("event {number}"),
    };
    next.events = EventList { lines: (1..=50).map(line).collect(), cpus: 1, notes: Vec::new() };
    state.take_sample(next, Instant::now());
    (state.choice.focus, state.choice.tab) = (Pane::Events, Pane::Events);
    let shown = rows(&drawn(&state, &serial(), 80, 24));
    assert!(shown[22].ends_with("│   50  event 50") && shown[21].ends_with("│   49  event 49"), "{shown:#?}");
    state.key(PressedKey::Up);
    let shown = rows(&drawn(&state, &serial(), 80, 24));
    assert!(shown[22].ends_with("│   49  event 49"));
    state.key(PressedKey::Home);
    state.key(PressedKey::Down);
    state.choice.zoomed = true;
    state.sample.events.cpus = 2;
    assert_eq!(rows(&drawn(&state, &serial(), 80, 24))[22], "      50 @51  CPU 1: event 50");
    state.choice.zoomed = false;
    state.sample.events.lines[49].text = "a line that is longer than the pane is wide".to_owned();
    let shown = rows(&drawn(&state, &serial(), 80, 24));
    assert!(shown[21].ends_with("│   50  CPU 1: a line that is longer than"));
    assert!(shown[22].ends_with("│       the pane is wide"));
}

#[test]
fn a_changed_register_has_a_star_and_a_colour() {
    let mut state = state();
    let mut next = sample();
    next.registers.as_mut().unwrap().general.rax = 7;
    state.take_sample(next, Instant::now());
    let buffer = drawn(&state, &serial(), 80, 24);
    assert!(rows(&buffer)[4].ends_with("│RAX*0000000000000007  RBX 0000000000000000"));
    assert_eq!(buffer[(41, 4)].fg, CHANGED.fg.unwrap());
}

#[test]
fn the_cursor_is_reversed_in_the_pane_with_the_focus() {
    let mut state = state();
    let reversed = |state: &DashboardState| {
        let buffer = drawn(state, &serial(), 80, 24);
        let rows = (1..23).filter(|y| buffer[(40, *y)].modifier.contains(Modifier::REVERSED));
        (buffer[(5, 4)].modifier.contains(Modifier::REVERSED), rows.collect::<Vec<_>>())
    };
    assert_eq!(reversed(&state), (true, vec![]));
    state.key(PressedKey::Tab);
    assert_eq!(reversed(&state), (false, vec![1, 2]), "title and RIP");
    state.key(PressedKey::Tab);
    assert_eq!(reversed(&state), (false, vec![12, 13]), "title and top of the stack");
}

#[test]
fn one_pane_can_have_all_the_room() {
    let mut state = state();
    state.key(PressedKey::Tab);
    state.key(PressedKey::Char('z'));
    let shown = rows(&drawn(&state, &serial(), 80, 24));
    assert!(shown[1].starts_with("─ Registers ─") && shown[2].starts_with("RIP 0000000000001001"));
    assert_eq!(shown[14], "CS 0000  SS 0000  DS 0000  ES 0000  TR 0000");
    state.key(PressedKey::Char('?'));
    let help = rows(&drawn(&state, &serial(), 80, 24));
    assert_eq!((help[1].as_str(), help[23].as_str()), ("p           pause the guest", "any key goes back"));
    assert!(HELP.lines().count() <= 22 && HELP.lines().all(|line| line.len() <= 80));
}

#[test]
fn the_end_of_the_run_is_reported_below_the_panes() {
    let mut state = state();
    let report = "the guest crashed: a message that is longer than one line of this terminal";
    state.end = Some(report.to_owned());
    let shown = rows(&drawn(&state, &serial(), 60, 12));
    assert_eq!(shown[0], " kvm  a.elf  over at main+0x1  64-bit mode, ring 0");
    assert_eq!(shown[9..11].join(" "), report);
    let long = "word ".repeat(1000);
    state.end = Some(long);
    assert!(rows(&drawn(&state, &serial(), 60, 12))[3].starts_with("word word"), "at most some rows");
}

#[test]
fn the_guests_text_has_its_colours_and_cursor() {
    let mut view = Vga::new().view();
    (view.cursor, view.cursor_visible) = (1, true);
    let screen = ScreenContents::Text { cells: vec![0x1E41, 0x0742], view };
    let buffer = drawn(&state(), &screen, 80, 24);
    let (first, second) = (&buffer[(0, 13)], &buffer[(1, 13)]);
    assert_eq!((first.symbol(), first.fg, first.bg), ("A", Color::Indexed(11), Color::Indexed(4)));
    assert_eq!((second.symbol(), second.modifier.contains(Modifier::REVERSED)), ("B", true));
}

#[test]
fn a_picture_is_scaled_to_half_blocks() {
    let pixels = [[[255, 0, 0]; 320 * 100], [[0, 0, 255]; 320 * 100]].concat();
    let screen = ScreenContents::Picture(VideoFrame { size: (320, 200), pixels });
    let buffer = drawn(&state(), &screen, 80, 24);
    assert_eq!(buffer[(0, 13)].symbol(), "▀");
    assert_eq!(buffer[(0, 13)].fg, Color::Rgb(255, 0, 0));
    let last = (13..23).filter(|y| buffer[(0, *y)].symbol() == "▀").max().unwrap();
    assert_eq!(buffer[(0, last)].bg, Color::Rgb(0, 0, 255));
}

#[test]
fn terminals_of_any_size_can_be_drawn_on() {
    let mut state = state();
    state.end = Some("the end".to_owned());
    for (width, height) in (0..130).step_by(7).flat_map(|width| (0..60).map(move |height| (width, height))) {
        drawn(&state, &serial(), width, height);
        let picture = VideoFrame { size: (3, 2), pixels: vec![[1; 3]; 6] };
        drawn(&state, &ScreenContents::Picture(picture), width, height);
    }
}
