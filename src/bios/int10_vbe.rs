//! INT 10h, AH = 4Fh: the modes of the VESA BIOS Extension, with a linear framebuffer and with a window at A000h.
//!
//! Specification: VESA, "VBE Core Functions Standard" 3.0; the numbers from 140h on are those of the VGA BIOS of Bochs. A
//! mode is what the registers of the display say ([`crate::devices::vbe`]): nothing is kept beside them, so a mode that a
//! guest sets by the registers is reported, too. Machines without video memory do not have these functions. Not
//! implemented: saving the state (04h), the protected mode interface (0Ah), power management (10h), and DDC (15h), as
//! there is no monitor; AX stays as it is then, by which callers recognise it. Refresh rates have no meaning.

use super::call::{BiosCall, BiosPlatform};
use super::data_areas::bda;
use super::{int10_graphics, int10_video};
use crate::devices::vbe::{
    BANK, BITS, ENABLE, ENABLED, HEIGHT, INDEX_PORT, KEEP_MEMORY, LAST_PORT, LINEAR, MOST_WIDTH,
    VIRTUAL_HEIGHT, VIRTUAL_WIDTH, WIDTH, X_OFFSET, Y_OFFSET,
};
use crate::memory::VIDEO_MEMORY;

/// Where modes of VBE begin; below are those of the VGA.
const FIRST: u16 = 0x100;
/// Parts of a mode's number in BX.
const NUMBER: u16 = 0x1FF;
const USE_LINEAR: u16 = 1 << 14;
const KEEP_SCREEN: u16 = 1 << 15;

/// Size of video memory in units of 64 KiB, which is also that of the window.
const UNITS: u16 = ((VIDEO_MEMORY.end - VIDEO_MEMORY.start) >> 16) as u16;
const WINDOW_KIB: u16 = 64;
const WINDOW_SEGMENT: u16 = 0xA000;

/// What a call has come to, in AH, if it was not successful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VbeFailure {
    Failed = 1,
    NotInThisMode = 3,
}

/// A mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct VbeMode {
    number: u16,
    width: u16,
    height: u16,
    /// Of a pixel.
    bits: u16,
}

const fn mode(number: u16, width: u16, height: u16, bits: u16) -> VbeMode {
    VbeMode { number, width, height, bits }
}

const MODES: [VbeMode; 38] = [
    mode(0x100, 640, 400, 8),
    mode(0x101, 640, 480, 8),
    mode(0x103, 800, 600, 8),
    mode(0x105, 1024, 768, 8),
    mode(0x107, 1280, 1024, 8),
    mode(0x10D, 320, 200, 15),
    mode(0x10E, 320, 200, 16),
    mode(0x10F, 320, 200, 24),
    mode(0x110, 640, 480, 15),
    mode(0x111, 640, 480, 16),
    mode(0x112, 640, 480, 24),
    mode(0x113, 800, 600, 15),
    mode(0x114, 800, 600, 16),
    mode(0x115, 800, 600, 24),
    mode(0x116, 1024, 768, 15),
    mode(0x117, 1024, 768, 16),
    mode(0x118, 1024, 768, 24),
    mode(0x119, 1280, 1024, 15),
    mode(0x11A, 1280, 1024, 16),
    mode(0x11B, 1280, 1024, 24),
    mode(0x11C, 1600, 1200, 8),
    mode(0x11D, 1600, 1200, 15),
    mode(0x11E, 1600, 1200, 16),
    mode(0x11F, 1600, 1200, 24),
    mode(0x140, 320, 200, 32),
    mode(0x141, 640, 400, 32),
    mode(0x142, 640, 480, 32),
    mode(0x143, 800, 600, 32),
    mode(0x144, 1024, 768, 32),
    mode(0x145, 1280, 1024, 32),
    mode(0x146, 320, 200, 8),
    mode(0x147, 1600, 1200, 32),
    mode(0x18D, 1280, 720, 16),
    mode(0x18E, 1280, 720, 24),
    mode(0x18F, 1280, 720, 32),
    mode(0x190, 1920, 1080, 16),
    mode(0x191, 1920, 1080, 24),
    mode(0x192, 1920, 1080, 32),
];

impl VbeMode {
    fn find(number: u16) -> Result<VbeMode, VbeFailure> {
        MODES.into_iter().find(|mode| mode.number == number & NUMBER).ok_or(VbeFailure::Failed)
    }

    fn bytes_per_pixel(self) -> u16 {
        self.bits.div_ceil(8)
    }

    /// Bytes from a line to the next one.
    fn pitch(self) -> u16 {
        self.width * self.bytes_per_pixel()
    }

    /// Sizes and positions of red, green, blue and what is unused; 0 where a pixel is the number of a colour.
    fn masks(self) -> [u8; 8] {
        match self.bits {
            15 => [5, 10, 5, 5, 5, 0, 1, 15],
            16 => [5, 11, 6, 5, 5, 0, 0, 0],
            24 => [8, 16, 8, 8, 8, 0, 0, 0],
            32 => [8, 16, 8, 8, 8, 0, 8, 24],
            _ => [0; 8],
        }
    }
}

fn register(index: usize, platform: &mut dyn BiosPlatform) -> u16 {
    platform.port_out_word(INDEX_PORT, index as u16);
    platform.port_in_word(LAST_PORT)
}

fn set_register(index: usize, value: u16, platform: &mut dyn BiosPlatform) {
    platform.port_out_word(INDEX_PORT, index as u16);
    platform.port_out_word(LAST_PORT, value);
}

/// True if a mode of the display's own is shown.
fn is_enabled(platform: &mut dyn BiosPlatform) -> bool {
    platform.has_video_memory() && register(ENABLE, platform) & ENABLED != 0
}

/// Makes the display a VGA again, before one of its modes is set. True if it was none.
pub(super) fn leave(platform: &mut dyn BiosPlatform) -> bool {
    let enabled = is_enabled(platform);
    if enabled {
        set_register(ENABLE, 0, platform);
    }
    enabled
}

pub(super) fn serve(call: &mut BiosCall, platform: &mut dyn BiosPlatform) {
    if !platform.has_video_memory() {
        return;
    }
    let done = match call.al() {
        0x00 => controller_information(call, platform),
        0x01 => mode_information(call, platform),
        0x02 => set_mode(call, platform),
        0x03 => current_mode(call, platform),
        0x05 => window(call, platform),
        0x06 => line_length(call, platform),
        0x07 => display_start(call, platform),
        0x08 => dac_width(call, platform),
        0x09 => palette(call, platform),
        _ => return,
    };
    call.set_ax(0x004F | done.map_or_else(|failure| (failure as u16) << 8, |()| 0));
}

/// Replaces bytes of a block.
fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

fn put_word(block: &mut [u8], at: usize, value: u16) {
    put(block, at, &value.to_le_bytes());
}

/// 00h. The list of modes and the texts are in the part of the block that is the BIOS's own.
fn controller_information(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Result<(), VbeFailure> {
    const LIST: usize = 34;
    const NAME: usize = LIST + 2 * (MODES.len() + 1);
    const VERSION: usize = NAME + 4;
    let at = call.in_es(call.edi as u16);
    let mut signature = [0; 4];
    platform.read(at, &mut signature);
    let for_version_2 = &signature == b"VBE2";
    let mut block = [0; 512];
    let far = |offset: usize| {
        let [low, high] = (call.edi as u16).wrapping_add(offset as u16).to_le_bytes();
        let [segment_low, segment_high] = call.es.to_le_bytes();
        [low, high, segment_low, segment_high]
    };
    put(&mut block, 0, b"VESA\0\x03");
    put(&mut block, 6, &far(NAME));
    put(&mut block, 14, &far(LIST));
    put_word(&mut block, 18, UNITS);
    if for_version_2 {
        for (offset, text) in [(22, NAME), (26, NAME), (30, VERSION)] {
            put(&mut block, offset, &far(text));
        }
    }
    for (index, mode) in MODES.iter().enumerate() {
        put_word(&mut block, LIST + 2 * index, mode.number);
    }
    put_word(&mut block, NAME - 2, 0xFFFF);
    put(&mut block, NAME, b"kvm\0");
    put(&mut block, VERSION, concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes());
    // Callers of the first version have room for half of it.
    platform.write(at, if for_version_2 { &block } else { &block[..256] });
    Ok(())
}

/// 01h.
fn mode_information(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Result<(), VbeFailure> {
    /// Supported, described in full, colour, graphics, with a linear framebuffer.
    const ATTRIBUTES: u16 = 0x9B;
    /// There is a window, and it can be read and written.
    const WINDOW: u8 = 7;
    const CHARACTER: [u8; 2] = [8, 16];
    const PALETTE: u8 = 4;
    const DIRECT_COLOUR: u8 = 6;
    let mode = VbeMode::find(call.cx())?;
    let VbeMode { width, height, bits, .. } = mode;
    let pages = (u32::from(UNITS) << 16) / (u32::from(mode.pitch()) * u32::from(height)) - 1;
    let pages = u8::try_from(pages).unwrap_or(u8::MAX);
    let mut block = [0; 256];
    put_word(&mut block, 0, ATTRIBUTES);
    block[2] = WINDOW;
    put_word(&mut block, 4, WINDOW_KIB);
    put_word(&mut block, 6, WINDOW_KIB);
    put_word(&mut block, 8, WINDOW_SEGMENT);
    put_word(&mut block, 16, mode.pitch());
    put_word(&mut block, 18, width);
    put_word(&mut block, 20, height);
    put(&mut block, 22, &CHARACTER);
    let model = if bits == 8 { PALETTE } else { DIRECT_COLOUR };
    // One plane, one bank.
    put(&mut block, 24, &[1, bits as u8, 1, model, 0, pages, 1]);
    put(&mut block, 31, &mode.masks());
    put(&mut block, 40, &(VIDEO_MEMORY.start as u32).to_le_bytes());
    put_word(&mut block, 50, mode.pitch());
    put(&mut block, 52, &[pages, pages]);
    put(&mut block, 54, &mode.masks());
    platform.write(call.in_es(call.edi as u16), &block);
    Ok(())
}

/// 02h.
fn set_mode(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Result<(), VbeFailure> {
    let (number, keep) = (call.bx() & NUMBER, call.bx() & KEEP_SCREEN != 0);
    if number < FIRST {
        // Bit 7 is not part of a VGA mode's number: there it is KEEP_SCREEN.
        if number > 0x7F {
            return Err(VbeFailure::Failed);
        }
        let mut vga = BiosCall { eax: u32::from(number) | u32::from(keep) << 7, ..BiosCall::default() };
        return if int10_video::set_mode(&mut vga, platform) { Ok(()) } else { Err(VbeFailure::Failed) };
    }
    let VbeMode { width, height, bits, .. } = VbeMode::find(number)?;
    leave(platform);
    // The registers of the VGA that count are the colours of 8 bits.
    int10_graphics::set_registers(&int10_graphics::CHAINED, platform);
    let linear = if call.bx() & USE_LINEAR != 0 { LINEAR } else { 0 };
    let enable = ENABLED | linear | if keep { KEEP_MEMORY } else { 0 };
    for (index, value) in [(WIDTH, width), (HEIGHT, height), (BITS, bits), (ENABLE, enable)] {
        set_register(index, value, platform);
    }
    platform.set_byte(bda::VIDEO, 0x60 | u8::from(keep) << 7);
    Ok(())
}

/// The size of the mode that is shown, if it is one of VBE: width, height, bits.
fn shown(platform: &mut dyn BiosPlatform) -> Result<[u16; 3], VbeFailure> {
    if !is_enabled(platform) {
        return Err(VbeFailure::NotInThisMode);
    }
    Ok([WIDTH, HEIGHT, BITS].map(|index| register(index, platform)))
}

/// 03h.
fn current_mode(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Result<(), VbeFailure> {
    let Ok([width, height, bits]) = shown(platform) else {
        let keep = u16::from(platform.byte(bda::VIDEO) >> 7) << 15;
        call.set_bx(u16::from(platform.byte(bda::MODE)) | keep);
        return Ok(());
    };
    let mode = MODES.into_iter().find(|mode| [mode.width, mode.height, mode.bits] == [width, height, bits]);
    let mode = mode.ok_or(VbeFailure::Failed)?;
    let enable = register(ENABLE, platform);
    let flag = |bit: u16, flag: u16| if enable & bit != 0 { flag } else { 0 };
    call.set_bx(mode.number | flag(LINEAR, USE_LINEAR) | flag(KEEP_MEMORY, KEEP_SCREEN));
    Ok(())
}

/// 05h: what the window shows, in units of 64 KiB.
fn window(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Result<(), VbeFailure> {
    shown(platform)?;
    if register(ENABLE, platform) & LINEAR != 0 {
        return Err(VbeFailure::NotInThisMode);
    }
    match (call.bh(), call.bl()) {
        (0, 0) if call.dx() < UNITS => set_register(BANK, call.dx(), platform),
        (1, 0) => call.set_dx(register(BANK, platform)),
        _ => return Err(VbeFailure::Failed),
    }
    Ok(())
}

/// 06h: the length of a line in memory.
fn line_length(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Result<(), VbeFailure> {
    let [_, height, bits] = shown(platform)?;
    let bytes = bits.div_ceil(8);
    let memory = u32::from(UNITS) << 16;
    let most = u16::try_from(memory / u32::from(height) / u32::from(bytes)).unwrap_or(u16::MAX);
    // What BX can say is a limit, too.
    let most = most.min(MOST_WIDTH).min(u16::MAX / bytes) & !7;
    let wanted = match call.bl() {
        0 => Some(call.cx()),
        1 => None,
        2 => Some(call.cx().div_ceil(bytes)),
        3 => {
            call.set_bx(most * bytes);
            call.set_cx(most);
            call.set_dx(u16::try_from(memory / u32::from(most * bytes)).unwrap_or(u16::MAX));
            return Ok(());
        }
        _ => return Err(VbeFailure::Failed),
    };
    if let Some(pixels) = wanted {
        let pixels = pixels.checked_next_multiple_of(8).filter(|pixels| *pixels <= most);
        set_register(VIRTUAL_WIDTH, pixels.ok_or(VbeFailure::Failed)?, platform);
    }
    let pixels = register(VIRTUAL_WIDTH, platform);
    call.set_bx(pixels.saturating_mul(bytes));
    call.set_cx(pixels);
    call.set_dx(register(VIRTUAL_HEIGHT, platform));
    Ok(())
}

/// 07h: the first pixel that is shown.
fn display_start(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Result<(), VbeFailure> {
    let [width, height, bits] = shown(platform)?;
    match call.bl() {
        0 | 0x80 => {
            let (x, y, all) = (call.cx(), call.dx(), register(VIRTUAL_WIDTH, platform));
            // The display takes whole lines from the first pixel on.
            let bytes = u64::from(bits.div_ceil(8));
            let lines = u64::from(all) * (u64::from(y) + u64::from(height));
            let fits = (lines + u64::from(x)) * bytes <= VIDEO_MEMORY.end - VIDEO_MEMORY.start;
            if !fits || u32::from(x) + u32::from(width) > u32::from(all) {
                return Err(VbeFailure::Failed);
            }
            set_register(X_OFFSET, call.cx(), platform);
            set_register(Y_OFFSET, call.dx(), platform);
        }
        1 => {
            call.set_bh(0);
            call.set_cx(register(X_OFFSET, platform));
            call.set_dx(register(Y_OFFSET, platform));
        }
        _ => return Err(VbeFailure::Failed),
    }
    Ok(())
}

/// The mode that is shown has a palette.
fn has_palette(platform: &mut dyn BiosPlatform) -> Result<(), VbeFailure> {
    if is_enabled(platform) && shown(platform)?[2] != 8 { Err(VbeFailure::NotInThisMode) } else { Ok(()) }
}

/// 08h: components of colours have six bits, whatever is requested.
fn dac_width(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Result<(), VbeFailure> {
    has_palette(platform)?;
    if call.bl() > 1 {
        return Err(VbeFailure::Failed);
    }
    call.set_bh(6);
    Ok(())
}

/// 09h: blue, green, red and an unused byte of each colour.
fn palette(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Result<(), VbeFailure> {
    has_palette(platform)?;
    let (first, count) = (call.dx(), call.cx());
    if count > 256 || first > 256 - count {
        return Err(VbeFailure::Failed);
    }
    let place = |index: u16| call.in_es((call.edi as u16).wrapping_add(4 * index));
    for index in 0..count {
        let number = (first + index) as u8;
        match call.bl() {
            0 | 0x80 => {
                let [blue, green, red, _] = platform.double_word(place(index)).to_le_bytes();
                platform.port_out(0x3C8, number);
                [red, green, blue].into_iter().for_each(|value| platform.port_out(0x3C9, value));
            }
            1 => {
                platform.port_out(0x3C7, number);
                let [red, green, blue] = [(); 3].map(|()| platform.port_in(0x3C9));
                platform.write(place(index), &[blue, green, red, 0]);
            }
            _ => return Err(VbeFailure::Failed),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "int10_vbe_test.rs"]
mod tests;
