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
    assert_eq!(points.decide(0x10, None, &mut All(2)), Decision::default());
    assert_eq!(points.decide(0x11, None, &mut All(3)), Decision::default());
    let stop = points.decide(0x10, None, &mut All(3));
    assert_eq!((stop.stop, stop.text.as_str()), (true, "breakpoint 1 at main, hit 1\n"));
    assert_eq!(points.list(), "1    break main if $rdi == 3\n     reached 2 times, hit once\n");
}

#[test]
fn a_log_point_prints_and_the_guest_goes_on() {
    let mut points = Points::default();
    points.add(point(0x10, None, Some("\"n=%d\", $rdi")));
    let decision = points.decide(0x10, None, &mut All(9));
    assert_eq!((decision.stop, decision.text.as_str()), (false, "n=9\n"));
}

#[test]
fn ignored_hits_are_counted_and_do_not_stop() {
    let mut points = Points::default();
    points.add(point(0x10, Some("$rdi"), None));
    assert!(points.ignore(1, 2));
    assert!(!points.ignore(2, 2));
    assert!(!points.decide(0x10, None, &mut All(1)).stop);
    assert!(!points.decide(0x10, None, &mut All(0)).stop, "no hit, so nothing to ignore");
    assert!(points.list().ends_with("reached 2 times, hit once, the next hit is ignored\n"));
    assert!(!points.decide(0x10, None, &mut All(1)).stop);
    assert_eq!(points.decide(0x10, None, &mut All(1)).text, "breakpoint 1 at main, hit 3\n");
}

#[test]
fn a_condition_can_count() {
    let mut points = Points::default();
    points.add(point(0x10, Some("$hits == 1000"), None));
    let stops = (1..=2000).filter(|_| points.decide(0x10, None, &mut All(0)).stop).count();
    assert_eq!(stops, 1);
    assert!(points.list().contains("reached 2000 times, hit once"));
}

#[test]
fn a_condition_that_cannot_be_evaluated_stops_and_says_why() {
    let mut points = Points::default();
    points.add(point(0x10, Some("u8($rdi) == 1"), None));
    let decision = points.decide(0x10, None, &mut All(5));
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
    let decision = points.decide(0x10, None, &mut All(0));
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
