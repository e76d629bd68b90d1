//! `--explain`: runs a guest again, instruction by instruction, after a triple fault that has left nothing to look at.
//!
//! Some processors are reset by a triple fault (AMD APM volume 2, "Shutdown"), and with the registers everything is gone
//! that tells the exception. So the machine goes back to its first instruction, and the registers in front of each
//! instruction are kept until one ends in a triple fault. They are put back then, and the guest is examined as on a host
//! that keeps them.
//!
//! A step over an instruction that faults ends at the first instruction of the guest's handler only where debug registers
//! stop the guest there. Elsewhere it ends behind the handler, or in a triple fault whose cause lies in it. So if the last
//! instruction raises an exception for which the guest has a handler, a further run delivers the exception itself at that
//! instruction, and steps through the handler.
//!
//! The second run sends nothing: its output has been sent by the first one. Keys and other input do not come again, and
//! interrupts at other instructions, so a guest that depends on them may end in another way.

use std::time::{Duration, Instant};

use super::run_control::Supervisor;
use super::session::Services;
use crate::arch::Registers;
use crate::arch::flags::RFLAGS_RF;
use crate::emulate::RaisedHere;
use crate::inspect::disassembly::LONGEST_INSTRUCTION;
use crate::inspect::fault::{self, Diagnosis, RaisedException};
use crate::inspect::translate::read_virtual;
use crate::machine::snapshots::{InMemorySnapshotError, Snapshots};
use crate::machine::{CpuId, Event, Machine, Outcome};

/// Name of the snapshot at the first instruction.
const START: &str = "start";
/// Longest time for the second run.
const LONGEST: Duration = Duration::from_secs(10);
/// Time after which the user is told how far it is, each time.
const PROGRESS: Duration = Duration::from_secs(1);
/// Instructions between two looks at the clock.
const CHUNK: u64 = 256;
/// Handlers that are entered one in the other to find the fault that has none.
const MOST_HANDLERS: usize = 4;

/// A machine's state at its first instruction.
#[derive(Debug)]
pub(crate) struct FirstInstruction {
    snapshots: Snapshots,
    /// Disks whose contents would be written a second time.
    disks: Vec<u8>,
}

/// How a second run has ended.
#[derive(Debug)]
pub(crate) enum Rerun {
    /// With a triple fault after this many instructions; the registers in front of the last one are those of the machine.
    TripleFault {
        /// Instructions executed before.
        instructions: u64,
    },
    /// In another way, so it explains nothing.
    Differs {
        /// Instructions executed before.
        instructions: u64,
    },
    /// The time was up.
    TimeUp {
        /// Instructions executed.
        instructions: u64,
    },
}

impl FirstInstruction {
    /// Keeps the state of `machine`, which has not run yet.
    ///
    /// # Errors
    ///
    /// [`InMemorySnapshotError`] if it cannot be kept.
    pub(crate) fn of(machine: &mut Machine) -> Result<FirstInstruction, InMemorySnapshotError> {
        let mut snapshots = Snapshots::default();
        let taken = snapshots.take(machine, START, None)?;
        Ok(FirstInstruction { snapshots, disks: taken.disks })
    }

    /// Why `machine` cannot be run again; `None` if it can.
    pub(crate) fn obstacle(&self, machine: &Machine) -> Option<&'static str> {
        if machine.cpu_ids().count() > 1 {
            return Some("a guest with several CPUs does not do the same a second time");
        }
        (!self.disks.is_empty()).then_some(
            "the guest would write to its disks a second time (`--disk FILE,snapshot` keeps what it writes in memory)",
        )
    }

    /// Runs `machine` from there to the next triple fault. `progress` is told every second how many instructions have been
    /// executed.
    ///
    /// # Errors
    ///
    /// [`InMemorySnapshotError`]; the machine is not what it was before then.
    #[cold]
    pub(crate) fn run_again(
        self,
        machine: &mut Machine,
        services: Services,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Rerun, InMemorySnapshotError> {
        machine.mute()?;
        let mut supervisor = Supervisor::new(machine, true, services);
        supervisor.snapshots = self.snapshots;
        supervisor.session.switches.step_interrupts = true;
        let began = Instant::now();
        let mut entered = Vec::new();
        let mut pass = supervisor.step_to_end(&entered, began, progress)?;
        while entered.len() < MOST_HANDLERS
            && let Some(fault) = supervisor.handled_fault(&pass, &entered)
        {
            entered.push(fault);
            let next = supervisor.step_to_end(&entered, began, progress)?;
            // It went another way, or takes too long: what is known is the fault whose handler fails.
            if !matches!(next.end, Some(Outcome::TripleFault(_))) {
                break;
            }
            pass = next;
        }
        let Pass { instructions, end, before } = pass;
        Ok(match end {
            None => Rerun::TimeUp { instructions },
            Some(Outcome::TripleFault(rescued)) => {
                if rescued.is_none() {
                    machine.put_back(CpuId::BOOT, &before)?;
                }
                Rerun::TripleFault { instructions }
            }
            Some(_) => Rerun::Differs { instructions },
        })
    }
}

/// One run from the first instruction.
#[derive(Debug)]
struct Pass {
    /// Instructions executed before the last one.
    instructions: u64,
    /// How it ended; `None` if the time was up.
    end: Option<Outcome>,
    /// The registers in front of the last instruction.
    before: Registers,
}

/// A fault whose handler the guest has. The step over the instruction runs it to its end, where nothing stops the guest at
/// the handler: what happens in it is not seen.
#[derive(Clone, Copy, Debug)]
struct HandledFault {
    /// Instructions executed before.
    instructions: u64,
    /// The registers in front of the instruction.
    before: Registers,
    raised: RaisedHere,
}

impl Supervisor<'_> {
    /// Steps from the first instruction until the run ends or the time is up. The exceptions of the instructions in
    /// `entered` are delivered in place of executing them, so that their handlers are stepped, too. The console's loop evaluates
    /// breakpoints and stops, too, which would cost each instruction time.
    fn step_to_end(
        &mut self,
        entered: &[HandledFault],
        began: Instant,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Pass, InMemorySnapshotError> {
        self.snapshots.restore(self.machine, START)?;
        let mut told = Instant::now();
        let mut instructions = 0;
        loop {
            let (before, pc) = self.position()?;
            let at = instructions;
            let pass = |end| Pass { instructions: at, end, before };
            let fault = entered.iter().find(|fault| fault.instructions == instructions);
            let event = match fault {
                Some(fault) if is_same(&fault.before, &before) => {
                    match self.machine.deliver_exception(self.cpu, fault.raised)? {
                        true => None,
                        false => Some(Event::End(Outcome::TripleFault(None))),
                    }
                }
                // An interrupt has come at another time.
                Some(_) => return Ok(pass(None)),
                None => self.step_instruction(&before, pc, [None; 4])?,
            };
            match event {
                Some(Event::End(outcome)) => return Ok(pass(Some(outcome))),
                Some(Event::ResetRequested) => return Ok(pass(Some(Outcome::Reset))),
                Some(_) | None => {}
            }
            instructions += 1;
            if instructions % CHUNK == 0 {
                if began.elapsed() >= LONGEST {
                    return Ok(pass(None));
                }
                if told.elapsed() >= PROGRESS {
                    told = Instant::now();
                    progress(instructions);
                }
            }
        }
    }

    /// The fault of the last instruction of a run that has ended with a triple fault, if the guest has a handler for it in
    /// which it may have come to the triple fault.
    fn handled_fault(&self, pass: &Pass, entered: &[HandledFault]) -> Option<HandledFault> {
        let Pass { instructions, end: Some(Outcome::TripleFault(None)), before } = pass else { return None };
        if entered.iter().any(|fault| fault.instructions == *instructions) {
            return None;
        }
        let memory = self.machine.memory();
        let mut code = [0; LONGEST_INSTRUCTION];
        let count = read_virtual(memory, before, before.next_instruction(), &mut code);
        let RaisedException { vector, error_code, diagnosis } =
            fault::find(memory, before, &code[..count], &|| None)?;
        let address = match diagnosis {
            Diagnosis::Page { address, .. } => Some(address),
            // A step over these ends in the handler everywhere, or nothing has been raised.
            Diagnosis::SoftwareInterrupt | Diagnosis::BreakpointBefore => return None,
            _ => None,
        };
        if fault::delivery::failure(memory, before, vector).is_some() {
            return None;
        }
        let raised = RaisedHere { vector, error_code, address };
        Some(HandledFault { instructions: *instructions, before: *before, raised })
    }
}

/// True if two runs are at the same place: the flag that a debugger's stop may set aside.
fn is_same(one: &Registers, other: &Registers) -> bool {
    let comparable = |registers: &Registers| {
        let mut registers = *registers;
        registers.general.rflags &= !RFLAGS_RF;
        registers
    };
    comparable(one) == comparable(other)
}
