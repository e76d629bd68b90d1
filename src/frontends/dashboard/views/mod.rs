//! The dashboard as cells of a terminal: pure functions from the state to a [`Buffer`].

mod machine;
mod screen;

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::text::{Line, Span};

pub use self::screen::ScreenContents;
use super::layout::{Pane, panes};
use super::state::DashboardState;
use crate::arch::{Mode, Registers};
use crate::supervisor::stopped_machine::RunStatus;

/// Rows that the reason for the end of a run takes at most.
const MOST_END_ROWS: usize = 8;

/// The bottom row, when there is nothing else to say.
const HINT: &str = "p pause  s step  n next  c continue  b break  g go to  i input  ? help  q quit";

/// What the keys do.
const HELP: &str = "\
p           pause the guest
c           continue
s           execute one instruction
n           the same, but a call with all that it calls
b           set or delete a breakpoint at the line with the cursor in the code
g           go to an address: 0x1000, main, $rsp+8, *(u64*)$rbp
Tab         next pane; Shift-Tab goes back
arrows      move in the pane; also Page Up and Page Down; Home goes back to
            RIP, or to the top of the stack
Enter       follow the value with the cursor: a jump in the code, a pointer
            in registers, stack and memory. Backspace goes back
z           all the room for this pane, or for all of them (also Escape)
v           the guest's screen, or its serial port
i           keys go to the guest, until Ctrl-A
q           quit
";

/// Dim text, such as names and lines between panes.
pub(super) const DIM: Style = Style::new().fg(Color::DarkGray);
/// Names of functions and variables.
pub(super) const SYMBOL: Style = Style::new().fg(Color::Cyan);
/// What the cursor is at.
pub(super) const CURSOR: Style = Style::new().add_modifier(Modifier::REVERSED);
/// What has changed.
pub(super) const CHANGED: Style = Style::new().fg(Color::LightYellow).add_modifier(Modifier::BOLD);

/// All that is drawn.
pub struct DashboardPicture<'a> {
    /// The state of the dashboard.
    pub state: &'a DashboardState,
    /// Name of the guest.
    pub guest: &'a str,
    /// What the guest shows.
    pub screen: &'a ScreenContents,
}

/// Draws the dashboard on a terminal of this size.
pub fn draw(picture: &DashboardPicture<'_>, width: u16, height: u16) -> Buffer {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    let state = picture.state;
    // Rows without columns are none.
    if area.is_empty() {
        return buffer;
    }
    buffer.set_line(0, 0, &status_line(picture), width);
    buffer.set_style(Rect::new(0, 0, width, 1), CURSOR);
    let bottom = bottom_lines(state, width.into());
    let rows = (bottom.len() as u16).min(height - 1);
    for (row, line) in bottom.iter().take(rows.into()).enumerate() {
        buffer.set_line(0, height - rows + row as u16, line, width);
    }
    let body = Rect::new(0, 1, width, height - 1 - rows);
    if state.help {
        let lines: Vec<Line<'_>> = HELP.lines().map(Line::raw).collect();
        draw_lines(&mut buffer, body, &lines);
        return buffer;
    }
    for (pane, place) in panes(body, state.choice) {
        draw_pane(&mut buffer, picture, pane, place);
        if place.x > 0 {
            for y in place.y..place.bottom() {
                buffer.set_string(place.x - 1, y, "│", DIM);
            }
        }
    }
    buffer
}

fn draw_lines(buffer: &mut Buffer, place: Rect, lines: &[Line<'_>]) {
    for (line, y) in lines.iter().zip(place.y..place.bottom()) {
        buffer.set_line(place.x, y, line, place.width);
    }
}

fn draw_pane(buffer: &mut Buffer, picture: &DashboardPicture<'_>, pane: Pane, place: Rect) {
    let state = picture.state;
    let inside = Rect::new(place.x, place.y + 1, place.width, place.height.saturating_sub(1));
    let size = (usize::from(inside.width), usize::from(inside.height));
    let focused = state.choice.focus == pane;
    let (title, lines) = match pane {
        Pane::Code => ("Code", machine::code(state, size, focused)),
        Pane::Registers => ("Registers", machine::registers(state, focused)),
        Pane::Stack => ("Stack", machine::words(&state.sample.stack, size, focused)),
        Pane::Memory => ("Memory", machine::memory(state, size, focused)),
        Pane::Maps => ("Maps", machine::maps(state, size, focused)),
        Pane::Exits => ("Exits", machine::exits(state)),
        Pane::Events => ("Events", machine::events(state, size)),
        Pane::Screen => (picture.screen.title(), Vec::new()),
    };
    if pane == Pane::Screen {
        screen::draw(buffer, inside, picture.screen);
    }
    draw_lines(buffer, inside, &lines);
    let style = if focused { CURSOR } else { Style::new().add_modifier(Modifier::BOLD) };
    let rest = usize::from(place.width).saturating_sub(title.len() + 3);
    let title = vec![
        Span::styled("─", DIM),
        Span::styled(format!(" {title} "), style),
        Span::styled("─".repeat(rest), DIM),
    ];
    buffer.set_line(place.x, place.y, &Line::from(title), place.width);
}

/// The guest, what it does and where; and the CPU.
fn status_line(picture: &DashboardPicture<'_>) -> Line<'static> {
    let sample = &picture.state.sample;
    let place = match (&sample.place, &sample.registers) {
        (Some(place), _) => format!(" at {place}"),
        (None, Some(registers)) => format!(" at {:#x}", registers.next_instruction()),
        (None, None) => String::new(),
    };
    let doing = match sample.status {
        _ if picture.state.end.is_some() => format!("over{place}"),
        None => "starts".to_owned(),
        Some(RunStatus::Running) => "runs".to_owned(),
        Some(RunStatus::Paused) => format!("paused{place}"),
        Some(RunStatus::WaitingForDebugger) => format!("waits for gdb{place}"),
        Some(RunStatus::Stopped) => format!("stopped in gdb{place}"),
    };
    let cpu = match sample.cpu_count {
        0 | 1 => String::new(),
        count => format!("  CPU {} of {count}", sample.cpu),
    };
    let mode = sample.registers.as_ref().map(mode).unwrap_or_default();
    Line::raw(format!(" kvm  {}  {doing}  {mode}{cpu}", picture.guest))
}

fn mode(registers: &Registers) -> String {
    let mode = match registers.mode() {
        Mode::Real => return "real mode".to_owned(),
        Mode::Virtual8086 => "virtual-8086 mode",
        Mode::Protected => "protected mode",
        Mode::Compatibility => "compatibility mode",
        Mode::SixtyFourBit => "64-bit mode",
    };
    format!("{mode}, ring {}", registers.ring())
}

fn bottom_lines(state: &DashboardState, width: usize) -> Vec<Line<'static>> {
    if let Some(end) = &state.end {
        let mut lines: Vec<Line<'static>> = end
            .lines()
            .flat_map(|line| wrapped(line, width))
            .take(MOST_END_ROWS)
            .map(|line| Line::styled(line, CHANGED))
            .collect();
        lines.push(Line::raw("Tab, arrows, z and ? still look around; any other key leaves"));
        return lines;
    }
    let line = if let Some(text) = &state.prompt {
        Line::from(vec![Span::raw(format!("go to: {text}")), Span::styled(" ", CURSOR)])
    } else if state.help {
        Line::raw("any key goes back")
    } else if state.to_guest {
        Line::styled("keys go to the guest; Ctrl-A comes back", CHANGED)
    } else if !state.message.is_empty() {
        Line::raw(state.message.clone())
    } else {
        Line::styled(HINT, DIM)
    };
    vec![line]
}

/// `text` in lines of at most `width` characters, between words where that is possible.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut length) = (Vec::new(), String::new(), 0);
    for word in text.split_inclusive(' ') {
        let count = word.trim_end().chars().count();
        if length > 0 && length + count > width {
            lines.push(std::mem::take(&mut line));
            length = 0;
        }
        line.push_str(word);
        length += word.chars().count();
    }
    lines.push(line);
    lines
}

#[cfg(test)]
#[path = "views_test.rs"]
mod tests;
