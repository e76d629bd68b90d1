//! Serves one gdb client from its connection until it disconnects.
//!
//! A client that violates the protocol, stops reading or vanishes is treated as one that detached: the guest goes
//! on.

use std::convert::Infallible;
use std::io;

use gdbstub::common::Signal;
use gdbstub::conn::Connection;
use gdbstub::stub::state_machine::{GdbStubStateMachine, GdbStubStateMachineInner, state};
use gdbstub::stub::{DisconnectReason, GdbStub, GdbStubError, MultiThreadStopReason};
use gdbstub::target::ext::breakpoints::WatchKind as LibraryWatchKind;
use tracing::{debug, info, warn};

use super::client::{Client, ClientOutput, Incoming};
use super::extensions::{self, Route};
use super::packet::{PacketScanner, Scanned, add_hex, write_packet};
use super::register_set::RegisterNumber;
use super::target::{GdbTarget, LIBRARY_PACKET, PACKET};
use super::threads::thread_of;
use crate::inspect::report;
use crate::machine::Outcome;
use crate::os::foreign_protocol::ForeignProtocol;
use crate::supervisor::periodic_attention::INTERVAL;
use crate::supervisor::request_queue::RequestQueue;
use crate::supervisor::run_control::{Advance, Stop};
use crate::supervisor::stopped_machine::RunStatus;
use crate::supervisor::watchpoints::WatchKind;

type Stub<'t, 'm> = GdbStubStateMachine<'static, GdbTarget<'t, 'm>, ClientOutput>;
type RunningStub<'t, 'm> = GdbStubStateMachineInner<'static, state::Running, GdbTarget<'t, 'm>, ClientOutput>;
type StubError = GdbStubError<Infallible, io::Error>;

/// Bytes of console output in one packet.
const OUTPUT_CHUNK: usize = 2048;

/// What a debugger sends outside of packets before its first one: acknowledgements and Ctrl-C. A web page can make a
/// browser send packets to this host, but only behind the text of a request.
const FIRST_BYTES: &[u8] = b"+-\x03";

/// A client whose first bytes are not those of a debugger.
#[derive(Debug, thiserror::Error)]
#[error("it is no debugger{}", .0.map_or_else(String::new, |protocol| format!(": it sends {protocol}")))]
struct NoDebugger(Option<ForeignProtocol>);

/// Serves a client until it disconnects or the run is over.
pub(crate) fn serve(target: &mut GdbTarget<'_, '_>, client: &mut Client, requests: &RequestQueue) {
    target.attach();
    if let Err(error) = answer_packets(target, client, requests) {
        warn!("gdb is disconnected: {error}");
    }
    if target.supervisor.outcome().is_none() {
        let active = client.has_sent();
        info!("gdb has disconnected{}", if active { "" } else { " without sending anything" });
        target.supervisor.detach(active);
    }
}

/// Answers packets until the client disconnects or the run is over.
fn answer_packets(
    target: &mut GdbTarget<'_, '_>,
    client: &mut Client,
    requests: &RequestQueue,
) -> Result<(), Box<dyn std::error::Error>> {
    let stub = GdbStub::builder(client.output()?).packet_buffer_size(LIBRARY_PACKET).build()?;
    let mut stub: Stub<'_, '_> = stub.run_state_machine(target)?;
    let mut reader = Reader { scanner: PacketScanner::new(PACKET), acknowledges: true, has_packet: false };
    let mut running = false;
    loop {
        target.supervisor.serve_requests(requests);
        if target.supervisor.take_registers_changed() {
            target.view.registers.forget();
            target.threads.resize(target.supervisor.machine.cpu_ids().count());
        }
        if let Some(outcome) = target.supervisor.outcome() {
            if let Stub::Running(mut going) = stub {
                // gdb itself prints only that it has exited.
                let message = report::end_message(target.supervisor.machine, outcome);
                print(&format!("kvm: {message}\n"), going.borrow_conn())?;
                report_over(going, target);
            }
            return Ok(());
        }
        if !matches!(stub, Stub::CtrlCInterrupt(_)) {
            running = matches!(stub, Stub::Running(_));
        }
        stub = match stub {
            Stub::Idle(_) => match client.next_soon() {
                Incoming::Bytes => reader.take(stub, target, client)?,
                Incoming::Disconnected => return Ok(()),
                Incoming::Nothing => {
                    wait(target, client);
                    if target.supervisor.outcome().is_some() {
                        return Ok(());
                    }
                    stub
                }
            },
            Stub::Running(mut going) => {
                match client.next() {
                    Incoming::Bytes => reader.take(going.into(), target, client)?,
                    Incoming::Disconnected => return Ok(()),
                    Incoming::Nothing if target.supervisor.status() == RunStatus::Paused => {
                        going.borrow_conn().flush()?;
                        wait(target, client);
                        if target.supervisor.outcome().is_some() {
                            report_over(going, target);
                            return Ok(());
                        }
                        going.into()
                    }
                    Incoming::Nothing => {
                        // Sends the acknowledgement of the packet that resumed the guest.
                        going.borrow_conn().flush()?;
                        client.watch(true, target.supervisor.needs_periodic_stops().then_some(INTERVAL));
                        target.view.registers.forget();
                        let advance = target.supervisor.advance();
                        client.unwatch();
                        print(&std::mem::take(&mut target.supervisor.messages), going.borrow_conn())?;
                        match advance {
                            Advance::Going => going.into(),
                            Advance::Stopped(stop) => {
                                target.threads.stopped(target.supervisor.cpu);
                                print_pending_end(target, going.borrow_conn())?;
                                let values = expedited(target);
                                let mut values =
                                    values.iter().map(|(number, bytes, size)| (*number, &bytes[..*size]));
                                going.report_stop_with_regs(target, reason(stop, target), &mut values)?
                            }
                            Advance::Over => {
                                report_over(going, target);
                                return Ok(());
                            }
                        }
                    }
                }
            }
            Stub::CtrlCInterrupt(interrupt) => {
                // An interrupt that crossed with a stop is reported at the next resume: gdb may be in the middle of a
                // thousand steps. Only a guest that was running can have moved; asking the host for its position
                // is so expensive that a flood of interrupts would take minutes.
                if running {
                    target.supervisor.interrupt(target.threads.selected());
                }
                let tid = thread_of(target.threads.selected());
                let stop = MultiThreadStopReason::SignalWithThread { tid, signal: Signal::SIGINT };
                interrupt.interrupt_handled(target, Some(stop))?
            }
            Stub::Disconnected(mut ended) => match ended.get_reason() {
                DisconnectReason::Kill => {
                    // `vKill` waits for this answer; `k` ignores it.
                    let wire = ended.borrow_conn();
                    let _ = wire.write_all(b"$OK#9a").and_then(|()| wire.flush());
                    target.supervisor.end(Outcome::Quit);
                    return Ok(());
                }
                _ => return Ok(()),
            },
        };
    }
}

/// Reads packets from the client and passes each to the layer that answers it.
struct Reader {
    scanner: PacketScanner,
    /// Packets are still acknowledged with a `+`.
    acknowledges: bool,
    /// A packet has been received.
    has_packet: bool,
}

impl Reader {
    /// Takes the next bytes. A complete packet is answered here or by the library.
    fn take<'t, 'm>(
        &mut self,
        mut stub: Stub<'t, 'm>,
        target: &mut GdbTarget<'t, 'm>,
        client: &mut Client,
    ) -> Result<Stub<'t, 'm>, Box<dyn std::error::Error>> {
        let (piece, count) = self.scanner.take(client.received());
        let loose = client.received().first().copied();
        if !self.has_packet
            && piece == Scanned::Loose
            && !loose.is_some_and(|byte| FIRST_BYTES.contains(&byte))
        {
            let protocol = ForeignProtocol::of_first_bytes(client.received());
            client.reject_input();
            return Err(Box::new(NoDebugger(protocol)));
        }
        client.consume(count);
        match piece {
            Scanned::Inside => return Ok(stub),
            Scanned::Loose => return Ok(feed(stub, target, loose.as_slice())?),
            Scanned::TooLong => return Err(format!("it sent a packet of more than {PACKET} bytes").into()),
            Scanned::Last => self.has_packet = true,
        }
        let Some(body) = self.scanner.body() else { return Ok(feed(stub, target, self.scanner.packet())?) };
        let Some(output) = output(&mut stub) else { return Ok(stub) };
        let replaced;
        let packet = match extensions::route(target, body) {
            Route::Library => self.scanner.packet(),
            Route::Replaced(packet) => {
                replaced = packet;
                &replaced
            }
            Route::Extension(request) => {
                self.answer(output, |out| extensions::answer(target, &request, out))?;
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
            stub = feed(stub, target, packet)?;
            if let Some(output) = self::output(&mut stub) {
                extensions::amend(target, body, output.waiting());
                output.release()?;
            }
            return Ok(stub);
        }
        if body == b"k" && target.view.is_lldb {
            // LLDB waits for the end of the process. The library's answer follows too late to matter.
            self.answer(output, |out| out.extend_from_slice(b"X09"))?;
        }
        self.acknowledges &= body != b"QStartNoAckMode";
        Ok(feed(stub, target, packet)?)
    }

    /// Sends an answer of the extensions.
    fn answer(&self, output: &mut ClientOutput, body: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        if self.acknowledges {
            output.waiting().push(b'+');
        }
        write_packet(output.waiting(), body);
        output.flush()
    }
}

/// The direction towards the client, unless the library is between two states.
fn output<'a>(stub: &'a mut Stub<'_, '_>) -> Option<&'a mut ClientOutput> {
    match stub {
        Stub::Idle(idle) => Some(idle.borrow_conn()),
        Stub::Running(running) => Some(running.borrow_conn()),
        Stub::CtrlCInterrupt(_) | Stub::Disconnected(_) => None,
    }
}

/// Gives bytes to the library.
fn feed<'t, 'm>(
    mut stub: Stub<'t, 'm>,
    target: &mut GdbTarget<'t, 'm>,
    bytes: &[u8],
) -> Result<Stub<'t, 'm>, StubError> {
    for byte in bytes {
        stub = match stub {
            Stub::Idle(idle) => idle.incoming_data(target, *byte)?,
            Stub::Running(going) => going.incoming_data(target, *byte)?,
            other => other,
        };
    }
    Ok(stub)
}

/// The registers that gdb reads after every stop: their numbers, values and sizes.
fn expedited(target: &mut GdbTarget<'_, '_>) -> Vec<(RegisterNumber, [u8; 16], usize)> {
    let (view, machine, vcpu) = (&mut target.view, &*target.supervisor.machine, target.threads.selected());
    let layout = view.layout;
    let value = |number| {
        let (register, size) = layout.register(number)?;
        let value = view.registers.of(vcpu).get(machine, register).ok()?;
        Some((RegisterNumber(number), value.to_le_bytes(), size))
    };
    layout.expedited().into_iter().filter_map(value).collect()
}

/// Lets time pass until the client sends something, another input arrives, or the run is over.
fn wait(target: &mut GdbTarget<'_, '_>, client: &mut Client) {
    client.watch(false, None);
    target.supervisor.wait();
    client.unwatch();
}

/// Reports the end of the run as the stop that the client waits for, if the client is still there.
fn report_over<'t, 'm>(going: RunningStub<'t, 'm>, target: &mut GdbTarget<'t, 'm>) {
    let Some(reason) = target.supervisor.outcome().map(exit_reason) else { return };
    if let Err(error) = going.report_stop(target, reason) {
        debug!("the end of the run could not be reported to gdb: {error}");
    }
}

fn reason(stop: Stop, target: &GdbTarget<'_, '_>) -> MultiThreadStopReason<u64> {
    // Only a reason with a thread can carry registers.
    let tid = thread_of(target.threads.selected());
    let signal = |signal| MultiThreadStopReason::SignalWithThread { tid, signal };
    // If CS has a base, gdb would look for its breakpoint at RIP, find none, and continue.
    let has_code_base = target.supervisor.position().is_ok_and(|(registers, pc)| registers.general.rip != pc);
    match stop {
        Stop::Software | Stop::Hardware if has_code_base => signal(Signal::SIGTRAP),
        Stop::Stepped => signal(Signal::SIGTRAP),
        Stop::Software => MultiThreadStopReason::SwBreak(tid),
        Stop::Hardware => MultiThreadStopReason::HwBreak(tid),
        Stop::Watch(hit) => {
            MultiThreadStopReason::Watch { tid, kind: library_kind(hit.kind), addr: hit.address }
        }
        // gdb continues by itself after a breakpoint that it has not set.
        Stop::Trap | Stop::Point | Stop::Requested => signal(Signal::SIGTRAP),
        // Within a source line gdb treats SIGTRAP as the end of one more step.
        Stop::Reset => signal(Signal::SIGINT),
        Stop::Ended => signal(match target.supervisor.pending_end() {
            Some(Outcome::Halted { .. }) => Signal::SIGTERM,
            Some(Outcome::TripleFault(_)) => Signal::SIGSEGV,
            _ => Signal::SIGILL,
        }),
    }
}

/// The kind of a watchpoint for the library.
fn library_kind(kind: WatchKind) -> LibraryWatchKind {
    match kind {
        WatchKind::Write => LibraryWatchKind::Write,
        WatchKind::Read => LibraryWatchKind::Read,
        WatchKind::ReadWrite => LibraryWatchKind::ReadWrite,
    }
}

/// The stop reply for a run that ends while gdb waits for the guest to stop.
fn exit_reason(outcome: &Outcome) -> MultiThreadStopReason<u64> {
    match outcome {
        // Small numbers are the same signals for gdb as for the host.
        Outcome::Terminated(signal @ 1..=15) => MultiThreadStopReason::Terminated(Signal(*signal as u8)),
        outcome => MultiThreadStopReason::Exited(outcome.status()),
    }
}

/// Has gdb print why a stopped guest cannot go on.
fn print_pending_end(target: &GdbTarget<'_, '_>, wire: &mut ClientOutput) -> io::Result<()> {
    let Some(outcome) = target.supervisor.pending_end() else { return Ok(()) };
    print(&format!("kvm: {}\n", report::end_message(target.supervisor.machine, outcome)), wire)
}

/// `text` in pieces for console output packets.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &[u8]> {
    text.as_bytes().chunks(OUTPUT_CHUNK)
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
