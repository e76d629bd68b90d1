use std::io::Cursor;

use super::super::protocol::{add_frame, add_length, info, simple};
use super::super::session::error;
use super::*;
use crate::arch::Registers;

/// A server that has already sent all its answers.
struct Server<'a>(Cursor<&'a [u8]>);

impl Read for Server<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for Server<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The output for a server with these answers and a client that requests `length` bytes from 0x1000.
fn printed(says: &[u8], length: u64) -> (String, Result<(), ClientError>) {
    let mut out = Vec::new();
    let result = print(&mut Server(Cursor::new(says)), 0x1000, 0x1000 + length, &mut out);
    (String::from_utf8(out).unwrap(), result)
}

/// Memory size and registers.
fn last_frames() -> Vec<u8> {
    let mut registers = Registers::default();
    registers.general.rip = 0x1234_5678;
    let (general, system) = register_bytes::to_bytes(&registers);
    let mut frames = Vec::new();
    add_frame(&mut frames, &info(64 << 20, 1));
    add_frame(&mut frames, &general);
    add_frame(&mut frames, &system);
    frames
}

#[test]
fn memory_and_registers_are_printed() {
    let mut says = Vec::new();
    add_frame(&mut says, b"The guest's text, and more");
    says.extend(last_frames());
    let (text, result) = printed(&says, 26);
    result.unwrap();
    let (memory, rest) = text.split_at(text.find("RAM: ").unwrap());
    assert_eq!(
        memory,
        "Memory 0x1000..0x101a:\n\
         0000001000  54 68 65 20 67 75 65 73  74 27 73 20 74 65 78 74  |The guest's text|\n\
         0000001010  2c 20 61 6e 64 20 6d 6f  72 65                    |, and more|\n"
    );
    assert!(rest.starts_with("RAM: 67108864 bytes\nTarget program dump:\n"));
    assert!(rest.contains("RIP    0x0000000012345678"), "{rest}");
}

#[test]
fn memory_of_any_size_is_printed_piece_by_piece() {
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        let mut says = Vec::new();
        add_length(&mut says, length as u32);
        says.extend(vec![b'x'; length]);
        says.extend(last_frames());
        let (text, result) = printed(&says, length as u64);
        result.unwrap();
        let shown: usize =
            text.lines().filter_map(|line| line.split('|').nth(1)).map(|characters| characters.len()).sum();
        assert_eq!(shown, length);
    }
}

#[test]
fn refused_memory_is_reported_after_the_rest() {
    for length in [1, 12, 2000] {
        let says = [error(length), last_frames()].concat();
        let (text, result) = printed(&says, length);
        assert!(matches!(result, Err(ClientError::NotRam { start: 0x1000, .. })), "{result:?}");
        assert!(text.starts_with("RAM: "));
    }
}

#[test]
fn a_server_that_exits_or_disconnects_is_reported() {
    let mut quits = Vec::new();
    add_frame(&mut quits, &simple(SERVER_QUIT, 1));
    assert!(matches!(printed(&quits, 5).1, Err(ClientError::Quit)));
    let mut whole = Vec::new();
    add_frame(&mut whole, b"memory");
    whole.extend(last_frames());
    for cut in 0..whole.len() {
        let (_, result) = printed(&whole[..cut], 6);
        assert!(matches!(result, Err(ClientError::Disconnected)), "{cut}: {result:?}");
    }
    let full = [error(0), error(0)].concat();
    assert!(matches!(printed(&full, 5).1, Err(ClientError::NoRegisters)));
}

#[test]
fn a_peer_that_is_no_debug_server_is_reported() {
    for says in [&b"HTTP/1.1 400 Bad DebugRequest\r\n\r\n"[..], &[0; 4], &[0xFF; 100], &[0, 0, 0, 1, 7]] {
        let (text, result) = printed(says, 2000);
        assert!(matches!(result, Err(ClientError::NotADebugServer { wanted: 2000, .. })), "{result:?}");
        assert_eq!(text, "");
    }
    let mut short = Vec::new();
    add_frame(&mut short, b"memory");
    add_frame(&mut short, &info(1 << 20, 1));
    add_frame(&mut short, &[0; GENERAL_BYTES - 1]);
    let (_, result) = printed(&short, 6);
    assert!(matches!(result, Err(ClientError::NotADebugServer { wanted: GENERAL_BYTES, .. })), "{result:?}");
}
