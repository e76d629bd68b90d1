//! The controller as a guest's driver sees it, through ports 60h and 64h.

use super::super::Snapshot;
use super::super::keyboard::{BUFFER_SIZE, Key};
use super::*;

const STATUS_FULL: u8 = 0x01;
const STATUS_INPUT_FULL: u8 = 0x02;

/// A guest with its keyboard controller.
#[derive(Default)]
struct Guest {
    device: I8042,
}

impl Guest {
    fn command(&mut self, command: u8) -> Action {
        self.device.write(COMMAND, command)
    }

    fn data(&mut self, value: u8) -> Action {
        self.device.write(DATA, value)
    }

    fn status(&mut self) -> u8 {
        self.device.read(COMMAND).0
    }

    fn read(&mut self) -> u8 {
        self.device.read(DATA).0
    }

    fn configure(&mut self, value: u8) {
        let _ = self.command(0x60);
        let _ = self.data(value);
    }

    /// What a command without parameter answers.
    fn ask(&mut self, command: u8) -> u8 {
        let _ = self.command(command);
        assert_eq!(self.status() & STATUS_FULL, STATUS_FULL, "no answer to {command:#04x}");
        self.read()
    }

    /// Reads for as long as the status says that there is something.
    fn drain(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.status() & STATUS_FULL != 0 {
            bytes.push(self.read());
        }
        bytes
    }

    fn tell_keyboard(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut answers = Vec::new();
        for &byte in bytes {
            let _ = self.data(byte);
            answers.extend(self.drain());
        }
        answers
    }
}

fn press(key: Key) -> KeyEvent {
    KeyEvent::press(key)
}

fn release(key: Key) -> KeyEvent {
    KeyEvent::release(key)
}

/// `a`, `Q`, `1` and Enter, as key events.
fn line_of_key_events() -> Vec<KeyEvent> {
    vec![
        press(Key::A),
        release(Key::A),
        press(Key::LeftShift),
        press(Key::Q),
        release(Key::Q),
        release(Key::LeftShift),
        press(Key::Digit1),
        release(Key::Digit1),
        press(Key::Enter),
        release(Key::Enter),
    ]
}

const TYPED_LINE_IN_SET_1: [u8; 10] = [0x1E, 0x9E, 0x2A, 0x10, 0x90, 0xAA, 0x02, 0x82, 0x1C, 0x9C];

#[test]
fn a_guest_that_only_polls_reads_set_1() {
    for config in [0x60, 0x61] {
        let mut guest = Guest::default();
        guest.configure(config);
        let mut codes = Vec::new();
        for event in line_of_key_events() {
            assert!(guest.device.idle());
            let _ = guest.device.key(event);
            assert!(!guest.device.idle());
            codes.extend(guest.drain());
        }
        assert_eq!(codes, TYPED_LINE_IN_SET_1, "with configuration {config:#04x}");
    }
}

#[test]
fn without_translation_the_codes_are_those_of_set_2_or_of_a_keyboard_set_to_1() {
    let mut guest = Guest::default();
    guest.configure(0x04);
    let _ = guest.device.key(press(Key::Delete));
    let _ = guest.device.key(release(Key::Delete));
    assert_eq!(guest.drain(), [0xE0, 0x71, 0xE0, 0xF0, 0x71]);

    assert_eq!(guest.tell_keyboard(&[0xF0, 0x01]), [0xFA, 0xFA]);
    let _ = guest.device.key(press(Key::Delete));
    let _ = guest.device.key(release(Key::Delete));
    assert_eq!(guest.drain(), [0xE0, 0x53, 0xE0, 0xD3]);
}

#[test]
fn reading_with_nothing_there_gives_the_last_byte_again() {
    let mut guest = Guest::default();
    let _ = guest.device.key(press(Key::A));
    assert_eq!([guest.read(), guest.read(), guest.read()], [0x1E; 3]);
    assert_eq!(guest.status() & STATUS_FULL, 0);
}

#[test]
fn the_state_a_bios_leaves_behind() {
    let mut guest = Guest::default();
    assert_eq!(guest.status(), 0x14, "system flag, not locked, nothing to read");
    assert_eq!(guest.ask(0x20), 0x64);
    assert!(guest.device.idle() && !guest.device.line() && !Guest::default().device.reads_input());
}

#[test]
fn the_interrupt_line_falls_and_rises_for_each_byte() {
    let mut guest = Guest::default();
    guest.configure(0x65);
    assert_eq!(guest.device.key(press(Key::Left)), Action::line(true));
    assert!(guest.device.line());
    assert_eq!(guest.device.read(DATA), (0xE0, Action::line(false)));
    assert!(guest.device.line(), "the second byte has raised it again");
    assert_eq!(guest.device.read(DATA), (0x4B, Action::line(false)));
    assert!(!guest.device.line());
    assert_eq!(guest.device.read(DATA), (0x4B, Action::NONE));
}

#[test]
fn enabling_the_interrupt_with_a_key_waiting_raises_it_and_disabling_lowers_it() {
    let mut guest = Guest::default();
    assert_eq!(guest.device.key(press(Key::A)), Action::NONE);
    let _ = guest.command(0x60);
    assert_eq!(guest.data(0x65), Action::line(true));
    let _ = guest.command(0x60);
    assert_eq!(guest.data(0x64), Action::line(false));
    assert_eq!(guest.read(), 0x1E, "the key is still there");
}

#[test]
fn a_disabled_interface_holds_keys_back_until_it_is_enabled() {
    let mut guest = Guest::default();
    let _ = guest.command(0xAD);
    assert!(!guest.device.idle());
    assert_eq!(guest.ask(0x20), 0x74);
    assert_eq!(guest.ask(0xE0), 0x02, "the clock is held low");
    let _ = guest.device.key(press(Key::A));
    assert_eq!(guest.drain(), [0_u8; 0]);
    let _ = guest.command(0xAE);
    assert_eq!(guest.drain(), [0x1E]);
    assert_eq!(guest.ask(0x20), 0x64);
    assert_eq!(guest.ask(0xE0), 0x03);
    assert!(guest.device.idle());
}

#[test]
fn talking_to_the_keyboard_enables_the_interface() {
    let mut guest = Guest::default();
    let _ = guest.command(0xAD);
    assert_eq!(guest.tell_keyboard(&[0xEE]), [0xEE]);
    assert_eq!(guest.ask(0x20), 0x64);
}

#[test]
fn a_keyboard_that_does_not_scan_is_not_idle() {
    let mut guest = Guest::default();
    assert_eq!(guest.tell_keyboard(&[0xF5]), [0xFA]);
    assert!(!guest.device.idle());
    let _ = guest.device.key(press(Key::A));
    assert_eq!(guest.drain(), [0_u8; 0]);
    assert_eq!(guest.tell_keyboard(&[0xF4]), [0xFA, 0x1E]);
    assert!(guest.device.idle());
}

#[test]
fn the_self_test_passes_and_leaves_both_interfaces_disabled() {
    let mut guest = Guest::default();
    guest.configure(0x03);
    assert_eq!(guest.status() & 0x04, 0);
    let _ = guest.device.key(press(Key::A));
    assert_eq!(guest.ask(0xAA), 0x55);
    assert_eq!(guest.drain(), [0_u8; 0], "what had arrived before is gone");
    assert_eq!(guest.ask(0x20), 0x74);
    assert_eq!(guest.status() & 0x04, 0x04);
}

#[test]
fn a_driver_that_resets_everything_gets_the_answers_it_waits_for() {
    let mut guest = Guest::default();
    let _ = guest.command(0xAD);
    let _ = guest.command(0xA7);
    assert_eq!(guest.drain(), [0_u8; 0]);
    assert_eq!(guest.ask(0xAA), 0x55);
    assert_eq!(guest.ask(0xAB), 0x00);
    assert_eq!(guest.ask(0xA9), 0x00);
    let _ = guest.command(0xAE);
    assert_eq!(guest.tell_keyboard(&[0xFF]), [0xFA, 0xAA]);
    assert_eq!(guest.tell_keyboard(&[0xF2]), [0xFA, 0xAB, 0x41]);
    assert_eq!(guest.tell_keyboard(&[0xED, 0x02, 0xF3, 0x20, 0xF4]), [0xFA; 5]);
    guest.configure(0x45);
    assert_eq!(guest.device.key(press(Key::Escape)), Action::line(true));
    assert_eq!(guest.read(), 0x01);
}

#[test]
fn internal_ram_keeps_what_is_written() {
    let mut guest = Guest::default();
    for index in 1..0x20 {
        let _ = guest.command(0x60 | index);
        let _ = guest.data(index ^ 0xFF);
    }
    for index in 1..0x20 {
        assert_eq!(guest.ask(0x20 | index), index ^ 0xFF);
    }
    assert_eq!(guest.ask(0x20), 0x64);
}

#[test]
fn bytes_can_be_put_in_the_output_buffer() {
    let mut guest = Guest::default();
    guest.configure(0x67);
    let _ = guest.command(0xD2);
    assert_eq!(guest.data(0x1C), Action::line(true));
    assert_eq!(guest.status() & 0x21, 0x01);
    assert_eq!(guest.read(), 0x1C, "not translated");
    let _ = guest.command(0xD3);
    assert_eq!(guest.data(0xA5).line, None, "IRQ 1 is not for the auxiliary device");
    assert_eq!(guest.status() & 0x21, 0x21);
    assert_eq!(guest.read(), 0xA5);
}

#[test]
fn ports_can_be_read() {
    let mut guest = Guest::default();
    assert_eq!(guest.ask(0xC0), 0xB0);
    assert_eq!(guest.ask(0xD0), 0xCF);
    let _ = guest.device.key(press(Key::A));
    assert_eq!(guest.ask(0xD0), 0xDF, "a key waits");
    assert_eq!(guest.read(), 0x1E);
}

#[test]
fn a20_is_kept_but_never_resets() {
    let mut guest = Guest::default();
    for value in [0xDD, 0xDF] {
        let _ = guest.command(0xD1);
        assert_eq!(guest.data(value), Action::NONE);
        assert_eq!(guest.ask(0xD0), value & 0xCF);
    }
}

#[test]
fn the_reset_line_can_be_pulled_in_both_ways() {
    let reset = Action::request(MachineRequest::Reset);
    assert_eq!(Guest::default().command(0xFE), reset);
    assert_eq!(Guest::default().command(0xF0), reset);
    assert_eq!(Guest::default().command(0xFF), Action::NONE);
    assert_eq!(Guest::default().command(0xF1), Action::NONE);
    let mut guest = Guest::default();
    let _ = guest.command(0xD1);
    assert_eq!(guest.data(0xFE), reset);
}

#[test]
fn the_controller_is_always_ready_and_says_which_port_was_written() {
    let mut guest = Guest::default();
    for command in 0..=0xFF {
        let _ = guest.command(command);
        assert_eq!(guest.status() & (STATUS_INPUT_FULL | 0x08), 0x08, "after command {command:#04x}");
        let _ = guest.data(0x00);
        assert_eq!(guest.status() & (STATUS_INPUT_FULL | 0x08), 0, "after its parameter");
    }
}

#[test]
fn an_answer_is_read_before_an_earlier_key() {
    let mut guest = Guest::default();
    let _ = guest.device.key(press(Key::A));
    assert_eq!(guest.ask(0x20), 0x64);
    assert_eq!(guest.drain(), [0x1E]);
}

#[test]
fn keys_beyond_the_buffer_end_in_the_overrun_code() {
    let mut guest = Guest::default();
    for _ in 0..40 {
        let _ = guest.device.key(press(Key::A));
    }
    let mut expected = vec![0x1E; 1 + BUFFER_SIZE];
    expected.push(0xFF);
    assert_eq!(guest.drain(), expected);
    let _ = guest.device.key(release(Key::A));
    assert_eq!(guest.drain(), [0x9E]);
}

#[test]
fn waiting_for_a_key_counts_as_reading_input() {
    let mut guest = Guest::default();
    guest.status();
    assert!(!guest.device.reads_input());
    guest.status();
    assert!(guest.device.reads_input(), "polling the status");

    let mut guest = Guest::default();
    guest.read();
    assert!(guest.device.reads_input(), "reading data");

    let mut guest = Guest::default();
    guest.configure(0x64);
    assert!(!guest.device.reads_input());
    guest.configure(0x65);
    assert!(guest.device.reads_input(), "enabling the interrupt");
    guest.configure(0x64);
    assert!(guest.device.reads_input(), "once and for all");
}

#[test]
fn switching_a20_or_resetting_does_not_count_as_reading_input() {
    let mut guest = Guest::default();
    guest.status();
    let _ = guest.command(0xAD);
    guest.status();
    let _ = guest.command(0xD0);
    while guest.status() & STATUS_FULL == 0 {}
    let port = guest.read();
    guest.status();
    let _ = guest.command(0xD1);
    guest.status();
    let _ = guest.data(port | 0x02);
    guest.status();
    let _ = guest.command(0xAE);
    guest.status();
    let _ = guest.command(0xFE);
    assert!(!guest.device.reads_input());
}

#[test]
fn a_restored_controller_goes_on_where_the_saved_one_was() {
    let mut guest = Guest::default();
    guest.configure(0x65);
    // The keyboard waits for its LEDs, an answer and keys wait for the guest, and the controller
    // waits for a configuration byte.
    let _ = guest.data(0xED);
    for event in line_of_key_events() {
        let _ = guest.device.key(event);
    }
    let _ = guest.command(0xD0);
    let _ = guest.command(0x60);

    let mut restored = Guest::default();
    restored.device.restore(&guest.device.save()).unwrap();
    assert_eq!(restored.device, guest.device);
    let _ = restored.data(0x64);
    assert_eq!(restored.read(), 0xDF, "the output port");
    let mut expected = vec![0xFA];
    expected.extend(TYPED_LINE_IN_SET_1);
    assert_eq!(restored.drain(), expected);
    assert_eq!(restored.tell_keyboard(&[0x07]), [0xFA], "the LEDs it waited for");
}

#[test]
fn impossible_states_are_refused_and_leave_the_chip_alone() {
    let mut guest = Guest::default();
    let refused = |guest: &mut Guest, state: I8042, word: &str| {
        let before = guest.device.clone();
        let error = guest.device.set_state(state).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert_eq!(guest.device, before);
    };
    refused(&mut guest, I8042 { parameter: Parameter::Ram(32), ..I8042::default() }, "RAM byte 32");
    refused(&mut guest, I8042 { polls: 3, ..I8042::default() }, "polls");

    let mut payload = guest.device.save();
    payload.bytes[0] = 18;
    payload.bytes.splice(1..1, [0x1C; 18]);
    let error = guest.device.restore(&payload).unwrap_err().to_string();
    assert!(error.contains("18 scan code bytes"), "{error}");
    payload.bytes.truncate(5);
    assert!(guest.device.restore(&payload).is_err());
}
