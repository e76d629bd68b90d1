use super::*;

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
    let _ = port.write(IER, IER_RECEIVED);
    assert_eq!(port.receive(b'x').line, Some(true));
    let _ = port.receive(b'y');
    assert_eq!(port.read(LSR).0 & LSR_DATA_READY, 1);
    assert_eq!(port.read(IIR_FCR).0 & 0x0F, 0x04);
    assert_eq!(port.read(DATA), (b'x', Action::line(true)));
    assert_eq!(port.read(DATA), (b'y', Action::line(false)));
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
    assert_eq!(port.write(DATA, b'A').line, Some(true));
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
    let mut state = port.state();
    state.received = vec![0; 65];
    assert!(matches!(copy.set_state(state), Err(StateError::Damaged { .. })));
}
