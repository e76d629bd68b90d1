//! What snapshots in memory cost, beside the ways to begin anew that there are without them.
//!
//! `cargo bench --bench snapshots [-- OPTION...]`; docs/benchmarks.md says what the lines mean. It is
//! measured inside of one process: what a user waits for besides is gdb.

#[allow(dead_code)]
#[path = "../shared/mod.rs"]
mod shared;

use std::cell::RefCell;
use std::process::ExitCode;
use std::time::Instant;

use kvm::boot::{BootOptions, FileImage};
use kvm::machine::inputs::{Input, Inputs};
use kvm::machine::output::{Doorbell, output_queues};
use kvm::machine::snapshots::Snapshots;
use kvm::machine::{Event, Machine, MachineSpec, Outcome};
use kvm::settings::{KeyTarget, LayoutName};
use shared::guests::Guests;
use shared::rounds::{self, compare, side_by_side};
use shared::table::{Table, Target, Unit};
use shared::{Failure, host};

/// RAM of the guest: it is all in use.
const RAM: u64 = 64 << 20;
/// Where the guest finds how many pages it is to write, and the first of them.
const COUNT: u64 = 0x30_0000;
const PAGES: u64 = 0x40_0000;
/// Port writes of guests that are not used here.
const WRITES: u32 = 32_000;

const TIME: Unit = Unit { show: microseconds, more_is_better: false };

fn microseconds(seconds: f64) -> String {
    format!("{:.1} us", seconds * 1e6)
}

/// Ways to have a guest where it was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Going back to a snapshot.
    GoBack,
    /// Taking another one.
    Take,
    /// What going back would be if nobody knew which pages have changed.
    CopyAll,
    /// The machine is reset and the guest loaded again: at its first instruction, not where it was.
    Reset,
}

impl rounds::Contender for Way {
    fn name(self) -> &'static str {
        match self {
            Way::GoBack => "going back",
            Way::Take => "taking a snapshot",
            Way::CopyAll => "copying all of its 64 MiB",
            Way::Reset => "reset and load",
        }
    }

    fn is_optional(self) -> bool {
        false
    }
}

/// A guest with a snapshot of it.
struct Lab {
    machine: Machine,
    snapshots: Snapshots,
    copy: Vec<u8>,
}

impl Lab {
    fn new(guests: &Guests) -> Result<Lab, Failure> {
        let image = Box::new(FileImage::open(guests.elf("touch"))?);
        let spec = MachineSpec {
            memory: RAM,
            boot: BootOptions::default(),
            keys: KeyTarget::Auto,
            layout: LayoutName::Us,
            terminal: None,
            no_reboot: false,
        };
        let machine = Machine::new(image, spec, Inputs::new(), output_queues(Doorbell::new()?).0)?;
        let mut lab = Lab { machine, snapshots: Snapshots::default(), copy: vec![1; (RAM - PAGES) as usize] };
        lab.begin()?;
        Ok(lab)
    }

    /// All of RAM in use, the guest at its loop, and a snapshot of that.
    fn begin(&mut self) -> Result<(), Failure> {
        self.machine.memory().write(PAGES, &self.copy)?;
        self.run(1)?;
        self.snapshots.take(&mut self.machine, "begin", None)?;
        Ok(())
    }

    /// Has the guest write to `pages` pages.
    fn run(&mut self, pages: u64) -> Result<(), Failure> {
        self.machine.memory().write_u64(COUNT, pages)?;
        match self.machine.run_to_event() {
            Event::End(Outcome::Halted { .. }) => Ok(()),
            other => Err(format!("the guest should have halted: {other:?}").into()),
        }
    }

    /// Seconds that `way` takes after the guest has written to `pages` pages.
    fn measure(&mut self, way: Way, pages: u64) -> Result<f64, Failure> {
        self.run(pages)?;
        let begin = Instant::now();
        match way {
            Way::GoBack => _ = self.snapshots.restore(&mut self.machine, "begin")?,
            Way::Take => _ = self.snapshots.take(&mut self.machine, "other", None)?,
            Way::CopyAll => self.machine.memory().write(PAGES, &self.copy)?,
            Way::Reset => {
                self.machine.inputs().push(Input::Reset);
                let event = self.machine.wait();
                if !matches!(event, Event::Reset) {
                    return Err(format!("the machine should have been reset: {event:?}").into());
                }
            }
        }
        let time = begin.elapsed().as_secs_f64();
        match way {
            Way::GoBack => {}
            Way::Take | Way::CopyAll => _ = self.snapshots.restore(&mut self.machine, "begin")?,
            Way::Reset => self.begin()?,
        }
        Ok(time)
    }
}

fn measure(rounds: usize) -> Result<Table, Failure> {
    let guests = Guests::build(WRITES)?;
    let lab = RefCell::new(Lab::new(&guests)?);
    let mut table = Table::new(host::line());
    for (pages, most) in [(4, None), (64, Some(100e-6)), (1024, None)] {
        let what = format!("going back, {pages} pages written");
        let measured = side_by_side(
            &what,
            &[Way::GoBack, Way::Take, Way::CopyAll, Way::Reset],
            |way| if way == Way::Reset { rounds.div_ceil(10) } else { rounds },
            |way| lab.borrow_mut().measure(way, pages),
        )?;
        let target = |way| most.filter(|_| way == Way::CopyAll).map(Target::Own);
        compare(&mut table, &what, TIME, &measured, target);
    }
    Ok(table)
}

fn main() -> ExitCode {
    shared::options::run("snapshots", |quick| measure(if quick { 10 } else { 200 }))
}
