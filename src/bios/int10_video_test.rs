use super::super::post::power_on;
use super::super::testing::{TestPlatform, video_call};
use super::*;
use crate::devices::vga::PixelLayout;

fn ready() -> TestPlatform {
    let mut platform = TestPlatform::default();
    assert_eq!(power_on(&mut platform), Served::Done);
    platform
}

fn called(ax: u16, bx: u16, cx: u16, dx: u16, platform: &mut TestPlatform) -> BiosCall {
    let mut call = video_call(ax, bx, cx, dx);
    assert_eq!(serve(&mut call, platform), Served::Done);
    call
}

fn print(text: &str, platform: &mut TestPlatform) {
    text.bytes().for_each(|byte| _ = called(0x0E00 | u16::from(byte), 7, 0, 0, platform));
}

/// Row and column of page 0, as the BIOS and as the VGA have them.
fn cursor(platform: &mut TestPlatform) -> (u16, u16) {
    (called(0x0300, 0, 0, 0, platform).dx(), platform.vga.view().cursor)
}

#[test]
fn text_is_on_the_screen_and_on_com1() {
    let mut platform = ready();
    print("Hello,\r\nworld\x08!", &mut platform);
    assert_eq!((platform.screen_line(0), platform.screen_line(1)), ("Hello,".to_owned(), "worl!".to_owned()));
    assert_eq!(platform.sent(), "Hello,\r\nworld\x08!");
    assert_eq!(cursor(&mut platform), (0x0105, 85));
}

#[test]
fn the_last_row_scrolls_and_long_lines_wrap() {
    let mut platform = ready();
    (0..25).for_each(|line| print(&format!("{line}\r\n"), &mut platform));
    assert_eq!((platform.screen_line(0), platform.screen_line(23)), ("1".to_owned(), "24".to_owned()));
    assert_eq!((platform.screen_line(24), cursor(&mut platform).0), (String::new(), 0x1800));
    print(&"x".repeat(81), &mut platform);
    assert_eq!((platform.screen_line(23).len(), platform.screen_line(24)), (80, "x".to_owned()));
    assert!(platform.sent().ends_with(&format!("24\r\n{}\r\nx", "x".repeat(80))), "{:?}", platform.sent());
}

#[test]
fn text_elsewhere_on_the_screen_is_placed_on_com1_too() {
    let mut platform = ready();
    called(0x0200, 0, 0, 0x0A14, &mut platform);
    called(0x0941, 0x001E, 3, 0, &mut platform);
    let cell = called(0x0800, 0, 0, 0, &mut platform);
    assert_eq!((cell.ax(), cursor(&mut platform).0), (0x1E41, 0x0A14));
    called(0x0200, 0, 0, 0x0A17, &mut platform);
    called(0x0AB3, 0, 1, 0, &mut platform);
    assert_eq!(platform.sent(), "\x1b[11;21HAAA\u{2502}");
    called(0x0200, 0, 0, 0x0B00, &mut platform);
    print("x", &mut platform);
    assert!(platform.sent().ends_with("\u{2502}\x1b[12;1Hx") || platform.sent().ends_with("\r\nx"));
}

#[test]
fn more_characters_than_the_screen_has_do_not_leave_it() {
    let mut platform = ready();
    called(0x0200, 0, 0, 0x184F, &mut platform);
    called(0x0942, 0x0007, 0xFFFF, 0, &mut platform);
    assert_eq!((platform.screen_line(24).trim_start(), platform.screen_line(0)), ("B", String::new()));
    called(0x0200, 0, 0, 0xFFFF, &mut platform);
    called(0x0942, 0x0007, 2, 0, &mut platform);
    print("y", &mut platform);
    assert_eq!(cursor(&mut platform).0, 0x1800);
}

#[test]
fn com1_is_left_alone_once_the_guest_uses_it() {
    for (port, value) in [(0x3FC, 0x0B), (0x3F9, 1), (0x3FB, 0x1B)] {
        let mut platform = ready();
        print("a", &mut platform);
        platform.port_out(port, value);
        print("b", &mut platform);
        assert_eq!(
            (platform.screen_line(0), platform.sent()),
            ("ab".to_owned(), "a".to_owned()),
            "{port:#x}"
        );
    }
}

#[test]
fn a_window_is_scrolled_both_ways_and_cleared() {
    let mut platform = ready();
    print("aaaa\r\nbbbb\r\ncccc", &mut platform);
    let lines = |platform: &TestPlatform| [0, 1, 2].map(|row| platform.screen_line(row)).join("/");
    called(0x0601, 0x1700, 0x0001, 0x0202, &mut platform);
    assert_eq!(lines(&platform), "abba/bccb/c  c");
    assert_eq!(platform.dynamic().word(0xB8000 + 2 * 161), 0x1720, "new lines have the attribute");
    called(0x0702, 0x0700, 0x0001, 0x0202, &mut platform);
    assert_eq!(lines(&platform), "a  a/b  b/cbbc");
    called(0x0600, 0x0700, 0x0000, 0xFFFF, &mut platform);
    assert_eq!(lines(&platform), "//");
    assert!(platform.sent().ends_with("\x1b[2J\x1b[H"));
    // Corners in the wrong order: nothing.
    called(0x0601, 0x0700, 0x0505, 0x0101, &mut platform);
}

#[test]
fn a_string_is_written_with_attributes_and_moves_the_cursor_if_wanted() {
    let mut platform = ready();
    platform.write(0x2_0000, b"A\x1EB\x2F");
    let mut write = |al: u16, cx: u16| {
        let mut call = BiosCall {
            eax: u32::from(0x1300 | al),
            ebx: 0x0007,
            ecx: cx.into(),
            edx: 0x0203,
            es: 0x2000,
            ..BiosCall::default()
        };
        assert_eq!(serve(&mut call, &mut platform), Served::Done);
        let cells = [0, 1].map(|index| platform.dynamic().word(0xB8000 + 2 * (163 + index)));
        (cells, cursor(&mut platform).0)
    };
    assert_eq!(write(3, 2), ([0x1E41, 0x2F42], 0x0205));
    assert_eq!(write(0, 1), ([0x0741, 0x2F42], 0x0205));
    assert_eq!(write(1, 1), ([0x0741, 0x2F42], 0x0204));
}

#[test]
fn pages_have_cursors_and_contents_of_their_own() {
    let mut platform = ready();
    called(0x0501, 0, 0, 0, &mut platform);
    called(0x0200, 0x0100, 0, 0x0102, &mut platform);
    print("page 1", &mut platform);
    assert_eq!((platform.screen_line(0), platform.vga.view().start), (String::new(), 0x0800));
    assert_eq!(platform.dynamic().byte(0xB9000 + 160 + 4), b'p');
    assert_eq!(called(0x0F00, 0, 0, 0, &mut platform).bx(), 0x0100);
    assert_eq!(called(0x0300, 0x0000, 0, 0, &mut platform).dx(), 0);
    called(0x0500, 0, 0, 0, &mut platform);
    assert_eq!((platform.vga.view().start, platform.vga.view().cursor), (0, 0));
}

#[test]
fn mode_and_cursor_shape_are_set_and_reported() {
    let mut platform = ready();
    print("text", &mut platform);
    called(0x0006, 0, 0, 0, &mut platform);
    assert_eq!(called(0x0F00, 0, 0, 0, &mut platform).ax(), 0x5003, "no mode of the CGA");
    assert_eq!(platform.screen_line(0), "text");
    called(0x0083, 0, 0, 0, &mut platform);
    assert_eq!((platform.screen_line(0), cursor(&mut platform).0), ("text".to_owned(), 0));
    called(0x0003, 0, 0, 0, &mut platform);
    assert_eq!(platform.screen_line(0), "");
    called(0x0100, 0, 0x2000, 0, &mut platform);
    assert!(!platform.vga.view().cursor_visible);
    called(0x0100, 0, 0x0607, 0, &mut platform);
    let view = platform.vga.view();
    assert_eq!((view.cursor_visible, view.cursor_top, view.cursor_bottom), (true, 13, 14));
    assert_eq!(called(0x0300, 0, 0, 0, &mut platform).cx(), 0x0607);
}

#[test]
fn the_adapter_is_a_vga() {
    let mut platform = ready();
    let combination = called(0x1A00, 0, 0, 0, &mut platform);
    assert_eq!((combination.al(), combination.bx()), (0x1A, 8));
    let ega = called(0x1200, 0x0010, 0, 0, &mut platform);
    assert_eq!((ega.bx(), called(0x1202, 0x0030, 0, 0, &mut platform).al()), (3, 0x12));
    let font = called(0x1130, 0, 0, 0, &mut platform);
    assert_eq!((font.cx(), font.dl()), (16, 24));
    assert_eq!(called(0x4F00, 0, 0, 0, &mut platform).ax(), 0x4F00, "no VBE");
}

#[test]
fn graphics_modes_are_set_and_text_comes_back() {
    let mut platform = ready();
    print("text", &mut platform);
    platform.memory[0xA_0000] = 7;
    assert_eq!(called(0x0013, 0, 0, 0, &mut platform).al(), 0x20);
    let view = platform.vga.graphics_view().unwrap();
    assert_eq!((view.layout, view.size, view.pitch), (PixelLayout::Chained, (320, 200), 320));
    assert_eq!((platform.memory[0xA_0000], platform.dynamic().byte(bda::MODE)), (0, 0x13));
    assert_eq!((view.palette[15], view.palette[40]), ([255; 3], [255, 0, 0]));
    called(0x0012, 0, 0, 0, &mut platform);
    assert_eq!(platform.dynamic().byte(bda::MODE), 0x13, "planes need video memory");
    platform.has_video_memory = true;
    called(0x0012, 0, 0, 0, &mut platform);
    let view = platform.vga.graphics_view().unwrap();
    assert_eq!((view.layout, view.size, view.pitch), (PixelLayout::Planar, (640, 480), 80));
    assert_eq!((view.palette[6], view.palette[15]), ([170, 85, 0], [255; 3]));
    called(0x0003, 0, 0, 0, &mut platform);
    assert!(platform.vga.graphics_view().is_none() && platform.screen_line(0).is_empty());
    assert_eq!(platform.vga.view(), ready().vga.view());
}
