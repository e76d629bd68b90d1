use super::*;

const ALL_RAM: ShadowControl = ShadowControl { read_ram: 0xFFFF, write_ram: 0xFFFF };

/// An image whose pages differ, and 2 MiB of RAM with it.
fn with_rom(size: usize) -> (GuestMemory, Vec<u8>) {
    let memory = GuestMemory::new(2 << 20).unwrap();
    let firmware: Vec<u8> = (0..size).map(|at| (at >> 12) as u8 ^ 0x5A).collect();
    memory.install_rom(&firmware, &[0x55, 0xAA, 1]).unwrap();
    (memory, firmware)
}

fn byte(memory: &GuestMemory, address: u64) -> u8 {
    let mut byte = [0];
    memory.read(address, &mut byte).unwrap();
    byte[0]
}

#[test]
fn an_image_ends_at_1_mib_and_at_4_gib() {
    let (memory, firmware) = with_rom(256 << 10);
    assert_eq!(byte(&memory, 0xF_FFFF), *firmware.last().unwrap());
    assert_eq!(byte(&memory, 0xE_0000), firmware[128 << 10]);
    assert_eq!([byte(&memory, 0xD_FFFF), byte(&memory, 0xC_0003)], [OPEN, OPEN]);
    assert_eq!([byte(&memory, 0xC_0000), byte(&memory, 0xC_0001)], [0x55, 0xAA]);
    let mut all = vec![0; firmware.len()];
    memory.read(HIGH_RAM_BASE - (256 << 10), &mut all).unwrap();
    assert_eq!(all, firmware);
    assert!(memory.read(HIGH_RAM_BASE - (256 << 10) - 1, &mut [0]).is_err());
    let slot = memory.rom_slot().unwrap();
    assert!(slot.read_only && memory.has_slot(&slot.slot));
    assert!(memory.slot_at(0).unwrap().number < slot.slot.number);
}

#[test]
fn an_image_of_64_kib_leaves_the_64_kib_below_open() {
    let (memory, firmware) = with_rom(64 << 10);
    assert_eq!((byte(&memory, 0xE_FFFF), byte(&memory, 0xF_0000)), (OPEN, firmware[0]));
}

#[test]
fn writes_of_the_guest_to_rom_are_ignored() {
    let (memory, firmware) = with_rom(128 << 10);
    memory.write_for_guest(0xF_0000, &[1, 2, 3]).unwrap();
    memory.write_for_guest(0xFFFF_0000, &[1]).unwrap();
    assert_eq!(byte(&memory, 0xF_0000), firmware[64 << 10]);
    assert_eq!(byte(&memory, 0xFFFF_0000), firmware[64 << 10]);
    // Across the ends.
    memory.write_for_guest(0xB_FFFF, &[7, 7]).unwrap();
    memory.write_for_guest(0xF_FFFF, &[8, 8]).unwrap();
    assert_eq!([byte(&memory, 0xB_FFFF), byte(&memory, 0xC_0000)], [7, 0x55]);
    assert_eq!([byte(&memory, 0xF_FFFF), byte(&memory, 0x10_0000)], [*firmware.last().unwrap(), 8]);
    assert!(memory.write_for_guest((2 << 20) - 1, &[0, 0]).is_err());
}

#[test]
fn ram_under_rom_is_written_while_rom_is_read_and_appears_when_it_is_shown() {
    let (memory, firmware) = with_rom(128 << 10);
    // The BIOS area: reads from ROM, writes to RAM.
    assert!(memory.control_shadow(ShadowControl { read_ram: 0, write_ram: 0xF000 }).unwrap());
    memory.write_for_guest(0xF_0000, &[0x11]).unwrap();
    assert_eq!(byte(&memory, 0xF_0000), firmware[64 << 10]);
    assert_eq!(memory.protected_shadow().len(), 16);
    memory.control_shadow(ShadowControl { read_ram: 0xF000, write_ram: 0xF000 }).unwrap();
    assert_eq!(byte(&memory, 0xF_0000), 0x11);
    assert_eq!(memory.protected_shadow().last().unwrap().pages, 0xE_C000..0xF_0000);
    memory.write_for_guest(0xF_0001, &[0x22]).unwrap();
    // Write-protected RAM, as a BIOS leaves it.
    memory.control_shadow(ShadowControl { read_ram: 0xF000, write_ram: 0 }).unwrap();
    memory.write_for_guest(0xF_0001, &[0x33]).unwrap();
    assert_eq!(byte(&memory, 0xF_0001), 0x22);
    // After a reset ROM is read again, and RAM has kept what it had.
    memory.control_shadow(ShadowControl::default()).unwrap();
    assert_eq!(byte(&memory, 0xF_0001), firmware[64 << 10]);
    memory.control_shadow(ALL_RAM).unwrap();
    assert_eq!([byte(&memory, 0xF_0000), byte(&memory, 0xF_0001)], [0x11, 0x22]);
    assert!(memory.protected_shadow().is_empty());
    assert!(!memory.control_shadow(ALL_RAM).unwrap());
}

#[test]
fn breakpoints_stay_where_they_are_when_rom_and_ram_change_places() {
    let (memory, firmware) = with_rom(128 << 10);
    assert!(memory.insert_breakpoint(0xF_0010, 0xCC));
    memory.control_shadow(ALL_RAM).unwrap();
    assert_eq!(byte(&memory, 0xF_0010), 0xCC);
    memory.write_for_guest(0xF_0011, &[9]).unwrap();
    memory.control_shadow(ShadowControl::default()).unwrap();
    memory.remove_breakpoints();
    assert_eq!(byte(&memory, 0xF_0010), firmware[64 << 10]);
    memory.control_shadow(ALL_RAM).unwrap();
    assert_eq!([byte(&memory, 0xF_0010), byte(&memory, 0xF_0011)], [0, 9]);
}

#[test]
fn roms_and_shadow_ram_are_restored_in_another_memory() {
    let (memory, _) = with_rom(128 << 10);
    let control = ShadowControl { read_ram: 0x0FFF, write_ram: 0xF0FF };
    memory.control_shadow(control).unwrap();
    memory.write_for_guest(0xF_0000, &[0x11]).unwrap();
    let state = memory.rom_state().unwrap();
    let copy = GuestMemory::new(2 << 20).unwrap();
    let mut contents = vec![0; 2 << 20];
    memory.read(0, &mut contents).unwrap();
    copy.write(0, &contents).unwrap();
    copy.restore_rom(Some(&state)).unwrap();
    assert_eq!(copy.rom_state().unwrap(), state);
    assert_eq!(copy.protected_shadow(), memory.protected_shadow());
    for memory in [&memory, &copy] {
        memory.control_shadow(ALL_RAM).unwrap();
        assert_eq!(byte(memory, 0xF_0000), 0x11);
    }
    copy.restore_rom(None).unwrap();
    assert!(!copy.has_rom() && copy.rom_state().is_none() && copy.read(0xFFFF_0000, &mut [0]).is_err());
}

#[test]
fn states_that_roms_cannot_have_are_refused() {
    let (memory, _) = with_rom(128 << 10);
    let good = memory.rom_state().unwrap();
    let with = |change: &dyn Fn(&mut RomState)| {
        let mut state = good.clone();
        change(&mut state);
        memory.restore_rom(Some(&state)).is_err()
    };
    assert!(with(&|state| state.firmware.clear()));
    assert!(with(&|state| state.firmware.push(0)));
    assert!(with(&|state| state.firmware.resize(17 << 20, 0)));
    assert!(with(&|state| state.option_rom.resize((64 << 10) + 1, 0)));
    assert!(with(&|state| state.control.read_ram = 1));
    assert!(with(&|state| state.hidden.truncate(1)));
    assert_eq!(memory.rom_state().unwrap(), good);
}

#[test]
fn an_image_of_another_size_is_mapped_elsewhere_and_one_of_the_same_size_again() {
    let (memory, _) = with_rom(128 << 10);
    let first = memory.rom_slot().unwrap();
    memory.install_rom(&[0; 64 << 10], &[]).unwrap();
    let second = memory.rom_slot().unwrap();
    assert_eq!((second.slot.guest, second.slot.size), (0xFFFF_0000, 64 << 10));
    memory.install_rom(&[1; 128 << 10], &[]).unwrap();
    assert_eq!(memory.rom_slot().unwrap(), first);
}
