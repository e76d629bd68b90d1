use super::*;

fn set(vbe: &mut BochsVbe, register: usize, value: u16) -> Action {
    let _ = vbe.write_wide(0, 2, register as u32).unwrap();
    vbe.write_wide(1, 2, value.into()).unwrap()
}

fn get(vbe: &mut BochsVbe, register: usize) -> u16 {
    let _ = vbe.write_wide(0, 2, register as u32).unwrap();
    vbe.read_wide(1, 2).unwrap().0 as u16
}

fn with_mode(width: u16, height: u16, bits: u16) -> BochsVbe {
    let mut vbe = BochsVbe::default();
    for (register, value) in [(WIDTH, width), (HEIGHT, height), (BITS, bits), (ENABLE, ENABLED | LINEAR)] {
        let _ = set(&mut vbe, register, value);
    }
    vbe
}

#[test]
fn a_guest_finds_the_interface_and_the_size_of_its_memory() {
    let mut vbe = BochsVbe::default();
    assert_eq!((get(&mut vbe, ID), get(&mut vbe, MEMORY_SIZE)), (0xB0C5, 256));
    let _ = set(&mut vbe, ID, 0xB0C0);
    let _ = set(&mut vbe, ID, 0xB0C6);
    assert_eq!(get(&mut vbe, ID), 0xB0C0, "other versions cannot be chosen");
    let _ = set(&mut vbe, ENABLE, GET_CAPABILITIES);
    assert_eq!([WIDTH, HEIGHT, BITS].map(|at| get(&mut vbe, at)), [16_000, 12_000, 32]);
    assert_eq!((get(&mut vbe, 11), get(&mut vbe, 0xFFFF)), (0, 0), "there are no others");
    assert_eq!(vbe.mode(), None);
}

#[test]
fn a_mode_has_its_pitch_and_clears_what_it_shows() {
    let mut vbe = with_mode(640, 480, 32);
    let mode = LinearMode { width: 640, height: 480, bits: 32, pitch: 2560, start: 0 };
    assert_eq!(vbe.mode(), Some(mode));
    assert_eq!((vbe.take_clear(), vbe.take_clear()), (Some(480 * 2560), None));
    assert_eq!(get(&mut vbe, VIRTUAL_HEIGHT), 6553);
    assert!(set(&mut vbe, VIRTUAL_WIDTH, 800).memory);
    let _ = set(&mut vbe, X_OFFSET, 8);
    let _ = set(&mut vbe, Y_OFFSET, 2);
    assert_eq!(vbe.mode(), Some(LinearMode { pitch: 3200, start: 2 * 3200 + 32, ..mode }));
    let _ = set(&mut vbe, ENABLE, 0);
    assert_eq!((vbe.mode(), vbe.bank()), (None, None));
    let _ = set(&mut vbe, ENABLE, ENABLED | KEEP_MEMORY);
    assert_eq!((vbe.take_clear(), vbe.mode()), (None, Some(mode)), "offsets start anew");
}

#[test]
fn no_mode_reaches_beyond_video_memory() {
    let values = [0, 1, 7, 8, 639, 4096, 16_000, 16_001, 0x7FFF, 0xFFFF];
    for width in values {
        for height in values {
            for bits in [0, 4, 8, 15, 16, 24, 31, 32, 0xFFFF] {
                let mut vbe = with_mode(width, height, bits);
                for (x, y) in values.into_iter().flat_map(|x| values.map(|y| (x, y))) {
                    let _ = set(&mut vbe, X_OFFSET, x);
                    let _ = set(&mut vbe, Y_OFFSET, y);
                    let mode = vbe.mode().unwrap();
                    assert!(mode.start + u32::from(mode.height) * mode.pitch <= MEMORY, "{mode:?}");
                    assert!(mode.height > 0 && mode.width > 0 && u32::from(mode.width) * 4 / 8 <= mode.pitch);
                }
                let mut copy = BochsVbe::default();
                copy.restore(&vbe.save()).unwrap();
                assert_eq!(copy.state(), vbe.state());
            }
        }
    }
}

#[test]
fn the_window_in_memory_shows_the_same_registers() {
    let mut vbe = with_mode(800, 600, 16);
    assert_eq!(vbe.mmio_read(0x502, 2), Some((800, Action::NONE)));
    assert!(vbe.mmio_write(0x504, 2, 300).unwrap().memory);
    assert_eq!(get(&mut vbe, HEIGHT), 300);
    assert_eq!(vbe.mmio_read(0x600, 4).unwrap().0, 8);
    assert_eq!(vbe.mmio_read(0x604, 4).unwrap().0, 0x1E1E_1E1E);
    for offset in (0..0x1000).chain([u64::MAX]) {
        for size in [1, 2, 4, 8] {
            assert!(vbe.mmio_read(offset, size).is_some() && vbe.mmio_write(offset, size, 0xFFFF).is_some());
        }
    }
    assert!(vbe.read_wide(1, 4).is_none() && vbe.write_wide(1, 1, 7).is_none(), "16 bits at a time");
}

#[test]
fn a_saved_interface_continues_with_its_index_register() {
    let mut vbe = with_mode(640, 400, 8);
    vbe.set_present();
    let _ = set(&mut vbe, BANK, 0x103);
    let _ = vbe.write_wide(0, 2, HEIGHT as u32);
    let mut copy = BochsVbe::default();
    copy.restore(&vbe.save()).unwrap();
    assert_eq!((copy.read_wide(1, 2).unwrap().0, copy.bank()), (400, Some(3 << 16)));
    assert!(copy.after_reset().is_present() && copy.after_reset().mode().is_none());
}

#[test]
fn impossible_states_are_refused() {
    let good = with_mode(640, 480, 32).state();
    let with = |register: usize, value: u16| {
        let mut state = good.clone();
        state.registers[register] = value;
        BochsVbe::default().set_state(state).is_err()
    };
    assert!(!with(ID, NEWEST));
    assert!(
        with(ID, 7) && with(BANK, 256) && with(HEIGHT, 12_000) && with(BITS, 5) && with(Y_OFFSET, 12_000)
    );
    assert!(with(ENABLE, ENABLED | DAC_8_BITS) && with(VIRTUAL_WIDTH, 0));
}
