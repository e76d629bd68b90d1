//! The ROM, and where its entry points are.

/// The bytes: `firmware/build` makes them of `firmware/bios.S`.
pub const ROM: &[u8] = include_bytes!("rom.bin");
/// Guest-physical address of the first byte. The last one is at the end of the first MiB.
pub const ADDRESS: u64 = 0xF_E000;
/// Its segment.
pub const SEGMENT: u16 = 0xF000;
/// Offset of the instruction that a processor executes first after a reset.
pub const RESET_VECTOR: u16 = 0xFFF0;
/// Offset of the configuration table (INT 15h, AH = C0h).
pub const CONFIGURATION: u16 = 0xE6F5;
/// Offset of the table of diskette parameters (INT 1Eh).
pub const DISKETTE_PARAMETERS: u16 = 0xEFC7;
/// Offset of an IRET.
pub const IGNORED_INTERRUPT: u16 = 0xFF53;
/// Offset of the handler of interrupts of the master PIC that nothing else handles.
pub const MASTER_INTERRUPT: u16 = 0xE2C4;
/// Offset of that of the slave PIC.
pub const SLAVE_INTERRUPT: u16 = 0xE2C7;

/// Interrupt vectors in this segment: number and offset.
pub const VECTORS: &[(u8, u16)] = &[
    (0x00, 0xE01C),
    (0x02, 0xE2C3),
    (0x06, 0xE021),
    (0x07, 0xE026),
    (0x08, 0xFEA5),
    (0x09, 0xE987),
    (0x0E, 0xEF57),
    (0x10, 0xF065),
    (0x11, 0xF84D),
    (0x12, 0xF841),
    (0x13, 0xE3FE),
    (0x14, 0xE739),
    (0x15, 0xF859),
    (0x16, 0xE82E),
    (0x17, 0xEFD2),
    (0x18, 0xE2F8),
    (0x19, 0xE6F2),
    (0x1A, 0xFE6E),
    (0x1D, 0xF0A4),
    (0x1E, DISKETTE_PARAMETERS),
    (0x40, 0xEC59),
    (0x70, 0xE2E2),
    (0x71, 0xE2CA),
    (0x75, 0xE2D3),
];

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn at(offset: u16, length: usize) -> &'static [u8] {
        &ROM[usize::from(offset) - 0xE000..][..length]
    }

    #[test]
    fn the_rom_is_what_its_source_is_assembled_to() {
        let tools = ["gcc", "objcopy"].map(|tool| Command::new(tool).arg("--version").output().is_ok());
        if tools != [true, true] {
            eprintln!("not compared: gcc and binutils are needed");
            return;
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let built = std::env::temp_dir().join(format!("kvm-bios-{}.bin", std::process::id()));
        let ran = Command::new(root.join("firmware/build")).arg(&built).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let bytes = std::fs::read(&built).unwrap();
        std::fs::remove_file(&built).unwrap();
        assert!(bytes == ROM, "run firmware/build: src/bios/rom.bin is not what firmware/bios.S says");
    }

    #[test]
    fn every_vector_of_a_service_pushes_its_number() {
        for (vector, offset) in VECTORS {
            match vector {
                // Not entry points of services, or with instructions before the call.
                0x02 | 0x08 | 0x09 | 0x0E | 0x19 | 0x1D | 0x1E | 0x70 | 0x71 | 0x75 => {}
                _ => assert_eq!(at(*offset, 3), [0x06, 0x6A, *vector], "vector {vector:#x}"),
            }
        }
        assert_eq!(at(0xFEA5, 5), [0x06, 0x6A, 0x08, 0xE6, 0xBF]);
        assert_eq!(at(0xE2E3, 5), [0x06, 0x6A, 0x70, 0xE6, 0xBF]);
    }

    #[test]
    fn tables_are_where_programs_expect_them() {
        assert_eq!((ROM.len(), ADDRESS + ROM.len() as u64), (0x2000, 0x10_0000));
        assert_eq!(at(CONFIGURATION, 6), [8, 0, 0xFC, 0, 0, 0x74]);
        assert_eq!(at(0xFFFE, 1), [0xFC], "model");
        assert_eq!(at(0xFFF0, 5), [0xEA, 0x5B, 0xE0, 0x00, 0xF0], "the reset vector jumps to F000:E05B");
        assert_eq!(at(IGNORED_INTERRUPT, 1), [0xCF]);
        assert_eq!((at(MASTER_INTERRUPT, 1), at(SLAVE_INTERRUPT, 1)), (&[0x50][..], &[0x50][..]));
        assert_eq!(at(0xEFC7, 4), [0xAF, 0x02, 0x25, 0x02]);
    }
}
