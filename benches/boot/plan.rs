//! The measurements, their order and their targets.

use crate::contender::Contender::{
    self, KvmElf, KvmMultiboot, KvmOwnBios, KvmSeabios, QemuMultiboot, QemuSeabios,
};
use crate::run::until;
use crate::shared::guests::Guests;
use crate::shared::rounds::{compare, side_by_side};
use crate::shared::table::{Table, Target, Unit, seconds};
use crate::shared::{Failure, host};

/// How much is measured.
pub struct Plan {
    /// Rounds of measurements that take milliseconds.
    rounds: usize,
    /// Rounds in which firmware runs, which takes seconds on some hosts.
    firmware_rounds: usize,
}

/// A table for publication: some minutes.
pub const FULL: Plan = Plan { rounds: 101, firmware_rounds: 5 };

/// A smoke run.
pub const QUICK: Plan = Plan { rounds: 9, firmware_rounds: 1 };

/// What the boot sector sends, and the guest that needs no BIOS.
const SECTOR: &str = "\n";
/// What the Multiboot kernel sends.
const KERNEL: &str = "a Multiboot kernel\n";

const TIME: Unit = Unit { show: seconds, more_is_better: false };

/// Makes all measurements of `plan`.
pub fn measure(plan: &Plan) -> Result<Table, Failure> {
    // The number is that of other guests.
    let guests = Guests::build(32_000)?;
    let mut table = Table::new(host::line());
    let rounds = |contender: Contender| match contender {
        KvmSeabios | QemuSeabios | QemuMultiboot => plan.firmware_rounds,
        _ => plan.rounds,
    };

    let what = "process start to the first byte of a boot sector";
    let measured = side_by_side(what, &[KvmOwnBios, KvmElf], rounds, |contender| {
        until(contender.command(&guests), SECTOR)
    })?;
    compare(&mut table, &format!("{what}, own BIOS"), TIME, &measured, |_| Some(Target::Ratio(2.0)));

    let measured = side_by_side(what, &[KvmSeabios, QemuSeabios], rounds, |contender| {
        until(contender.command(&guests), SECTOR)
    })?;
    compare(&mut table, &format!("{what}, SeaBIOS"), TIME, &measured, |_| Some(Target::Ratio(1.0)));

    let what = "process start to the first line of a Multiboot kernel";
    let measured = side_by_side(what, &[KvmMultiboot, QemuMultiboot], rounds, |contender| {
        until(contender.command(&guests), KERNEL)
    })?;
    compare(&mut table, what, TIME, &measured, |_| Some(Target::Ratio(1.0)));
    Ok(table)
}
