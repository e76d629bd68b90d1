use super::super::BytesImage;
use super::super::ResetAction;
use super::*;

/// Firmware of this size that jumps from its reset vector.
fn firmware(size: usize) -> Vec<u8> {
    let mut bytes = vec![0xFF; size];
    let at = size.saturating_sub(RESET_VECTOR);
    bytes[at..at + 5].copy_from_slice(&[0xEA, 0x5B, 0xE0, 0x00, 0xF0]);
    bytes
}

fn load_bytes(bytes: &[u8]) -> Result<(LoadedGuest, GuestMemory), String> {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let guest = load(&BytesImage::new("bios.bin", bytes), &memory, &BootOptions::default());
    guest.map(|guest| (guest, memory)).map_err(|error| error.to_string())
}

#[test]
fn the_processor_starts_at_the_reset_vector_below_4_gib() {
    let (guest, memory) = load_bytes(&firmware(128 << 10)).unwrap();
    assert_eq!(guest.registers.next_instruction(), 0xFFFF_FFF0);
    assert_eq!((guest.registers.bitness(), guest.registers.ring()), (16, 0));
    assert_eq!(guest.reset, ResetAction::ResetVector);
    for vector in [0xF_FFF0, 0xFFFF_FFF0] {
        let mut code = [0; 5];
        memory.read(vector, &mut code).unwrap();
        assert_eq!(code, [0xEA, 0x5B, 0xE0, 0x00, 0xF0]);
    }
    let layout: Vec<String> = guest.layout.iter().map(ToString::to_string).collect();
    assert_eq!(layout, ["0xe0000..0x100000 firmware", "0xfffe0000..0x100000000 firmware"]);
}

#[test]
fn firmware_that_cannot_be_in_rom_is_refused_with_the_reason() {
    for size in [1, 0x8000, 0x1_0001, 17 << 20] {
        let error = load_bytes(&firmware(size.max(16))).map(drop).unwrap_err();
        assert!(error.contains("multiple of 64 KiB") && error.contains("16 MiB"), "{error}");
    }
    for fill in [0, 0xFF] {
        let error = load_bytes(&vec![fill; 0x1_0000]).map(drop).unwrap_err();
        assert!(error.contains("no reset vector"), "{error}");
    }
    assert!(load_bytes(&[]).is_err());
    assert!(load_bytes(&firmware(16 << 20)).is_ok());
}

#[test]
fn a_vga_bios_is_read_as_far_as_its_header_says() {
    let folder = std::env::temp_dir().join(format!("kvm-rom-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("vgabios.bin");
    let with = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let memory = GuestMemory::new(1 << 20).unwrap();
        let options = BootOptions { vga_bios: Some(path.clone()), ..BootOptions::default() };
        let bios = firmware(64 << 10);
        load(&BytesImage::new("bios.bin", &bios), &memory, &options)
            .map(|_| memory.rom_state().unwrap().option_rom.len())
            .map_err(|error| error.to_string())
    };
    let mut rom = vec![0; 4096];
    rom[..3].copy_from_slice(&[0x55, 0xAA, 4]);
    assert_eq!(with(&rom), Ok(2048));
    rom[2] = 9;
    assert!(with(&rom).unwrap_err().contains("before the end of the option ROM"));
    rom[0] = 0x7F;
    assert!(with(&rom).unwrap_err().contains("no option ROM"));
    std::fs::remove_dir_all(folder).unwrap();
}
