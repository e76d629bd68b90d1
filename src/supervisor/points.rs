//! Breakpoints and log points that commands set: where they are, and what happens when the guest reaches one.
//!
//! A point is evaluated where the guest stops, without asking the debugger: a condition that is false
//! costs no round trip. This module neither runs nor changes the guest.

use crate::inspect::expression::{Expression, Values};
use crate::inspect::format::Format;
use crate::machine::CpuId;

/// Points there may be.
const MOST_POINTS: usize = 256;

/// What a point does when its condition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Stops the guest.
    Break,
    /// Prints and lets the guest go on.
    Trace(Format),
}

/// One point.
#[derive(Clone, Debug)]
pub struct Point {
    /// Its number, from 1 on; never used again.
    number: u32,
    /// Virtual address of an instruction.
    address: u64,
    /// The address as the user sees it, with its symbol.
    place: String,
    /// What the user typed behind the address.
    words: String,
    condition: Option<Expression>,
    kind: Kind,
    /// Hits that are still ignored.
    ignore: u64,
    /// How often the guest got here.
    reached: u64,
    /// How often the condition held.
    hits: u64,
}

/// What a point is made from.
#[derive(Clone, Debug)]
pub struct NewPoint {
    /// Virtual address of an instruction.
    pub address: u64,
    /// The address as the user sees it.
    pub place: String,
    /// What the user typed behind the address, for the list.
    pub words: String,
    /// What must not be 0 for the point to do anything.
    pub condition: Option<Expression>,
    /// What it does.
    pub kind: Kind,
}

/// What happens at a point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The guest stops; otherwise it goes on.
    pub stop: bool,
    /// Text for the user, in whole lines; usually empty.
    pub text: String,
}

/// All points.
#[derive(Debug, Default)]
pub struct Points {
    points: Vec<Point>,
    made: u32,
}

impl Points {
    /// Adds a point; its number, or `None` if there are too many.
    pub fn add(&mut self, new: NewPoint) -> Option<u32> {
        if self.points.len() >= MOST_POINTS {
            return None;
        }
        self.made += 1;
        let NewPoint { address, place, words, condition, kind } = new;
        let number = self.made;
        self.points.push(Point {
            number,
            address,
            place,
            words,
            condition,
            kind,
            ignore: 0,
            reached: 0,
            hits: 0,
        });
        Some(number)
    }

    /// Takes a point away; false if there is none with this number.
    pub fn remove(&mut self, number: u32) -> bool {
        let before = self.points.len();
        self.points.retain(|point| point.number != number);
        self.points.len() < before
    }

    /// Takes all points away; how many there were.
    pub fn clear(&mut self) -> usize {
        let count = self.points.len();
        self.points.clear();
        count
    }

    /// Lets the next `count` hits of a point pass; false if there is none with this number.
    pub fn ignore(&mut self, number: u32, count: u64) -> bool {
        let point = self.points.iter_mut().find(|point| point.number == number);
        point.map(|point| point.ignore = count).is_some()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// True if there is a point at `address`.
    pub fn is_at(&self, address: u64) -> bool {
        self.points.iter().any(|point| point.address == address)
    }

    /// The numbers and addresses of the breakpoints.
    pub fn breakpoints(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let breakpoints = self.points.iter().filter(|point| point.kind == Kind::Break);
        breakpoints.map(|point| (point.number, point.address))
    }

    /// The addresses of all points; some may come more than once.
    pub fn addresses(&self) -> impl Iterator<Item = u64> + '_ {
        self.points.iter().map(|point| point.address)
    }

    /// The list for the user: each point with how often it was reached and hit.
    pub fn list(&self) -> String {
        let mut text = String::new();
        for point in &self.points {
            let kind = if point.kind == Kind::Break { "break" } else { "trace" };
            let Point { number, place, words, reached, hits, ignore, .. } = point;
            text.push_str(&format!("{number:<4} {kind} {place}"));
            if !words.is_empty() {
                text.push_str(&format!(" {words}"));
            }
            text.push_str(&format!("\n     reached {}, hit {}", times(*reached), times(*hits)));
            if *ignore > 0 {
                text.push_str(&match ignore {
                    1 => ", the next hit is ignored".to_owned(),
                    _ => format!(", the next {ignore} hits are ignored"),
                });
            }
            text.push('\n');
        }
        text
    }

    /// The guest is about to carry out the instruction at `address`: evaluates the points there. `on` is its
    /// CPU, if there are several.
    pub fn decide(&mut self, address: u64, on: Option<CpuId>, values: &mut dyn Values) -> Decision {
        let mut decision = Decision::default();
        for point in self.points.iter_mut().filter(|point| point.address == address) {
            point.reach(on, values, &mut decision);
        }
        decision
    }
}

impl Point {
    fn reach(&mut self, on: Option<CpuId>, values: &mut dyn Values, decision: &mut Decision) {
        self.reached = self.reached.saturating_add(1);
        let holds = self.condition.as_ref().map_or(Ok(1), |it| it.evaluate(values, self.reached));
        match holds {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                decision.stop = true;
                let Point { number, place, words, .. } = self;
                decision.text += &format!(
                    "breakpoint {number} at {place}{}: cannot evaluate `{words}`: {error}\n",
                    cpu(on)
                );
                return;
            }
        }
        self.hits = self.hits.saturating_add(1);
        if self.ignore > 0 {
            self.ignore -= 1;
            return;
        }
        match &self.kind {
            Kind::Break => {
                decision.stop = true;
                decision.text +=
                    &format!("breakpoint {} at {}{}, hit {}\n", self.number, self.place, cpu(on), self.hits);
            }
            Kind::Trace(format) => decision.text += &format.print(values, self.reached),
        }
    }
}

/// The CPU that has reached a point, behind the address.
fn cpu(on: Option<CpuId>) -> String {
    on.map(|cpu| format!(" on {cpu}")).unwrap_or_default()
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

#[cfg(test)]
#[path = "points_test.rs"]
mod tests;
