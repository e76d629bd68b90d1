//! The measurements, each on a newly started stub.

use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::client::{Client, RIP_NUMBER, accepted};
use crate::contender::{Contender, Stub};
use crate::guest;
use crate::shared::Failure;
use crate::shared::guests::Guests;
use crate::shared::samples::Samples;

/// Bytes of a memory packet besides its data, rounded up.
const PACKET_OVERHEAD: usize = 64;
/// Maximum bytes of memory requested in a packet.
const MOST_MEMORY: usize = 64 << 10;
/// How long a guest runs before Ctrl-C.
const HEAD_START: Duration = Duration::from_millis(3);
/// Time for a program to become idle after it has begun to listen.
const SETTLE: Duration = Duration::from_millis(200);

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Seconds to connect and exchange the initial packets.
    Connect,
    /// `g` packets per second.
    AllRegisters,
    /// `p` packets per second.
    OneRegister,
    /// Bytes per second read with `m`.
    ReadHex,
    /// The same with the best supported packet: `x`, or else `m`.
    ReadBest,
    /// Bytes per second written with `M`.
    WriteHex,
    /// The same with the best supported packet: `X`, or else `M`.
    WriteBest,
    /// Steps per second, each a round trip.
    Steps,
    /// Instructions per second when a piece of code is stepped out of.
    Range,
    /// Hits per second of a breakpoint of this type (0: software, 1: hardware), by `c` alone.
    Hits(u8),
    /// The same as gdb does it: the breakpoint is removed, the instruction stepped, the breakpoint inserted
    /// again.
    HitsLikeGdb(u8),
    /// Hits per second of a write watchpoint.
    WatchHits,
    /// Seconds from Ctrl-C to the stop.
    Interrupt,
    /// Conditions per second that are evaluated and found false.
    Conditions,
}

/// The size of a measurement.
pub struct Amount {
    /// How long a request is repeated.
    pub time: Duration,
    /// Number of Ctrl-C tries.
    pub interrupts: u32,
    /// Number of evaluated conditions.
    pub conditions: u32,
}

/// Measures `metric` once.
pub fn measure(
    metric: Metric,
    contender: Contender,
    guests: &Guests,
    amount: &Amount,
) -> Result<f64, Failure> {
    let stub = Stub::start(contender, guests)?;
    if metric == Metric::Connect {
        std::thread::sleep(SETTLE);
        let start = Instant::now();
        stub.connect()?;
        return Ok(start.elapsed().as_secs_f64());
    }
    let mut client = stub.connect()?;
    client.run_to(guest::FIRST_CODE.start)?;
    let time = amount.time;
    match metric {
        Metric::Connect => unreachable!("measured above"),
        Metric::AllRegisters => registers(&mut client, "g", 2 * 24 * 8, time),
        Metric::OneRegister => registers(&mut client, &format!("p{RIP_NUMBER:x}"), 2 * 4, time),
        Metric::ReadHex => read_hex(&mut client, time),
        Metric::ReadBest => match read_binary(&mut client, time)? {
            Some(rate) => Ok(rate),
            None => read_hex(&mut client, time),
        },
        Metric::WriteHex => write_hex(&mut client, time),
        Metric::WriteBest => match write_binary(&mut client, time)? {
            Some(rate) => Ok(rate),
            None => write_hex(&mut client, time),
        },
        Metric::Steps => rate(time, || client.resume_and_stop("vCont;s").map(|()| 1)),
        Metric::Range => range(&mut client),
        Metric::Hits(kind) => hits(&mut client, &format!("{kind},{:x},1", guest::LOOP), time),
        Metric::HitsLikeGdb(kind) => hits_like_gdb(&mut client, kind, time, false),
        Metric::WatchHits => hits(&mut client, &format!("2,{:x},4", guest::COUNT), time),
        Metric::Interrupt => interrupt(&mut client, amount.interrupts),
        Metric::Conditions if contender == Contender::KvmByClient => {
            hits_like_gdb(&mut client, 0, time, true)
        }
        Metric::Conditions => conditions(&mut client, amount.conditions),
    }
}

/// The sum of what `again` returns, per second over `time`, after one call that is not counted: a stub may probe
/// the host at the first request.
fn rate(time: Duration, mut again: impl FnMut() -> Result<usize, Failure>) -> Result<f64, Failure> {
    again()?;
    let start = Instant::now();
    let mut sum = 0;
    while start.elapsed() < time {
        sum += again()?;
    }
    Ok(sum as f64 / start.elapsed().as_secs_f64())
}

/// Packets per second whose answers have at least `digits` digits.
fn registers(client: &mut Client, packet: &str, digits: usize, time: Duration) -> Result<f64, Failure> {
    rate(time, || match client.ask_bytes(packet, &[])? {
        [] => Err("not offered".into()),
        answer if answer.len() < digits => Err(format!("answered {}", answer.escape_ascii()).into()),
        _ => Ok(1),
    })
}

/// Bytes of memory that fit in a packet when each takes `width` of its bytes.
fn fitting(client: &Client, width: usize) -> usize {
    ((client.packet_size - PACKET_OVERHEAD) / width).min(MOST_MEMORY) & !15
}

fn read_hex(client: &mut Client, time: Duration) -> Result<f64, Failure> {
    fill(client)?;
    let size = fitting(client, 2);
    let packet = format!("m{:x},{size:x}", guest::FREE);
    rate(time, || expect_length(client.ask_bytes(&packet, &[])?, 2 * size).map(|()| size))
}

/// `None` if the stub does not support the packet.
fn read_binary(client: &mut Client, time: Duration) -> Result<Option<f64>, Failure> {
    if !client.has("binary-upload") {
        return Ok(None);
    }
    fill(client)?;
    // Escaped bytes take two, and their number is not known in advance.
    let size = fitting(client, 2);
    let packet = format!("x{:x},{size:x}", guest::FREE);
    // The answer begins with a `b`.
    rate(time, || expect_length(client.ask_bytes(&packet, &[])?, size + 1).map(|()| size)).map(Some)
}

fn expect_length(answer: &[u8], length: usize) -> Result<(), Failure> {
    match answer.len() {
        0 => Err("not offered".into()),
        found if found == length => Ok(()),
        _ if answer.len() < 16 => Err(format!("answered {}", answer.escape_ascii()).into()),
        found => Err(format!("answered {found} bytes instead of {length}").into()),
    }
}

/// Bytes of all kinds: nothing that a stub could run-length encode.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at as u8).wrapping_mul(151) ^ (at >> 8) as u8).collect()
}

fn fill(client: &mut Client) -> Result<(), Failure> {
    let step = fitting(client, 2);
    let data = pattern(step);
    for at in (0..MOST_MEMORY).step_by(step) {
        client.must(&write_packet(guest::FREE + at as u64, &data))?;
    }
    Ok(())
}

fn write_packet(address: u64, data: &[u8]) -> String {
    let mut packet = format!("M{address:x},{:x}:", data.len());
    for byte in data {
        // Cannot fail.
        let _ = write!(packet, "{byte:02x}");
    }
    packet
}

fn write_hex(client: &mut Client, time: Duration) -> Result<f64, Failure> {
    let size = fitting(client, 2);
    let packet = write_packet(guest::FREE, &pattern(size));
    rate(time, || client.must(&packet).map(|()| size))
}

/// `None` if the stub does not support the packet.
fn write_binary(client: &mut Client, time: Duration) -> Result<Option<f64>, Failure> {
    // A debugger probes for the packet like this.
    if client.ask_bytes(&format!("X{:x},0:", guest::FREE), &[])? != b"OK" {
        return Ok(None);
    }
    let size = fitting(client, 2);
    let (packet, data) = (format!("X{:x},{size:x}:", guest::FREE), pattern(size));
    rate(time, || accepted(&packet, client.ask_bytes(&packet, &data)?).map(|()| size)).map(Some)
}

/// One request where the stub supports it, else a round trip for each instruction.
fn range(client: &mut Client) -> Result<f64, Failure> {
    let offered = client.ask("vCont?")?.split(';').any(|action| action == "r");
    let start = Instant::now();
    if offered {
        client.resume_and_stop(&format!(
            "vCont;r{:x},{:x}",
            guest::FIRST_CODE.start,
            guest::FIRST_CODE.end
        ))?;
    } else {
        for _ in 0..guest::FIRST_CODE_INSTRUCTIONS {
            client.resume_and_stop("vCont;s")?;
        }
    }
    let elapsed = start.elapsed().as_secs_f64();
    match client.registers()?.1 {
        pc if pc == guest::FIRST_CODE.end => Ok(f64::from(guest::FIRST_CODE_INSTRUCTIONS) / elapsed),
        pc => Err(format!("it stops at {pc:#x}").into()),
    }
}

/// Hits per second of a breakpoint or watchpoint that stays inserted.
fn hits(client: &mut Client, point: &str, time: Duration) -> Result<f64, Failure> {
    client.must(&format!("Z{point}"))?;
    client.resume_and_stop("vCont;c")?;
    let (first, _) = client.registers()?;
    let mut count = 0;
    let hits = rate(time, || {
        client.resume_and_stop("vCont;c")?;
        count += 1;
        Ok(1)
    })?;
    match client.registers()?.0.wrapping_sub(first) {
        rounds if rounds == count => Ok(hits),
        0 => Err("the guest makes no progress".into()),
        rounds => Err(format!("{count} stops in {rounds} rounds of the loop").into()),
    }
}

/// Hits per second of a breakpoint that is removed to step the instruction at it; with `read_registers`, the
/// registers are read at each hit.
fn hits_like_gdb(
    client: &mut Client,
    kind: u8,
    time: Duration,
    read_registers: bool,
) -> Result<f64, Failure> {
    let (set, clear) = (format!("Z{kind},{:x},1", guest::LOOP), format!("z{kind},{:x},1", guest::LOOP));
    client.must(&set)?;
    client.resume_and_stop("vCont;c")?;
    let (first, _) = client.registers()?;
    let mut count = 0;
    let hits = rate(time, || {
        if read_registers {
            client.registers()?;
        }
        client.must(&clear)?;
        client.resume_and_stop("vCont;s")?;
        client.must(&set)?;
        client.resume_and_stop("vCont;c")?;
        count += 1;
        Ok(1)
    })?;
    match client.registers()? {
        (rounds, guest::LOOP) if rounds.wrapping_sub(first) == count => Ok(hits),
        (rounds, pc) => {
            let rounds = rounds.wrapping_sub(first);
            Err(format!("{count} stops in {rounds} rounds of the loop, the last at {pc:#x}").into())
        }
    }
}

/// Seconds from Ctrl-C to the stop.
fn interrupt(client: &mut Client, times: u32) -> Result<f64, Failure> {
    let mut samples = Samples::default();
    for _ in 0..times {
        client.resume("vCont;c")?;
        std::thread::sleep(HEAD_START);
        let start = Instant::now();
        client.interrupt()?;
        samples.0.push(start.elapsed().as_secs_f64());
    }
    Ok(samples.median())
}

/// Conditions per second that the stub evaluates itself: one that holds after `count` hits.
fn conditions(client: &mut Client, count: u32) -> Result<f64, Failure> {
    let answer = client.monitor(&format!("break {:#x} if $rbx == {count}", guest::LOOP))?;
    if answer.contains("no monitor command") || answer.contains("no command") {
        return Err("not offered".into());
    }
    let start = Instant::now();
    client.resume_and_stop("vCont;c")?;
    let elapsed = start.elapsed().as_secs_f64();
    match client.registers()? {
        (found, guest::LOOP) if found == count => Ok(f64::from(count) / elapsed),
        (found, pc) => Err(format!("it stops at {pc:#x} with {found} in RBX").into()),
    }
}
