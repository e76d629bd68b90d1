//! One client, from its connection to its leaving.
//!
//! A client that sends what is no protocol, stops reading or vanishes is treated as one that
//! detached: it never takes the guest down.

use std::convert::Infallible;
use std::io;

use gdbstub::common::Signal;
use gdbstub::conn::Connection;
use gdbstub::stub::state_machine::GdbStubStateMachine;
use gdbstub::stub::{DisconnectReason, GdbStub, GdbStubError, SingleThreadStopReason};
use tracing::{debug, warn};

use super::debuggee::{Advance, Debuggee, Stop};
use super::server::{Client, Incoming, Wire};
use super::target::PACKET;
use crate::inspect::report;
use crate::machine::Outcome;

type Stub<'m> = GdbStubStateMachine<'static, Debuggee<'m>, Wire>;
/// Bytes of text in one packet.
const PRINTED: usize = 2048;

type StubError = GdbStubError<Infallible, io::Error>;

/// What the client left behind.
pub(super) enum Left {
    /// A guest that runs on.
    Detached,
    /// A run that is over.
    Over(Outcome),
}

/// Serves a client until it leaves or the run ends.
pub(super) fn serve(debuggee: &mut Debuggee<'_>, client: &mut Client) -> Left {
    debuggee.interrupted();
    match talk(debuggee, client) {
        Ok(left) => left,
        Err(error) => {
            warn!("gdb is hung up on: {error}");
            gone(debuggee)
        }
    }
}

fn gone(debuggee: &mut Debuggee<'_>) -> Left {
    debuggee.release().map_or(Left::Detached, Left::Over)
}

fn talk(debuggee: &mut Debuggee<'_>, client: &mut Client) -> Result<Left, Box<dyn std::error::Error>> {
    let stub = GdbStub::builder(client.wire()?).packet_buffer_size(PACKET).build()?;
    let mut stub: Stub<'_> = stub.run_state_machine(debuggee)?;
    loop {
        stub = match stub {
            Stub::Idle(idle) => match client.next() {
                Incoming::Byte(byte) => idle.incoming_data(debuggee, byte)?,
                Incoming::Gone => return Ok(gone(debuggee)),
                Incoming::Nothing => match debuggee.wait() {
                    Some(outcome) => return Ok(Left::Over(outcome)),
                    None => idle.into(),
                },
            },
            Stub::Running(mut going) => {
                match client.next() {
                    Incoming::Byte(byte) => going.incoming_data(debuggee, byte)?,
                    Incoming::Gone => return Ok(gone(debuggee)),
                    Incoming::Nothing => {
                        // What acknowledges the packet that set the guest going.
                        going.borrow_conn().flush()?;
                        let advance = debuggee.advance();
                        print(&std::mem::take(&mut debuggee.said), going.borrow_conn())?;
                        match advance {
                            Advance::Going => going.into(),
                            Advance::Stopped(stop) => {
                                tell_end(debuggee, going.borrow_conn())?;
                                going.report_stop(debuggee, reason(stop, debuggee))?
                            }
                            Advance::Over(outcome) => {
                                report_over(going.report_stop(debuggee, last_words(&outcome)));
                                return Ok(Left::Over(outcome));
                            }
                        }
                    }
                }
            }
            Stub::CtrlCInterrupt(interrupt) => {
                // One that crossed with a stop is told as soon as the guest is to go on: gdb may be
                // in the middle of a thousand steps.
                debuggee.interrupted();
                let stop = SingleThreadStopReason::Signal(Signal::SIGINT);
                interrupt.interrupt_handled(debuggee, Some(stop))?
            }
            Stub::Disconnected(mut gone_stub) => match gone_stub.get_reason() {
                DisconnectReason::Kill => {
                    // `vKill` waits for this; `k` does not mind.
                    let wire = gone_stub.borrow_conn();
                    let _ = wire.write_all(b"$OK#9a").and_then(|()| wire.flush());
                    return Ok(Left::Over(Outcome::Quit));
                }
                _ => return Ok(gone(debuggee)),
            },
        };
    }
}

/// The run is over, whether the client can still be told or not.
fn report_over(told: Result<Stub<'_>, StubError>) {
    if let Err(error) = told {
        debug!("gdb could not be told of the end: {error}");
    }
}

fn reason(stop: Stop, debuggee: &Debuggee<'_>) -> SingleThreadStopReason<u64> {
    match stop {
        Stop::Stepped => SingleThreadStopReason::DoneStep,
        Stop::Software => SingleThreadStopReason::SwBreak(()),
        Stop::Hardware => SingleThreadStopReason::HwBreak(()),
        // gdb goes on by itself after a breakpoint that it has not set.
        Stop::Trap | Stop::Point => SingleThreadStopReason::Signal(Signal::SIGTRAP),
        Stop::Ended => SingleThreadStopReason::Signal(match debuggee.ended() {
            Some(Outcome::Halted { .. }) => Signal::SIGTERM,
            Some(Outcome::TripleFault) => Signal::SIGSEGV,
            _ => Signal::SIGILL,
        }),
    }
}

/// What gdb is told when the run ends while it waits for the guest to stop.
fn last_words(outcome: &Outcome) -> SingleThreadStopReason<u64> {
    match outcome {
        // Small numbers are the same signals for gdb as for the host.
        Outcome::Terminated(signal @ 1..=15) => SingleThreadStopReason::Terminated(Signal(*signal as u8)),
        outcome => SingleThreadStopReason::Exited(outcome.status()),
    }
}

/// Has gdb print why the guest cannot go on, in the words the run ends with.
fn tell_end(debuggee: &Debuggee<'_>, wire: &mut Wire) -> io::Result<()> {
    let Some(outcome) = debuggee.ended() else { return Ok(()) };
    print(&format!("kvm: {}\n", report::paragraph(debuggee.machine, outcome)), wire)
}

/// Has gdb print `text`, while it waits for the guest to stop.
fn print(text: &str, wire: &mut Wire) -> io::Result<()> {
    for piece in text.as_bytes().chunks(PRINTED) {
        let mut body = String::from("O");
        for byte in piece {
            body.push_str(&format!("{byte:02x}"));
        }
        let checksum = body.bytes().fold(0u8, u8::wrapping_add);
        wire.write_all(format!("${body}#{checksum:02x}").as_bytes())?;
    }
    wire.flush()
}
