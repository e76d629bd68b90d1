use super::super::testing::{TestPlatform, video_call};
use super::*;
use crate::devices::vbe::LinearMode;

/// Where the blocks of the tests are: 2000h:0010h.
const BLOCK: usize = 0x2_0010;

fn machine() -> TestPlatform {
    TestPlatform { has_video_memory: true, ..TestPlatform::default() }
}

fn called(ax: u16, bx: u16, cx: u16, dx: u16, platform: &mut TestPlatform) -> BiosCall {
    let mut call = BiosCall { edi: 0x0010, es: 0x2000, ..video_call(ax, bx, cx, dx) };
    let _ = super::super::serve(&mut call, platform);
    call
}

fn word(platform: &TestPlatform, at: usize) -> u16 {
    u16::from_le_bytes([platform.memory[BLOCK + at], platform.memory[BLOCK + at + 1]])
}

/// The bytes up to a zero that a far pointer in the block leads to.
fn text(platform: &TestPlatform, pointer: usize) -> String {
    let start = (usize::from(word(platform, pointer + 2)) << 4) + usize::from(word(platform, pointer));
    let bytes = platform.memory[start..].iter().take_while(|byte| **byte != 0);
    bytes.map(|byte| char::from(*byte)).collect()
}

#[test]
fn the_block_of_the_controller_lists_modes_that_can_all_be_described() {
    let mut platform = machine();
    platform.write(BLOCK as u64, b"VBE2");
    assert_eq!(called(0x4F00, 0, 0, 0, &mut platform).ax(), 0x004F);
    assert_eq!(&platform.memory[BLOCK..BLOCK + 6], b"VESA\0\x03");
    assert_eq!((text(&platform, 6), text(&platform, 30).as_str()), ("kvm".into(), env!("CARGO_PKG_VERSION")));
    assert_eq!((word(&platform, 18), word(&platform, 16)), (256, 0x2000), "16 MiB; the list's segment");
    let list = usize::from(word(&platform, 14)) - 0x10;
    let numbers: Vec<u16> =
        (0..).map(|index| word(&platform, list + 2 * index)).take_while(|number| *number != 0xFFFF).collect();
    assert_eq!(numbers.len(), MODES.len());
    for number in numbers {
        assert_eq!(called(0x4F01, 0, number, 0, &mut platform).ax(), 0x004F, "{number:#x}");
        let pitch = word(&platform, 16);
        let bytes = word(&platform, 18) * u16::from(platform.memory[BLOCK + 25]).div_ceil(8);
        assert_eq!((pitch, word(&platform, 50)), (bytes, bytes), "{number:#x}");
        assert_eq!(called(0x4F02, 0x4000 | number, 0, 0, &mut platform).ax(), 0x004F, "{number:#x}");
        let mode = platform.vbe.mode().unwrap();
        assert_eq!((mode.pitch, mode.height), (pitch.into(), word(&platform, 20)), "{number:#x}");
        assert_eq!(called(0x4F03, 0, 0, 0, &mut platform).bx(), 0x4000 | number);
    }
}

#[test]
fn a_caller_of_the_first_version_gets_256_bytes() {
    let mut platform = machine();
    platform.memory[BLOCK..BLOCK + 512].fill(0xEE);
    called(0x4F00, 0, 0, 0, &mut platform);
    assert_eq!((platform.memory[BLOCK + 255], platform.memory[BLOCK + 256]), (0, 0xEE));
    assert_eq!((text(&platform, 6), word(&platform, 22)), ("kvm".to_owned(), 0));
}

#[test]
fn a_mode_is_described_with_its_framebuffer_and_its_window() {
    let mut platform = machine();
    assert_eq!(called(0x4F01, 0, 0x144, 0, &mut platform).ax(), 0x004F);
    assert_eq!(
        [0, 4, 6, 8, 16, 18, 20].map(|at| word(&platform, at)),
        [0x9B, 64, 64, 0xA000, 4096, 1024, 768]
    );
    // Planes, bits, banks, model; 16 MiB are five pages and a third.
    assert_eq!(platform.memory[BLOCK + 24..BLOCK + 30], [1, 32, 1, 6, 0, 4]);
    assert_eq!(platform.memory[BLOCK + 31..BLOCK + 39], [8, 16, 8, 8, 8, 0, 8, 24]);
    assert_eq!(platform.dynamic().double_word(BLOCK as u64 + 40), 0xFD00_0000);
    called(0x4F01, 0, 0x103, 0, &mut platform);
    assert_eq!(platform.memory[BLOCK + 25..BLOCK + 28], [8, 1, 4]);
    assert_eq!(platform.memory[BLOCK + 31..BLOCK + 39], [0; 8]);
    for unknown in [0x13, 0xFF, 0x102, 0x1FF, 0xFFFF] {
        assert_eq!(called(0x4F01, 0, unknown, 0, &mut platform).ax(), 0x014F, "{unknown:#x}");
    }
}

#[test]
fn modes_of_both_kinds_replace_each_other() {
    let mut platform = machine();
    assert_eq!(called(0x4F03, 0, 0, 0, &mut platform).bx(), 3);
    assert_eq!(called(0x4F02, 0xC115, 0, 0, &mut platform).ax(), 0x004F);
    let mode = LinearMode { width: 800, height: 600, bits: 24, pitch: 2400, start: 0 };
    assert_eq!((platform.vbe.mode(), platform.vbe.take_clear()), (Some(mode), None), "memory is kept");
    assert_eq!(called(0x4F03, 0, 0, 0, &mut platform).bx(), 0xC115);
    assert_eq!(called(0x4F02, 0x4177, 0, 0, &mut platform).ax(), 0x014F);
    assert_eq!(platform.vbe.mode(), Some(mode), "an unknown mode changes nothing");
    called(0x4F02, 0x0101, 0, 0, &mut platform);
    assert_eq!(platform.vbe.take_clear(), Some(640 * 480));
    assert_eq!(called(0x4F03, 0, 0, 0, &mut platform).bx(), 0x0101);
    assert_eq!(called(0x0003, 0, 0, 0, &mut platform).al(), 0x30);
    assert_eq!((platform.vbe.mode(), platform.vga.is_graphics()), (None, false));
    called(0x4F02, 0x4118, 0, 0, &mut platform);
    assert_eq!(called(0x4F02, 0x0013, 0, 0, &mut platform).ax(), 0x004F);
    assert_eq!((platform.vbe.mode(), platform.vga.is_graphics()), (None, true));
    assert_eq!(called(0x4F03, 0, 0, 0, &mut platform).bx(), 0x13);
    assert_eq!(called(0x4F02, 0x0006, 0, 0, &mut platform).ax(), 0x014F);
    assert_eq!(called(0x4F02, 0x0083, 0, 0, &mut platform).ax(), 0x014F, "no mode has bit 7");
}

#[test]
fn what_is_not_there_leaves_ax() {
    let mut platform = machine();
    for function in [0x4F04, 0x4F0A, 0x4F10, 0x4F15] {
        assert_eq!(called(function, 0, 0, 0, &mut platform).ax(), function);
    }
    let mut text_only = TestPlatform::default();
    for function in 0x4F00..=0x4F15 {
        assert_eq!(called(function, 0x4118, 0x118, 0, &mut text_only).ax(), function);
    }
    assert_eq!(text_only.vbe.mode(), None);
}

#[test]
fn the_window_shows_any_64_kib_of_a_mode_without_a_linear_framebuffer() {
    let mut platform = machine();
    assert_eq!(called(0x4F05, 0, 0, 1, &mut platform).ax(), 0x034F, "in a mode of the VGA");
    called(0x4F02, 0x0118, 0, 0, &mut platform);
    assert_eq!(called(0x4F05, 0, 0, 255, &mut platform).ax(), 0x004F);
    assert_eq!(called(0x4F05, 0x0100, 0, 0, &mut platform).dx(), 255);
    assert_eq!(platform.vbe.bank(), Some(255 << 16));
    for (bx, dx) in [(0, 256), (1, 0), (0x0200, 0)] {
        assert_eq!(called(0x4F05, bx, 0, dx, &mut platform).ax(), 0x014F, "{bx:#x} {dx}");
    }
    called(0x4F02, 0x4118, 0, 0, &mut platform);
    assert_eq!(called(0x4F05, 0, 0, 1, &mut platform).ax(), 0x034F, "it is linear");
}

#[test]
fn lines_are_longer_than_shown_and_the_picture_begins_inside() {
    let mut platform = machine();
    assert_eq!(called(0x4F07, 0, 0, 0, &mut platform).ax(), 0x034F);
    called(0x4F02, 0x4143, 0, 0, &mut platform);
    let lines = |call: BiosCall| (call.ax(), call.bx(), call.cx(), call.dx());
    assert_eq!(lines(called(0x4F06, 1, 0, 0, &mut platform)), (0x004F, 3200, 800, 5242));
    assert_eq!(lines(called(0x4F06, 0, 1000, 0, &mut platform)), (0x004F, 4000, 1000, 4194));
    assert_eq!(lines(called(0x4F06, 2, 4001, 0, &mut platform)), (0x004F, 4032, 1008, 4161));
    assert_eq!(lines(called(0x4F06, 3, 0, 0, &mut platform)), (0x004F, 27_936, 6984, 600));
    assert_eq!(called(0x4F06, 0, 6985, 0, &mut platform).ax(), 0x014F);
    assert_eq!(called(0x4F06, 0, 0xFFFF, 0, &mut platform).ax(), 0x014F);
    assert_eq!(called(0x4F07, 0x0080, 208, 3560, &mut platform).ax(), 0x004F);
    assert_eq!(platform.vbe.mode().unwrap().start, 208 * 4 + 3560 * 4032);
    let start = called(0x4F07, 1, 0, 0, &mut platform);
    assert_eq!((start.cx(), start.dx()), (208, 3560));
    for (cx, dx) in [(209, 0), (208, 3561), (0, 3562), (0xFFFF, 0), (0, 0xFFFF)] {
        assert_eq!(called(0x4F07, 0, cx, dx, &mut platform).ax(), 0x014F, "{cx} {dx}");
    }
}

#[test]
fn colours_are_set_and_read_in_modes_that_have_a_palette() {
    let mut platform = machine();
    called(0x4F02, 0x4101, 0, 0, &mut platform);
    assert_eq!(called(0x4F08, 0x0800, 0, 0, &mut platform).bh(), 6);
    platform.write(BLOCK as u64, &[1, 2, 3, 0, 61, 62, 63, 0]);
    assert_eq!(called(0x4F09, 0, 2, 254, &mut platform).ax(), 0x004F);
    platform.memory[BLOCK..BLOCK + 8].fill(0);
    called(0x4F09, 1, 2, 254, &mut platform);
    assert_eq!(platform.memory[BLOCK..BLOCK + 8], [1, 2, 3, 0, 61, 62, 63, 0]);
    for (cx, dx) in [(2, 255), (257, 0), (1, 0xFFFF), (0xFFFF, 0)] {
        assert_eq!(called(0x4F09, 0, cx, dx, &mut platform).ax(), 0x014F, "{cx} {dx}");
    }
    called(0x4F02, 0x4118, 0, 0, &mut platform);
    assert_eq!(called(0x4F09, 0, 1, 0, &mut platform).ax(), 0x034F);
    assert_eq!(called(0x4F08, 1, 0, 0, &mut platform).ax(), 0x034F);
}
