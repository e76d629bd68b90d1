use std::io::{self, Read, Write};

use super::super::protocol::{
    DUMP, REQ_DUMP_MEM, REQ_INFO, SEND_INFO, SERVER_QUIT, WELCOME, cpu_count, kind, memory_size, welcome_with,
};
use super::*;

const MEMORY: u64 = 1 << 20;

/// A client that has already sent everything and reads all answers at the end.
struct Client<'a> {
    says: &'a [u8],
    received: Vec<u8>,
    /// Maximum number of bytes per read or write.
    at_once: usize,
}

impl Read for Client<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.at_once);
        self.says.read(&mut bytes[..count])
    }
}

impl Write for Client<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.at_once);
        self.received.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn guest(registers: Option<Registers>) -> DebugTarget {
    let memory = Arc::new(GuestMemory::new(MEMORY).unwrap());
    memory.write(0x1000, b"hello").unwrap();
    let of_cpu = move |cpu| {
        let registers = registers?;
        Some(CpuRegisters { registers: (cpu < 2).then_some(registers), count: 2 })
    };
    DebugTarget { memory, registers: Box::new(of_cpu), password: None }
}

/// Returns the answers to a client, frame by frame, and how the session ended.
fn answers(guest: &DebugTarget, says: &[u8]) -> (Vec<Vec<u8>>, io::Result<SessionEnd>) {
    let mut whole = None;
    for at_once in [usize::MAX, 1] {
        let mut client = Client { says, received: Vec::new(), at_once };
        let end = serve_client(&mut client, guest);
        let mut rest = client.received.as_slice();
        let mut frames = Vec::new();
        while let Some(length) = read_length(&mut rest).unwrap() {
            let (frame, others) = rest.split_at(length as usize);
            frames.push(frame.to_vec());
            rest = others;
        }
        if let Some((before, _)) = whole.replace((frames, end)) {
            let (now, _) = whole.as_ref().unwrap();
            let lengths = |frames: &[Vec<u8>]| frames.iter().map(Vec::len).collect::<Vec<usize>>();
            assert_eq!(lengths(now), lengths(&before), "answers do not depend on how the requests are split");
        }
    }
    whole.unwrap()
}

fn dump_of(start: u64, end: u64) -> Vec<u8> {
    DebugRequest::Dump { start, end }.frame(1)
}

/// Returns the answer to one request, after which the session continues.
fn answer(guest: &DebugTarget, request: &[u8]) -> Vec<u8> {
    let says = [request, &dump_of(0x1000, 0x1005)].concat();
    let (frames, end) = answers(guest, &says);
    assert_eq!(end.unwrap(), SessionEnd::Disconnected);
    assert_eq!(frames[1..], [b"hello".to_vec()], "the session continues");
    frames[0].clone()
}

fn is_error(message: &[u8]) -> bool {
    kind(message) == Some(GENERIC_ERR)
}

#[test]
fn memory_is_sent_unchanged() {
    let guest = guest(None);
    assert_eq!(answer(&guest, &dump_of(0xFFF, 0x1006)), b"\0hello\0");
    assert_eq!(answer(&guest, &dump_of(MEMORY - 3, MEMORY)), [0; 3]);
    let all = answer(&guest, &dump_of(0, MEMORY));
    assert_eq!(all.len() as u64, MEMORY, "in more than one piece");
    assert_eq!(all[0x1000..0x1005], *b"hello");
    guest.memory.insert_breakpoint(0x1001, 0xCC);
    assert_eq!(answer(&guest, &dump_of(0x1000, 0x1005)), b"hello", "whatever is planted there");
}

#[test]
fn empty_ranges_can_be_requested() {
    let guest = guest(None);
    for at in [0, 0x1000, MEMORY] {
        assert_eq!(answer(&guest, &dump_of(at, at)), [0; 0]);
    }
}

#[test]
fn memory_that_is_not_there_is_an_error() {
    let guest = guest(None);
    for (start, end) in [
        (MEMORY, MEMORY + 1),
        (MEMORY - 1, MEMORY + 1),
        (MEMORY + 1, MEMORY + 1),
        (0x1005, 0x1000),
        (u64::MAX, 0),
        (0, u64::MAX),
        (1 << 63, 1 << 63),
        (u64::MAX, u64::MAX),
    ] {
        let message = answer(&guest, &dump_of(start, end));
        assert!(is_error(&message), "{start:#x}..{end:#x}");
        assert_eq!(message.len(), SIMPLE);
        assert_eq!(message[8..], [0; 4]);
    }
}

#[test]
fn an_error_never_has_as_many_bytes_as_memory_would_have() {
    let guest = guest(None);
    assert_eq!(answer(&guest, &dump_of(0x1000, 0x100C)).len(), SIMPLE);
    let message = answer(&guest, &dump_of(MEMORY, MEMORY + 12));
    assert!(is_error(&message));
    assert_eq!(message.len(), SIMPLE + 1);
}

#[test]
fn more_than_a_frame_can_hold_is_an_error() {
    let memory = Arc::new(GuestMemory::new(8 << 30).unwrap());
    let high = 4 << 30;
    assert_eq!(frame_length(&memory, high, 2 * high - 1), Some(u32::MAX));
    assert_eq!(frame_length(&memory, high, 2 * high), None);
    assert_eq!(frame_length(&memory, (3 << 30) - 1, (3 << 30) + 1), None, "a window of devices begins there");
}

#[test]
fn registers_follow_the_size_of_memory() {
    let mut registers = Registers::default();
    registers.general.rip = 0x20_0000;
    registers.system.cr3 = 0x3000;
    let says =
        [DebugRequest::Welcome.frame(1), DebugRequest::Info.frame(1), dump_of(0x1000, 0x1001)].concat();
    let (frames, end) = answers(&guest(Some(registers)), &says);
    assert_eq!(end.unwrap(), SessionEnd::Disconnected);
    let [info, general, system, memory] = frames.as_slice() else { panic!("{} frames", frames.len()) };
    assert_eq!((kind(info), memory_size(info)), (Some(SEND_INFO), Some(MEMORY)));
    let decoded = register_bytes::from_bytes(
        general.as_slice().try_into().unwrap(),
        system.as_slice().try_into().unwrap(),
    );
    assert_eq!(decoded, registers);
    assert_eq!(memory, b"h");
}

/// The guest is paused for each register read.
#[test]
fn a_client_that_requests_registers_continuously_leaves_the_guest_time_to_run() {
    let start = Instant::now();
    let says = DebugRequest::Info.frame(1).repeat(21);
    let mut client = Client { says: &says, received: Vec::new(), at_once: usize::MAX };
    assert_eq!(
        serve_client(&mut client, &guest(Some(Registers::default()))).unwrap(),
        SessionEnd::Disconnected
    );
    assert!(start.elapsed() >= 20 * MIN_QUERY_INTERVAL, "{:?}", start.elapsed());
}

#[test]
fn a_request_for_registers_after_the_run_is_answered_with_an_error() {
    let (frames, end) = answers(&guest(None), &DebugRequest::Info.frame(1));
    assert_eq!(end.unwrap(), SessionEnd::NoRegisters);
    assert!(frames.len() == 1 && is_error(&frames[0]));
}

#[test]
fn an_invalid_request_is_an_error() {
    let guest = guest(None);
    let framed = |message: &[u8]| {
        let mut frame = Vec::new();
        add_frame(&mut frame, message);
        frame
    };
    for message in [&[][..], &[0; 3], &[0; 4], &[0; 13], &simple(REQ_DUMP_MEM, 1), &[0; MAX_MESSAGE]] {
        assert!(is_error(&answer(&guest, &framed(message))), "{message:?}");
    }
    for message in [simple(SERVER_QUIT, 1).to_vec(), simple(77, 1).to_vec(), vec![0xFF; DUMP]] {
        let (frames, end) = answers(&guest, &[framed(&message), dump_of(0, 1)].concat());
        assert!(matches!(end.unwrap(), SessionEnd::Refused(DebugRequestError::Unknown { .. })));
        assert!(frames.len() == 1 && is_error(&frames[0]));
    }
    for length in [MAX_MESSAGE as u32 + 1, u32::MAX] {
        let (frames, end) = answers(&guest, &length.to_be_bytes());
        assert_eq!(end.unwrap(), SessionEnd::Refused(DebugRequestError::TooLong { length }));
        assert!(frames.len() == 1 && is_error(&frames[0]));
    }
}

#[test]
fn a_password_is_sent_in_the_first_message() {
    let guest = DebugTarget { password: Some(Password("open sesame".to_owned())), ..guest(None) };
    let memory = dump_of(0x1000, 0x1005);
    let (frames, end) = answers(&guest, &[welcome_with(b"open sesame", 1), memory.clone()].concat());
    assert_eq!((frames, end.unwrap()), (vec![b"hello".to_vec()], SessionEnd::Disconnected));
    for first in
        [welcome_with(b"open sesam", 1), welcome_with(b"", 1), memory.clone(), DebugRequest::Info.frame(1)]
    {
        let (frames, end) = answers(&guest, &[first, memory.clone()].concat());
        assert_eq!(end.unwrap(), SessionEnd::NoPassword);
        assert!(frames.len() == 1 && is_error(&frames[0]));
    }
}

#[test]
fn requests_of_browsers_end_the_session() {
    let (frames, end) = answers(&guest(None), &[&b"GET / HTTP/1.1\r\n\r\n"[..], &dump_of(0, 1)].concat());
    assert_eq!(end.unwrap(), SessionEnd::Foreign(ForeignProtocol::Http));
    assert!(frames.len() == 1 && is_error(&frames[0]));
}

#[test]
fn clients_may_leave_at_any_time() {
    let guest = guest(None);
    let (frames, end) = answers(&guest, &[]);
    assert!(frames.is_empty());
    assert_eq!(end.unwrap(), SessionEnd::Disconnected);
    for kind in [WELCOME, REQ_INFO] {
        let mut whole = Vec::new();
        add_frame(&mut whole, &simple(kind, 1));
        for cut in 1..whole.len() {
            let (frames, end) = answers(&guest, &whole[..cut]);
            assert!(frames.is_empty());
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}

#[test]
fn each_cpu_has_registers() {
    let says = [0, 1, 2, u64::MAX].map(|cpu| DebugRequest::CpuInfo { cpu }.frame(1)).concat();
    let (frames, end) = answers(&guest(Some(Registers::default())), &says);
    assert_eq!(end.unwrap(), SessionEnd::Disconnected);
    let lengths: Vec<usize> = frames.iter().map(Vec::len).collect();
    assert_eq!(
        lengths,
        [28, 144, 312, 28, 144, 312, 12, 12],
        "three frames, and an error for a CPU that is not there"
    );
    assert_eq!(cpu_count(&frames[3]), Some(2));
    assert_eq!(cpu_count(&frames[6]), None);
}
