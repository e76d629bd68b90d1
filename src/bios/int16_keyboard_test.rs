use super::super::testing::TestPlatform;
use super::*;

/// Passes scan codes to INT 09h.
fn press_all(scans: &[u8], platform: &mut TestPlatform) {
    for scan in scans {
        let call = BiosCall { vector: 9, eax: (*scan).into(), ..BiosCall::default() };
        assert_eq!(key(&call, platform), Served::Done);
    }
}

fn called(ah: u8, platform: &mut TestPlatform) -> (BiosCall, Served) {
    let mut call = BiosCall { eax: u32::from(ah) << 8 | 0xFF, flags: 0x40, ..BiosCall::default() };
    let served = serve(&mut call, platform);
    (call, served)
}

/// All keys that function `ah` returns.
fn keys(ah: u8, platform: &mut TestPlatform) -> Vec<u16> {
    std::iter::from_fn(|| match called(ah, platform) {
        (call, Served::Done) => Some(call.ax()),
        _ => None,
    })
    .collect()
}

#[test]
fn a_caller_waits_until_a_key_is_pressed() {
    let mut platform = TestPlatform::default();
    assert_eq!(called(0x00, &mut platform).1, Served::Wait);
    let (none, served) = called(0x01, &mut platform);
    assert_eq!((served, none.flags & 0x40), (Served::Done, 0x40), "ZF: there is no key");
    press_all(&[0x1E, 0x9E], &mut platform);
    let (key, _) = called(0x01, &mut platform);
    assert_eq!((key.ax(), key.flags & 0x40), (0x1E61, 0));
    assert_eq!(keys(0x00, &mut platform), [0x1E61]);
}

#[test]
fn the_buffer_has_room_for_the_key_that_comes_and_the_one_on_its_way() {
    let mut platform = TestPlatform::default();
    for pressed in 0..15 {
        assert_eq!(crate::bios::would_lose_keys(&platform), pressed >= 14, "{pressed} keys");
        press_all(&[0x1E, 0x9E], &mut platform);
    }
    assert!(crate::bios::would_lose_keys(&platform));
    let _ = called(0x00, &mut platform);
    assert!(crate::bios::would_lose_keys(&platform));
    let _ = called(0x00, &mut platform);
    assert!(!crate::bios::would_lose_keys(&platform));
    // A program has its own handler.
    press_all(&[0x1E, 0x9E, 0x1E, 0x9E], &mut platform);
    platform.memory[4 * 9] ^= 1;
    assert!(!crate::bios::would_lose_keys(&platform));
    platform.memory[4 * 9] ^= 1;
    // A buffer for one key only.
    platform.memory[0x480..0x484].copy_from_slice(&[0x1E, 0, 0x22, 0]);
    platform.memory[0x41A..0x41E].copy_from_slice(&[0x1E, 0, 0x1E, 0]);
    assert!(!crate::bios::would_lose_keys(&platform));
    press_all(&[0x1E, 0x9E], &mut platform);
    assert!(crate::bios::would_lose_keys(&platform));
}

#[test]
fn shift_control_alt_and_the_locks_change_what_keys_report() {
    let mut platform = TestPlatform::default();
    press_all(&[0x2A, 0x1E, 0xAA, 0x1D, 0x2E, 0x9D, 0x38, 0x10, 0xB8], &mut platform);
    assert_eq!(keys(0x10, &mut platform), [0x1E41, 0x2E03, 0x1000]);
    // Caps Lock: letters only, and Shift undoes it.
    press_all(&[0x3A, 0xBA, 0x1E, 0x02, 0x36, 0x1E, 0xB6, 0x3A, 0xBA], &mut platform);
    assert_eq!(keys(0x10, &mut platform), [0x1E41, 0x0231, 0x1E61]);
    press_all(&[0x47, 0x45, 0xC5, 0x47, 0x45, 0xC5], &mut platform);
    assert_eq!(keys(0x10, &mut platform), [0x4700, 0x4737]);
}

#[test]
fn the_shift_flags_show_what_is_held() {
    let mut platform = TestPlatform::default();
    press_all(&[0x1D, 0xE0, 0x38, 0x36, 0x3A], &mut platform);
    assert_eq!(called(0x02, &mut platform).0.al(), 0b0100_1101);
    let (flags, _) = called(0x12, &mut platform);
    assert_eq!(flags.ax(), 0b0100_1001_0100_1101, "left Ctrl, right Alt, Caps Lock held");
    press_all(&[0x9D, 0xE0, 0xB8, 0xB6, 0xBA], &mut platform);
    assert_eq!(called(0x12, &mut platform).0.ax(), 0b0100_0000, "Caps Lock is on");
}

#[test]
fn new_functions_tell_the_cursor_keys_from_the_number_pad_and_old_ones_do_not() {
    let mut platform = TestPlatform::default();
    let arrow_enter_f11 = [0xE0, 0x48, 0xE0, 0xC8, 0xE0, 0x1C, 0x57, 0x48];
    press_all(&arrow_enter_f11, &mut platform);
    assert_eq!(keys(0x10, &mut platform), [0x48E0, 0xE00D, 0x8500, 0x4800]);
    press_all(&arrow_enter_f11, &mut platform);
    assert_eq!(keys(0x00, &mut platform), [0x4800, 0x1C0D, 0x4800], "F11 is skipped");
}

#[test]
fn prefixed_shifts_and_pause_report_nothing() {
    let mut platform = TestPlatform::default();
    press_all(&[0xE0, 0x2A, 0xE0, 0x47, 0xE0, 0xC7, 0xE0, 0xAA], &mut platform);
    press_all(&[0xE1, 0x1D, 0x45, 0xE1, 0x9D, 0xC5, 0x1E], &mut platform);
    assert_eq!(keys(0x10, &mut platform), [0x47E0, 0x1E61]);
    assert_eq!(called(0x02, &mut platform).0.al(), 0);
}

#[test]
fn a_character_is_composed_with_alt_and_digits() {
    let mut platform = TestPlatform::default();
    press_all(&[0x38, 0x50, 0xD0, 0x50, 0x4C, 0xB8], &mut platform);
    assert_eq!(keys(0x10, &mut platform), [225]);
}

#[test]
fn the_buffer_holds_fifteen_keys() {
    let mut platform = TestPlatform::default();
    press_all(&[0x1E; 20], &mut platform);
    assert_eq!(keys(0x00, &mut platform).len(), 15);
    let mut store = |key: u16| {
        let mut call = BiosCall { eax: 0x0500, ecx: key.into(), ..BiosCall::default() };
        let _ = serve(&mut call, &mut platform);
        call.al()
    };
    assert_eq!((0..16).map(|key| u32::from(store(key))).sum::<u32>(), 1, "the last one has no room");
    assert_eq!(keys(0x10, &mut platform), (0..15).collect::<Vec<_>>());
}

#[test]
fn impossible_ends_of_the_buffer_are_not_used() {
    let mut platform = TestPlatform::default();
    platform.dynamic().set_word(bda::KEYS_END, 0x1D);
    press_all(&[0x1E, 0x30], &mut platform);
    assert_eq!(keys(0x00, &mut platform), [0x1E61, 0x3062]);
}

#[test]
fn a_caller_that_polls_gets_the_interrupt_that_is_due() {
    // Status of the keyboard controller; what is masked, in service and requested.
    let polled = |status, mask, in_service, requested| {
        let mut platform = TestPlatform { in_service, requested, ..TestPlatform::default() };
        platform.ports.extend([(0x64, status), (0x21, mask)]);
        called(0x01, &mut platform)
    };
    assert_eq!(polled(1, 0xF8, 0, 2).1, Served::Wait);
    let (call, served) = polled(0, 0xF8, 0, 2);
    assert_eq!((served, call.flags & 0x40), (Served::Done, 0x40), "no scan code");
    assert_eq!(polled(1, 0xFA, 0, 2).1, Served::Done, "masked");
    assert_eq!(polled(1, 0xF8, 2, 2).1, Served::Done, "the handler itself asks");
    assert_eq!(polled(1, 0xF8, 0, 1).1, Served::Done, "another interrupt");
}
