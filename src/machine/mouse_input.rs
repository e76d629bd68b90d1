//! Movements of the mouse that wait for the guest.
//!
//! They are delivered in steps that a packet can carry, each when the guest has read the packet before, so that no
//! movement is lost. While the guest has its mouse disabled they are dropped, as it would find the pointer somewhere
//! else later; buttons are kept.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tracing::debug;

use super::board::Board;
use crate::devices::mouse::Movement;

/// Most changes of buttons that wait; movements between two of them are added up.
const MOST_WAITING: usize = 1024;
/// Largest step. Guests that ignore the sign bit of a packet and take its bytes as signed understand it, too.
const STEP: i16 = 127;
/// Largest step of the wheel: what the packet of a mouse with five buttons carries.
const WHEEL_STEP: i16 = 7;

/// A movement, and the buttons from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MouseInput {
    /// Counts to the right.
    pub dx: i16,
    /// Counts towards the user.
    pub dy: i16,
    /// Notches of the wheel towards the user.
    pub wheel: i16,
    /// The buttons that are down from now on; `None` leaves them.
    pub buttons: Option<u8>,
}

impl MouseInput {
    fn moves(&self) -> bool {
        (self.dx, self.dy, self.wheel) != (0, 0, 0)
    }

    /// Takes a step off the movement, and the buttons with the last one.
    fn step(&mut self) -> MouseInput {
        let take = |rest: &mut i16, most: i16| {
            let step = (*rest).clamp(-most, most);
            *rest -= step;
            step
        };
        let (dx, dy) = (take(&mut self.dx, STEP), take(&mut self.dy, STEP));
        let wheel = take(&mut self.wheel, WHEEL_STEP);
        let buttons = if self.moves() { None } else { self.buttons.take() };
        MouseInput { dx, dy, wheel, buttons }
    }
}

/// What waits for the guest.
#[derive(Clone, Debug, Default)]
pub(super) struct MouseBuffer {
    waiting: VecDeque<MouseInput>,
}

impl MouseBuffer {
    /// Appends an input. A movement is added to one that waits.
    pub(super) fn push(&mut self, input: MouseInput) {
        let room = self.waiting.len() < MOST_WAITING;
        match self.waiting.back_mut() {
            Some(last) if last.buttons.is_none() => {
                last.dx = last.dx.saturating_add(input.dx);
                last.dy = last.dy.saturating_add(input.dy);
                last.wheel = last.wheel.saturating_add(input.wheel);
                last.buttons = input.buttons;
            }
            _ if room => self.waiting.push_back(input),
            _ => debug!(
                "{MOST_WAITING} changes of the mouse's buttons wait for the guest: a further one is dropped"
            ),
        }
    }

    /// True if nothing waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Delivers what the mouse can report now.
    pub(super) fn deliver(&mut self, board: &mut Board) {
        while let Some(next) = self.waiting.front_mut() {
            let step = if !board.i8042().mouse_is_enabled() {
                MouseInput { buttons: std::mem::take(next).buttons, ..MouseInput::default() }
            } else if board.i8042().mouse_idle() {
                next.step()
            } else {
                return;
            };
            if !next.moves() && next.buttons.is_none() {
                self.waiting.pop_front();
            }
            // A mouse counts upwards.
            let movement = Movement { right: step.dx, up: -step.dy, wheel: step.wheel };
            board.move_mouse(movement, step.buttons);
        }
    }

    /// The state to save.
    pub(super) fn state(&self) -> Vec<MouseInput> {
        self.waiting.iter().copied().collect()
    }

    /// Replaces everything that waits by `state`.
    pub(super) fn set_state(&mut self, state: &[MouseInput]) {
        self.waiting = state.iter().take(MOST_WAITING).copied().collect();
    }
}

#[cfg(test)]
#[path = "mouse_input_test.rs"]
mod tests;
