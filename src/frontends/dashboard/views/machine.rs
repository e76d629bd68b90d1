//! Panes with the state of the machine, as lines.

use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::text::{Line, Span};

use super::super::sample::{CodeLine, Listing, SourceLine, Word};
use super::super::state::{DashboardState, registers_shown};
use super::{CHANGED, CURSOR, DIM, SYMBOL, wrapped};
use crate::arch::Registers;
use crate::boot::SourcePlace;

/// The next instruction.
const CURRENT: Style = Style::new().fg(Color::LightGreen).add_modifier(Modifier::BOLD);
/// A breakpoint.
const BREAKPOINT: Style = Style::new().fg(Color::LightRed).add_modifier(Modifier::BOLD);
/// The text of a source line.
const SOURCE: Style = Style::new().fg(Color::LightBlue);
/// Width of a pane from which on addresses are shown completely.
const WIDE: usize = 60;
/// Width of a pane from which on mapped ranges are: most of their names have room, too.
const WIDE_MAPS: usize = 78;

/// RFLAGS by name (Intel SDM volume 1, "EFLAGS Register").
const FLAGS: [(u32, &str); 11] = [
    (0, "CF"),
    (2, "PF"),
    (4, "AF"),
    (6, "ZF"),
    (7, "SF"),
    (8, "TF"),
    (9, "IF"),
    (10, "DF"),
    (11, "OF"),
    (17, "VM"),
    (18, "AC"),
];

/// Instructions around the one with the cursor.
pub(super) fn code(
    state: &DashboardState,
    (width, height): (usize, usize),
    focused: bool,
) -> Vec<Line<'static>> {
    let here = state.sample.registers.map(|registers| registers.next_instruction());
    let cursor = state.code_address();
    let (mut lines, mut middle) = (Vec::new(), 0);
    for code in &state.sample.code.lines {
        if let Some(label) = &code.label {
            lines.push(Line::styled(format!("{label}:"), SYMBOL));
        }
        if let Some(source) = &code.source {
            lines.push(source_line(source, width));
        }
        if cursor == Some(code.address) {
            middle = lines.len();
        }
        let mut line = code_line(code, here == Some(code.address), width);
        if focused && cursor == Some(code.address) {
            line = line.patch_style(CURSOR);
        }
        lines.push(line);
    }
    around(lines, middle, height)
}

/// At most `height` lines, two fifths of them before the one in the `middle`: source lines take rows, too.
fn around(mut lines: Vec<Line<'static>>, middle: usize, height: usize) -> Vec<Line<'static>> {
    let first = middle.saturating_sub(2 * height / 5);
    lines.drain(..first.min(lines.len()));
    lines.truncate(height);
    lines
}

fn code_line(code: &CodeLine, is_next: bool, width: usize) -> Line<'static> {
    let mark = match (is_next, code.breakpoint) {
        (true, true) => Span::styled("*>", BREAKPOINT),
        (true, false) => Span::styled("=>", CURRENT),
        (false, true) => Span::styled("* ", BREAKPOINT),
        (false, false) => Span::raw("  "),
    };
    let text = match (&code.target_symbol, code.text.split_once(' ')) {
        (Some(symbol), Some((mnemonic, _))) => format!("{mnemonic} {symbol}"),
        _ => code.text.clone(),
    };
    let style = if is_next { CURRENT } else { Style::new() };
    let address = Span::styled(format!("{} ", address_text(code.address, width)), DIM);
    Line::from(vec![mark, address, Span::styled(text, style)])
}

/// A source line above its instructions; where a pane is narrow, without the folders of the file.
fn source_line(source: &SourceLine, width: usize) -> Line<'static> {
    let SourcePlace { file, line } = &source.place;
    let file = match width < WIDE {
        true => file.rsplit('/').next().unwrap_or(file),
        false => file,
    };
    let mut spans = vec![Span::styled(format!("{file}:{line}"), DIM)];
    if let Some(text) = &source.text {
        spans.push(Span::styled(format!("  {text}"), SOURCE));
    }
    Line::from(spans)
}

/// The end of an address where a pane is narrow.
fn address_text(address: u64, width: usize) -> String {
    match address > u64::from(u32::MAX) && width < WIDE {
        true => format!("..{:06x}", address & 0xFF_FFFF),
        false => format!("{address:08x}"),
    }
}

/// The registers of the CPU.
pub(super) fn registers(state: &DashboardState, focused: bool) -> Vec<Line<'static>> {
    let Some(registers) = &state.sample.registers else {
        return vec![Line::styled("the host does not return them", DIM)];
    };
    let shown = registers_shown(registers);
    let register = |at: usize| {
        let (name, value) = shown.get(at).copied().unwrap_or_default();
        let mut spans = register_spans(state, name, value, registers);
        if focused && state.register == at {
            spans.iter_mut().for_each(|span| span.style = span.style.patch(CURSOR));
        }
        spans
    };
    let mut lines = Vec::new();
    let mut place = register(0);
    if let Some(symbol) = &state.sample.place {
        place.push(Span::styled(format!("  {symbol}"), SYMBOL));
    }
    let mut flags = register(1);
    flags.push(Span::raw(format!("  {}", flags_text(registers.general.rflags))));
    lines.extend([Line::from(place), Line::from(flags)]);
    let pair = |left: Vec<Span<'static>>, right: Vec<Span<'static>>| {
        Line::from_iter(left.into_iter().chain([Span::raw("  ")]).chain(right))
    };
    lines.extend((2..shown.len()).step_by(2).map(|at| pair(register(at), register(at + 1))));
    let [cr4, cr3, cr2, cr0, _] = registers.control();
    let control = |(name, value)| register_spans(state, name, value, registers);
    lines.push(pair(control(cr0), control(cr2)));
    lines.push(pair(control(cr3), control(cr4)));
    let s = &registers.system;
    let selectors = [("CS", s.cs), ("SS", s.ss), ("DS", s.ds), ("ES", s.es), ("TR", s.tr)];
    let selectors = selectors.map(|(name, segment)| format!("{name} {:04x}", segment.selector));
    lines.push(Line::raw(selectors.join("  ")));
    lines
}

fn register_spans(
    state: &DashboardState,
    name: &'static str,
    value: u64,
    registers: &Registers,
) -> Vec<Span<'static>> {
    // RFLAGS has no bit above the width of a name that long.
    let (name_width, digits) = match name {
        "RFLAGS" => (6, 8),
        _ if registers.bitness() == 64 => (3, 16),
        _ => (3, 8),
    };
    let changed = state.is_changed(name);
    // The star is for terminals without colours.
    let mark = if changed { '*' } else { ' ' };
    let style = if changed { CHANGED } else { Style::new() };
    vec![
        Span::styled(format!("{name:<name_width$}"), DIM),
        Span::styled(format!("{mark}{value:0digits$x}"), style),
    ]
}

fn flags_text(rflags: u64) -> String {
    let set = FLAGS.iter().filter(|(bit, _)| rflags >> bit & 1 == 1);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

/// Words of memory around the one in the middle.
pub(super) fn words(
    listing: &Listing<Word>,
    (width, height): (usize, usize),
    focused: bool,
) -> Vec<Line<'static>> {
    // The top of the stack comes first.
    let first = if focused { listing.middle.saturating_sub(height / 3) } else { listing.middle };
    let shown = listing.lines.iter().enumerate().skip(first).take(height);
    shown
        .map(|(at, word)| {
            let line = word_line(word, width);
            if focused && at == listing.middle { line.patch_style(CURSOR) } else { line }
        })
        .collect()
}

fn word_line(word: &Word, width: usize) -> Line<'static> {
    let address = Span::styled(format!("{} ", address_text(word.address, width)), DIM);
    let Some(value) = word.value else {
        return Line::from(vec![address, Span::styled("not mapped", DIM)]);
    };
    let digits = 2 * usize::from(word.size);
    let mut spans = vec![address, Span::raw(format!("{value:0digits$x}"))];
    spans.push(match &word.symbol {
        Some(symbol) => Span::styled(format!(" {symbol}"), SYMBOL),
        None => Span::styled(format!(" {}", characters(value, word.size)), DIM),
    });
    Line::from(spans)
}

/// The bytes of a word as ASCII.
fn characters(value: u64, size: u8) -> String {
    let bytes = value.to_le_bytes().into_iter().take(size.into());
    bytes.map(|byte| if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' }).collect()
}

/// Words at the address that was followed.
pub(super) fn memory(state: &DashboardState, size: (usize, usize), focused: bool) -> Vec<Line<'static>> {
    match state.wanted().memory {
        None => vec![Line::styled("Enter on a value, or g, shows memory here", DIM)],
        Some(_) => words(&state.sample.memory, size, focused),
    }
}

/// The mapped ranges: where the pane is wide, as `maps` shows them; otherwise without their ends.
pub(super) fn maps(
    state: &DashboardState,
    (width, height): (usize, usize),
    focused: bool,
) -> Vec<Line<'static>> {
    let Some(maps) = &state.maps else { return Vec::new() };
    if !maps.has_paging {
        return vec![Line::styled("paging is off", DIM)];
    }
    let mut lines: Vec<_> = maps
        .ranges
        .iter()
        .skip(state.first_range)
        .take(height)
        .enumerate()
        .map(|(at, range)| {
            let line = Line::raw(if width >= WIDE_MAPS { range.to_string() } else { range.short_text() });
            if focused && at == 0 { line.patch_style(CURSOR) } else { line }
        })
        .collect();
    if maps.stopped_at.is_some() {
        lines.push(Line::styled("... and more: `maps` of the console", DIM));
    }
    lines
}

/// The last events, as `events` shows them, in several rows where the pane is narrow.
pub(super) fn events(state: &DashboardState, (width, height): (usize, usize)) -> Vec<Line<'static>> {
    let events = &state.sample.events;
    let last = events.lines.len().saturating_sub(state.events_back);
    if last == 0 {
        return vec![Line::styled("none yet", DIM)];
    }
    let mut rows = Vec::new();
    // From the last row upwards.
    for event in events.lines[..last].iter().rev() {
        if rows.len() >= height {
            break;
        }
        let number = match width >= WIDE {
            true => format!("{:>12}  ", event.position()),
            false => format!("{:>5}  ", event.number),
        };
        let indent = " ".repeat(number.len());
        let lines = wrapped(&events.text_of(event), width.saturating_sub(number.len()));
        for (at, text) in lines.into_iter().enumerate().rev() {
            let start = if at == 0 { number.clone() } else { indent.clone() };
            rows.push(Line::from(vec![Span::styled(start, DIM), Span::raw(text)]));
        }
    }
    rows.truncate(height);
    rows.reverse();
    rows
}

/// Exits by reason.
pub(super) fn exits(state: &DashboardState) -> Vec<Line<'static>> {
    let rates = state.rates.iter().filter(|rate| rate.count > 0);
    let line = |rate: &super::super::state::Rate| {
        Line::from(vec![
            Span::styled(format!("{:<20}", rate.name), DIM),
            Span::raw(format!("{:>10}", rate.count)),
            Span::styled(format!("{:>9}/s", rate.per_second), DIM),
        ])
    };
    let lines: Vec<_> = rates.map(line).collect();
    if lines.is_empty() { vec![Line::styled("none yet", DIM)] } else { lines }
}
