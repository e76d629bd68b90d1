use super::*;

fn bytes(bytes: &[u8]) -> MenuEvent {
    MenuEvent::Bytes(bytes.to_vec())
}

#[test]
fn what_is_typed_goes_to_the_guest_in_one_piece() {
    assert_eq!(Menu::new().feed(b"ls -l\r\x03\x1b[A"), [bytes(b"ls -l\r\x03\x1b[A")]);
    assert_eq!(Menu::new().feed(b""), []);
}

#[test]
fn each_command_is_found_between_what_is_typed() {
    assert_eq!(
        Menu::new().feed(b"ab\x01hcd\x01c\x01r\x01Xx"),
        [
            bytes(b"ab"),
            MenuEvent::Help,
            bytes(b"cd"),
            MenuEvent::ToggleScreen,
            MenuEvent::Reset,
            MenuEvent::Quit,
            bytes(b"x"),
        ]
    );
}

#[test]
fn the_prefix_and_its_command_may_arrive_apart() {
    let mut menu = Menu::new();
    assert_eq!(menu.feed(b"\x01"), []);
    assert_eq!(menu.feed(b"x"), [MenuEvent::Quit]);
    assert_eq!(menu.feed(b"x"), [bytes(b"x")]);
}

#[test]
fn the_prefix_itself_can_be_sent() {
    assert_eq!(Menu::new().feed(b"1\x01a2\x01\x013"), [bytes(b"1\x012\x013")]);
}

#[test]
fn a_key_that_is_no_command_is_named_and_kept_from_the_guest() {
    assert_eq!(Menu::new().feed(b"\x01zq"), [MenuEvent::Unknown(b'z'), bytes(b"q")]);
}

#[test]
fn the_help_names_every_command() {
    for command in ["h", "x", "r", "c", "a"] {
        assert!(HELP.contains(&format!("Ctrl-A {command} ")), "{command}");
    }
}
