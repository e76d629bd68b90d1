//! The protocol of the debug server: frames of a 32-bit length and that many bytes.
//!
//! Numbers are big-endian, registers are KVM's own structures, and nothing is padded. docs/debug-server.md
//! has the complete table.

use std::io::{self, ErrorKind, Read};

/// Hello; needs no answer.
pub const WELCOME: u32 = 0;
/// The requested data is not available.
pub const GENERIC_ERR: u32 = 1;
/// Requests the size of memory and the registers.
pub const REQ_INFO: u32 = 2;
/// Answers with the size of memory; the registers follow in two frames.
pub const SEND_INFO: u32 = 3;
/// Requests memory.
pub const REQ_DUMP_MEM: u32 = 4;
/// The run is over.
pub const SERVER_QUIT: u32 = 5;

/// Length of a message that carries only its type and the time, in bytes.
pub const SIMPLE: usize = 12;
/// Length of [`SEND_INFO`], in bytes.
pub const INFO: usize = SIMPLE + 8;
/// Length of a [`REQ_INFO`] that names a CPU, in bytes.
pub const CPU_REQUEST: usize = SIMPLE + 8;
/// Length of the [`SEND_INFO`] that answers it, in bytes.
pub const CPU_INFO: usize = INFO + 8;
/// Length of [`REQ_DUMP_MEM`], in bytes.
pub const DUMP: usize = SIMPLE + 16;

/// Maximum length of a message, in bytes. A longer frame can only be memory.
pub const MAX_MESSAGE: usize = 64;

/// A client's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugRequest {
    /// Nothing.
    Welcome,
    /// The size of memory, and the registers of the first CPU.
    Info,
    /// The size of memory, the number of CPUs, and the registers of one.
    CpuInfo {
        /// Number of the CPU.
        cpu: u64,
    },
    /// The guest-physical memory from `start` to `end` (exclusive).
    Dump {
        /// First address.
        start: u64,
        /// The address after the last one.
        end: u64,
    },
}

/// Why a frame is not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DebugRequestError {
    /// It is longer than any message.
    #[error("a message of {length} bytes; none has more than {MAX_MESSAGE}")]
    TooLong {
        /// Its length in bytes.
        length: u32,
    },
    /// Its length does not match its type.
    #[error("a message of {length} bytes that has another length")]
    Length {
        /// Its length in bytes.
        length: usize,
    },
    /// No request has this type.
    #[error("a message of type {kind}, which is no request")]
    Unknown {
        /// The type.
        kind: u32,
    },
}

impl DebugRequest {
    /// Decodes a frame.
    ///
    /// # Errors
    ///
    /// [`DebugRequestError`].
    pub fn parse(message: &[u8]) -> Result<DebugRequest, DebugRequestError> {
        let length = DebugRequestError::Length { length: message.len() };
        match (kind(message).ok_or(length)?, message.len()) {
            (WELCOME, SIMPLE) => Ok(DebugRequest::Welcome),
            (REQ_INFO, SIMPLE) => Ok(DebugRequest::Info),
            (REQ_INFO, CPU_REQUEST) => match number(message, SIMPLE) {
                Some(cpu) => Ok(DebugRequest::CpuInfo { cpu }),
                None => Err(length),
            },
            (REQ_DUMP_MEM, DUMP) => match (number(message, SIMPLE), number(message, SIMPLE + 8)) {
                (Some(start), Some(end)) => Ok(DebugRequest::Dump { start, end }),
                _ => Err(length),
            },
            (WELCOME | REQ_INFO | REQ_DUMP_MEM, _) => Err(length),
            (kind, _) => Err(DebugRequestError::Unknown { kind }),
        }
    }

    /// Encodes the whole frame; `seconds` is the Unix time.
    pub fn frame(self, seconds: u32) -> Vec<u8> {
        let mut frame = Vec::with_capacity(4 + DUMP);
        match self {
            DebugRequest::Welcome => add_frame(&mut frame, &simple(WELCOME, seconds)),
            DebugRequest::Info => add_frame(&mut frame, &simple(REQ_INFO, seconds)),
            DebugRequest::CpuInfo { cpu } => {
                add_length(&mut frame, CPU_REQUEST as u32);
                frame.extend(simple(REQ_INFO, seconds));
                frame.extend(cpu.to_be_bytes());
            }
            DebugRequest::Dump { start, end } => {
                add_length(&mut frame, DUMP as u32);
                frame.extend(simple(REQ_DUMP_MEM, seconds));
                frame.extend(start.to_be_bytes());
                frame.extend(end.to_be_bytes());
            }
        }
        frame
    }
}

/// Encodes a WELCOME with a password, as a whole frame.
pub fn welcome_with(password: &[u8], seconds: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    add_frame(&mut frame, &[&simple(WELCOME, seconds), password].concat());
    frame
}

/// The password in a WELCOME; `None` for another message.
pub fn password_in(message: &[u8]) -> Option<&[u8]> {
    if kind(message) == Some(WELCOME) { message.get(SIMPLE..) } else { None }
}

/// The type of a message; `None` if it is too short to have one.
pub fn kind(message: &[u8]) -> Option<u32> {
    message.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The size of memory in a [`SEND_INFO`], in bytes; `None` for another message.
pub fn memory_size(message: &[u8]) -> Option<u64> {
    let is_info = kind(message) == Some(SEND_INFO) && message.len() == INFO;
    if is_info { number(message, SIMPLE) } else { None }
}

/// The number of CPUs in a [`SEND_INFO`] that answers a request with a CPU; `None` for another message.
pub fn cpu_count(message: &[u8]) -> Option<u64> {
    let is_info = kind(message) == Some(SEND_INFO) && message.len() == CPU_INFO;
    if is_info { number(message, INFO) } else { None }
}

fn number(message: &[u8], at: usize) -> Option<u64> {
    message.get(at..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Encodes a message that carries only its type. Clients read the time from the first four of its eight
/// bytes.
pub fn simple(kind: u32, seconds: u32) -> [u8; SIMPLE] {
    let mut message = [0; SIMPLE];
    message[..4].copy_from_slice(&kind.to_be_bytes());
    message[4..8].copy_from_slice(&seconds.to_be_bytes());
    message
}

/// Encodes the size of memory, in bytes.
pub fn info(memory_size: u64, seconds: u32) -> [u8; INFO] {
    let mut message = [0; INFO];
    message[..SIMPLE].copy_from_slice(&simple(SEND_INFO, seconds));
    message[SIMPLE..].copy_from_slice(&memory_size.to_be_bytes());
    message
}

/// Encodes the size of memory, in bytes, and the number of CPUs.
pub fn cpu_info(memory_size: u64, cpus: u64, seconds: u32) -> [u8; CPU_INFO] {
    let mut message = [0; CPU_INFO];
    message[..INFO].copy_from_slice(&info(memory_size, seconds));
    message[INFO..].copy_from_slice(&cpus.to_be_bytes());
    message
}

/// Appends a frame with these bytes.
pub fn add_frame(out: &mut Vec<u8>, message: &[u8]) {
    add_length(out, message.len() as u32);
    out.extend(message);
}

/// Appends the header of a frame of `length` bytes.
pub fn add_length(out: &mut Vec<u8>, length: u32) {
    out.extend(length.to_be_bytes());
}

/// Reads a frame header. Returns the length, or `None` if the peer disconnected after a complete frame.
///
/// # Errors
///
/// Those of the reader, and [`ErrorKind::UnexpectedEof`] inside a header.
pub fn read_length(from: &mut impl Read) -> io::Result<Option<u32>> {
    let mut bytes = [0; 4];
    let mut count = 0;
    while count < bytes.len() {
        match from.read(&mut bytes[count..]) {
            Ok(0) if count == 0 => return Ok(None),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(u32::from_be_bytes(bytes)))
}

#[cfg(test)]
#[path = "protocol_test.rs"]
mod tests;
