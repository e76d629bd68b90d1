use super::*;

const WINDOW: Window = Window { cells: (80, 25), pixels: (0, 0) };

fn frame(width: usize, height: usize) -> VideoFrame {
    let pixels = (0..width * height).map(|at| [at as u8, 7, 0]).collect();
    VideoFrame { size: (width, height), pixels }
}

fn pictures(wanted: PictureMode, variables: &[(&str, &str)]) -> Pictures {
    Pictures::new(wanted, true, |name| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    })
}

fn painted(pictures: &mut Pictures, frame: VideoFrame, now: Instant) -> String {
    let mut out = Vec::new();
    pictures.paint(frame, WINDOW, now, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_environment_or_the_user_decides_without_a_question() {
    for (wanted, variables, start) in [
        (PictureMode::Auto, &[("KITTY_WINDOW_ID", "1")][..], "\x1b_Ga=T,"),
        (PictureMode::Auto, &[("TERM_PROGRAM", "WezTerm"), ("TERM", "xterm")], "\x1b_Ga=T,"),
        (PictureMode::Auto, &[("TERM", "tmux-256color"), ("COLORTERM", "truecolor")], "\x1b[1;1H\x1b[38;2;"),
        (PictureMode::Auto, &[("TERM", "screen")], "The guest shows a picture of 4x4 pixels: `screendump"),
        (PictureMode::Off, &[("KITTY_WINDOW_ID", "1")], "The guest shows a picture"),
        (PictureMode::Sixel, &[("KITTY_WINDOW_ID", "1")], "\x1bP0;1q\"1;1;4;4#"),
        (PictureMode::Blocks, &[], "\x1b[1;1H\x1b[38;2;0;7;0;48;2;0;7;0m\u{2580}\u{2580}"),
    ] {
        let found = painted(&mut pictures(wanted, variables), frame(4, 4), Instant::now());
        let behind = found.strip_prefix("\x1b[0m\x1b[?25l\x1b[2J\x1b[H").unwrap();
        assert!(behind.starts_with(start), "{wanted:?} {variables:?}: {behind:?}");
    }
}

#[test]
fn a_terminal_is_asked_once_and_shows_what_it_can() {
    let many = [("COLORTERM", "truecolor"), ("TERM", "xterm")];
    for (answer, variables, start) in [
        ("\x1b_Gi=31;OK\x1b\\\x1b[?62;c", &many[..], "\x1b_Ga=T,"),
        ("\x1b[?62;4;22c", &many, "\x1bP0;1q"),
        ("\x1b[?4c", &many, "\x1b[1;1H\x1b[38;2;"),
        ("\x1b[?1;2c", &[], "The guest shows"),
    ] {
        let (mut pictures, now) = (pictures(PictureMode::Auto, variables), Instant::now());
        assert_eq!(pictures.take_answer(answer.as_bytes()), None, "nothing was asked");
        let asked = painted(&mut pictures, frame(4, 4), now);
        assert!(asked.as_bytes().starts_with(QUERY) && asked.contains("The guest shows"), "{asked:?}");
        assert_eq!(painted(&mut pictures, frame(4, 4), now), "");
        assert_eq!(pictures.take_answer(b"keys"), None);
        let input = format!("a{answer}b");
        assert_eq!(pictures.take_answer(input.as_bytes()).unwrap(), b"ab");
        let shown = painted(&mut pictures, frame(4, 4), now);
        assert!(shown.contains(start) && !shown.contains("\x1b[c"), "{answer:?}: {shown:?}");
        assert_eq!(pictures.take_answer(input.as_bytes()), None, "a later one is the guest's");
    }
}

#[test]
fn a_terminal_that_does_not_answer_gets_blocks_or_the_line() {
    let (mut pictures, now) = (pictures(PictureMode::Auto, &[("COLORTERM", "24bit")]), Instant::now());
    painted(&mut pictures, frame(4, 4), now);
    assert!(painted(&mut pictures, frame(4, 4), now + ANSWER_TIMEOUT).contains("\x1b[38;2;"));
}

#[test]
fn only_what_has_changed_is_painted() {
    let (mut pictures, now) = (pictures(PictureMode::Blocks, &[]), Instant::now());
    painted(&mut pictures, frame(80, 50), now);
    assert_eq!(painted(&mut pictures, frame(80, 50), now), "");
    let mut other = frame(80, 50);
    other.pixels[20 * 80] = [1, 2, 3];
    let changed = painted(&mut pictures, other, now);
    assert!(changed.starts_with("\x1b[H\x1b[11;1H\x1b[38;2;1;2;3;"), "{changed:?}");
    assert_eq!(changed.matches("1H").count(), 1);
}

#[test]
fn a_picture_keeps_its_proportions_and_fits() {
    assert_eq!(within((640, 480), (320, 480)), (320, 240));
    assert_eq!(within((640, 480), (10_000, 10_000)), (640, 480));
    assert_eq!(within((0, 0), (0, 0)), (1, 1));
    let fits = |size, cells, pixels| fit(size, Window { cells, pixels });
    assert_eq!(fits((640, 480), (80, 25), (0, 0)), (66, 25));
    assert_eq!(fits((640, 480), (80, 60), (800, 600)), (80, 60));
    assert_eq!(fits((16_000, 1), (80, 25), (0, 0)), (80, 1));
    assert_eq!(fits((1, 1), (0, 0), (0, 0)), (1, 1));
}
