use super::*;

/// The ports as a guest uses them.
struct Guest(Vga);

impl Guest {
    fn new() -> Guest {
        Guest(Vga::new())
    }

    fn inb(&mut self, port: u16) -> u8 {
        let (value, action) = self.0.read(port - FIRST_PORT);
        assert_eq!(action, Action::NONE);
        value
    }

    fn outb(&mut self, port: u16, value: u8) {
        assert_eq!(self.0.write(port - FIRST_PORT, value), Action::NONE);
    }

    fn set(&mut self, index_port: u16, index: u8, value: u8) {
        self.outb(index_port, index);
        self.outb(index_port + 1, value);
    }

    fn get(&mut self, index_port: u16, index: u8) -> u8 {
        self.outb(index_port, index);
        self.inb(index_port + 1)
    }
}

#[test]
fn a_guest_finds_mode_3_at_start() {
    let view = Vga::new().view();
    assert_eq!((view.start, view.pitch, view.cursor), (0, 80, 0));
    assert!(view.cursor_visible && view.blink && !view.blank);
    assert!(!view.cursor_is_block());
    assert_eq!((view.cursor_top, view.cursor_bottom, view.cell_height), (13, 14, 16));
    assert_eq!(view.cursor_position(), Some((0, 0)));
}

#[test]
fn a_guest_moves_the_cursor_and_reads_it_back() {
    let mut guest = Guest::new();
    let cell = 12 * 80 + 34_u16;
    guest.set(0x3D4, 0x0E, (cell >> 8) as u8);
    guest.set(0x3D4, 0x0F, cell as u8);
    assert_eq!(guest.inb(0x3D4), 0x0F, "the index can be read");
    assert_eq!(guest.get(0x3D4, 0x0E), (cell >> 8) as u8);
    assert_eq!(guest.0.view().cursor_position(), Some((12, 34)));
}

#[test]
fn a_guest_hides_the_cursor_in_each_of_the_usual_ways() {
    type Way = (&'static str, fn(&mut Guest));
    let ways: [Way; 3] = [
        ("bit 5 of cursor start", |guest| guest.set(0x3D4, 0x0A, 0x20)),
        ("start below end", |guest| guest.set(0x3D4, 0x0A, 0x0F)),
        ("start below the cell", |guest| {
            guest.set(0x3D4, 0x0A, 0x10);
            guest.set(0x3D4, 0x0B, 0x1F);
        }),
    ];
    for (way, hide) in ways {
        let mut guest = Guest::new();
        hide(&mut guest);
        assert!(!guest.0.view().cursor_visible, "{way}");
    }
    let mut guest = Guest::new();
    guest.set(0x3D4, 0x0E, 0xFF);
    assert_eq!(guest.0.view().cursor_position(), None, "moved off the screen");
}

#[test]
fn a_block_cursor_differs_from_an_underline() {
    let mut guest = Guest::new();
    guest.set(0x3D4, 0x0A, 0);
    assert!(guest.0.view().cursor_is_block());
    guest.set(0x3D4, 0x0A, 12);
    assert!(!guest.0.view().cursor_is_block());
}

#[test]
fn every_crt_controller_register_reads_back_once_unprotected() {
    let mut guest = Guest::new();
    guest.set(0x3D4, 0x11, 0);
    for index in 0..25 {
        guest.set(0x3D4, index, 0x40 | index);
    }
    for index in 0..25 {
        assert_eq!(guest.get(0x3D4, index), 0x40 | index, "register {index:#x}");
    }
    guest.set(0x3D4, 0x19, 0x55);
    assert_eq!(guest.get(0x3D4, 0x19), 0, "there is no register 0x19");
}

#[test]
fn the_timing_registers_are_protected_until_the_guest_lifts_it() {
    let mut guest = Guest::new();
    guest.set(0x3D4, 0x00, 0x12);
    guest.set(0x3D4, 0x07, 0x00);
    assert_eq!(guest.get(0x3D4, 0x00), 0x5F);
    assert_eq!(guest.get(0x3D4, 0x07), 0x0F, "line compare bit 8 is not protected");
    let retrace = guest.get(0x3D4, 0x11);
    guest.set(0x3D4, 0x11, retrace & 0x7F);
    guest.set(0x3D4, 0x00, 0x12);
    assert_eq!(guest.get(0x3D4, 0x00), 0x12);
}

#[test]
fn a_guest_that_turns_blinking_off_gets_bright_backgrounds() {
    let mut guest = Guest::new();
    guest.inb(0x3DA);
    guest.outb(0x3C0, 0x30);
    let mode = guest.inb(0x3C1);
    guest.outb(0x3C0, mode & !0x08);
    let view = guest.0.view();
    assert!(!view.blink);
    assert!(!view.blank, "bit 5 of the address kept the picture on");
}

#[test]
fn reading_the_status_makes_the_next_attribute_write_an_address() {
    let mut guest = Guest::new();
    guest.outb(0x3C0, 0x31);
    guest.inb(0x3DA);
    guest.outb(0x3C0, 0x30);
    guest.outb(0x3C0, 0x00);
    assert_eq!(guest.inb(0x3C0), 0x30, "the address can be read");
    assert!(!guest.0.view().blink);
    guest.inb(0x3DA);
    guest.outb(0x3C0, 0x31);
    assert_eq!(guest.inb(0x3C1), 0, "the overscan register was never written");
}

#[test]
fn the_picture_goes_off_with_the_palette_or_the_clocking_mode() {
    let mut guest = Guest::new();
    guest.inb(0x3DA);
    guest.outb(0x3C0, 0x00);
    assert!(guest.0.view().blank);
    let mut guest = Guest::new();
    guest.set(0x3C4, 0x01, 0x20);
    assert!(guest.0.view().blank);
}

#[test]
fn loops_that_wait_for_a_retrace_end() {
    for mask in [0x01, 0x08] {
        let mut guest = Guest::new();
        for wanted in [mask, 0, mask, 0] {
            let rounds = (0..10).position(|_| guest.inb(0x3DA) & mask == wanted);
            assert!(rounds.is_some(), "bits {mask:#x} never became {wanted:#x}");
        }
    }
    // The same, by a loop that reads twice per round.
    let mut guest = Guest::new();
    assert!((0..10).any(|_| guest.inb(0x3DA) & 0x08 != 0 && guest.inb(0x3DA) & 0x01 == 0));
}

#[test]
fn the_monochrome_ports_answer_only_when_selected() {
    let mut guest = Guest::new();
    guest.set(0x3B4, 0x0F, 7);
    assert_eq!(guest.inb(0x3B5), 0xFF);
    assert_eq!(guest.0.view().cursor, 0);
    let misc = guest.inb(0x3CC);
    guest.outb(0x3C2, misc & !1);
    guest.set(0x3B4, 0x0F, 7);
    guest.set(0x3D4, 0x0F, 9);
    assert_eq!(guest.inb(0x3D5), 0xFF);
    assert_eq!(guest.inb(0x3DA), 0xFF);
    assert_ne!(guest.inb(0x3BA), 0xFF);
    assert_eq!(guest.0.view().cursor, 7);
}

#[test]
fn the_sixteen_colours_are_the_usual_ones() {
    let colours = Vga::new().colours();
    assert_eq!(colours[0], [0, 0, 0]);
    assert_eq!(colours[1], [0, 0, 42], "blue");
    assert_eq!(colours[6], [42, 21, 0], "brown");
    assert_eq!(colours[8], [21, 21, 21], "dark grey");
    assert_eq!(colours[14], [63, 63, 21], "yellow");
}

#[test]
fn a_guest_changes_a_colour_and_reads_it_back() {
    let mut guest = Guest::new();
    guest.outb(0x3C8, 1);
    for component in [10, 20, 0xFF, 1, 2, 3] {
        guest.outb(0x3C9, component);
    }
    assert_eq!(guest.0.colours()[1..3], [[10, 20, 63], [1, 2, 3]]);
    assert_eq!(guest.inb(0x3C7), 0, "writing");
    guest.outb(0x3C7, 1);
    assert_eq!(guest.inb(0x3C7), 3, "reading");
    assert_eq!([0; 4].map(|_| guest.inb(0x3C9)), [10, 20, 63, 1]);
    guest.outb(0x3C8, 0);
    guest.outb(0x3C9, 63);
    assert_eq!(guest.0.colours()[0], [0, 0, 0], "a colour changes once it is complete");
}

#[test]
fn a_guest_scrolls_by_the_start_address() {
    let mut buffer = vec![0; BUFFER_CELLS * 2];
    for (cell, bytes) in buffer.chunks_mut(2).enumerate() {
        bytes.copy_from_slice(&(cell as u16).to_le_bytes());
    }
    let mut guest = Guest::new();
    guest.set(0x3D4, 0x0D, 160);
    guest.set(0x3D4, 0x0F, 161);
    let view = guest.0.view();
    let cells = view.cells(&buffer);
    assert_eq!((cells.len(), cells[0], cells[1999]), (2000, 160, 2159));
    assert_eq!(view.cursor_position(), Some((0, 1)), "the cursor is a cell of the buffer");

    guest.set(0x3D4, 0x13, 50);
    assert_eq!(guest.0.view().cells(&buffer)[80], 260, "rows are twice the offset register apart");

    guest.set(0x3D4, 0x0C, 0x3F);
    guest.set(0x3D4, 0x0D, 0xFF);
    assert_eq!(guest.0.view().cells(&buffer)[..2], [0x3FFF, 0], "the buffer wraps around");
    assert_eq!(guest.0.view().cells(&[]), [0; 2000]);
}

#[test]
fn any_word_is_a_view_and_views_survive_packing() {
    assert_eq!(TextView::from_bits(Vga::new().view().to_bits()), Vga::new().view());
    for bits in [0, u64::MAX, 0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3210] {
        let view = TextView::from_bits(bits);
        assert_eq!(TextView::from_bits(view.to_bits()), view);
        assert_eq!(view.cells(&[]).len(), 2000);
        let _ = view.cursor_position();
    }
}

#[test]
fn a_vga_restored_in_mid_operation_continues_identically() {
    let mut guest = Guest::new();
    guest.set(0x3D4, 0x0F, 0x21);
    guest.set(0x3C4, 0x04, 0x06);
    guest.set(0x3CE, 0x05, 0x13);
    guest.inb(0x3DA);
    guest.outb(0x3C0, 0x30); // an address without its data
    guest.outb(0x3C8, 5);
    guest.outb(0x3C9, 1);
    guest.outb(0x3C9, 2); // a colour without its blue

    let mut other = Guest::new();
    other.0.restore(&guest.0.save()).unwrap();
    assert_eq!(other.0, guest.0);
    for each in [&mut guest, &mut other] {
        each.outb(0x3C0, 0x00);
        each.outb(0x3C9, 3);
        assert!(!each.0.view().blink);
        assert_eq!(each.0.colours()[5], [1, 2, 3]);
        assert_eq!(each.inb(0x3DA), 0x01);
    }
    assert_eq!(other.0, guest.0);
}

#[test]
fn impossible_states_are_refused_and_change_nothing() {
    type Damage = (&'static str, fn(&mut VgaState));
    let damages: [Damage; 4] = [
        ("retrace phase", |state| state.beam = 3),
        ("CRT controller index", |state| state.crtc.index = 0x20),
        ("attribute address", |state| state.attribute.address = 0x40),
        ("sequencer index", |state| state.sequencer.index = 8),
    ];
    for (name, damage) in damages {
        let mut state = Vga::new().state();
        damage(&mut state);
        let mut vga = Vga::new();
        let error = vga.set_state(state).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(vga, Vga::new());
    }
}

#[test]
fn no_access_panics() {
    let mut vga = Vga::new();
    let mut random = 1_u32;
    for _ in 0..20_000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let offset = (random >> 16) as u16 % PORTS;
        let _ = vga.write(offset, (random >> 8) as u8);
        let _ = vga.read(offset);
        let _ = (vga.view(), vga.colours());
    }
    let saved = vga.save();
    assert!(Vga::new().restore(&saved).is_ok(), "every state a guest can reach can be restored");
    let _ = vga.read(u16::MAX);
    let _ = vga.write(u16::MAX, 0);
}
