use super::*;
use crate::devices::{Payload, Snapshot, StateError};

fn initialised() -> SerialPort {
    let mut port = SerialPort::default();
    for (offset, value) in
        [(IER, 0), (LCR, 0x80), (DATA, 1), (IER, 0), (LCR, 3), (IIR_FCR, 0xC7), (MCR, 0x0B)]
    {
        assert_eq!(port.write(offset, value).output, None, "a divisor byte must not be sent");
    }
    port
}

#[test]
fn bytes_written_to_the_transmitter_are_sent_at_once() {
    let mut port = initialised();
    assert_eq!(port.write(DATA, b'A').output, Some(b'A'));
    assert_eq!(port.read(LSR).0 & 0x60, 0x60);
}

#[test]
fn received_bytes_come_out_in_order_and_raise_the_line() {
    let mut port = initialised();
    let _ = port.write(IIR_FCR, 0x07);
    let _ = port.write(IER, IER_RECEIVED);
    assert_eq!(port.receive(b'x').line, Some(true));
    let _ = port.receive(b'y');
    assert_eq!(port.read(LSR).0 & LSR_DATA_READY, 1);
    assert_eq!(port.read(IIR_FCR).0 & 0x0F, 0x04);
    let mut next = || {
        let (byte, action) = port.read(DATA);
        (byte, action.line)
    };
    assert_eq!((next(), next()), ((b'x', Some(true)), (b'y', Some(false))));
    assert_eq!(port.read(LSR).0 & LSR_DATA_READY, 0);
}

#[test]
fn the_receiver_holds_sixteen_bytes_with_fifo_and_one_without() {
    let mut port = initialised();
    assert_eq!(port.room(), 16);
    for byte in 0..20 {
        let _ = port.receive(byte);
    }
    assert_eq!(port.room(), 0);
    let _ = port.write(IIR_FCR, 0);
    assert_eq!((port.room(), port.read(LSR).0 & LSR_DATA_READY), (1, 0));
    assert_eq!(port.read(IIR_FCR).0, 0x01);
}

#[test]
fn the_transmitter_interrupt_ends_when_it_is_identified() {
    let mut port = initialised();
    assert_eq!(port.write(IER, IER_EMPTY).line, Some(true));
    assert_eq!(port.read(IIR_FCR), (0xC2, Action::line(false)));
    // Writing ends the interrupt of the empty transmitter, and sending raises it again: an edge.
    assert_eq!((port.write(DATA, b'A').line, port.line()), (Some(false), true));
    assert_eq!((port.write(DATA, b'B').line, port.line()), (Some(false), true));
    let _ = port.write(MCR, 0);
    assert!(!port.line(), "output 2 gates the line");
}

#[test]
fn loopback_stays_inside() {
    let mut port = initialised();
    let _ = port.write(MCR, 0x1E);
    assert_eq!(port.write(DATA, 0xAE).output, None);
    assert_eq!(port.read(DATA).0, 0xAE);
    assert_eq!(port.room(), 0);
}

#[test]
fn polling_for_output_does_not_count_as_reading_input() {
    let mut port = initialised();
    for byte in b"hello" {
        let _ = port.read(LSR);
        let _ = port.write(DATA, *byte);
    }
    assert!(!port.reads_input());
    let _ = port.read(LSR);
    let _ = port.read(LSR);
    assert!(port.reads_input());
}

#[test]
fn writes_are_coalesced_only_while_they_do_nothing_but_send() {
    let mut port = initialised();
    assert!(port.sends_quietly());
    for (offset, value) in [(LCR, 0x83), (MCR, 0x1B), (IER, IER_EMPTY)] {
        let mut port = initialised();
        let _ = port.write(offset, value);
        assert!(!port.sends_quietly(), "offset {offset}");
    }
    let _ = port.read(LSR);
}

#[test]
fn a_port_in_mid_operation_survives_save_and_restore() {
    let mut port = initialised();
    let _ = port.write(IER, IER_RECEIVED | IER_EMPTY);
    for byte in b"half a line" {
        let _ = port.receive(*byte);
    }
    let _ = port.read(DATA);
    let _ = port.write(7, 0x5A);
    let saved = port.save();
    let mut copy = SerialPort::default();
    copy.restore(&saved).unwrap();
    assert_eq!(copy.save(), saved);
    for offset in [IIR_FCR, LSR, DATA, DATA, 7, IER, LCR, MCR, 6] {
        assert_eq!(copy.read(offset), port.read(offset), "offset {offset}");
    }
}

#[test]
fn impossible_states_are_refused() {
    let bytes = SerialPort::default().save().bytes;
    let with = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        SerialPort::default().restore(&Payload { kind: "serial".into(), version: 2, bytes })
    };
    assert_eq!(with(1, 0x0F), Ok(()));
    // IER, FCR, MCR and MSR have bits that do not exist; the FIFO is on in one place and off in the other.
    for (at, value) in [(1, 0x10), (2, 0x02), (2, 0x01), (4, 0x20), (5, 0x10)] {
        assert!(matches!(with(at, value), Err(StateError::Damaged { .. })), "byte {at} is {value:#x}");
    }
    let too_many = Receiver::holding(true, &[0; 16]);
    assert!(too_many.is_possible() && too_many.room() == 0);
}

/// A port as version 1 saved it.
fn version_1(received: &[u8], fifo: bool) -> Payload {
    let state: ([u8; 2], [u8; 7], &[u8], [bool; 4]) =
        ([1, 0], [0x07, 0x04, 0x03, 0x61, 0x0B, 0xB0, 0x5A], received, [fifo, true, true, true]);
    Payload { kind: "serial".into(), version: 1, bytes: postcard::to_stdvec(&state).unwrap() }
}

#[test]
fn a_port_that_version_1_has_saved_is_read() {
    let mut port = SerialPort::default();
    port.restore(&version_1(b"ab", true)).unwrap();
    assert!(port.reads_input() && port.line());
    for (offset, value) in [(IER, 0x07), (IIR_FCR, 0xC4), (LCR, 0x03), (MCR, 0x0B), (MSR, 0xB0), (SCR, 0x5A)]
    {
        assert_eq!(port.read(offset).0, value, "offset {offset}");
    }
    let text = [LSR, DATA, DATA, LSR].map(|offset| port.read(offset).0);
    assert_eq!(text, [0x61, b'a', b'b', 0x60]);
    assert_eq!(port.read(IIR_FCR).0, 0xC2);

    // It kept more bytes in loop-back than the chip does.
    for (fifo, kept) in [(true, 16), (false, 1)] {
        port.restore(&version_1(&[b'x'; 64], fifo)).unwrap();
        let all = std::iter::from_fn(|| (port.read(LSR).0 & LSR_DATA_READY != 0).then(|| port.read(DATA).0));
        assert_eq!(all.count(), kept);
    }
    let mut newer = port.save();
    newer.version = 3;
    assert!(port.restore(&newer).unwrap_err().to_string().contains("has version 3"));
}
