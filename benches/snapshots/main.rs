//! The cost of in-memory snapshots, beside the alternatives without them.
//!
//! `cargo bench --bench snapshots [-- OPTION...]`; docs/benchmarks.md explains the lines of the table. It
//! is measured within one process, without the cost of gdb.

#[allow(dead_code)]
#[path = "../shared/mod.rs"]
mod shared;

use std::cell::RefCell;
use std::process::ExitCode;
use std::time::Instant;

use kvm::boot::{BootOptions, FileImage, Protocol};
use kvm::machine::inputs::{Input, Inputs};
use kvm::machine::output::{Doorbell, output_queue};
use kvm::machine::snapshots::Snapshots;
use kvm::machine::{Event, Machine, MachineSpec, Outcome};
use kvm::settings::{ClockMode, IrqchipMode, KeyTarget, LayoutName, Schedule};
use shared::guests::Guests;
use shared::rounds::{self, compare, side_by_side};
use shared::table::{Table, Target, Unit};
use shared::{Failure, host};

/// RAM of the guest, all of it in use.
const RAM: u64 = 64 << 20;
/// The address of the number of pages that the guest writes, and that of the first page.
const COUNT: u64 = 0x30_0000;
const PAGES: u64 = 0x40_0000;
/// Port writes of the long guests, which this benchmark does not use.
const WRITES: u32 = 32_000;

const TIME: Unit = Unit { show: microseconds, more_is_better: false };

fn microseconds(seconds: f64) -> String {
    format!("{:.1} us", seconds * 1e6)
}

/// An operation that returns a guest to a former state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    /// Restores a snapshot.
    Restore,
    /// Takes another snapshot.
    Take,
    /// Copies all of RAM, as a restore without dirty tracking would.
    CopyAll,
    /// Resets the machine and loads the guest again, to its first instruction.
    Reset,
}

impl rounds::Contender for Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Restore => "restoring a snapshot",
            Operation::Take => "taking a snapshot",
            Operation::CopyAll => "copying all 64 MiB",
            Operation::Reset => "reset and load",
        }
    }

    fn is_optional(self) -> bool {
        false
    }
}

/// A guest with a snapshot of it.
struct Experiment {
    machine: Machine,
    snapshots: Snapshots,
    copy: Vec<u8>,
}

impl Experiment {
    fn new(guests: &Guests) -> Result<Experiment, Failure> {
        let image = Box::new(FileImage::open(guests.elf("touch"))?);
        let found = Protocol::find(image.as_ref(), None)?;
        let spec = MachineSpec {
            device: kvm::settings::DEFAULT_DEVICE.into(),
            memory: RAM,
            boot: BootOptions::default(),
            keys: KeyTarget::Auto,
            layout: LayoutName::Us,
            terminal: None,
            no_reboot: false,
            cpus: 1,
            schedule: Schedule::Parallel,
            clock: ClockMode::Host,
            irqchip: IrqchipMode::User,
            time_of_day: 0,
            flat_ide_bars: false,
            framebuffer: false,
            magic_break: false,
        };
        let machine = Machine::new((image, found), spec, Inputs::new(), output_queue(Doorbell::new()?).0)?;
        let mut experiment =
            Experiment { machine, snapshots: Snapshots::default(), copy: vec![1; (RAM - PAGES) as usize] };
        experiment.begin()?;
        Ok(experiment)
    }

    /// All of RAM in use, the guest at its loop, and a snapshot of that.
    fn begin(&mut self) -> Result<(), Failure> {
        self.machine.memory().write(PAGES, &self.copy)?;
        self.run(1)?;
        self.snapshots.take(&mut self.machine, "begin", None)?;
        Ok(())
    }

    /// Runs the guest, which writes to `pages` pages.
    fn run(&mut self, pages: u64) -> Result<(), Failure> {
        self.machine.memory().write_u64(COUNT, pages)?;
        match self.machine.run_to_event() {
            Event::End(Outcome::Halted { .. }) => Ok(()),
            other => Err(format!("the guest should have halted: {other:?}").into()),
        }
    }

    /// Seconds that `operation` takes after the guest has written to `pages` pages.
    fn measure(&mut self, operation: Operation, pages: u64) -> Result<f64, Failure> {
        self.run(pages)?;
        let begin = Instant::now();
        match operation {
            Operation::Restore => _ = self.snapshots.restore(&mut self.machine, "begin")?,
            Operation::Take => _ = self.snapshots.take(&mut self.machine, "other", None)?,
            Operation::CopyAll => self.machine.memory().write(PAGES, &self.copy)?,
            Operation::Reset => {
                self.machine.inputs().push(Input::Reset);
                let event = self.machine.wait();
                if !matches!(event, Event::Reset) {
                    return Err(format!("the machine should have been reset: {event:?}").into());
                }
            }
        }
        let time = begin.elapsed().as_secs_f64();
        match operation {
            Operation::Restore => {}
            Operation::Take | Operation::CopyAll => _ = self.snapshots.restore(&mut self.machine, "begin")?,
            Operation::Reset => self.begin()?,
        }
        Ok(time)
    }
}

fn measure(rounds: usize) -> Result<Table, Failure> {
    let guests = Guests::build(WRITES)?;
    let experiment = RefCell::new(Experiment::new(&guests)?);
    let mut table = Table::new(host::line());
    for (pages, most) in [(4, None), (64, Some(100e-6)), (1024, None)] {
        let what = format!("restoring a snapshot, {pages} pages written");
        let measured = side_by_side(
            &what,
            &[Operation::Restore, Operation::Take, Operation::CopyAll, Operation::Reset],
            |operation| if operation == Operation::Reset { rounds.div_ceil(10) } else { rounds },
            |operation| experiment.borrow_mut().measure(operation, pages),
        )?;
        let target = |operation| most.filter(|_| operation == Operation::CopyAll).map(Target::Value);
        compare(&mut table, &what, TIME, &measured, target);
    }
    Ok(table)
}

fn main() -> ExitCode {
    shared::options::run("snapshots", |quick| measure(if quick { 10 } else { 200 }))
}
