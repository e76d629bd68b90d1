//! What the terminal shows: serial text or the guest's VGA screen, and when it switches.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::dashboard::{self, Dashboard};
use super::menu;
use super::output::Output;
use super::painter::{Painter, ScreenFrame, colour_text};
use super::pictures::{self, Pictures};
use super::terminal::{Newlines, TerminalGuard, TerminalScreen};
use crate::inspect::screen::plain_text;
use crate::machine::screen::Screen;
use crate::settings::{DisplayMode, PictureMode};

/// Refresh interval while the guest's screen is shown.
const PAINT_INTERVAL: Duration = Duration::from_millis(20);
/// The same while the screen is a picture.
const PICTURE_INTERVAL: Duration = Duration::from_millis(100);
/// Polling interval while the guest's screen is not shown.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);
/// Time a blinking character is visible, and then invisible.
const BLINK_PHASE: Duration = Duration::from_millis(300);
/// Bytes of serial text buffered while the screen is shown; older text is dropped.
const MOST_HELD: usize = 64 << 10;
/// Clears the terminal and goes to its top left corner.
const CLEAR: &[u8] = b"\x1b[0m\x1b[2J\x1b[H";

/// What is on the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// Serial text.
    Text,
    /// The guest's screen.
    Screen,
    /// The dashboard, with serial text or the guest's screen in it.
    Dashboard,
    /// The help on the Ctrl-A commands, in place of the guest's screen.
    Help,
}

/// The user's view of the guest.
pub struct Display {
    wanted: DisplayMode,
    /// The terminal, if standard output is one.
    terminal: Option<TerminalGuard>,
    screen: Screen,
    dashboard: Option<Box<Dashboard>>,
    view: View,
    /// The terminal reports its mouse.
    mouse: bool,
    /// The user chose the view; it does not switch automatically any more.
    chosen: bool,
    painter: Painter,
    pictures: Pictures,
    /// The terminal shows a picture, not the text of the screen.
    shows_picture: bool,
    size: (u16, u16),
    next_look: Instant,
    started: Instant,
    newlines: Newlines,
    held: VecDeque<u8>,
    /// The last printed text did not end with a newline.
    in_line: bool,
    output: Output,
}

impl Display {
    /// The view a run starts with.
    pub fn new(
        (wanted, pictures): (DisplayMode, PictureMode),
        terminal: Option<TerminalGuard>,
        screen: Screen,
        dashboard: Option<Box<Dashboard>>,
    ) -> Display {
        let answers = terminal.as_ref().is_some_and(TerminalGuard::has_keyboard);
        // Without a terminal nothing is painted, and the painter needs no room for a picture.
        let size = terminal.as_ref().map_or((0, 0), TerminalGuard::size);
        let now = Instant::now();
        let mut display = Display {
            wanted,
            terminal,
            screen,
            dashboard,
            view: View::Text,
            mouse: false,
            chosen: false,
            painter: Painter::new(size.0, size.1),
            pictures: Pictures::new(pictures, answers, |name| std::env::var(name).ok()),
            shows_picture: false,
            size,
            next_look: now,
            started: now,
            newlines: Newlines::new(),
            held: VecDeque::new(),
            in_line: false,
            output: Output::new(),
        };
        if display.dashboard.is_some() {
            display.show(View::Dashboard);
        } else if wanted == DisplayMode::Vga {
            display.show(View::Screen);
        }
        display
    }

    /// Standard output.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Serial text for standard output.
    pub fn text(&mut self, bytes: &[u8]) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.text(bytes);
        }
        if self.view == View::Text {
            self.print(bytes);
        } else {
            self.held.extend(bytes);
            let excess = self.held.len().saturating_sub(MOST_HELD);
            self.held.drain(..excess);
        }
    }

    /// The next deadline of [`Self::refresh`]; `None` if there is no screen.
    pub fn due(&self) -> Option<Instant> {
        let watched = self.view != View::Text || (self.wanted == DisplayMode::Auto && !self.chosen);
        (self.terminal.is_some() && watched).then_some(self.next_look)
    }

    /// Paints what has changed on the guest's screen, if the refresh interval has passed.
    pub fn refresh(&mut self, now: Instant) {
        if self.due().is_none_or(|due| now < due) {
            return;
        }
        if self.view == View::Text && self.screen.in_use() {
            self.show(View::Screen);
        }
        match self.view {
            View::Screen => self.paint(now),
            View::Dashboard => self.paint_dashboard(),
            View::Text | View::Help => {}
        }
        self.next_look = now
            + match self.view {
                View::Text => WATCH_INTERVAL,
                View::Dashboard => dashboard::REFRESH_INTERVAL,
                _ if self.shows_picture => PICTURE_INTERVAL,
                _ => PAINT_INTERVAL,
            };
    }

    /// Has the terminal report its mouse while the guest's screen is shown, if `wanted`. True if it does.
    pub fn report_mouse(&mut self, wanted: bool) -> bool {
        let on = wanted && self.view == View::Screen;
        if let Some(terminal) = &self.terminal
            && terminal.has_keyboard()
            && on != self.mouse
        {
            self.mouse = on;
            self.output.push(terminal.switching_mouse(on));
        }
        self.mouse
    }

    /// True if the terminal shows the guest's screen, or did before the help.
    pub fn shows_screen(&self) -> bool {
        match &self.dashboard {
            Some(dashboard) => dashboard.shows_screen(&self.screen),
            None => self.view != View::Text,
        }
    }

    /// The dashboard, if the terminal shows it.
    pub fn dashboard(&mut self) -> Option<&mut Dashboard> {
        self.dashboard.as_deref_mut()
    }

    /// Has the next [`Self::refresh`] paint at once.
    pub fn hurry(&mut self) {
        self.next_look = Instant::now();
    }

    /// Switches to the other view, at the user's request.
    pub fn toggle(&mut self) {
        self.chosen = true;
        match self.view {
            View::Text => self.show(View::Screen),
            View::Screen | View::Help | View::Dashboard => self.show_text(),
        }
    }

    /// Shows the Ctrl-A commands.
    pub fn help(&mut self) {
        if self.view == View::Text {
            let help = format!("\n{}", menu::HELP);
            self.print(help.as_bytes());
        } else {
            self.view = View::Help;
            self.remove_picture();
            self.output.push(CLEAR);
            self.print(format!("{}\nAny key goes back to the guest.\n", menu::HELP).as_bytes());
        }
    }

    /// Handles a key press; true if it only closes the help.
    pub fn key_ends_help(&mut self) -> bool {
        let help = self.view == View::Help;
        if help {
            self.view = View::Screen;
            self.output.push(CLEAR);
            self.painter.invalidate();
        }
        help
    }

    /// Rings the bell for a key that is no command.
    pub fn bell(&mut self) {
        if self.terminal.is_some() {
            self.output.push(b"\x07");
        }
    }

    /// Restores the terminal at the end of the run and leaves the last contents on it. With `dump`, the last
    /// screen is also printed as plain text where there is no terminal.
    pub fn finish(&mut self, dump: bool) {
        if self.view != View::Text {
            // The rest of a picture on the screen that is left now.
            self.output.forget();
            self.remove_picture();
            self.view = View::Text;
        }
        self.output.flush();
        let on_terminal = self.terminal.take().map(|terminal| terminal.restore_now()).is_some();
        let held: Vec<u8> = self.held.drain(..).collect();
        self.print(&held);
        if on_terminal && self.in_line {
            // The message about the end of the run starts on a line of its own.
            self.print(b"\n");
        }
        if on_terminal && matches!(self.wanted, DisplayMode::Auto | DisplayMode::Vga) {
            match self.screen.picture() {
                Some(frame) => self.print(pictures::line_at_end(&frame).as_bytes()),
                None => self.print_screen(),
            }
        } else if dump {
            self.output.push(plain_text(&self.screen.cells()).as_bytes());
        }
    }

    /// The screen as coloured text.
    fn print_screen(&mut self) {
        let text = colour_text(&self.screen.cells(), self.screen.view().blink);
        self.output.push(text.as_bytes());
    }

    /// Takes the terminal's answer to the question for pictures out of its input; what is left of that.
    pub fn take_answer(&mut self, input: &[u8]) -> Option<Vec<u8>> {
        self.pictures.take_answer(input)
    }

    /// The terminal shows no picture any more.
    fn remove_picture(&mut self) {
        let mut bytes = Vec::new();
        self.pictures.remove(&mut bytes);
        self.output.push(&bytes);
        self.shows_picture = false;
    }

    /// Shows something else than text.
    fn show(&mut self, view: View) {
        if let Some(terminal) = &self.terminal {
            self.output.push(&terminal.switching_to(TerminalScreen::Alternate));
            self.painter.invalidate();
            self.view = view;
            self.next_look = Instant::now();
        }
    }

    fn show_text(&mut self) {
        if let Some(terminal) = &self.terminal {
            let leaving = terminal.switching_to(TerminalScreen::Main);
            self.remove_picture();
            self.output.push(&leaving);
            self.view = View::Text;
            let held: Vec<u8> = self.held.drain(..).collect();
            self.print(&held);
        }
    }

    fn paint_dashboard(&mut self) {
        if let (Some(dashboard), Some(terminal)) = (&mut self.dashboard, &self.terminal)
            && self.output.pending() == 0
        {
            let mut bytes = Vec::new();
            dashboard.paint(&self.screen, terminal.size(), &mut bytes);
            self.output.push(&bytes);
        }
    }

    fn paint(&mut self, now: Instant) {
        // A slow terminal skips to the latest frame.
        if self.output.pending() > 0 {
            return;
        }
        if let Some(size) = self.terminal.as_ref().map(TerminalGuard::size)
            && size != self.size
        {
            self.size = size;
            self.painter.resize(size.0, size.1);
        }
        if let Some(frame) = self.screen.picture()
            && let Some(window) = self.terminal.as_ref().map(TerminalGuard::window)
        {
            self.shows_picture = true;
            let mut bytes = Vec::new();
            self.pictures.paint(frame, window, now, &mut bytes);
            self.output.push(&bytes);
            return;
        }
        if self.shows_picture {
            self.remove_picture();
            self.painter.invalidate();
        }
        let phase = (now - self.started).as_millis() / BLINK_PHASE.as_millis();
        let frame = ScreenFrame {
            cells: &self.screen.cells(),
            view: self.screen.view(),
            blink_phase: phase.is_multiple_of(2),
        };
        let mut bytes = Vec::new();
        self.painter.paint(&frame, &mut bytes);
        self.output.push(&bytes);
    }

    /// Writes text to standard output, with the line ends that the terminal's mode needs.
    fn print(&mut self, bytes: &[u8]) {
        self.in_line = bytes.last().map_or(self.in_line, |last| *last != b'\n');
        if self.terminal.as_ref().is_some_and(TerminalGuard::has_keyboard) {
            let mut translated = Vec::with_capacity(bytes.len());
            self.newlines.translate(bytes, &mut translated);
            self.output.push(&translated);
        } else {
            self.output.push(bytes);
        }
    }
}
