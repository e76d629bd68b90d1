//! Guests that draw pictures, as `screendump` and the terminal show them.

use std::fs;

use libtest_mimic::{Failed, Trial};

use crate::support::console::{Client, KvmWithConsole, expect_equal};
use crate::support::debugger::expect;
use crate::support::pty::{Shown, Terminal};
use crate::support::{Kvm, disk_guest, guest_test};

/// The pixels in a portable pixmap, and its width.
fn pixels(file: &[u8]) -> Result<(usize, Vec<[u8; 3]>), Failed> {
    let mut parts = file.splitn(5, |byte| *byte == b'\n');
    let mut line = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (kind, _, size, most) = (line(), line(), line(), line());
    let rest = parts.next().unwrap_or_default();
    let (width, height) = size.split_once(' ').ok_or("no size")?;
    let (width, height): (usize, usize) = (width.parse()?, height.parse()?);
    if kind != "P6" || most != "255" || rest.len() != width * height * 3 {
        return Err(format!("{kind} {size} {most} with {} bytes", rest.len()).into());
    }
    Ok((width, rest.as_chunks().0.to_vec()))
}

/// What the screen shows as soon as it has `width` pixels and `done` holds.
fn shown(
    kvm: &KvmWithConsole,
    client: &mut Client,
    width: usize,
    done: impl Fn(&[[u8; 3]]) -> bool,
) -> Result<Vec<[u8; 3]>, Failed> {
    let mut found = Err("nothing was shown".into());
    for _ in 0..200 {
        expect(&client.ask("screendump -f screen.ppm")?, "the screen is saved in screen.ppm")?;
        found = pixels(&fs::read(kvm.file("screen.ppm"))?);
        if let Ok((found_width, pixels)) = &found
            && *found_width == width
            && done(pixels)
        {
            return Ok(pixels.clone());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    found.and_then(|(width, _)| Err(format!("a picture of width {width} that is not complete").into()))
}

/// Compares all pixels.
fn compare(
    found: &[[u8; 3]],
    width: usize,
    expected: impl Fn(usize, usize) -> [u8; 3],
) -> Result<(), Failed> {
    for (at, pixel) in found.iter().enumerate() {
        let (x, y) = (at % width, at / width);
        if *pixel != expected(x, y) {
            return Err(format!("pixel {x}, {y} is {pixel:?}, not {:?}", expected(x, y)).into());
        }
    }
    Ok(())
}

/// What `framebuffer` draws.
fn gradient(x: usize, y: usize) -> [u8; 3] {
    match (x, y) {
        (288..352, 200..264) => [255; 3],
        (..320, _) => [(y / 2) as u8, 0, 0],
        _ => [0, 0, 255 - (y / 2) as u8],
    }
}

/// `kvm` with a copy of a disk of the guests: a disk has one writer.
fn with_disk(name: &str) -> Kvm {
    let kvm = Kvm::new().args(["--timeout", "60"]);
    let image = kvm.folder.file("disk.img");
    fs::copy(disk_guest(name), &image).expect("a disk can be made");
    kvm.arg(image)
}

fn disk(name: &str, options: &[&str]) -> Result<KvmWithConsole, Failed> {
    KvmWithConsole::run(with_disk(name).arg("--console=unix:console").args(options), "console")
}

/// `mode-13h` on a terminal.
fn on_terminal(options: &[&str]) -> Terminal {
    Terminal::kvm(with_disk("mode-13h").args(options), 80, 25)
}

fn has(shown: &Shown, bytes: &str) -> bool {
    shown.bytes.windows(bytes.len()).any(|window| window == bytes.as_bytes())
}

const LEFT_OVER: &str = "The guest's screen showed a picture";

fn on_terminals() -> Vec<Trial> {
    vec![
        guest_test("a_terminal_of_kitty_gets_the_picture_and_it_is_removed_with_the_text", || {
            let terminal = on_terminal(&["--pictures", "kitty"]);
            terminal.wait_for("a picture", |shown| has(shown, "\x1b_Ga=T,f=24,o=z,s=320,v=200,i=1,"))?;
            terminal.type_keys("k");
            let ended = terminal.end()?;
            ended.check(ended.wrote(b"\x1b_Ga=d,d=A,q=2\x1b\\"), "the picture is removed")?;
            ended.check(!ended.text.contains(LEFT_OVER), "the guest went back to text")?;
            ended.expect_restored().map(drop)
        }),
        guest_test("a_terminal_that_answers_with_sixel_gets_sixels_and_the_guest_no_keys", || {
            let terminal = on_terminal(&["--pictures", "auto"]);
            terminal.wait_for("a question", |shown| {
                has(shown, "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c")
            })?;
            terminal.type_keys("\x1b[?62;4;22c");
            terminal.wait_for("sixels", |shown| has(shown, "\x1bP0;1q\"1;1;320;200#0;2;0;0;0#1;2;0;"))?;
            terminal.type_keys("\x01x");
            let ended = terminal.end()?;
            ended.check(ended.text.contains("The guest's screen showed a picture of 320x200"), LEFT_OVER)?;
            ended.expect_restored().map(drop)
        }),
        guest_test("a_terminal_with_colours_gets_half_blocks", || {
            let terminal = on_terminal(&["--pictures", "blocks"]);
            let green = vt100::Color::Rgb(0, 0xC7, 0);
            terminal.wait_for("the last line in green", |shown| {
                let cell = shown.screen().cell(24, 40);
                cell.is_some_and(|cell| cell.contents() == "\u{2580}" && cell.bgcolor() == green)
            })?;
            terminal.type_keys("\x01x");
            terminal.end()?.expect_restored().map(drop)
        }),
        guest_test("a_terminal_without_pictures_says_that_there_is_one", || {
            let terminal = on_terminal(&["--pictures", "off"]);
            terminal.wait_for_text("The guest shows a picture of 320x200 pixels: `screendump FILE`")?;
            terminal.type_keys("\x01x");
            terminal.end()?.expect_restored().map(drop)
        }),
        guest_test("a_pipe_gets_no_picture", || {
            let kvm = with_disk("mode-13h").args(["--pictures", "kitty", "--display", "vga"]);
            let ran = kvm.input(b"k").run();
            ran.check(!ran.out.contains('\x1b'), "no escape sequences").map(drop)
        }),
    ]
}

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = saved_pictures();
    trials.extend(on_terminals());
    trials
}

fn saved_pictures() -> Vec<Trial> {
    vec![
        guest_test("a_multiboot_kernel_that_prefers_graphics_gets_them", || {
            let kvm = KvmWithConsole::start("multiboot-picture", &["--timeout", "60"])?;
            let mut client = kvm.connect()?;
            let last = |pixels: &[[u8; 3]]| pixels[319] == [319u32 as u8, 0, 0x55];
            let drawn = |x: usize, y: usize| if y == 0 { [x as u8, 0, 0x55] } else { [0; 3] };
            compare(&shown(&kvm, &mut client, 320, last)?, 320, drawn)?;
            client.ask("sendkey esc")?;
            client.rest()?;
            kvm.finish()?.expect_status(0)?;
            let text = Kvm::with_guest("multiboot-picture").args(["--vga", "text", "--timeout", "1"]).run();
            text.expect_log("the kernel prefers a graphics mode (320x200x32), which takes `--vga std`")
                .map(drop)
        }),
        guest_test("a_linear_framebuffer_is_found_drawn_saved_and_restored", || {
            let kvm = KvmWithConsole::start("framebuffer", &["--vga", "std", "--timeout", "60"])?;
            let mut client = kvm.connect()?;
            let last = |pixels: &[[u8; 3]]| pixels[263 * 640 + 351] == [255; 3];
            compare(&shown(&kvm, &mut client, 640, last)?, 640, gradient)?;
            expect(&client.ask("snapshot drawn.kvmstate")?, "saved in drawn.kvmstate")?;
            expect(&client.ask("screendump screen.png")?, "the screen is saved in screen.png")?;
            client.ask("sendkey esc")?;
            client.rest()?;
            let snapshot = kvm.file("drawn.kvmstate");
            let again = Kvm::new().args(["--console=unix:console", "--timeout", "60"]);
            let again = KvmWithConsole::run(again.arg("--restore").arg(snapshot), "console")?;
            let mut client = again.connect()?;
            compare(&shown(&again, &mut client, 640, last)?, 640, gradient)?;
            client.ask("sendkey esc")?;
            client.rest()?;
            let ended = "result (RAX) 4244635648 ";
            kvm.finish()?.expect_status(0)?.expect_err(ended)?;
            again.finish()?.expect_status(0)?.expect_err(ended).map(drop)
        }),
        guest_test("a_machine_without_a_framebuffer_has_no_adapter", || {
            let ran = Kvm::with_guest("framebuffer").run();
            ran.expect_status(0)?;
            ran.check(ran.out.starts_with("There is no display adapter"), "no display adapter").map(drop)
        }),
        guest_test("a_boot_sector_draws_in_256_colours_with_and_without_video_memory", || {
            for adapter in ["std", "text"] {
                let kvm = disk("mode-13h", &["--vga", adapter])?;
                let mut client = kvm.connect()?;
                // Six bits of green are shown as eight.
                let green = |y: usize| [0, ((y / 4) << 2 | (y / 4) >> 4) as u8, 0];
                let last = |pixels: &[[u8; 3]]| pixels[320 * 200 - 1] == green(199);
                compare(&shown(&kvm, &mut client, 320, last)?, 320, |_, y| green(y))?;
                client.ask("sendkey esc")?;
                client.rest()?;
                kvm.finish()?;
            }
            Ok(())
        }),
        guest_test("a_boot_sector_draws_in_planes_with_every_write_mode", || {
            let kvm = disk("planes", &[])?;
            let mut client = kvm.connect()?;
            let colours = |pixels: &[[u8; 3]]| pixels[5 * 640] != [0; 3];
            let expected = |x: usize, y: usize| {
                let inside = x < 320;
                match y {
                    0 if inside && x.is_multiple_of(2) => [170, 0, 170],
                    1 if inside => [85, 85, 255],
                    2 | 3 if inside && x % 8 < 4 => [255, 255, 85],
                    // What is not written comes from the latches, which were loaded in line 2.
                    4 if inside && x % 8 < 2 => [255, 255, 85],
                    4 if inside && (2..6).contains(&(x % 8)) => [255, 85, 85],
                    5 if x < 8 && x.is_multiple_of(2) => [85, 255, 85],
                    5 if x < 8 => [255; 3],
                    _ => [0; 3],
                }
            };
            compare(&shown(&kvm, &mut client, 640, colours)?, 640, expected)?;
            client.ask("sendkey esc")?;
            client.rest()?;
            let ran = kvm.finish()?;
            expect_equal(ran.out.trim_end(), "AAF0")
        }),
        guest_test("a_boot_sector_finds_the_linear_framebuffer_by_vbe_and_draws", || {
            let kvm = disk("vbe", &[])?;
            let mut client = kvm.connect()?;
            let white = |pixels: &[[u8; 3]]| pixels[100 * 640 + 319] != [0; 3];
            let expected = |x: usize, y: usize| match y {
                1 => [0, (x % 256) as u8, 0],
                100 if x < 320 => [255; 3],
                _ => [0; 3],
            };
            compare(&shown(&kvm, &mut client, 640, white)?, 640, expected)?;
            client.ask("sendkey esc")?;
            client.rest()?;
            let ran = kvm.finish()?;
            ran.expect_status(33)?;
            expect_equal(&ran.out, "FD000000\n00004142\n")
        }),
    ]
}
