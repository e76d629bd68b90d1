//! One client, from its connection to its leaving.
//!
//! A client that sends what is no protocol, stops reading or vanishes is treated as one that
//! detached: it never takes the guest down.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use gdbstub::common::Signal;
use gdbstub::conn::Connection;
use gdbstub::stub::state_machine::GdbStubStateMachine;
use gdbstub::stub::{DisconnectReason, GdbStub, GdbStubError, MultiThreadStopReason};
use tracing::{debug, warn};

use super::client::{Client, ClientOutput, Incoming};
use super::extensions::{self, Route};
use super::packet::{PacketScanner, Scanned, add_hex, write_packet};
use super::register_set::RegisterNumber;
use super::target::{LIBRARY_PACKET, PACKET};
use crate::control::Doing;
use crate::inspect::report;
use crate::machine::Outcome;
use crate::supervisor::debuggee::{Advance, Debuggee, Stop};
use crate::supervisor::requests::Door;

type Stub<'m> = GdbStubStateMachine<'static, Debuggee<'m>, ClientOutput>;
type StubError = GdbStubError<Infallible, io::Error>;

/// Bytes of text in one packet.
const PRINTED: usize = 2048;

/// How long a guest runs that is to be visited now and then.
const VISIT: Duration = Duration::from_millis(10);

/// What the client left behind.
pub(crate) enum Left {
    /// A guest that runs on.
    Detached,
    /// A run that is over.
    Over(Outcome),
}

/// Serves a client until it leaves or the run ends.
pub(crate) fn serve(debuggee: &mut Debuggee<'_>, client: &mut Client, door: &Door) -> Left {
    debuggee.interrupted();
    debuggee.welcome();
    match talk(debuggee, client, door) {
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

fn talk(
    debuggee: &mut Debuggee<'_>,
    client: &mut Client,
    door: &Door,
) -> Result<Left, Box<dyn std::error::Error>> {
    let stub = GdbStub::builder(client.output()?).packet_buffer_size(LIBRARY_PACKET).build()?;
    let mut stub: Stub<'_> = stub.run_state_machine(debuggee)?;
    let mut reader = Reader { scanner: PacketScanner::new(PACKET), acknowledges: true };
    let mut running = false;
    loop {
        debuggee.answer_requests(door);
        if let Some(outcome) = debuggee.over.take() {
            if let Stub::Running(mut going) = stub {
                // gdb itself says only that it has exited.
                print(
                    &format!("kvm: {}\n", report::end_message(debuggee.machine, &outcome)),
                    going.borrow_conn(),
                )?;
                report_over(going.report_stop(debuggee, last_words(&outcome)));
            }
            return Ok(Left::Over(outcome));
        }
        if !matches!(stub, Stub::CtrlCInterrupt(_)) {
            running = matches!(stub, Stub::Running(_));
        }
        stub = match stub {
            Stub::Idle(_) => match client.next_soon() {
                Incoming::Bytes => reader.take(stub, debuggee, client)?,
                Incoming::Gone => return Ok(gone(debuggee)),
                Incoming::Nothing => {
                    client.watch(false, None);
                    let over = debuggee.wait();
                    client.unwatch();
                    match over {
                        Some(outcome) => return Ok(Left::Over(outcome)),
                        None => stub,
                    }
                }
            },
            Stub::Running(mut going) => {
                match client.next() {
                    Incoming::Bytes => reader.take(going.into(), debuggee, client)?,
                    Incoming::Gone => return Ok(gone(debuggee)),
                    Incoming::Nothing if debuggee.doing == Doing::Paused => {
                        going.borrow_conn().flush()?;
                        client.watch(false, None);
                        let over = debuggee.wait();
                        client.unwatch();
                        match over {
                            Some(outcome) => {
                                report_over(going.report_stop(debuggee, last_words(&outcome)));
                                return Ok(Left::Over(outcome));
                            }
                            None => going.into(),
                        }
                    }
                    Incoming::Nothing => {
                        debuggee.doing = Doing::Runs;
                        // What acknowledges the packet that set the guest going.
                        going.borrow_conn().flush()?;
                        client.watch(true, debuggee.wants_visits().then_some(VISIT));
                        debuggee.view.registers.forget();
                        let advance = debuggee.advance();
                        client.unwatch();
                        print(&std::mem::take(&mut debuggee.said), going.borrow_conn())?;
                        match advance {
                            Advance::Going => going.into(),
                            Advance::Stopped(stop) => {
                                debuggee.doing = Doing::Stopped;
                                tell_end(debuggee, going.borrow_conn())?;
                                let values = expedited(debuggee);
                                let mut values =
                                    values.iter().map(|(number, bytes, size)| (*number, &bytes[..*size]));
                                going.report_stop_with_regs(debuggee, reason(stop, debuggee), &mut values)?
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
                // in the middle of a thousand steps. Only a guest that was running has come to another
                // place; to ask the host where it is costs so much that a flood of them would take minutes.
                if running {
                    debuggee.interrupted();
                }
                let tid = debuggee.threads.looked_at().thread();
                let stop = MultiThreadStopReason::SignalWithThread { tid, signal: Signal::SIGINT };
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

/// What comes from the client, on its way to whoever answers it.
struct Reader {
    scanner: PacketScanner,
    /// Packets are still acknowledged with a `+`.
    acknowledges: bool,
}

impl Reader {
    /// Takes what comes next. A whole packet is answered here or by the library.
    fn take<'m>(
        &mut self,
        mut stub: Stub<'m>,
        debuggee: &mut Debuggee<'m>,
        client: &mut Client,
    ) -> Result<Stub<'m>, Box<dyn std::error::Error>> {
        let (piece, count) = self.scanner.take(client.received());
        let loose = client.received().first().copied();
        client.taken(count);
        match piece {
            Scanned::Inside => return Ok(stub),
            Scanned::Loose => return Ok(feed(stub, debuggee, loose.as_slice())?),
            Scanned::TooLong => return Err(format!("it sent a packet of more than {PACKET} bytes").into()),
            Scanned::Last => {}
        }
        let Some(body) = self.scanner.body() else { return Ok(feed(stub, debuggee, self.scanner.packet())?) };
        let Some(output) = output(&mut stub) else { return Ok(stub) };
        let replaced;
        let packet = match extensions::route(debuggee, body) {
            Route::Library => self.scanner.packet(),
            Route::Replaced(packet) => {
                replaced = packet;
                &replaced
            }
            Route::Extension(request) => {
                self.answer(output, |out| extensions::answer(debuggee, &request, out))?;
                return Ok(stub);
            }
            Route::Refused(errno) => {
                self.answer(output, |out| extensions::write_error(out, errno))?;
                return Ok(stub);
            }
            Route::Unsupported => {
                self.answer(output, |_| ())?;
                return Ok(stub);
            }
        };
        if extensions::is_amended(body) {
            output.hold();
            stub = feed(stub, debuggee, packet)?;
            if let Some(output) = self::output(&mut stub) {
                extensions::amend(debuggee, body, output.waiting());
                output.release()?;
            }
            return Ok(stub);
        }
        self.acknowledges &= body != b"QStartNoAckMode";
        Ok(feed(stub, debuggee, packet)?)
    }

    /// Sends an answer that does not come from the library.
    fn answer(&self, output: &mut ClientOutput, body: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        if self.acknowledges {
            output.waiting().push(b'+');
        }
        write_packet(output.waiting(), body);
        output.flush()
    }
}

/// The direction towards the client, unless the library is between two states.
fn output<'a>(stub: &'a mut Stub<'_>) -> Option<&'a mut ClientOutput> {
    match stub {
        Stub::Idle(idle) => Some(idle.borrow_conn()),
        Stub::Running(running) => Some(running.borrow_conn()),
        Stub::CtrlCInterrupt(_) | Stub::Disconnected(_) => None,
    }
}

/// Gives bytes to the library.
fn feed<'m>(mut stub: Stub<'m>, debuggee: &mut Debuggee<'m>, bytes: &[u8]) -> Result<Stub<'m>, StubError> {
    for byte in bytes {
        stub = match stub {
            Stub::Idle(idle) => idle.incoming_data(debuggee, *byte)?,
            Stub::Running(going) => going.incoming_data(debuggee, *byte)?,
            other => other,
        };
    }
    Ok(stub)
}

/// The registers that gdb reads after every stop: their numbers, values and sizes.
fn expedited(debuggee: &mut Debuggee<'_>) -> Vec<(RegisterNumber, [u8; 16], usize)> {
    let (view, machine, vcpu) = (&mut debuggee.view, &*debuggee.machine, debuggee.threads.looked_at());
    let layout = view.layout;
    let value = |number| {
        let (register, size) = layout.register(number)?;
        let value = view.registers.of(vcpu).get(machine, register).ok()?;
        Some((RegisterNumber(number), value.to_le_bytes(), size))
    };
    layout.expedited().into_iter().filter_map(value).collect()
}

/// The run is over, whether the client can still be told or not.
fn report_over(told: Result<Stub<'_>, StubError>) {
    if let Err(error) = told {
        debug!("gdb could not be told of the end: {error}");
    }
}

fn reason(stop: Stop, debuggee: &Debuggee<'_>) -> MultiThreadStopReason<u64> {
    // Only a reason with a thread can bring registers with it.
    let tid = debuggee.threads.looked_at().thread();
    let signal = |signal| MultiThreadStopReason::SignalWithThread { tid, signal };
    // Where CS has a base, gdb would look for its breakpoint at RIP, find none, and go on.
    let elsewhere = debuggee.position().is_ok_and(|(registers, pc)| registers.general.rip != pc);
    match stop {
        Stop::Software | Stop::Hardware if elsewhere => signal(Signal::SIGTRAP),
        Stop::Stepped => signal(Signal::SIGTRAP),
        Stop::Software => MultiThreadStopReason::SwBreak(tid),
        Stop::Hardware => MultiThreadStopReason::HwBreak(tid),
        Stop::Watch(hit) => MultiThreadStopReason::Watch { tid, kind: hit.kind, addr: hit.address },
        // gdb goes on by itself after a breakpoint that it has not set.
        Stop::Trap | Stop::Point => signal(Signal::SIGTRAP),
        // In the middle of a source line gdb takes SIGTRAP for one more step.
        Stop::Reset => signal(Signal::SIGINT),
        Stop::Ended => signal(match debuggee.ended() {
            Some(Outcome::Halted { .. }) => Signal::SIGTERM,
            Some(Outcome::TripleFault) => Signal::SIGSEGV,
            _ => Signal::SIGILL,
        }),
    }
}

/// What gdb is told when the run ends while it waits for the guest to stop.
fn last_words(outcome: &Outcome) -> MultiThreadStopReason<u64> {
    match outcome {
        // Small numbers are the same signals for gdb as for the host.
        Outcome::Terminated(signal @ 1..=15) => MultiThreadStopReason::Terminated(Signal(*signal as u8)),
        outcome => MultiThreadStopReason::Exited(outcome.status()),
    }
}

/// Has gdb print why the guest cannot go on, in the words the run ends with.
fn tell_end(debuggee: &Debuggee<'_>, wire: &mut ClientOutput) -> io::Result<()> {
    let Some(outcome) = debuggee.ended() else { return Ok(()) };
    print(&format!("kvm: {}\n", report::end_message(debuggee.machine, outcome)), wire)
}

/// `text` as packets carry it.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &[u8]> {
    text.as_bytes().chunks(PRINTED)
}

/// Has gdb print `text`, while it waits for the guest to stop.
fn print(text: &str, wire: &mut ClientOutput) -> io::Result<()> {
    for piece in pieces(text) {
        write_packet(wire.waiting(), |out| {
            out.push(b'O');
            add_hex(out, piece);
        });
    }
    wire.flush()
}
