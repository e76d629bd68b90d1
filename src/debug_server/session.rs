//! The session of one client: its requests and their answers.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::debug;

use super::protocol::{
    DebugRequest, DebugRequestError, GENERIC_ERR, MAX_MESSAGE, SIMPLE, add_frame, add_length, cpu_info, info,
    password_in, read_length, simple,
};
use super::register_bytes;
use crate::arch::Registers;
use crate::machine::CpuId;
use crate::memory::GuestMemory;
use crate::os::foreign_protocol::ForeignProtocol;
use crate::settings::Password;
use crate::supervisor::request_queue::RequestSender;
use crate::supervisor::stopped_machine::StoppedMachine;

/// Memory is copied and sent in pieces of this size, in bytes.
const CHUNK: u64 = 64 << 10;

/// Minimum interval between two register reads of one client. Each read pauses the guest, and a client that
/// sends requests without pause must not stall it.
const MIN_QUERY_INTERVAL: Duration = Duration::from_millis(1);

/// What a guest answers to a request for the registers of a CPU.
#[derive(Clone, Copy, Debug)]
pub struct CpuRegisters {
    /// The registers; `None` if the machine has no such CPU.
    pub registers: Option<Registers>,
    /// How many CPUs the machine has.
    pub count: u64,
}

/// What the server exposes to clients.
pub struct DebugTarget {
    /// The guest's memory, which is read while it runs.
    pub memory: Arc<GuestMemory>,
    /// Requests the registers of the CPU with this number, read between two instructions; `None` once the run is over.
    pub registers: Box<dyn Fn(u64) -> Option<CpuRegisters> + Send + Sync>,
    /// The password that each client must send first.
    pub password: Option<Password>,
}

impl DebugTarget {
    /// Creates a target with this memory, whose registers are read through the guest's request queue. Clients must send
    /// `password` if there is one.
    pub fn new(memory: Arc<GuestMemory>, caller: RequestSender, password: Option<Password>) -> DebugTarget {
        let registers =
            move |cpu| caller.with_stopped_machine(move |machine| of_cpu(machine, cpu)).ok().flatten();
        DebugTarget { memory, registers: Box::new(registers), password }
    }

    /// True if `message` holds the password, or if there is none. Digests are compared, so that the time of the comparison
    /// reveals nothing about the password.
    fn admits(&self, message: &[u8]) -> bool {
        let digest = |bytes: &[u8]| ring::digest::digest(&ring::digest::SHA256, bytes);
        self.password.as_ref().is_none_or(|password| {
            password_in(message)
                .is_some_and(|sent| digest(sent).as_ref() == digest(password.0.as_bytes()).as_ref())
        })
    }
}

/// The registers of CPU number `cpu`; `None` if the host does not return them.
fn of_cpu(machine: &dyn StoppedMachine, cpu: u64) -> Option<CpuRegisters> {
    let count = machine.cpu_count() as u64;
    let registers = match u8::try_from(cpu) {
        Ok(number) => machine.registers_of(CpuId::new(number)).ok()?,
        Err(_) => None,
    };
    Some(CpuRegisters { registers, count })
}

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// The client has disconnected.
    Disconnected,
    /// The client sent an invalid request, and an error was sent to it.
    Refused(DebugRequestError),
    /// The client has not sent the password, and an error was sent to it.
    NoPassword,
    /// The client speaks another protocol, and an error was sent to it.
    Foreign(ForeignProtocol),
    /// The registers are not available, and an error was sent to the client.
    NoRegisters,
}

/// Serves a client until it disconnects.
///
/// # Errors
///
/// Those of `stream`, including a disconnect inside a frame.
pub fn serve_client<S: Read + Write>(stream: &mut S, guest: &DebugTarget) -> io::Result<SessionEnd> {
    let mut out = Vec::new();
    let mut looked: Option<Instant> = None;
    let mut admitted = guest.password.is_none();
    while let Some(length) = read_length(stream)? {
        if let Some(protocol) = ForeignProtocol::of_first_bytes(&length.to_be_bytes()) {
            stream.write_all(&error(0))?;
            return Ok(SessionEnd::Foreign(protocol));
        }
        let mut message = [0; MAX_MESSAGE];
        let Some(message) = message.get_mut(..length as usize) else {
            stream.write_all(&error(0))?;
            return Ok(SessionEnd::Refused(DebugRequestError::TooLong { length }));
        };
        stream.read_exact(message)?;
        if !admitted {
            if !guest.admits(message) {
                stream.write_all(&error(0))?;
                return Ok(SessionEnd::NoPassword);
            }
            admitted = true;
            continue;
        }
        match DebugRequest::parse(message) {
            Ok(DebugRequest::Welcome) => {}
            Ok(request @ (DebugRequest::Info | DebugRequest::CpuInfo { .. })) => {
                thread::sleep(
                    looked
                        .map_or(Duration::ZERO, |looked| MIN_QUERY_INTERVAL.saturating_sub(looked.elapsed())),
                );
                looked = Some(Instant::now());
                let cpu = if let DebugRequest::CpuInfo { cpu } = request { cpu } else { 0 };
                let Some(CpuRegisters { registers, count }) = (guest.registers)(cpu) else {
                    stream.write_all(&error(0))?;
                    return Ok(SessionEnd::NoRegisters);
                };
                let Some(registers) = registers else {
                    debug!("a client asked for CPU {cpu}; there are {count}");
                    stream.write_all(&error(0))?;
                    continue;
                };
                let (general, system) = register_bytes::to_bytes(&registers);
                out.clear();
                match request {
                    DebugRequest::Info => add_frame(&mut out, &info(guest.memory.size(), seconds())),
                    _ => add_frame(&mut out, &cpu_info(guest.memory.size(), count, seconds())),
                }
                add_frame(&mut out, &general);
                add_frame(&mut out, &system);
                stream.write_all(&out)?;
            }
            Ok(DebugRequest::Dump { start, end }) => dump(stream, &guest.memory, start, end, &mut out)?,
            Err(reason @ DebugRequestError::Unknown { .. }) => {
                stream.write_all(&error(0))?;
                return Ok(SessionEnd::Refused(reason));
            }
            Err(reason) => {
                debug!("a client sent {reason}");
                stream.write_all(&error(0))?;
            }
        }
    }
    Ok(SessionEnd::Disconnected)
}

/// Sends the memory from `start` to `end` as one frame.
fn dump(
    stream: &mut impl Write,
    memory: &GuestMemory,
    start: u64,
    end: u64,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let Some(length) = frame_length(memory, start, end) else {
        debug!("a client asked for {start:#x}..{end:#x}, which is not all RAM or too much for a frame");
        return stream.write_all(&error(end.wrapping_sub(start)));
    };
    // Send the length and the first data in one write: old clients take what a single read returns.
    out.clear();
    add_length(out, length);
    if length == 0 {
        return stream.write_all(out);
    }
    let mut at = start;
    while at < end {
        let header = out.len();
        let count = CHUNK.min(end - at);
        out.resize(header + count as usize, 0);
        memory.read_original(at, &mut out[header..]).map_err(io::Error::other)?;
        stream.write_all(out)?;
        out.clear();
        at += count;
    }
    Ok(())
}

/// The length of a frame with this memory; `None` if there is no such frame.
fn frame_length(memory: &GuestMemory, start: u64, end: u64) -> Option<u32> {
    let length = end.checked_sub(start)?;
    // An empty range at the end of RAM is valid, too.
    let all_ram =
        memory.is_ram(start, length) || length == 0 && memory.ram().iter().any(|ram| ram.end == end);
    if all_ram { u32::try_from(length).ok() } else { None }
}

/// An error frame for a client that requested `asked` bytes of memory. Its length always differs from
/// `asked`, so that the client can distinguish it from memory.
pub fn error(asked: u64) -> Vec<u8> {
    let mut message = simple(GENERIC_ERR, seconds()).to_vec();
    if asked == SIMPLE as u64 {
        message.push(0);
    }
    let mut frame = Vec::new();
    add_frame(&mut frame, &message);
    frame
}

/// Unix time in seconds, limited to 32 bits.
pub fn seconds() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as u32)
}

#[cfg(test)]
#[path = "session_test.rs"]
mod tests;
