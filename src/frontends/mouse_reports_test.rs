use super::*;

fn mouse(dx: i16, dy: i16, wheel: i16, buttons: Option<u8>) -> Piece {
    Piece::Mouse(Input::Mouse { dx, dy, wheel, buttons })
}

fn on() -> MouseReports {
    let mut reports = MouseReports::default();
    assert_eq!(reports.set_on(true), None);
    reports
}

#[test]
fn differences_of_cells_become_counts() {
    let mut reports = on();
    assert_eq!(reports.feed(b"\x1b[<35;10;5M"), [], "the first report says where the pointer is");
    assert_eq!(reports.feed(b"\x1b[<35;12;4M"), [mouse(2 * COLUMN, -ROW, 0, None)]);
    assert_eq!(reports.feed(b"\x1b[<35;12;4M"), []);
    assert_eq!(
        reports.feed(b"\x1b[<35;1;1M\x1b[<35;2;2M"),
        [mouse(-88, -48, 0, None), mouse(8, 16, 0, None)]
    );
}

#[test]
fn buttons_go_down_and_come_up() {
    let mut reports = on();
    for (number, bit) in [(0, 1), (1, 4), (2, 2), (128, 8), (129, 16)] {
        assert_eq!(reports.feed(format!("\x1b[<{number};1;1M").as_bytes()), [mouse(0, 0, 0, Some(bit))]);
        assert_eq!(reports.feed(format!("\x1b[<{number};1;1m").as_bytes()), [mouse(0, 0, 0, Some(0))]);
    }
    let dragged = reports.feed(b"\x1b[<0;1;1M\x1b[<2;1;1M\x1b[<32;2;1M\x1b[<0;2;1m");
    assert_eq!(
        dragged,
        [mouse(0, 0, 0, Some(1)), mouse(0, 0, 0, Some(3)), mouse(8, 0, 0, None), mouse(0, 0, 0, Some(2))]
    );
    assert_eq!(reports.feed(b"\x1b[<35;2;1M"), [mouse(0, 0, 0, Some(0))], "a release that was not reported");
}

#[test]
fn the_wheel_turns_both_ways() {
    let mut reports = on();
    assert_eq!(
        reports.feed(b"\x1b[<64;1;1M\x1b[<65;1;1M\x1b[<66;1;1M"),
        [mouse(0, 0, -1, None), mouse(0, 0, 1, None)]
    );
}

#[test]
fn modifiers_do_not_matter() {
    let mut reports = on();
    assert_eq!(reports.feed(b"\x1b[<28;1;1M"), [mouse(0, 0, 0, Some(1))]);
}

#[test]
fn other_input_passes_in_order() {
    let mut reports = on();
    let pieces = reports.feed(b"a\x1b[A\x1b[<0;1;1Mb\x1b[<0;1;1m\x1b[<1;2Xc");
    assert_eq!(
        pieces,
        [
            Piece::Bytes(b"a\x1b[A".to_vec()),
            mouse(0, 0, 0, Some(1)),
            Piece::Bytes(b"b".to_vec()),
            mouse(0, 0, 0, Some(0)),
            Piece::Bytes(b"\x1b[<1;2Xc".to_vec()),
        ]
    );
    let long = [b"\x1b[<", &[b'1'; LONGEST][..]].concat();
    assert_eq!(reports.feed(&long), [Piece::Bytes(long.clone())]);
    assert_eq!(reports.feed(b"\x1b[<99999;1;1M"), [Piece::Bytes(b"\x1b[<99999;1;1M".to_vec())]);
}

#[test]
fn a_report_may_arrive_in_pieces_and_a_lone_escape_is_given_back() {
    let mut reports = on();
    for byte in b"\x1b[<0;1;1" {
        assert_eq!(reports.feed(&[*byte]), []);
    }
    assert_eq!(reports.feed(b"M"), [mouse(0, 0, 0, Some(1))]);
    assert_eq!(reports.feed(b"\x1b"), []);
    assert_eq!(reports.flush(), b"\x1b");
    assert_eq!(reports.flush(), b"");
}

#[test]
fn reports_are_dropped_while_the_guest_has_no_mouse_and_buttons_are_released() {
    let mut reports = MouseReports::default();
    assert_eq!(reports.feed(b"\x1b[<0;1;1M"), []);
    let mut reports = on();
    let _ = reports.feed(b"\x1b[<0;1;1M");
    assert_eq!(reports.set_on(false), Some(Input::Mouse { dx: 0, dy: 0, wheel: 0, buttons: Some(0) }));
    assert_eq!(reports.feed(b"\x1b[<0;9;9M"), []);
    assert_eq!(reports.set_on(true), None);
}
