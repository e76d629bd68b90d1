use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{InputModes, LocalModes, OutputModes, Winsize, tcsetwinsize};

use super::*;

/// A pseudo-terminal with a terminal emulator on its master side.
struct Pty {
    /// The terminal emulator's descriptor: it reads what is printed.
    outside: OwnedFd,
    /// The program's standard streams.
    inside: OwnedFd,
}

impl Pty {
    fn new() -> Pty {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let outside = openpt(flags).unwrap();
        grantpt(&outside).unwrap();
        unlockpt(&outside).unwrap();
        let inside = ioctl_tiocgptpeer(&outside, flags).unwrap();
        Pty { outside, inside }
    }

    fn settings(&self) -> Termios {
        tcgetattr(&self.inside).unwrap()
    }

    /// The settings as text, because they cannot be compared.
    fn description(&self) -> String {
        format!("{:?}", self.settings())
    }

    /// Output that has not been read yet.
    fn printed(&self) -> String {
        let mut printed = Vec::new();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        while poll(&mut [PollFd::new(&self.outside, PollFlags::IN)], Some(&at_once)) == Ok(1) {
            let mut piece = [0; 1024];
            let count = rustix::io::read(&self.outside, &mut piece).unwrap();
            printed.extend_from_slice(&piece[..count]);
        }
        String::from_utf8(printed).unwrap()
    }

    fn take_over(&self, screen: TerminalScreen) -> TerminalGuard {
        TerminalGuard::take_over(self.inside.as_fd(), self.inside.as_fd(), screen).unwrap()
    }
}

fn no_terminal() -> std::fs::File {
    std::fs::File::options().read(true).write(true).open("/dev/null").unwrap()
}

#[test]
fn every_key_reaches_the_program_while_the_terminal_is_taken_over() {
    let pty = Pty::new();
    let _guard = pty.take_over(TerminalScreen::Main);
    let settings = pty.settings();
    let typed = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN;
    assert!(!settings.local_modes.intersects(typed));
    assert!(!settings.input_modes.intersects(InputModes::ICRNL | InputModes::IXON));
    assert!(!settings.output_modes.contains(OutputModes::OPOST));

    rustix::io::write(&pty.outside, b"\x03\r\x13\x1a").unwrap();
    let mut keys = [0; 8];
    assert_eq!(rustix::io::read(&pty.inside, &mut keys).unwrap(), 4);
    assert_eq!(keys[..4], *b"\x03\r\x13\x1a");
}

#[test]
fn the_terminal_is_restored_exactly() {
    let pty = Pty::new();
    let mut odd = pty.settings();
    odd.local_modes.remove(LocalModes::ECHO);
    odd.input_modes.insert(InputModes::IXOFF);
    odd.special_codes[SpecialCodeIndex::VINTR] = 0x1C;
    tcsetattr(&pty.inside, OptionalActions::Now, &odd).unwrap();
    let before = pty.description();

    let guard = pty.take_over(TerminalScreen::Alternate);
    assert_ne!(pty.description(), before);
    assert!(pty.printed().ends_with("\x1b[?1049h"));
    drop(guard);
    assert_eq!(pty.description(), before);
    assert_eq!(pty.printed(), "\x1b[0m\x1b[0 q\x1b[?25h\x1b[?1049l");
}

#[test]
fn giving_back_twice_does_nothing_the_second_time() {
    let pty = Pty::new();
    let before = pty.description();
    let guard = pty.take_over(TerminalScreen::Alternate);
    guard.restore_now();
    assert_eq!(pty.description(), before);
    pty.printed();
    guard.restore_now();
    guard.switch_to(TerminalScreen::Alternate);
    drop(guard);
    assert_eq!(pty.printed(), "");
}

#[test]
fn a_panic_in_any_thread_restores_the_terminal() {
    let pty = Pty::new();
    let before = pty.description();
    let guard = TerminalGuard::enter(&pty.inside, &pty.inside, TerminalScreen::Alternate).unwrap();
    std::thread::spawn(|| panic!("on purpose")).join().unwrap_err();
    assert_eq!(pty.description(), before);
    assert!(pty.printed().ends_with("\x1b[?1049l"));
    drop(guard);
}

#[test]
fn with_a_pipe_for_output_only_the_keyboard_is_taken() {
    let pty = Pty::new();
    let guard =
        TerminalGuard::take_over(pty.inside.as_fd(), no_terminal().as_fd(), TerminalScreen::Alternate)
            .unwrap();
    assert!(guard.has_keyboard() && !guard.has_screen());
    assert!(!pty.settings().local_modes.contains(LocalModes::ECHO));
    assert_eq!(guard.size(), FALLBACK_SIZE);
    drop(guard);
    assert!(pty.settings().local_modes.contains(LocalModes::ECHO));
    assert_eq!(pty.printed(), "");
}

#[test]
fn with_a_pipe_for_input_only_the_screen_is_taken() {
    let pty = Pty::new();
    let before = pty.description();
    let guard =
        TerminalGuard::take_over(no_terminal().as_fd(), pty.inside.as_fd(), TerminalScreen::Alternate)
            .unwrap();
    assert!(!guard.has_keyboard() && guard.has_screen());
    assert_eq!(pty.description(), before);
    drop(guard);
    assert!(pty.printed().ends_with("\x1b[?1049l"));
}

#[test]
fn without_any_terminal_nothing_is_done() {
    let guard =
        TerminalGuard::take_over(no_terminal().as_fd(), no_terminal().as_fd(), TerminalScreen::Alternate)
            .unwrap();
    assert!(!guard.has_keyboard() && !guard.has_screen());
}

#[test]
fn the_size_is_the_terminal_s_if_it_has_one() {
    let pty = Pty::new();
    let guard = pty.take_over(TerminalScreen::Main);
    assert_eq!(guard.size(), FALLBACK_SIZE, "a terminal that does not know says 0x0");
    let size = Winsize { ws_col: 132, ws_row: 50, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&pty.inside, size).unwrap();
    assert_eq!(guard.size(), (132, 50));
}

#[test]
fn the_screens_can_be_switched_and_the_main_one_is_left_alone() {
    let pty = Pty::new();
    let guard = pty.take_over(TerminalScreen::Main);
    assert_eq!(pty.printed(), "");
    guard.switch_to(TerminalScreen::Alternate);
    assert!(pty.printed().ends_with(str::from_utf8(ENTER_ALTERNATE).unwrap()));
    guard.switch_to(TerminalScreen::Main);
    assert!(pty.printed().ends_with(str::from_utf8(LEAVE_ALTERNATE).unwrap()));
    drop(guard);
    assert!(!pty.printed().contains("1049"), "it was on the main screen already");
}

#[test]
fn a_closed_terminal_is_no_error() {
    let Pty { outside, inside } = Pty::new();
    let guard = TerminalGuard::take_over(inside.as_fd(), inside.as_fd(), TerminalScreen::Alternate).unwrap();
    drop(outside);
    drop(guard);
}

#[test]
fn lines_of_serial_text_begin_at_the_left() {
    let mut newlines = Newlines::new();
    let mut out = Vec::new();
    for piece in ["one\n\ntwo\r\nthree\r", "\nfour", "\n"] {
        newlines.translate(piece.as_bytes(), &mut out);
    }
    assert_eq!(String::from_utf8(out).unwrap(), "one\r\n\r\ntwo\r\nthree\r\nfour\r\n");
}
