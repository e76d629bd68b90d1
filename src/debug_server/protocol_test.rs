use super::*;

#[test]
fn requests_are_read_as_they_are_written() {
    for request in [
        DebugRequest::Welcome,
        DebugRequest::Info,
        DebugRequest::CpuInfo { cpu: 0x0102_0304_0506_0708 },
        DebugRequest::Dump { start: 0xBF000, end: 0xBF000 + 2000 },
        DebugRequest::Dump { start: u64::MAX, end: 0 },
    ] {
        let frame = request.frame(7);
        assert_eq!(read_length(&mut frame.as_slice()).unwrap(), Some(frame.len() as u32 - 4));
        assert_eq!(DebugRequest::parse(&frame[4..]), Ok(request));
    }
}

#[test]
fn messages_have_the_bytes_that_clients_in_c_expect() {
    assert_eq!(
        DebugRequest::Dump { start: 0xBF000, end: 0xBF7D0 }.frame(0x5A00_0001),
        [
            0, 0, 0, 28, 0, 0, 0, 4, 0x5A, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0B, 0xF0, 0, 0, 0, 0, 0, 0,
            0x0B, 0xF7, 0xD0
        ]
    );
    assert_eq!(info(64 << 20, 2), [0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0]);
    assert_eq!(memory_size(&info(64 << 20, 2)), Some(64 << 20));
    assert_eq!(memory_size(&simple(SEND_INFO, 2)), None);
}

#[test]
fn a_message_of_another_length_or_type_is_no_request() {
    let whole = DebugRequest::Dump { start: 1, end: 2 }.frame(0);
    for length in 0..DUMP {
        assert_eq!(DebugRequest::parse(&whole[4..4 + length]), Err(DebugRequestError::Length { length }));
    }
    assert_eq!(DebugRequest::parse(&[0; 13]), Err(DebugRequestError::Length { length: 13 }));
    for kind in [GENERIC_ERR, SEND_INFO, SERVER_QUIT, 6, u32::MAX] {
        assert_eq!(DebugRequest::parse(&simple(kind, 0)), Err(DebugRequestError::Unknown { kind }));
    }
}

#[test]
fn a_frame_ends_where_the_peer_disconnects() {
    assert_eq!(read_length(&mut [].as_slice()).unwrap(), None);
    let cut = read_length(&mut [0, 0, 0].as_slice()).unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::UnexpectedEof);
}
