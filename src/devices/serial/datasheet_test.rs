//! The PC16550D datasheet's tables and statements, one test each.

use super::*;

/// A port in the state of the datasheet's reset: IER, LCR and MCR are 0.
fn after_reset() -> SerialPort {
    with(&[(LCR, 0), (MCR, 0)])
}

/// A port after these writes.
fn with(writes: &[(u16, u8)]) -> SerialPort {
    let mut port = SerialPort::default();
    write(&mut port, writes);
    port
}

fn write(port: &mut SerialPort, writes: &[(u16, u8)]) {
    for (offset, value) in writes {
        let _ = port.write(*offset, *value);
    }
}

fn read<const N: usize>(port: &mut SerialPort, offsets: [u16; N]) -> [u8; N] {
    offsets.map(|offset| port.read(offset).0)
}

fn receive(port: &mut SerialPort, data: u8, errors: u8) {
    let _ = port.receive_character(ReceivedCharacter { data, errors });
}

#[test]
fn registers_keep_the_bits_that_exist() {
    let mut port = after_reset();
    let status = read(&mut port, [LSR, MSR, IIR_FCR]);
    for (offset, mask) in [(IER, 0x0F), (LCR, 0x7F), (MCR, 0x1F), (SCR, 0xFF)] {
        for value in [0x00, 0xFF, 0x55, 0xAA, 0x00] {
            let _ = port.write(offset, value & if offset == LCR { 0x7F } else { 0xFF });
            assert_eq!(port.read(offset).0, value & mask, "{value:#x} to offset {offset}");
        }
        let _ = read(&mut port, [MSR, IIR_FCR]);
    }
    write(&mut port, &[(LSR, 0xFF), (MSR, 0xFF)]);
    assert_eq!(read(&mut port, [LSR, MSR, IIR_FCR]), status);
}

#[test]
fn the_divisor_latch_replaces_two_registers() {
    let mut port = with(&[(IER, 0x05), (LCR, 0x83), (DATA, 0x34), (IER, 0x12)]);
    assert_eq!(read(&mut port, [DATA, IER, LCR]), [0x34, 0x12, 0x83]);
    let _ = port.write(LCR, 0x03);
    assert_eq!((port.read(IER).0, port.divisor), (0x05, 0x1234));
}

#[test]
fn interrupts_are_identified_in_the_order_of_their_priority() {
    // The FIFO has a trigger level of 4 and holds 4 characters, one with a parity error; the ring has ended.
    let mut port = with(&[(IIR_FCR, 0x41), (MCR, 0x1C), (MCR, 0x08), (IER, 0x0F)]);
    receive(&mut port, b'a', LSR_PARITY);
    for byte in *b"bcd" {
        receive(&mut port, byte, 0);
    }
    // Each step: IIR, the register whose access ends that interrupt.
    for (identification, ended_by) in [(0xC6, LSR), (0xC4, DATA), (0xC2, IIR_FCR), (0xC0, MSR)] {
        assert_eq!(port.read(IIR_FCR).0, identification);
        assert!(port.line() || identification == 0xC2);
        let _ = if ended_by == IIR_FCR { (0, Action::NONE) } else { port.read(ended_by) };
    }
    assert_eq!((port.read(IIR_FCR).0, port.line()), (0xC1, false));
}

#[test]
fn only_enabled_sources_are_identified() {
    for (enabled, identification) in [(0, 0x01), (1, 0x04), (2, 0x02), (4, 0x06), (8, 0x00), (0x0A, 0x02)] {
        let mut port = with(&[(MCR, 0x1C), (MCR, 0x08), (DATA, b'x')]);
        receive(&mut port, b'a', LSR_FRAMING);
        let _ = port.write(IER, enabled);
        assert_eq!(port.read(IIR_FCR).0, identification, "IER {enabled:#x}");
    }
}

#[test]
fn reading_iir_ends_the_transmitters_interrupt_only_while_it_is_the_one_identified() {
    let mut port = with(&[(IER, 0x03), (DATA, b'x')]);
    receive(&mut port, b'a', 0);
    assert_eq!(read(&mut port, [IIR_FCR, IIR_FCR, DATA]), [0x04, 0x04, b'a']);
    assert_eq!(read(&mut port, [IIR_FCR, IIR_FCR]), [0x02, 0x01]);
    // Enabling it again, or sending, raises it again.
    write(&mut port, &[(IER, 0x01), (IER, 0x03)]);
    assert_eq!(read(&mut port, [IIR_FCR, IIR_FCR]), [0x02, 0x01]);
    let _ = port.write(DATA, b'y');
    assert_eq!(read(&mut port, [IIR_FCR, IIR_FCR]), [0x02, 0x01]);
}

#[test]
fn received_data_is_available_from_the_trigger_level_on() {
    for (control, level) in [(0x01, 1), (0x41, 4), (0x81, 8), (0xC1, 14)] {
        let mut port = with(&[(IIR_FCR, control), (IER, 0x01)]);
        for count in 1..=16 {
            receive(&mut port, count, 0);
            assert_eq!(port.read(IIR_FCR).0, if count >= level { 0xC4 } else { 0xC1 }, "{count} of {level}");
            assert_eq!(port.read(LSR).0 & LSR_DATA_READY, 1);
        }
        for left in (0..16).rev() {
            let _ = port.read(DATA);
            assert_eq!(port.read(IIR_FCR).0, if left >= level { 0xC4 } else { 0xC1 }, "{left} of {level}");
        }
    }
}

#[test]
fn the_fifo_control_register_clears_what_it_names() {
    let mut port = with(&[(IIR_FCR, 0xC1)]);
    let mut waiting = |control: u8| {
        receive(&mut port, b'a', 0);
        let _ = port.write(IIR_FCR, control);
        (port.read(IIR_FCR).0, port.read(LSR).0 & LSR_DATA_READY)
    };
    assert_eq!(waiting(0xC1), (0xC1, 1));
    assert_eq!(waiting(0xC5), (0xC1, 1));
    assert_eq!(waiting(0xC3), (0xC1, 0));
    // Switching the FIFOs off or on clears them; without the enable bit nothing else is programmed.
    assert_eq!(waiting(0xC0), (0x01, 0));
    assert_eq!(waiting(0x01), (0xC1, 0));
    let _ = port.write(IER, 0x01);
    receive(&mut port, b'a', 0);
    assert_eq!(port.read(IIR_FCR).0, 0xC4);
}

#[test]
fn a_full_fifo_keeps_what_it_holds_and_a_full_register_does_not() {
    for (control, kept) in [(0x01, 16), (0x00, 1)] {
        let mut port = with(&[(IIR_FCR, control), (MCR, 0x10), (IER, 0x04)]);
        for byte in 0..kept {
            let _ = port.write(DATA, byte);
        }
        assert_eq!((port.read(LSR).0, port.read(IIR_FCR).0 & 0x0F), (0x61, 0x01));
        let _ = port.write(DATA, 0xEE);
        assert_eq!(port.read(IIR_FCR).0 & 0x0F, 0x06);
        assert_eq!(read(&mut port, [LSR, LSR]), [0x63, 0x61]);
        assert_eq!(port.read(IIR_FCR).0 & 0x0F, 0x01);
        let first = port.read(DATA).0;
        assert_eq!(first, if kept == 1 { 0xEE } else { 0 });
        let rest = (1..kept).map(|_| port.read(DATA).0);
        assert!(rest.eq(1..kept));
        assert_eq!(port.read(LSR).0, 0x60);
    }
}

#[test]
fn words_have_the_length_of_the_line_control_register() {
    for (control, mask) in [(0, 0x1F), (1, 0x3F), (2, 0x7F), (3, 0xFF)] {
        let mut port = with(&[(LCR, control)]);
        receive(&mut port, 0xFF, 0);
        assert_eq!(port.read(DATA).0, mask);
        assert_eq!(port.write(DATA, 0xFF).output, Some(0xFF));
        write(&mut port, &[(MCR, 0x10), (DATA, 0xFF)]);
        assert_eq!(port.read(DATA).0, mask);
    }
}

#[test]
fn in_loop_back_the_modem_outputs_are_the_inputs() {
    for outputs in 0..16_u8 {
        let mut port = after_reset();
        write(&mut port, &[(MCR, 0x10), (MCR, 0x10 | outputs)]);
        let bit = |from: u8, to: u8| if outputs & from != 0 { to } else { 0 };
        let expected = bit(1, MSR_DSR) | bit(2, MSR_CTS) | bit(4, MSR_RI) | bit(8, MSR_DCD);
        assert_eq!(port.read(MSR).0 & 0xF0, expected, "MCR {outputs:#x}");
    }
}

#[test]
fn changes_of_the_modem_lines_show_until_they_are_read() {
    // MCR before and after, and the changes: DDCD, TERI (only at the end), DDSR, DCTS.
    for (before, after, changes) in [
        (0x10, 0x11, 0x2),
        (0x11, 0x10, 0x2),
        (0x10, 0x12, 0x1),
        (0x12, 0x10, 0x1),
        (0x10, 0x14, 0x0),
        (0x14, 0x10, 0x4),
        (0x10, 0x18, 0x8),
        (0x18, 0x10, 0x8),
        (0x1F, 0x10, 0xF),
        (0x15, 0x1A, 0xF),
        // Into and out of loop-back: the lines of the connected peer are CTS, DSR and DCD.
        (0x00, 0x10, 0xB),
        (0x00, 0x1B, 0x0),
        (0x14, 0x00, 0xF),
    ] {
        let mut port = with(&[(MCR, before), (IER, 0x08)]);
        let _ = port.read(MSR);
        let _ = port.write(MCR, after);
        assert_eq!(port.read(IIR_FCR).0, if changes == 0 { 0x01 } else { 0x00 });
        assert_eq!(port.read(MSR).0 & 0x0F, changes, "{before:#x} to {after:#x}");
        assert_eq!((port.read(MSR).0 & 0x0F, port.read(IIR_FCR).0), (0, 0x01));
    }
}

#[test]
fn output_2_gates_the_line_and_loop_back_disconnects_it() {
    for (control, gated) in [(0x08, true), (0x07, false), (0x1F, false), (0x0F, true)] {
        let mut port = with(&[(MCR, control), (IER, 0x02)]);
        assert_eq!(port.line(), gated, "MCR {control:#x}");
        assert_eq!(port.read(IIR_FCR).0, 0x02);
    }
}

#[test]
fn errors_show_when_their_character_is_the_first() {
    let mut port = with(&[(IIR_FCR, 0x01), (IER, 0x04)]);
    receive(&mut port, b'a', 0);
    receive(&mut port, b'b', LSR_PARITY | LSR_FRAMING);
    receive(&mut port, 0, LSR_BREAK);
    // Bit 7: there is an error somewhere in the FIFO.
    assert_eq!(read(&mut port, [IIR_FCR, LSR, LSR, DATA]), [0xC1, 0xE1, 0xE1, b'a']);
    assert_eq!(read(&mut port, [IIR_FCR, LSR, IIR_FCR, LSR, DATA]), [0xC6, 0xED, 0xC1, 0xE1, b'b']);
    assert_eq!(read(&mut port, [IIR_FCR, LSR, LSR, DATA, LSR]), [0xC6, 0xF1, 0x61, 0, 0x60]);
    // Without the FIFO, bit 7 is 0.
    let mut port = after_reset();
    receive(&mut port, 0, LSR_BREAK);
    assert_eq!(read(&mut port, [LSR, LSR, DATA]), [0x71, 0x61, 0]);
}

#[test]
fn the_character_time_out_lasts_four_characters() {
    // Bits of a character with start and stop bits, doubled.
    for (line, half_bits) in
        [(0x03, 20), (0x00, 14), (0x04, 15), (0x07, 22), (0x1B, 22), (0x1F, 24), (0x0A, 20)]
    {
        let mut port = with(&[(LCR, 0x80), (DATA, 3), (IER, 0), (LCR, line), (IIR_FCR, 0xC1), (IER, 0x01)]);
        let start = MachineTime::from_nanos(1_000_000);
        let _ = port.advance(start);
        assert!(port.receive(b'x').deadline);
        let expected = start.as_nanos() + 4 * half_bits * 3 * 4340;
        assert_eq!(port.next_deadline(), Some(MachineTime::from_nanos(expected)), "LCR {line:#x}");
    }
}

#[test]
fn the_character_time_out_starts_anew_with_each_character_and_ends_with_a_read() {
    let time = MachineTime::from_nanos;
    // 115200 baud: four characters take 347.2 microseconds.
    let mut port = with(&[(LCR, 0x83), (DATA, 1), (IER, 0), (LCR, 0x03), (IIR_FCR, 0xC1), (IER, 0x01)]);
    receive(&mut port, b'a', 0);
    let _ = port.advance(time(300_000));
    receive(&mut port, b'b', 0);
    assert_eq!(port.advance(time(600_000)), Action::NONE);
    assert_eq!((port.read(IIR_FCR).0, port.line()), (0xC1, false));
    assert_eq!(port.advance(time(700_000)).line, Some(true));
    assert_eq!((port.read(IIR_FCR).0, port.next_deadline()), (0xCC, None));
    // A new character does not end it; enabling nothing hides it.
    receive(&mut port, b'c', 0);
    write(&mut port, &[(IER, 0)]);
    assert_eq!(port.read(IIR_FCR).0, 0xC1);
    write(&mut port, &[(IER, 1)]);
    assert_eq!(read(&mut port, [IIR_FCR, DATA, IIR_FCR]), [0xCC, b'a', 0xC1]);
    assert_eq!(port.next_deadline(), Some(time(700_000 + 4 * 20 * 4340)));
    assert_eq!(read(&mut port, [DATA, DATA]), [b'b', b'c']);
    assert_eq!(port.next_deadline(), None);
    // There is none without the FIFO.
    write(&mut port, &[(IIR_FCR, 0)]);
    receive(&mut port, b'd', 0);
    assert_eq!((port.read(IIR_FCR).0, port.next_deadline()), (0x04, None));
}

#[test]
fn a_read_without_a_character_gives_the_last_one_or_none() {
    let mut port = after_reset();
    let _ = port.write(LCR, 3);
    receive(&mut port, b'a', 0);
    assert_eq!(read(&mut port, [DATA, DATA]), [b'a', b'a']);
    let _ = port.write(IIR_FCR, 1);
    receive(&mut port, b'b', 0);
    assert_eq!(read(&mut port, [DATA, DATA]), [b'b', 0]);
}
