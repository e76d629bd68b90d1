//! Breakpoints and log points that commands set: where they are, and what happens when the guest reaches one.
//!
//! A point is evaluated where the guest stops, without asking the debugger: a condition that is false
//! costs no round trip. This module neither runs nor changes the guest.

use crate::inspect::expression::{Expression, Values};
use crate::inspect::format::Format;

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

/// What is to be done at a point.
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

    /// The guest is about to carry out the instruction at `address`: evaluates the points there.
    pub fn decide(&mut self, address: u64, values: &mut dyn Values) -> Decision {
        let mut decision = Decision::default();
        for point in self.points.iter_mut().filter(|point| point.address == address) {
            point.reach(values, &mut decision);
        }
        decision
    }
}

impl Point {
    fn reach(&mut self, values: &mut dyn Values, decision: &mut Decision) {
        self.reached = self.reached.saturating_add(1);
        let holds = self.condition.as_ref().map_or(Ok(1), |it| it.evaluate(values, self.reached));
        match holds {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                decision.stop = true;
                let Point { number, place, words, .. } = self;
                decision.text +=
                    &format!("breakpoint {number} at {place}: cannot evaluate `{words}`: {error}\n");
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
                    &format!("breakpoint {} at {}, hit {}\n", self.number, self.place, self.hits);
            }
            Kind::Trace(format) => decision.text += &format.print(values, self.reached),
        }
    }
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::expression::Register;

    /// A guest whose registers all hold the same number, and that has no memory.
    struct All(u64);

    impl Values for All {
        fn register(&mut self, _: Register) -> u64 {
            self.0
        }

        fn load(&mut self, _: u64, _: u8) -> Option<u64> {
            None
        }
    }

    fn point(address: u64, condition: Option<&str>, format: Option<&str>) -> NewPoint {
        let none = |_: &str| None;
        NewPoint {
            address,
            place: "main".to_owned(),
            words: condition.map_or(String::new(), |condition| format!("if {condition}")),
            condition: condition.map(|text| Expression::parse(text, &none).unwrap()),
            kind: format.map_or(Kind::Break, |text| Kind::Trace(Format::parse(text, &none).unwrap())),
        }
    }

    #[test]
    fn a_condition_decides_whether_the_guest_stops() {
        let mut points = Points::default();
        assert_eq!(points.add(point(0x10, Some("$rdi == 3"), None)), Some(1));
        assert_eq!(points.decide(0x10, &mut All(2)), Decision::default());
        assert_eq!(points.decide(0x11, &mut All(3)), Decision::default());
        let stop = points.decide(0x10, &mut All(3));
        assert_eq!((stop.stop, stop.text.as_str()), (true, "breakpoint 1 at main, hit 1\n"));
        assert_eq!(points.list(), "1    break main if $rdi == 3\n     reached 2 times, hit once\n");
    }

    #[test]
    fn a_log_point_prints_and_the_guest_goes_on() {
        let mut points = Points::default();
        points.add(point(0x10, None, Some("\"n=%d\", $rdi")));
        let decision = points.decide(0x10, &mut All(9));
        assert_eq!((decision.stop, decision.text.as_str()), (false, "n=9\n"));
    }

    #[test]
    fn ignored_hits_are_counted_and_do_not_stop() {
        let mut points = Points::default();
        points.add(point(0x10, Some("$rdi"), None));
        assert!(points.ignore(1, 2));
        assert!(!points.ignore(2, 2));
        assert!(!points.decide(0x10, &mut All(1)).stop);
        assert!(!points.decide(0x10, &mut All(0)).stop, "no hit, so nothing to ignore");
        assert!(points.list().ends_with("reached 2 times, hit once, the next hit is ignored\n"));
        assert!(!points.decide(0x10, &mut All(1)).stop);
        assert_eq!(points.decide(0x10, &mut All(1)).text, "breakpoint 1 at main, hit 3\n");
    }

    #[test]
    fn a_condition_can_count() {
        let mut points = Points::default();
        points.add(point(0x10, Some("$hits == 1000"), None));
        let stops = (1..=2000).filter(|_| points.decide(0x10, &mut All(0)).stop).count();
        assert_eq!(stops, 1);
        assert!(points.list().contains("reached 2000 times, hit once"));
    }

    #[test]
    fn a_condition_that_cannot_be_evaluated_stops_and_says_why() {
        let mut points = Points::default();
        points.add(point(0x10, Some("u8($rdi) == 1"), None));
        let decision = points.decide(0x10, &mut All(5));
        assert!(decision.stop);
        assert_eq!(
            decision.text,
            "breakpoint 1 at main: cannot evaluate `if u8($rdi) == 1`: 1 bytes at 0x5 cannot be read: no RAM \
             is mapped there\n"
        );
    }

    #[test]
    fn all_points_at_an_address_are_evaluated() {
        let mut points = Points::default();
        points.add(point(0x10, None, None));
        points.add(point(0x10, None, Some("\"traced\"")));
        let decision = points.decide(0x10, &mut All(0));
        assert_eq!((decision.stop, decision.text.as_str()), (true, "breakpoint 1 at main, hit 1\ntraced\n"));
        assert!(points.remove(1));
        assert!(!points.remove(1));
        assert!(points.is_at(0x10));
        assert_eq!(points.add(point(0x20, None, None)), Some(3), "numbers are not used again");
        assert_eq!(points.clear(), 2);
        assert!(!points.is_at(0x10));
    }

    #[test]
    fn the_number_of_points_is_limited() {
        let mut points = Points::default();
        assert!((0..MOST_POINTS as u64).all(|at| points.add(point(at, None, None)).is_some()));
        assert_eq!(points.add(point(0, None, None)), None);
    }
}
