//! `kvm debug-client`: requests memory and registers from a debug server and prints them.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{
    CPU_INFO, DebugRequest, GENERIC_ERR, INFO, MAX_MESSAGE, SERVER_QUIT, kind, memory_size, read_length,
    welcome_with,
};
use super::register_bytes::{self, GENERAL_BYTES, SYSTEM_BYTES};
use super::session::seconds;
use crate::inspect::dump::dump_registers;
use crate::inspect::hexdump::{LINE, add_line};
use crate::os::connection::Stream;
use crate::settings::{DebugClientSpec, Password};

/// Timeout for an answer of the server.
const TIMEOUT: Duration = Duration::from_secs(30);
/// CPUs that are asked for at most.
const MOST_CPUS: u64 = 256;
/// Bytes of memory that are read and printed at once; a multiple of a printed line.
const CHUNK: usize = 64 << 10;

/// Why the requested data could not be printed completely.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection failed.
    #[error(
        "cannot connect to the debug server at {place}: {reason}; start the guest with --debug-server, or \
         give the address that kvm printed"
    )]
    Connect {
        /// The server's address.
        place: String,
        /// The reason.
        reason: io::Error,
    },
    /// The server refuses to send this memory.
    #[error(
        "the debug server has no memory {start:#x}..{end:#x}: not all of that is RAM of the guest; the \
         line `RAM` has its size"
    )]
    NotRam {
        /// First address.
        start: u64,
        /// The address after the last one.
        end: u64,
    },
    /// The server refuses to send registers.
    #[error("the debug server cannot read the registers; the guest may just have ended. Try again")]
    NoRegisters,
    /// The run is over.
    #[error("the guest's run is over")]
    Quit,
    /// The server disconnected.
    #[error(
        "the debug server closed the connection; the guest's run may be over, the maximum number of clients may be \
         connected, or it has another password (--password-file)"
    )]
    Disconnected,
    /// The server did not answer in time.
    #[error("the debug server has not answered for {} seconds", TIMEOUT.as_secs())]
    TimedOut,
    /// The file of the password cannot be read.
    #[error("cannot read the password in {}: {reason}; --password-file names a file of at most {} bytes", file.display(), Password::LONGEST)]
    Password {
        /// The file.
        file: PathBuf,
        /// The reason.
        reason: io::Error,
    },
    /// The server sent an invalid answer.
    #[error(
        "the peer is no debug server: it answered {found} bytes instead of {wanted}. Check the address that \
         kvm printed"
    )]
    NotADebugServer {
        /// Length of the answer, in bytes.
        found: u32,
        /// Expected length, in bytes.
        wanted: usize,
    },
    /// The connection failed in another way.
    #[error("the connection to the debug server failed: {0}")]
    Connection(io::Error),
    /// The reader of the output has closed it.
    #[error("the reader of the output has closed it")]
    OutputClosed,
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

impl ClientError {
    fn receiving(error: io::Error) -> ClientError {
        match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                ClientError::Disconnected
            }
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ClientError::TimedOut,
            _ => ClientError::Connection(error),
        }
    }

    fn printing(error: io::Error) -> ClientError {
        match error.kind() {
            ErrorKind::BrokenPipe => ClientError::OutputClosed,
            _ => ClientError::Output(error),
        }
    }
}

/// Connects and prints the data that `wanted` requests.
///
/// # Errors
///
/// [`ClientError`]. Data received before the error has been printed.
pub fn run(spec: &DebugClientSpec, out: &mut impl Write) -> Result<(), ClientError> {
    let connect = |reason| ClientError::Connect { place: spec.address.to_string(), reason };
    let mut stream = Stream::connect(&spec.address).map_err(connect)?;
    stream.set_timeouts(TIMEOUT, TIMEOUT).map_err(connect)?;
    if let Some(file) = &spec.password_file {
        let password =
            password(file).map_err(|reason| ClientError::Password { file: file.clone(), reason })?;
        stream.write_all(&welcome_with(&password, seconds())).map_err(ClientError::receiving)?;
    }
    print(&mut stream, spec.start, spec.end, out)
}

/// The first line of a file.
fn password(file: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    // With a line end of two bytes, and a byte that is too many.
    File::open(file)?.take(Password::LONGEST as u64 + 3).read_to_end(&mut text)?;
    let line = text.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    match line.len() {
        1..=Password::LONGEST => Ok(line.to_vec()),
        length => Err(io::Error::other(format!("the first line has {length} bytes"))),
    }
}

/// Requests the memory from `start` to `end` (exclusive) and then the registers, and prints both.
///
/// # Errors
///
/// [`ClientError`]. Data received before the error has been printed.
pub fn print<S: Read + Write>(
    stream: &mut S,
    start: u64,
    end: u64,
    out: &mut impl Write,
) -> Result<(), ClientError> {
    let memory = print_memory(stream, start, end, out);
    match memory {
        // The remaining answers are still available.
        Ok(()) | Err(ClientError::NotRam { .. }) => print_info(stream, out)?,
        Err(_) => {}
    }
    out.flush().map_err(ClientError::printing)?;
    memory
}

fn print_memory<S: Read + Write>(
    stream: &mut S,
    start: u64,
    end: u64,
    out: &mut impl Write,
) -> Result<(), ClientError> {
    let wanted = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
    match ask(stream, DebugRequest::Dump { start, end }, wanted)? {
        Reply::Expected => {}
        Reply::Refused => return Err(ClientError::NotRam { start, end }),
    }
    writeln!(out, "Memory {start:#x}..{end:#x}:").map_err(ClientError::printing)?;
    let mut bytes = vec![0; CHUNK.min(wanted)];
    let mut text = String::new();
    let mut at = start;
    while at < end {
        let count = CHUNK.min((end - at) as usize);
        let piece = &mut bytes[..count];
        stream.read_exact(piece).map_err(ClientError::receiving)?;
        text.clear();
        for (line, address) in piece.chunks(LINE).zip((at..).step_by(LINE)) {
            add_line(&mut text, address, line);
        }
        out.write_all(text.as_bytes()).map_err(ClientError::printing)?;
        at += count as u64;
    }
    Ok(())
}

fn print_info<S: Read + Write>(stream: &mut S, out: &mut impl Write) -> Result<(), ClientError> {
    match ask(stream, DebugRequest::Info, INFO)? {
        Reply::Expected => {}
        Reply::Refused => return Err(ClientError::NoRegisters),
    }
    let info: [u8; INFO] = receive(stream)?;
    let size = memory_size(&info).ok_or(ClientError::NotADebugServer { found: INFO as u32, wanted: INFO })?;
    let registers = receive_registers(stream)?;
    write!(out, "RAM: {size} bytes\n{registers}").map_err(ClientError::printing)?;
    let mut cpu = 1;
    // A machine without this CPU, and a server that knows no others, refuse the request; so do both when the run has
    // ended meanwhile.
    while let Ok(Reply::Expected) = ask(stream, DebugRequest::CpuInfo { cpu }, CPU_INFO) {
        let _: [u8; CPU_INFO] = receive(stream)?;
        let registers = receive_registers(stream)?;
        write!(out, "CPU {cpu}: {registers}").map_err(ClientError::printing)?;
        cpu += 1;
        if cpu >= MOST_CPUS {
            break;
        }
    }
    Ok(())
}

/// The registers of one CPU as text.
fn receive_registers<S: Read + Write>(stream: &mut S) -> Result<String, ClientError> {
    let general: [u8; GENERAL_BYTES] = receive_frame(stream)?;
    let system: [u8; SYSTEM_BYTES] = receive_frame(stream)?;
    Ok(dump_registers(&register_bytes::from_bytes(&general, &system)))
}

enum Reply {
    /// A frame of the requested length; its content is still to be read.
    Expected,
    /// The server refuses the request.
    Refused,
}

fn ask<S: Read + Write>(stream: &mut S, request: DebugRequest, wanted: usize) -> Result<Reply, ClientError> {
    stream.write_all(&request.frame(seconds())).map_err(ClientError::receiving)?;
    let found = read_length(stream).map_err(ClientError::receiving)?.ok_or(ClientError::Disconnected)?;
    if found as usize == wanted {
        return Ok(Reply::Expected);
    }
    let mut message = [0; MAX_MESSAGE];
    let message = message.get_mut(..found as usize).ok_or(ClientError::NotADebugServer { found, wanted })?;
    stream.read_exact(message).map_err(ClientError::receiving)?;
    match kind(message) {
        Some(GENERIC_ERR) => Ok(Reply::Refused),
        Some(SERVER_QUIT) => Err(ClientError::Quit),
        _ => Err(ClientError::NotADebugServer { found, wanted }),
    }
}

fn receive_frame<const N: usize>(stream: &mut impl Read) -> Result<[u8; N], ClientError> {
    let found = read_length(stream).map_err(ClientError::receiving)?.ok_or(ClientError::Disconnected)?;
    if found as usize != N {
        return Err(ClientError::NotADebugServer { found, wanted: N });
    }
    receive(stream)
}

fn receive<const N: usize>(stream: &mut impl Read) -> Result<[u8; N], ClientError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).map_err(ClientError::receiving)?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "client_test.rs"]
mod tests;
