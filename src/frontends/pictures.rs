//! The guest's picture on a terminal: which way the terminal can show it, and what is sent to it.
//!
//! | way | terminals | specification |
//! |---|---|---|
//! | `kitty` | kitty, Ghostty, WezTerm, Konsole | "Terminal graphics protocol" of kitty |
//! | `sixel` | xterm, foot, mlterm, contour and others | DEC VT330/VT340 Programmer Reference Manual, chapter 14 |
//! | `blocks` | all with colours of 24 bits | half blocks of Unicode, SGR 38 and 48 |
//!
//! A terminal is asked once, before the first picture ([`QUERY`]): for the kitty protocol, and for its primary device
//! attributes, which every terminal answers, and which have the number 4 for sixel. Until it answers, and where it has no
//! colours, a line of text stands for the picture.

mod blocks;
mod kitty;
mod sixel;

use std::time::{Duration, Instant};

use crate::devices::vga::VideoFrame;
use crate::settings::PictureMode;

/// Asks for the kitty protocol with a picture of one pixel that is not shown, and for the device attributes.
pub const QUERY: &[u8] = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c";
/// Time for the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Pixels of a cell where the terminal does not tell.
const USUAL_CELL: (usize, usize) = (8, 16);

/// The terminal's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Columns and rows.
    pub cells: (u16, u16),
    /// Pixels; 0 if they are not known.
    pub pixels: (u16, u16),
}

impl Window {
    /// Pixels of a cell.
    fn cell(&self) -> (usize, usize) {
        let pixels = |all: u16, cells: u16| usize::from(all) / usize::from(cells.max(1));
        match (pixels(self.pixels.0, self.cells.0), pixels(self.pixels.1, self.cells.1)) {
            (0, _) | (_, 0) => USUAL_CELL,
            cell => cell,
        }
    }
}

/// How pictures are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Kitty,
    Sixel,
    Blocks,
    /// A line says that there is a picture.
    Line,
    /// The terminal is asked.
    Ask,
    /// It has been asked, and a line stands for the picture until then.
    Wait(Instant),
}

/// Shows the guest's picture.
#[derive(Debug)]
pub struct Pictures {
    way: Way,
    /// Colours of 24 bits are shown.
    many_colours: bool,
    /// What the terminal shows, and where.
    shown: Option<(VideoFrame, Window)>,
}

impl Pictures {
    /// For a terminal whose environment has these variables. `answers` if it can be asked.
    pub fn new(wanted: PictureMode, answers: bool, variable: impl Fn(&str) -> Option<String>) -> Pictures {
        let has = |name: &str, words: &[&str]| {
            variable(name).is_some_and(|value| words.iter().any(|word| value.contains(word)))
        };
        let many_colours = has("COLORTERM", &["truecolor", "24bit"]);
        let otherwise = if many_colours { Way::Blocks } else { Way::Line };
        let is_kitty = variable("KITTY_WINDOW_ID").is_some()
            || has("TERM", &["kitty", "ghostty"])
            || has("TERM_PROGRAM", &["WezTerm", "ghostty"]);
        let way = match wanted {
            PictureMode::Kitty => Way::Kitty,
            PictureMode::Sixel => Way::Sixel,
            PictureMode::Blocks => Way::Blocks,
            PictureMode::Off => Way::Line,
            // A multiplexer passes pictures on to no terminal.
            PictureMode::Auto if has("TERM", &["screen", "tmux"]) => otherwise,
            PictureMode::Auto if is_kitty => Way::Kitty,
            PictureMode::Auto if answers => Way::Ask,
            PictureMode::Auto => otherwise,
        };
        Pictures { way, many_colours, shown: None }
    }

    /// The terminal shows something else.
    pub fn invalidate(&mut self) {
        self.shown = None;
    }

    /// Appends what shows `frame` in `window`, if something else is shown there.
    pub fn paint(&mut self, frame: VideoFrame, window: Window, now: Instant, out: &mut Vec<u8>) {
        match self.way {
            Way::Ask => {
                out.extend_from_slice(QUERY);
                self.way = Way::Wait(now + ANSWER_TIMEOUT);
            }
            Way::Wait(end) if now >= end => self.answered(b""),
            _ => {}
        }
        let before = self.shown.as_ref();
        if before.is_some_and(|(shown, there)| *shown == frame && *there == window) {
            return;
        }
        let same_size = before.is_some_and(|(shown, there)| shown.size == frame.size && *there == window);
        if !same_size {
            out.extend_from_slice(b"\x1b[0m\x1b[?25l\x1b[2J");
        }
        out.extend_from_slice(b"\x1b[H");
        let (columns, rows) = (usize::from(window.cells.0), usize::from(window.cells.1));
        match self.way {
            Way::Kitty => kitty::append(&frame, fit(frame.size, window), out),
            Way::Sixel => {
                let cell = window.cell();
                // Below the last line of a picture there has to be a line, or the terminal scrolls.
                let most = (columns * cell.0, rows.saturating_sub(1).max(1) * cell.1);
                sixel::append(&scaled(&frame, within(frame.size, most)), out);
            }
            Way::Blocks => {
                let (columns, rows) = fit(frame.size, window);
                let before =
                    before.filter(|_| same_size).map(|(shown, _)| scaled(shown, (columns, rows * 2)));
                blocks::append(&scaled(&frame, (columns, rows * 2)), before.as_ref(), out);
            }
            Way::Line | Way::Ask | Way::Wait(_) if !same_size => {
                out.extend_from_slice(line(&frame).as_bytes())
            }
            Way::Line | Way::Ask | Way::Wait(_) => {}
        }
        self.shown = Some((frame, window));
    }

    /// Takes the answer to [`QUERY`] out of the terminal's input.
    pub fn take_answer(&mut self, input: &[u8]) -> Option<Vec<u8>> {
        if !matches!(self.way, Way::Wait(_)) {
            return None;
        }
        let find = |start: &[u8], end: &[u8]| {
            let from = input.windows(start.len()).position(|bytes| bytes == start)?;
            let length = input[from..].windows(end.len()).position(|bytes| bytes == end)? + end.len();
            Some(from..from + length)
        };
        let attributes = find(b"\x1b[?", b"c");
        let graphics = find(b"\x1b_G", b"\x1b\\");
        let answer: Vec<u8> = [&graphics, &attributes]
            .into_iter()
            .flatten()
            .flat_map(|range| &input[range.clone()])
            .copied()
            .collect();
        if answer.is_empty() {
            return None;
        }
        let is_answer =
            |at: usize| [&graphics, &attributes].into_iter().flatten().any(|range| range.contains(&at));
        let rest = (0..).zip(input).filter(|(at, _)| !is_answer(*at)).map(|(_, byte)| *byte).collect();
        // The answer to the second question ends those to both.
        if attributes.is_some() || answer.windows(3).any(|bytes| bytes == b";OK") {
            self.answered(&answer);
        }
        Some(rest)
    }

    fn answered(&mut self, answer: &[u8]) {
        let text = String::from_utf8_lossy(answer);
        let attributes = text.rsplit("\x1b[?").next().unwrap_or_default();
        self.way = if text.contains("_Gi=31;OK") {
            Way::Kitty
        } else if attributes.trim_end_matches('c').split(';').skip(1).any(|attribute| attribute == "4") {
            Way::Sixel
        } else if self.many_colours {
            Way::Blocks
        } else {
            Way::Line
        };
        self.invalidate();
    }

    /// Appends what removes the picture from the terminal before something else is shown there.
    pub fn remove(&mut self, out: &mut Vec<u8>) {
        if self.shown.take().is_some() && self.way == Way::Kitty {
            out.extend_from_slice(kitty::DELETE);
        }
    }
}

/// The line that stands for a picture.
fn line(frame: &VideoFrame) -> String {
    let (width, height) = frame.size;
    format!(
        "The guest shows a picture of {width}x{height} pixels: `screendump FILE` at the console writes it.\r\n"
    )
}

/// The line that is left on the terminal when a run ends while a picture is shown.
pub fn line_at_end(frame: &VideoFrame) -> String {
    let (width, height) = frame.size;
    format!("The guest's screen showed a picture of {width}x{height} pixels.\n")
}

/// The largest size with the proportions of `size` within `most`, not larger than `size`; at least 1 by 1.
fn within(size: (usize, usize), most: (usize, usize)) -> (usize, usize) {
    let (width, height) = (size.0.max(1), size.1.max(1));
    let most = (most.0.clamp(1, width), most.1.clamp(1, height));
    if most.0 * height <= most.1 * width {
        (most.0, (most.0 * height / width).max(1))
    } else {
        ((most.1 * width / height).max(1), most.1)
    }
}

/// Columns and rows for a picture of `size`: as many as the window has, with the proportions of the picture.
pub(super) fn fit(size: (usize, usize), window: Window) -> (usize, usize) {
    let cell = window.cell();
    let room = (usize::from(window.cells.0) * cell.0, usize::from(window.cells.1) * cell.1);
    // Enlarged, so that it is the window that limits it.
    let factor = room.0.max(room.1).max(1);
    let (width, height) = within((size.0.max(1) * factor, size.1.max(1) * factor), room);
    ((width / cell.0).max(1), (height / cell.1).max(1))
}

/// The picture in another size: each pixel is the nearest one.
pub(super) fn scaled(frame: &VideoFrame, size: (usize, usize)) -> VideoFrame {
    if frame.size == size {
        return frame.clone();
    }
    let (width, height) = frame.size;
    let pixel = |x: usize, y: usize| {
        let at = y * height / size.1.max(1) * width + x * width / size.0.max(1);
        frame.pixels.get(at).copied().unwrap_or_default()
    };
    let pixels = (0..size.1).flat_map(|y| (0..size.0).map(move |x| pixel(x, y))).collect();
    VideoFrame { size, pixels }
}

#[cfg(test)]
#[path = "pictures/pictures_test.rs"]
mod tests;
