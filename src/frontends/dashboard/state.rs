//! What the dashboard shows, and what keys change: a state machine without a terminal and without a machine.

use std::time::{Duration, Instant};

use super::feed::{News, Order};
use super::keys::PressedKey;
use super::layout::{Pane, PaneChoice};
use super::sample::{Listing, Sample, Wanted, Word};
use crate::arch::Registers;
use crate::inspect::maps::{DescribedMaps, DescribedRange};
use crate::machine::exit_counts::ExitCounts;
use crate::supervisor::stopped_machine::RunStatus;

/// Lines that Page Up and Page Down move.
const PAGE: i64 = 8;
/// Longest expression that can be typed, in characters.
const LONGEST_EXPRESSION: usize = 200;
/// Addresses that Backspace goes back to.
const MOST_VISITED: usize = 64;
/// Time over which rates are measured.
const RATE_TIME: Duration = Duration::from_secs(1);

/// What a key has asked for outside of the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyEffect {
    /// Something of the machine.
    Order(Order),
    /// The end of the run.
    Quit,
    /// The end of the dashboard, after the end of the run.
    Leave,
}

/// A count, and how it grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// What is counted.
    pub name: &'static str,
    /// How often it has happened.
    pub count: u64,
    /// How often it happens in a second.
    pub per_second: u64,
}

/// The state of the dashboard.
#[derive(Debug)]
pub struct DashboardState {
    /// The machine, as it was read last.
    pub sample: Sample,
    /// The mapped ranges, as they were read last.
    pub maps: Option<DescribedMaps>,
    /// Exits by reason.
    pub rates: Vec<Rate>,
    /// The panes.
    pub choice: PaneChoice,
    /// Index of the selected register among [`registers_shown`].
    pub register: usize,
    /// The first mapped range that is shown, which Enter follows.
    pub first_range: usize,
    /// How many of the last lines of the events are left out, to show earlier ones.
    pub events_back: usize,
    /// The keys are explained.
    pub help: bool,
    /// The expression that is being typed.
    pub prompt: Option<String>,
    /// A line for the user.
    pub message: String,
    /// Keys go to the guest.
    pub to_guest: bool,
    /// Serial text is shown although the guest uses its screen, or the other way round.
    pub other_screen: bool,
    /// Why the run is over, once it is.
    pub end: Option<String>,
    /// The registers at this stop and at the one before.
    stops: [Option<Registers>; 2],
    code: Option<u64>,
    stack: Option<u64>,
    memory: Option<u64>,
    /// Addresses that the memory was at before.
    visited: Vec<u64>,
    /// What rates are measured from.
    measured: Option<(Instant, ExitCounts)>,
    /// Number of lines that are needed before and after the middle of a pane.
    lines: usize,
}

impl Default for DashboardState {
    fn default() -> DashboardState {
        DashboardState {
            sample: Sample::default(),
            maps: None,
            rates: Vec::new(),
            choice: PaneChoice { focus: Pane::Code, tab: Pane::Maps, zoomed: false },
            register: 0,
            first_range: 0,
            events_back: 0,
            help: false,
            prompt: None,
            message: String::new(),
            to_guest: false,
            other_screen: false,
            end: None,
            stops: [None; 2],
            code: None,
            stack: None,
            memory: None,
            visited: Vec::new(),
            measured: None,
            lines: 0,
        }
    }
}

/// The registers that can be selected: RIP and RFLAGS first, then the others two by two.
pub fn registers_shown(registers: &Registers) -> Vec<(&'static str, u64)> {
    let mut all = registers.named().to_vec();
    all.rotate_right(2);
    if registers.bitness() < 64 {
        all.truncate(10);
    }
    all
}

impl DashboardState {
    /// The mapped ranges.
    pub fn ranges(&self) -> &[DescribedRange] {
        self.maps.as_ref().map_or(&[], |maps| &maps.ranges)
    }

    /// What the next sample has to contain.
    pub fn wanted(&self) -> Wanted {
        let Wanted { code, stack, memory, .. } =
            Wanted { code: self.code, stack: self.stack, memory: self.memory, ..Wanted::default() };
        Wanted { code, stack, memory, lines: self.lines, maps: true }
    }

    /// The terminal has this many rows.
    pub fn set_rows(&mut self, rows: u16) {
        self.lines = rows.into();
    }

    /// True if the guest is stopped between two instructions.
    pub fn is_stopped(&self) -> bool {
        self.sample.status != Some(RunStatus::Running)
    }

    /// True if a register of a stopped guest has another value than at the stop before.
    pub fn is_changed(&self, name: &str) -> bool {
        let value = |stop: &Option<Registers>| {
            stop.as_ref().map(|registers| {
                let (named, control) = (registers.named(), registers.control());
                named.into_iter().chain(control).find(|(other, _)| *other == name).map(|(_, value)| value)
            })
        };
        let [now, before] = &self.stops;
        self.is_stopped() && before.is_some() && value(now) != value(before)
    }

    /// Takes what the feed reports.
    pub fn take_news(&mut self, news: News, now: Instant) {
        match news {
            // What was read before the end is older than what the end has left.
            _ if self.end.is_some() => {}
            News::Sample(sample) => self.take_sample(*sample, now),
            News::Message(text) => self.message = text,
            News::Found(address) if self.choice.focus == Pane::Stack => self.stack = Some(address),
            News::Found(address) if self.choice.focus == Pane::Memory => self.follow(Some(address)),
            News::Found(address) => {
                self.code = Some(address);
                self.choice.focus = Pane::Code;
            }
        }
    }

    /// Takes the state of the machine at `now`.
    pub fn take_sample(&mut self, mut sample: Sample, now: Instant) {
        if let Some(maps) = sample.maps.take() {
            self.maps = Some(maps);
        }
        self.measure(sample.exits, now);
        let stopped = sample.status != Some(RunStatus::Running);
        if stopped && sample.registers != self.stops[0] {
            self.stops = [sample.registers, self.stops[0]];
            // The user sees where the guest has stopped.
            (self.code, self.stack) = (None, None);
        }
        self.sample = sample;
    }

    fn measure(&mut self, exits: ExitCounts, now: Instant) {
        let (since, before) = *self.measured.get_or_insert((now, exits));
        let time = now.saturating_duration_since(since);
        let due = time >= RATE_TIME;
        let pairs = reasons(&exits).into_iter().zip(reasons(&before));
        let known = std::mem::take(&mut self.rates);
        self.rates = pairs
            .enumerate()
            .map(|(at, ((name, count), (_, before)))| {
                let measured = || (count.saturating_sub(before) as f64 / time.as_secs_f64()).round() as u64;
                let per_second =
                    if due { measured() } else { known.get(at).map_or(0, |rate| rate.per_second) };
                Rate { name, count, per_second }
            })
            .collect();
        if due {
            self.measured = Some((now, exits));
        }
    }

    /// Handles a key; keys for the guest do not come here.
    pub fn key(&mut self, key: PressedKey) -> Vec<KeyEffect> {
        if self.help {
            self.help = false;
            return Vec::new();
        }
        if let Some(text) = self.prompt.take() {
            return self.key_of_prompt(text, key);
        }
        match key {
            PressedKey::Tab => self.focus(self.choice.focus.neighbour(true)),
            PressedKey::BackTab => self.focus(self.choice.focus.neighbour(false)),
            PressedKey::Up => self.scroll(-1),
            PressedKey::Down => self.scroll(1),
            PressedKey::PageUp => self.scroll(-PAGE),
            PressedKey::PageDown => self.scroll(PAGE),
            PressedKey::Left => self.select_register(-1),
            PressedKey::Right => self.select_register(1),
            PressedKey::Home => self.go_home(),
            PressedKey::Char('z') => self.choice.zoomed = !self.choice.zoomed,
            PressedKey::Char('v') => self.other_screen = !self.other_screen,
            PressedKey::Char('?') => self.help = true,
            _ if self.end.is_some() => return vec![KeyEffect::Leave],
            PressedKey::Char('q') | PressedKey::Ctrl('c') => return vec![KeyEffect::Quit],
            PressedKey::Char('i') => {
                self.to_guest = true;
                self.choice.focus = Pane::Screen;
            }
            PressedKey::Char('g') => self.prompt = Some(String::new()),
            PressedKey::Enter => self.follow_value(),
            PressedKey::Backspace => self.go_back(),
            PressedKey::Escape => self.choice.zoomed = false,
            PressedKey::Char(letter) => {
                return self.command(letter).map(KeyEffect::Order).into_iter().collect();
            }
            PressedKey::Ctrl(_) | PressedKey::Other => {}
        }
        Vec::new()
    }

    /// The commands for the machine.
    fn command(&mut self, letter: char) -> Option<Order> {
        self.message.clear();
        let order = match letter {
            'p' => Order::Pause,
            'c' => Order::Resume,
            // A running guest is paused first, so that the user sees what is stepped.
            's' | 'n' if !self.is_stopped() => Order::Pause,
            's' => Order::Step,
            'n' => Order::Next,
            'b' => return self.code_address().map(Order::ToggleBreakpoint),
            _ => {
                self.message = format!("`{letter}` is no command; ? lists them");
                return None;
            }
        };
        if order != Order::Pause {
            (self.code, self.stack) = (None, None);
        }
        Some(order)
    }

    fn key_of_prompt(&mut self, mut text: String, key: PressedKey) -> Vec<KeyEffect> {
        match key {
            PressedKey::Enter if text.trim().is_empty() => return Vec::new(),
            PressedKey::Enter => return vec![KeyEffect::Order(Order::Find(text.trim().to_owned()))],
            PressedKey::Escape | PressedKey::Ctrl('c') => return Vec::new(),
            PressedKey::Backspace => _ = text.pop(),
            PressedKey::Char(letter) if text.len() < LONGEST_EXPRESSION => text.push(letter),
            _ => {}
        }
        self.prompt = Some(text);
        Vec::new()
    }

    fn focus(&mut self, pane: Pane) {
        self.choice.focus = pane;
        if pane.is_tab() {
            self.choice.tab = pane;
        }
    }

    fn scroll(&mut self, lines: i64) {
        let moved = |at: usize, most: usize| {
            usize::try_from(at as i64 + lines).unwrap_or(0).min(most.saturating_sub(1))
        };
        match self.choice.focus {
            Pane::Code => self.code = self.code_moved(lines).or(self.code),
            Pane::Stack => self.stack = word_moved(&self.sample.stack, self.stack, lines),
            Pane::Memory => self.memory = word_moved(&self.sample.memory, self.memory, lines).or(self.memory),
            Pane::Maps => self.first_range = moved(self.first_range, self.ranges().len()),
            Pane::Events => {
                let most = self.sample.events.lines.len().saturating_sub(1) as i64;
                self.events_back = (self.events_back as i64 - lines).clamp(0, most) as usize;
            }
            Pane::Registers if lines > 0 && self.register < 2 => self.select_register(1),
            Pane::Registers if lines < 0 && self.register < 4 => {
                self.register = if self.register < 2 { 0 } else { 1 };
            }
            Pane::Registers => self.select_register(2 * lines.signum()),
            Pane::Screen | Pane::Exits => {}
        }
    }

    fn select_register(&mut self, by: i64) {
        if self.choice.focus == Pane::Registers {
            let count =
                self.sample.registers.as_ref().map_or(0, |registers| registers_shown(registers).len());
            let wanted = usize::try_from(self.register as i64 + by).ok().filter(|wanted| *wanted < count);
            self.register = wanted.unwrap_or(self.register);
        }
    }

    /// The linear address of the instruction with the cursor.
    pub fn code_address(&self) -> Option<u64> {
        self.code.or_else(|| self.sample.registers.map(|registers| registers.next_instruction()))
    }

    fn code_moved(&self, lines: i64) -> Option<u64> {
        let (code, address) = (&self.sample.code.lines, self.code_address()?);
        let at = code.iter().position(|line| line.address == address)?;
        let wanted = usize::try_from(at as i64 + lines).unwrap_or(0).min(code.len() - 1);
        Some(code[wanted].address)
    }

    /// The pane with the focus follows the registers again.
    fn go_home(&mut self) {
        match self.choice.focus {
            Pane::Code => self.code = None,
            Pane::Stack => self.stack = None,
            Pane::Registers => self.register = 0,
            Pane::Maps => self.first_range = 0,
            Pane::Events => self.events_back = 0,
            Pane::Memory | Pane::Screen | Pane::Exits => {}
        }
    }

    /// Shows what the value with the cursor points to.
    fn follow_value(&mut self) {
        let value = |listing: &Listing<Word>| listing.lines.get(listing.middle).and_then(|word| word.value);
        match self.choice.focus {
            Pane::Code => {
                let address = self.code_address();
                let line = self.sample.code.lines.iter().find(|line| Some(line.address) == address);
                self.code = line.and_then(|line| line.target).or(self.code);
            }
            Pane::Registers => {
                let registers = self.sample.registers.as_ref().map(registers_shown).unwrap_or_default();
                self.follow(registers.get(self.register).map(|(_, value)| *value));
            }
            Pane::Stack => self.follow(value(&self.sample.stack)),
            Pane::Memory => self.follow(value(&self.sample.memory)),
            Pane::Maps => self.follow(self.ranges().get(self.first_range).map(|range| range.range.start)),
            Pane::Screen | Pane::Exits | Pane::Events => {}
        }
    }

    /// Shows the memory at `address`.
    fn follow(&mut self, address: Option<u64>) {
        let Some(address) = address else { return };
        if let Some(before) = self.memory.filter(|before| *before != address) {
            self.visited.push(before);
            self.visited.drain(..self.visited.len().saturating_sub(MOST_VISITED));
        }
        self.memory = Some(address);
        self.focus(Pane::Memory);
    }

    fn go_back(&mut self) {
        if self.choice.focus == Pane::Memory
            && let Some(address) = self.visited.pop()
        {
            self.memory = Some(address);
        }
    }
}

/// The address `lines` words from the middle of `listing`, or from `address`.
fn word_moved(listing: &Listing<Word>, address: Option<u64>, lines: i64) -> Option<u64> {
    let middle = listing.lines.get(listing.middle)?;
    let from = address.unwrap_or(middle.address);
    from.checked_add_signed(lines * i64::from(middle.size)).or(Some(from))
}

/// The counts that are shown, with their names.
fn reasons(exits: &ExitCounts) -> [(&'static str, u64); 9] {
    [
        ("all exits", exits.total()),
        ("port writes", exits.port_writes()),
        ("port reads", exits.port_reads()),
        ("memory writes", exits.mmio_writes()),
        ("memory reads", exits.mmio_reads()),
        ("hlt", exits.halts()),
        ("kicks", exits.kicks()),
        ("debug stops", exits.debug_stops()),
        ("refused instructions", exits.refusals()),
    ]
}

#[cfg(test)]
#[path = "state_test.rs"]
mod tests;
