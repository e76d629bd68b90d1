//! The measurements, their order and their targets.

use std::path::{Path, PathBuf};

use crate::contender::Contender::{self, Kvm, Qemu, QemuShort};
use crate::shared::guests::Guests;
use crate::shared::rounds::{compare, several_side_by_side, side_by_side};
use crate::shared::table::{Table, Target, Unit, seconds};
use crate::shared::{Failure, host};

/// Port writes of the long guests, which this benchmark does not use.
const WRITES: u32 = 32_000;

/// How much is measured.
pub struct Plan {
    rounds: usize,
}

/// A table for publication: a minute or two.
pub const FULL: Plan = Plan { rounds: 9 };

/// A smoke run.
pub const QUICK: Plan = Plan { rounds: 3 };

const TIME: Unit = Unit { show: seconds, more_is_better: false };

/// Makes all measurements of `plan`.
pub fn measure(plan: &Plan) -> Result<Table, Failure> {
    let guests = Guests::build(WRITES)?;
    let mut table = Table::new(host::line());
    migrations(plan, &guests, &mut table)?;
    files(plan.rounds, &guests, Path::new("/dev/shm"), "memory", Some(Target::Ratio(0.5)), &mut table)?;
    // The time on a disk depends on the disk.
    files(plan.rounds.div_ceil(5), &guests, guests.folder(), "a disk", None, &mut table)?;
    Ok(table)
}

fn migrations(plan: &Plan, guests: &Guests, table: &mut Table) -> Result<(), Failure> {
    let rows = [
        ("migration: command to first output at the destination", Some(Target::Ratio(0.5))),
        ("migration: last output at the source to first at the destination", Some(Target::Ratio(0.15))),
        ("migration: total time, as reported", None),
        ("migration: downtime, as reported", None),
    ];
    let measured = several_side_by_side(
        "migration",
        &[Kvm, Qemu, QemuShort],
        |_| plan.rounds,
        |contender| one_migration(contender, guests),
    )?;
    for ((what, target), measured) in rows.into_iter().zip(&measured) {
        compare(table, what, TIME, measured, |against| target.filter(|_| against == Qemu));
    }
    Ok(())
}

fn one_migration(contender: Contender, guests: &Guests) -> Result<[f64; 4], Failure> {
    let (source, mut console) = contender.run_guest(guests)?;
    let (destination, port) = contender.start_destination(guests)?;
    let start = std::time::Instant::now();
    contender.migrate_to(&mut console, port)?;
    let first = destination.wait_for(1)?;
    // The guest must run there, not only arrive.
    destination.wait_for(20)?;
    let reported = contender.reported_times(&mut console)?;
    let last = source.ticks().last.ok_or("the guest was silent")?;
    let gap = first.checked_duration_since(last).ok_or("the guest ran on both hosts")?;
    Ok([(first - start).as_secs_f64(), gap.as_secs_f64(), reported.total, reported.downtime])
}

/// Saving the guest in a file in `folder`, which is on `what`, and restoring it.
fn files(
    rounds: usize,
    guests: &Guests,
    folder: &Path,
    what: &str,
    target: Option<Target>,
    table: &mut Table,
) -> Result<(), Failure> {
    let file = |contender| -> PathBuf {
        // The file extension names the format.
        let name = if contender == Kvm { "bench-migration.kvmstate" } else { "bench-migration.qemu" };
        folder.join(name)
    };
    let line = format!("saving in a file on {what}, guest stopped, file synchronised");
    let saved = side_by_side(
        &line,
        &[Kvm, Qemu],
        |_| rounds,
        |contender| {
            let (_source, mut console) = contender.run_guest(guests)?;
            contender.save(&mut console, &file(contender))
        },
    )?;
    compare(table, &line, TIME, &saved, |_| target);

    let line = format!("restoring from a file on {what}: process start to first output");
    let restored = side_by_side(
        &line,
        &[Kvm, Qemu],
        |_| rounds,
        |contender| {
            let destination = contender.restore(guests, &file(contender))?;
            let first = destination.wait_for(1)?;
            destination.wait_for(20)?;
            Ok((first - destination.started()).as_secs_f64())
        },
    )?;
    compare(table, &line, TIME, &restored, |_| Some(Target::Value(0.05)));
    for contender in [Kvm, Qemu] {
        // Missing if saving has failed.
        let _ = std::fs::remove_file(file(contender));
    }
    Ok(())
}
