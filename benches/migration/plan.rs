//! What is measured, in which order, and what is expected of it.

use std::path::{Path, PathBuf};

use crate::contender::Contender::{self, Kvm, Qemu, QemuShort};
use crate::shared::guests::Guests;
use crate::shared::rounds::{compare, several_side_by_side, side_by_side};
use crate::shared::table::{Table, Target, Unit, seconds};
use crate::shared::{Failure, host};

/// Port writes of guests that are not used here.
const WRITES: u32 = 32_000;

/// How much is measured.
pub struct Plan {
    rounds: usize,
}

/// A table to show to others: a minute or two.
pub const FULL: Plan = Plan { rounds: 9 };

/// Just enough to see that something went badly wrong.
pub const QUICK: Plan = Plan { rounds: 3 };

const TIME: Unit = Unit { show: seconds, more_is_better: false };

/// Does everything in `plan`.
pub fn measure(plan: &Plan) -> Result<Table, Failure> {
    let guests = Guests::build(WRITES)?;
    let mut table = Table::new(host::line());
    moves(plan, &guests, &mut table)?;
    files(plan.rounds, &guests, Path::new("/dev/shm"), "memory", Some(Target::Ratio(0.5)), &mut table)?;
    // How long a disk takes is up to the disk.
    files(plan.rounds.div_ceil(5), &guests, guests.folder(), "a disk", None, &mut table)?;
    Ok(table)
}

fn moves(plan: &Plan, guests: &Guests, table: &mut Table) -> Result<(), Failure> {
    let rows = [
        ("moving: command to first sign of life there", Some(Target::Ratio(0.5))),
        ("moving: last sign of life here to first there", Some(Target::Ratio(0.15))),
        ("moving: all of it, as the program tells", None),
        ("moving: guest stands still, as the program tells", None),
    ];
    let measured = several_side_by_side(
        "moving",
        &[Kvm, Qemu, QemuShort],
        |_| plan.rounds,
        |contender| one_move(contender, guests),
    )?;
    for ((what, target), measured) in rows.into_iter().zip(&measured) {
        compare(table, what, TIME, measured, |against| target.filter(|_| against == Qemu));
    }
    Ok(())
}

fn one_move(contender: Contender, guests: &Guests) -> Result<[f64; 4], Failure> {
    let (here, mut console) = contender.run_guest(guests)?;
    let (there, port) = contender.wait_for_guest(guests)?;
    let start = std::time::Instant::now();
    contender.move_to(&mut console, port)?;
    let first = there.wait_for(1)?;
    // It is to run there, not only to arrive.
    there.wait_for(20)?;
    let told = contender.told(&mut console)?;
    let last = here.said().last.ok_or("the guest was silent")?;
    let gap = first.checked_duration_since(last).ok_or("the guest ran on both sides")?;
    Ok([(first - start).as_secs_f64(), gap.as_secs_f64(), told.total, told.downtime])
}

/// Saving the guest in a file in `folder`, which is on `what`, and having it go on from there.
fn files(
    rounds: usize,
    guests: &Guests,
    folder: &Path,
    what: &str,
    target: Option<Target>,
    table: &mut Table,
) -> Result<(), Failure> {
    let file = |contender| -> PathBuf {
        // Where the format can be told from the name it is.
        let name = if contender == Kvm { "bench-migration.kvmstate" } else { "bench-migration.qemu" };
        folder.join(name)
    };
    let line = format!("saving in a file on {what}, guest stopped, file synced");
    let saved = side_by_side(
        &line,
        &[Kvm, Qemu],
        |_| rounds,
        |contender| {
            let (_here, mut console) = contender.run_guest(guests)?;
            contender.save(&mut console, &file(contender))
        },
    )?;
    compare(table, &line, TIME, &saved, |_| target);

    let line = format!("process start with a file on {what} to first sign of life");
    let restored = side_by_side(
        &line,
        &[Kvm, Qemu],
        |_| rounds,
        |contender| {
            let there = contender.restore(guests, &file(contender))?;
            let first = there.wait_for(1)?;
            there.wait_for(20)?;
            Ok((first - there.started()).as_secs_f64())
        },
    )?;
    compare(table, &line, TIME, &restored, |_| Some(Target::Own(0.05)));
    for contender in [Kvm, Qemu] {
        // Where it could not be saved there is none.
        let _ = std::fs::remove_file(file(contender));
    }
    Ok(())
}
