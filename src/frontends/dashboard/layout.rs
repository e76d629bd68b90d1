//! Where the panes of the dashboard are.

use ratatui_core::layout::Rect;

/// Minimum width of the column with registers and values: two registers of 16 digits side by side.
const RIGHT: u16 = 42;
/// Width of the column with code and screen from which on half of what is left goes to the other one: that of a text screen.
const ENOUGH_LEFT: u16 = 80;
/// Minimum width of the column with code and screen; where it does not fit, one pane is shown at a time.
const LEAST_LEFT: u16 = 24;
/// Rows of the guest's screen with its title.
const SCREEN: u16 = 26;
/// Minimum rows of a pane with its title.
const LEAST: u16 = 4;
/// Rows of the registers with their title: all of them, and the most important ones.
const REGISTERS: (u16, u16) = (15, 11);
/// Rows from which on maps, exits and memory are shown at the same time.
const TALL: u16 = 40;

/// A part of the dashboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// Instructions.
    Code,
    /// The guest's screen or serial text.
    Screen,
    /// Registers.
    Registers,
    /// Words of the stack.
    Stack,
    /// Words at an address.
    Memory,
    /// Mapped ranges.
    Maps,
    /// Exits by reason.
    Exits,
    /// The last events.
    Events,
}

impl Pane {
    /// All, in the order of the Tab key.
    pub const ALL: [Pane; 8] = [
        Pane::Code,
        Pane::Registers,
        Pane::Stack,
        Pane::Memory,
        Pane::Maps,
        Pane::Exits,
        Pane::Events,
        Pane::Screen,
    ];

    /// The next or the previous one.
    pub fn neighbour(self, forward: bool) -> Pane {
        let at = Pane::ALL.iter().position(|pane| *pane == self).unwrap_or(0);
        let step = if forward { 1 } else { Pane::ALL.len() - 1 };
        Pane::ALL[(at + step) % Pane::ALL.len()]
    }

    /// It shares its place with others on small terminals.
    pub fn is_tab(self) -> bool {
        matches!(self, Pane::Memory | Pane::Maps | Pane::Exits | Pane::Events)
    }
}

/// What the user has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaneChoice {
    /// The pane with the focus.
    pub focus: Pane,
    /// Which of the panes that share a place is shown there.
    pub tab: Pane,
    /// The pane with the focus has all the room.
    pub zoomed: bool,
}

/// The panes that are shown on `area`, without gaps except for a column between left and right.
pub fn panes(area: Rect, choice: PaneChoice) -> Vec<(Pane, Rect)> {
    let right_width = RIGHT + area.width.saturating_sub(RIGHT + 1 + ENOUGH_LEFT) / 2;
    let Some(left) =
        area.width.checked_sub(right_width + 1).filter(|left| *left >= LEAST_LEFT && !choice.zoomed)
    else {
        return vec![(choice.focus, area); (!area.is_empty()).into()];
    };
    let column = |x, width, rows: Vec<(Pane, u16)>| {
        let mut y = area.y;
        rows.into_iter().map(move |(pane, height)| {
            let place = Rect::new(x, y, width, height);
            y += height;
            (pane, place)
        })
    };
    let screen = SCREEN.min(area.height.div_ceil(2));
    let above = area.height - screen;
    // Lines of events are as wide as those of code.
    let events = if area.height >= TALL { above / 3 } else { 0 };
    let rows = vec![(Pane::Code, above - events), (Pane::Events, events), (Pane::Screen, screen)];
    let mut panes: Vec<_> = column(area.x, left, rows).collect();
    panes.extend(column(area.x + left + 1, right_width, right(area.height, choice.tab)));
    panes.retain(|(_, place)| place.height > 0);
    panes
}

/// The panes of the right column with their heights.
fn right(height: u16, tab: Pane) -> Vec<(Pane, u16)> {
    let registers = if height >= TALL { REGISTERS.0 } else { REGISTERS.1.min(height) };
    let rest = height - registers;
    if height < TALL {
        let stack = if rest >= 2 * LEAST { rest.div_ceil(2) } else { rest };
        return vec![(Pane::Registers, registers), (Pane::Stack, stack), (tab, rest - stack)];
    }
    let each = rest / 4;
    let stack = rest - 3 * each;
    vec![
        (Pane::Registers, registers),
        (Pane::Stack, stack),
        (Pane::Memory, each),
        (Pane::Maps, each),
        (Pane::Exits, each),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panes_neither_overlap_nor_leave_the_area_on_terminals_of_any_size() {
        for (width, height) in
            (0..140).step_by(3).flat_map(|width| (0..80).map(move |height| (width, height)))
        {
            let area = Rect::new(0, 1, width, height);
            for zoomed in [false, true] {
                let choice = PaneChoice { focus: Pane::Stack, tab: Pane::Maps, zoomed };
                let panes = panes(area, choice);
                for (at, (pane, place)) in panes.iter().enumerate() {
                    assert_eq!(area.union(*place), area, "{pane:?} on {width}x{height}");
                    let others = &panes[at + 1..];
                    assert!(others.iter().all(|(_, other)| !other.intersects(*place)), "{width}x{height}");
                }
            }
        }
    }

    #[test]
    fn the_usual_terminal_shows_all_but_three_tabs() {
        let choice = PaneChoice { focus: Pane::Code, tab: Pane::Exits, zoomed: false };
        let shown = |height| panes(Rect::new(0, 1, 80, height), choice).into_iter().map(|(pane, _)| pane);
        let usual: Vec<_> = shown(22).collect();
        assert_eq!(usual, [Pane::Code, Pane::Screen, Pane::Registers, Pane::Stack, Pane::Exits]);
        assert_eq!(shown(TALL).count(), Pane::ALL.len());
    }

    #[test]
    fn wide_terminals_leave_room_for_complete_lines_on_both_sides() {
        let choice = PaneChoice { focus: Pane::Code, tab: Pane::Maps, zoomed: false };
        let widths = |width| {
            let panes = panes(Rect::new(0, 1, width, 58), choice);
            let of = |wanted| panes.iter().find(|(pane, _)| *pane == wanted).map(|(_, place)| place.width);
            (of(Pane::Code), of(Pane::Maps))
        };
        assert_eq!(widths(80), (Some(37), Some(42)));
        assert_eq!(widths(123), (Some(80), Some(42)));
        assert_eq!(widths(200), (Some(119), Some(80)));
    }

    #[test]
    fn tab_and_shift_tab_go_through_all_panes() {
        let after = Pane::ALL.iter().fold(Pane::Code, |pane, _| pane.neighbour(true));
        assert_eq!(after, Pane::Code);
        assert!(Pane::ALL.iter().all(|pane| pane.neighbour(true).neighbour(false) == *pane));
    }
}
