//! What a BIOS keeps in memory: the interrupt vectors, the BIOS data area (BDA) at 400h and the extended one (EBDA).
//!
//! Manual: IBM PS/2 and PC BIOS Interface Technical Reference, "Data Areas and ROM Tables".

use super::call::BiosPlatform;
use super::rom;
use crate::devices::serial;

/// Segment of the EBDA, 1 KiB below 640 KiB.
pub const EBDA_SEGMENT: u16 = 0x9FC0;
/// Its address.
pub const EBDA: u64 = (EBDA_SEGMENT as u64) << 4;
/// In KiB, which its first byte says.
pub const EBDA_SIZE: u8 = 1;
/// Memory below the EBDA in KiB.
pub const BASE_MEMORY: u16 = (EBDA >> 10) as u16;
/// Tables of hard disks 80h and 81h (INT 41h and 46h) in the EBDA.
pub const DISK_TABLES: [u64; 2] = [EBDA + 0x3D, EBDA + 0x4D];
/// Where the text that is sent to COM1 has got to: column, row. At offset 200h of the EBDA.
pub const MIRROR: u64 = EBDA + 0x200;
/// Not 0 if the CD is started before the disks. At offset 210h of the EBDA.
pub const CD_FIRST: u64 = EBDA + 0x210;
/// What the machine was started from if that is a CD (`el_torito_state`). At offset 220h of the EBDA.
pub const EL_TORITO: u64 = EBDA + 0x220;

/// Addresses in the BDA.
pub mod bda {
    #![allow(missing_docs)]

    pub const SERIAL_PORTS: u64 = 0x400;
    pub const EBDA_SEGMENT: u64 = 0x40E;
    pub const EQUIPMENT: u64 = 0x410;
    pub const MEMORY: u64 = 0x413;
    /// Shift flags, two bytes.
    pub const SHIFT: u64 = 0x417;
    pub const ALT_NUMBER: u64 = 0x419;
    pub const KEY_HEAD: u64 = 0x41A;
    pub const KEY_TAIL: u64 = 0x41C;
    pub const KEYS: u64 = 0x41E;
    pub const MODE: u64 = 0x449;
    pub const COLUMNS: u64 = 0x44A;
    pub const PAGE_SIZE: u64 = 0x44C;
    pub const PAGE_START: u64 = 0x44E;
    /// Column and row of eight pages.
    pub const CURSORS: u64 = 0x450;
    pub const CURSOR_SHAPE: u64 = 0x460;
    pub const PAGE: u64 = 0x462;
    pub const CRTC: u64 = 0x463;
    pub const MODE_SELECT: u64 = 0x465;
    pub const TICKS: u64 = 0x46C;
    pub const MIDNIGHT: u64 = 0x470;
    pub const DISK_STATUS: u64 = 0x474;
    pub const DISKS: u64 = 0x475;
    pub const SERIAL_TIMEOUTS: u64 = 0x47C;
    pub const KEYS_START: u64 = 0x480;
    pub const KEYS_END: u64 = 0x482;
    pub const LAST_ROW: u64 = 0x484;
    pub const CHARACTER_HEIGHT: u64 = 0x485;
    pub const VIDEO: u64 = 0x487;
    pub const KEYBOARD: u64 = 0x496;
    pub const WAIT_END: u64 = 0x49C;
    pub const WAIT_ACTIVE: u64 = 0x4A0;
    pub const END: u64 = 0x500;
}

/// The equipment word: a coprocessor, a mouse, a colour screen with 80 columns, four serial ports.
const EQUIPMENT: u16 = 1 << 1 | 1 << 2 | 2 << 4 | 4 << 9;
/// Offset of the keyboard buffer in the segment of the BDA, and of its end.
pub const KEY_BUFFER: std::ops::Range<u16> = 0x1E..0x3E;

/// Vectors of the two PICs.
const MASTER_VECTORS: std::ops::RangeInclusive<u8> = 0x08..=0x0F;
const SLAVE_VECTORS: std::ops::RangeInclusive<u8> = 0x70..=0x77;
/// Vectors that programs find free: they are 0.
const FREE_VECTORS: std::ops::RangeInclusive<u8> = 0x60..=0x67;

/// Interrupt vectors and BDA, 500h bytes from address 0 on.
pub fn low_memory() -> Vec<u8> {
    let mut bytes = vec![0; bda::END as usize];
    for vector in 0..=u8::MAX {
        let offset = match vector {
            _ if FREE_VECTORS.contains(&vector) => continue,
            0x1F | 0x43 => continue, // no fonts
            _ if MASTER_VECTORS.contains(&vector) => rom::MASTER_INTERRUPT,
            _ if SLAVE_VECTORS.contains(&vector) => rom::SLAVE_INTERRUPT,
            _ => rom::IGNORED_INTERRUPT,
        };
        set_vector(&mut bytes, vector, rom::SEGMENT, offset);
    }
    for (vector, offset) in rom::VECTORS {
        set_vector(&mut bytes, *vector, rom::SEGMENT, *offset);
    }
    for (vector, table) in [0x41, 0x46].into_iter().zip(DISK_TABLES) {
        set_vector(&mut bytes, vector, EBDA_SEGMENT, (table - EBDA) as u16);
    }
    let mut set = |address: u64, value: &[u8]| {
        bytes[address as usize..][..value.len()].copy_from_slice(value);
    };
    for (at, port) in (bda::SERIAL_PORTS..).step_by(2).zip(serial::BASE_PORTS) {
        set(at, &port.to_le_bytes());
    }
    set(bda::EBDA_SEGMENT, &EBDA_SEGMENT.to_le_bytes());
    set(bda::EQUIPMENT, &EQUIPMENT.to_le_bytes());
    set(bda::MEMORY, &BASE_MEMORY.to_le_bytes());
    for pointer in [bda::KEY_HEAD, bda::KEY_TAIL, bda::KEYS_START] {
        set(pointer, &KEY_BUFFER.start.to_le_bytes());
    }
    set(bda::KEYS_END, &KEY_BUFFER.end.to_le_bytes());
    set(bda::MODE, &[3]);
    set(bda::COLUMNS, &80u16.to_le_bytes());
    set(bda::PAGE_SIZE, &0x1000u16.to_le_bytes());
    set(bda::CURSOR_SHAPE, &[0x0E, 0x0D]);
    set(bda::CRTC, &0x3D4u16.to_le_bytes());
    set(bda::MODE_SELECT, &[0x29, 0x30]);
    set(bda::SERIAL_TIMEOUTS, &[1; 4]);
    set(bda::LAST_ROW, &[24]);
    set(bda::CHARACTER_HEIGHT, &16u16.to_le_bytes());
    // A VGA with 256 KiB, the display active; what its switches say; 400 lines; a colour display.
    set(bda::VIDEO, &[0x60, 0xF9, 0x51, 0x08]);
    set(bda::KEYBOARD, &[0x10]);
    bytes
}

/// The EBDA; `cd_first` if the CD is started before the disks.
pub fn ebda(cd_first: bool) -> Vec<u8> {
    let mut bytes = vec![0; usize::from(EBDA_SIZE) << 10];
    bytes[0] = EBDA_SIZE;
    bytes[(CD_FIRST - EBDA) as usize] = cd_first.into();
    bytes
}

/// True if an interrupt vector leads to this BIOS, as it does after power-on: no program has taken it over.
pub fn is_vector(number: u8, platform: &dyn BiosPlatform) -> bool {
    let at = 4 * u64::from(number);
    let entry = (platform.word(at + 2), platform.word(at));
    rom::VECTORS.iter().any(|(vector, offset)| *vector == number && entry == (rom::SEGMENT, *offset))
}

fn set_vector(bytes: &mut [u8], vector: u8, segment: u16, offset: u16) {
    let entry = &mut bytes[4 * usize::from(vector)..][..4];
    entry[..2].copy_from_slice(&offset.to_le_bytes());
    entry[2..].copy_from_slice(&segment.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector_leads_to_the_rom_to_a_table_or_nowhere() {
        let memory = low_memory();
        let vector = |number: usize| {
            let half = |at: usize| u16::from_le_bytes([memory[4 * number + at], memory[4 * number + at + 1]]);
            (half(2), half(0))
        };
        for number in 0..256 {
            let expected = match number {
                0x60..=0x67 | 0x1F | 0x43 => 0,
                0x41 | 0x46 => EBDA_SEGMENT,
                _ => rom::SEGMENT,
            };
            assert_eq!(vector(number).0, expected, "vector {number:#x}");
        }
        assert_eq!(vector(0x10), (0xF000, 0xF065));
        assert_eq!(vector(0x0B), (0xF000, rom::MASTER_INTERRUPT));
        assert_eq!(vector(0x76), (0xF000, rom::SLAVE_INTERRUPT));
        assert_eq!(vector(0x1C), (0xF000, rom::IGNORED_INTERRUPT));
        assert_eq!(vector(0x46), (0x9FC0, 0x4D));
    }

    #[test]
    fn the_data_area_describes_the_machine() {
        let memory = low_memory();
        let word = |at: u64| u16::from_le_bytes([memory[at as usize], memory[at as usize + 1]]);
        assert_eq!([0, 2, 4, 6].map(|at| word(0x400 + at)), [0x3F8, 0x2F8, 0x3E8, 0x2E8]);
        assert_eq!((word(0x40E), word(0x410), word(0x413)), (0x9FC0, 0x0826, 639));
        assert_eq!((word(0x41A), word(0x41C), word(0x480), word(0x482)), (0x1E, 0x1E, 0x1E, 0x3E));
        assert_eq!(
            (memory[0x449], word(0x44A), word(0x463), memory[0x484], word(0x485)),
            (3, 80, 0x3D4, 24, 16)
        );
        assert_eq!((ebda(false).len(), ebda(false)[0]), (1024, 1));
        assert_eq!(EBDA + 1024, 0xA0000);
    }
}
