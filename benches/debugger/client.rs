//! A minimal debugger: sends packets to a stub, without acknowledgements where the stub supports that.
//!
//! Manual: "Appendix E: gdb Remote Serial Protocol" of *Debugging with gdb*, sections "Packets",
//! "Stop Reply Packets" and "General Query Packets".

use crate::shared::Failure;
use crate::wire::Wire;

/// Signal 5: the guest stopped at a breakpoint or after a step.
const SIGTRAP: u8 = 5;

/// Where RBX and RIP stand in the answer to `g`, in hexadecimal digits.
const RBX: usize = 16;
const RIP: usize = 256;

/// RIP in packets that name one register.
pub const RIP_NUMBER: u8 = 0x10;

/// Packet size of a stub that does not report one.
const SMALLEST_PACKET: usize = 400;

/// Bytes of the target description that are requested.
const DESCRIPTION: usize = 0x180;

/// A debugger that is connected to a stub.
pub struct Client {
    wire: Wire,
    /// What the stub answered to `qSupported`.
    supported: String,
    /// Largest packet of the stub, in bytes.
    pub packet_size: usize,
}

impl Client {
    /// Connects and sends the initial packets of a debugger.
    pub fn connect(port: u16) -> Result<Client, Failure> {
        let wire = Wire::connect(port)?;
        let mut client = Client { wire, supported: String::new(), packet_size: SMALLEST_PACKET };
        client.supported = client.ask("qSupported:swbreak+;hwbreak+;vContSupported+;xmlRegisters=i386")?;
        let size = client.supported.split(';').find_map(|feature| feature.strip_prefix("PacketSize="));
        if let Some(size) = size {
            client.packet_size = usize::from_str_radix(size, 16)?.max(SMALLEST_PACKET);
        }
        // Otherwise every answer is acknowledged, which costs the client a system call.
        client.wire.acknowledge = client.must("QStartNoAckMode").is_err();
        if client.has("qXfer:features:read") {
            // Some stubs support `p` only after the description was read.
            client.ask(&format!("qXfer:features:read:target.xml:0,{DESCRIPTION:x}"))?;
        }
        client.ask("?")?;
        Ok(client)
    }

    /// True if the stub reports `feature`.
    pub fn has(&self, feature: &str) -> bool {
        self.supported.split(';').any(|found| found.strip_suffix('+') == Some(feature))
    }

    /// The answer to `packet`.
    pub fn ask(&mut self, packet: &str) -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(self.ask_bytes(packet, &[])?).into_owned())
    }

    /// The answer, which may be any bytes, to `packet` followed by `data`.
    pub fn ask_bytes(&mut self, packet: &str, data: &[u8]) -> Result<&[u8], Failure> {
        self.wire.send(packet.as_bytes(), data)?;
        self.wire.receive()
    }

    /// Sends a packet that must be answered with `OK`.
    pub fn must(&mut self, packet: &str) -> Result<(), Failure> {
        let answer = self.ask(packet)?;
        accepted(packet, answer.as_bytes())
    }

    /// Resumes the guest, which must stop with SIGTRAP.
    pub fn resume_and_stop(&mut self, packet: &str) -> Result<(), Failure> {
        self.resume(packet)?;
        match self.stopped()? {
            SIGTRAP => Ok(()),
            signal => Err(format!("it stops with signal {signal}").into()),
        }
    }

    /// Resumes the guest.
    pub fn resume(&mut self, packet: &str) -> Result<(), Failure> {
        self.wire.send(packet.as_bytes(), &[])
    }

    /// Interrupts the guest.
    pub fn interrupt(&mut self) -> Result<(), Failure> {
        self.wire.send_interrupt()?;
        self.stopped().map(drop)
    }

    /// Waits until the guest stops, and returns the signal.
    fn stopped(&mut self) -> Result<u8, Failure> {
        loop {
            match self.wire.receive()? {
                // Console output of the guest or the stub.
                [b'O', ..] => {}
                [b'T' | b'S', signal @ ..] => {
                    let signal = signal.get(..2).ok_or("a stop without a signal")?;
                    return Ok(u8::from_str_radix(&String::from_utf8_lossy(signal), 16)?);
                }
                [] => return Err("not offered".into()),
                other => return Err(format!("it answers {}", other.escape_ascii()).into()),
            }
        }
    }

    /// EBX and RIP.
    pub fn registers(&mut self) -> Result<(u32, u64), Failure> {
        let answer = self.ask("g")?;
        Ok((little_endian(&answer, RBX, 4)? as u32, little_endian(&answer, RIP, 8)?))
    }

    /// Runs the guest to `address`.
    pub fn run_to(&mut self, address: u64) -> Result<(), Failure> {
        if self.registers()?.1 == address {
            return Ok(());
        }
        let point = format!("{address:x},1");
        let kind = if self.must(&format!("Z1,{point}")).is_ok() { 1 } else { 0 };
        if kind == 0 {
            self.must(&format!("Z0,{point}"))?;
        }
        self.resume_and_stop("vCont;c")?;
        self.must(&format!("z{kind},{point}"))?;
        match self.registers()?.1 {
            pc if pc == address => Ok(()),
            pc => Err(format!("it stops at {pc:#x} instead of {address:#x}").into()),
        }
    }

    /// Executes a `monitor` command, and returns what it prints.
    pub fn monitor(&mut self, command: &str) -> Result<String, Failure> {
        let digits: String = command.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.wire.send(format!("qRcmd,{digits}").as_bytes(), &[])?;
        let mut printed = String::new();
        loop {
            match self.wire.receive()? {
                b"OK" => return Ok(printed),
                [b'O', text @ ..] => printed += &text_of(text)?,
                [] => return Err("not offered".into()),
                [b'E', ..] => return Err("refused".into()),
                text => return text_of(text),
            }
        }
    }
}

/// Checks that `answer` is `OK`.
pub fn accepted(packet: &str, answer: &[u8]) -> Result<(), Failure> {
    match answer {
        b"OK" => Ok(()),
        b"" => Err("not offered".into()),
        other => {
            let kind: String = packet.chars().take_while(|letter| !",:;".contains(*letter)).collect();
            Err(format!("{kind} is answered {}", other.escape_ascii()).into())
        }
    }
}

fn text_of(digits: &[u8]) -> Result<String, Failure> {
    let bytes: Result<Vec<u8>, _> =
        digits.chunks(2).map(|two| u8::from_str_radix(&String::from_utf8_lossy(two), 16)).collect();
    Ok(String::from_utf8_lossy(&bytes?).into_owned())
}

/// The number of `bytes` bytes that begins at digit `at` of the answer to `g`.
fn little_endian(answer: &str, at: usize, bytes: usize) -> Result<u64, Failure> {
    let digits = answer.get(at..at + 2 * bytes).ok_or("a short answer to `g`")?;
    Ok(u64::from_str_radix(digits, 16)?.swap_bytes() >> (64 - 8 * bytes))
}
