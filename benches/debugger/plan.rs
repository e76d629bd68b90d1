//! The measurements, their order and their targets.

use std::time::Duration;

use crate::contender::Contender::{self, Bare, BareRegisters, Kvm, KvmByClient, Qemu};
use crate::contender::bare_steps;
use crate::guest;
use crate::measure::{Amount, Metric, measure as measure_once};
use crate::shared::guests::Guests;
use crate::shared::rounds::{compare, side_by_side};
use crate::shared::table::{Table, Target, Unit, seconds};
use crate::shared::{Failure, host};

/// Port writes of the long guests, which this benchmark does not use.
const WRITES: u32 = 32_000;

const TIME: Unit = Unit { show: seconds, more_is_better: false };
const RATE: Unit = Unit { show: per_second, more_is_better: true };
const THROUGHPUT: Unit = Unit { show: megabytes, more_is_better: true };

fn per_second(rate: f64) -> String {
    format!("{rate:.0}/s")
}

fn megabytes(rate: f64) -> String {
    format!("{:.1} MB/s", rate / 1e6)
}

/// How much is measured.
pub struct Plan {
    rounds: usize,
    amount: Amount,
}

/// A table for publication: a minute or two.
pub const FULL: Plan = Plan {
    rounds: 7,
    amount: Amount { time: Duration::from_millis(300), interrupts: 21, conditions: 10_000 },
};

/// A smoke run.
pub const QUICK: Plan =
    Plan { rounds: 3, amount: Amount { time: Duration::from_millis(50), interrupts: 7, conditions: 2_000 } };

/// A line of the table.
struct Row {
    what: &'static str,
    metric: Metric,
    unit: Unit,
    /// The compared programs, with their targets.
    against: &'static [(Contender, Option<Target>)],
}

// Targets as multiples of the other program's rate.
const STOPS: Option<Target> = Some(Target::Ratio(4.0));
const REGISTERS: Option<Target> = Some(Target::Ratio(2.0));
/// A time as long as QEMU's, with a fifth for noise.
const AS_QEMU: Option<Target> = Some(Target::Ratio(1.2));
const MEMORY: Option<Target> = Some(Target::Ratio(10.0));

const ROWS: &[Row] = &[
    row("connect and initial packets", Metric::Connect, TIME, &[(Qemu, None)]),
    row("all registers, g", Metric::AllRegisters, RATE, &[(Qemu, REGISTERS)]),
    row("one register, p", Metric::OneRegister, RATE, &[(Qemu, REGISTERS)]),
    row("memory read, m", Metric::ReadHex, THROUGHPUT, &[(Qemu, MEMORY)]),
    row("memory read, x or else m", Metric::ReadBest, THROUGHPUT, &[(Qemu, None)]),
    row("memory write, M", Metric::WriteHex, THROUGHPUT, &[(Qemu, None)]),
    row("memory write, X or else M", Metric::WriteBest, THROUGHPUT, &[(Qemu, None)]),
    row("single steps, a round trip each", Metric::Steps, RATE, &[(Qemu, STOPS), (Bare, None)]),
    row(
        "range step of 10 000 instructions, or else single steps",
        Metric::Range,
        RATE,
        &[(Qemu, None), (Bare, Some(Target::Ratio(0.8))), (BareRegisters, None)],
    ),
    row("software breakpoint hits, c", Metric::Hits(0), RATE, &[(Qemu, STOPS)]),
    row("software breakpoint hits, z s Z c", Metric::HitsLikeGdb(0), RATE, &[(Qemu, STOPS)]),
    row("hardware breakpoint hits, c", Metric::Hits(1), RATE, &[(Qemu, STOPS)]),
    row("hardware breakpoint hits, z s Z c", Metric::HitsLikeGdb(1), RATE, &[(Qemu, STOPS)]),
    row("write watchpoint hits, c", Metric::WatchHits, RATE, &[(Qemu, STOPS)]),
    row("Ctrl-C to stop", Metric::Interrupt, TIME, &[(Qemu, AS_QEMU)]),
    row("false conditions of a breakpoint", Metric::Conditions, RATE, &[(KvmByClient, STOPS)]),
];

const fn row(
    what: &'static str,
    metric: Metric,
    unit: Unit,
    against: &'static [(Contender, Option<Target>)],
) -> Row {
    Row { what, metric, unit, against }
}

/// Makes all measurements of `plan`.
pub fn measure(plan: &Plan) -> Result<Table, Failure> {
    let guests = Guests::build(WRITES)?;
    // Any stub may lack a function, but `kvm` must at least accept a connection.
    measure_once(Metric::Connect, Kvm, &guests, &plan.amount)?;
    let mut table = Table::new(host::line());
    for row in ROWS {
        let mut contenders = vec![Kvm];
        contenders.extend(row.against.iter().map(|(contender, _)| contender));
        let measured = side_by_side(
            row.what,
            &contenders,
            |_| plan.rounds,
            |contender| match contender {
                Bare => bare_steps(&guests, false, guest::FIRST_CODE_INSTRUCTIONS),
                BareRegisters => bare_steps(&guests, true, guest::FIRST_CODE_INSTRUCTIONS),
                _ => measure_once(row.metric, contender, &guests, &plan.amount),
            },
        )?;
        compare(&mut table, row.what, row.unit, &measured, |against| {
            row.against.iter().find(|(other, _)| *other == against).and_then(|(_, target)| *target)
        });
    }
    Ok(table)
}
