//! A guest with a memory debug server, and the protocol of that server.

use std::io::{Read, Write};
use std::net::TcpStream;

use libtest_mimic::Failed;

use super::{FinishedRun, Kvm, Running, TIMEOUT, free_address};

/// A running `kvm` with a debug server. Dropping it kills the process.
pub struct KvmWithDebugServer {
    kvm: Running,
    /// Where its debug server listens.
    pub address: String,
}

impl KvmWithDebugServer {
    /// Starts a guest.
    pub fn start(name: &str, arguments: &[&str]) -> Result<KvmWithDebugServer, Failed> {
        KvmWithDebugServer::start_at(&free_address()?, name, arguments)
    }

    /// The same, with the debug server at a given address.
    pub fn start_at(address: &str, name: &str, arguments: &[&str]) -> Result<KvmWithDebugServer, Failed> {
        KvmWithDebugServer::run(
            Kvm::with_guest(name).arg(format!("--debug-server={address}")).args(arguments),
        )
    }

    /// Starts `kvm` and waits until its debug server listens.
    pub fn run(kvm: Kvm) -> Result<KvmWithDebugServer, Failed> {
        let mut kvm = Running::start(kvm);
        let listens = "kvm: the debug server listens on ";
        let address = kvm.until(listens)?.trim_end().replacen(listens, "", 1);
        Ok(KvmWithDebugServer { kvm, address })
    }

    /// Connects.
    pub fn connect(&self) -> Result<TcpStream, Failed> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(stream)
    }

    /// `kvm debug-client` for it.
    pub fn client(&self, arguments: &[&str]) -> Kvm {
        let (address, port) = self.address.rsplit_once(':').unwrap_or_default();
        Kvm::new().args(["debug-client", address, port]).args(arguments)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.kvm.id()
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) -> Result<(), Failed> {
        self.kvm.signal(name)
    }

    /// Waits for the end of the run.
    pub fn finish(self) -> Result<FinishedRun, Failed> {
        self.kvm.finish()
    }
}

// The protocol, from its description: a length of four bytes, big-endian, and that many bytes; messages
// begin with a type of four bytes and a time of eight.

/// A frame around `message`.
pub fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes(), message].concat()
}

/// A message without a payload.
pub fn simple(kind: u32) -> Vec<u8> {
    // The time as C programs on little-endian hosts send it: htonl() of its low half.
    framed(&[&kind.to_be_bytes()[..], &1_500_000_000_u32.to_be_bytes(), &[0; 4]].concat())
}

/// REQ_MEMORY_DUMP.
pub fn dump_request(start: u64, end: u64) -> Vec<u8> {
    let mut message = simple(4).split_off(4);
    message.extend(start.to_be_bytes());
    message.extend(end.to_be_bytes());
    assert_eq!(message.len(), 28);
    framed(&message)
}

/// The next frame; `None` if the server has closed the connection.
pub fn frame(stream: &mut impl Read) -> Result<Option<Vec<u8>>, Failed> {
    let mut length = [0; 4];
    match stream.read(&mut length)? {
        0 => return Ok(None),
        count => stream.read_exact(&mut length[count..])?,
    }
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut message)?;
    Ok(Some(message))
}

/// The next frame, which must come.
pub fn next(stream: &mut impl Read) -> Result<Vec<u8>, Failed> {
    frame(stream)?.ok_or_else(|| "the server has closed the connection".into())
}

/// Memory from `start` to `end`, or the error message.
pub fn dump<S: Read + Write>(stream: &mut S, start: u64, end: u64) -> Result<Vec<u8>, Failed> {
    stream.write_all(&dump_request(start, end))?;
    next(stream)
}

/// The answer to REQ_INFO.
pub struct Info {
    /// Bytes of RAM.
    pub memory: u64,
    general: Vec<u8>,
    /// `struct kvm_sregs`.
    pub system: Vec<u8>,
}

impl Info {
    /// Requests it.
    pub fn of<S: Read + Write>(stream: &mut S) -> Result<Info, Failed> {
        stream.write_all(&simple(2))?;
        let info = next(stream)?;
        check(info.len() == 20 && info[..4] == [0, 0, 0, 3], "SEND_INFO", &info)?;
        let (general, system) = (next(stream)?, next(stream)?);
        check(general.len() == 144, "struct kvm_regs", &general)?;
        check(system.len() == 312, "struct kvm_sregs", &system)?;
        let memory = u64::from_be_bytes(info[12..].try_into()?);
        Ok(Info { memory, general, system })
    }

    /// A general register: rax 0, rbx 1, rcx 2, rdx 3, rsi, rdi, rsp 6, rbp, r8 to r15, rip 16, rflags 17.
    pub fn general(&self, number: usize) -> u64 {
        u64::from_le_bytes(self.general[8 * number..][..8].try_into().unwrap_or_default())
    }
}

/// Fails with the bytes received unless `condition` is true.
pub fn check(condition: bool, what: &str, got: &[u8]) -> Result<(), Failed> {
    let shown = &got[..got.len().min(64)];
    if condition { Ok(()) } else { Err(format!("{what}: got {} bytes: {shown:02x?}", got.len()).into()) }
}

/// An error is 12 bytes, except for a client that might take these for memory.
pub fn expect_error(message: &[u8], requested: u64) -> Result<(), Failed> {
    let length = if requested == 12 { 13 } else { 12 };
    check(message.len() == length && message[..4] == [0, 0, 0, 1], "GENERIC_ERR", message)?;
    let time = u32::from_be_bytes(message[4..8].try_into()?);
    check(time > 1_700_000_000, "the time of it", message)
}
