//! The measurements, their order and their targets.

use crate::contender::Contender::{self, Bare, BareCoalesced, Kvm, QemuMicrovm, QemuPc};
use crate::memory::{self, ProcessMemory};
use crate::run::{FinishedRun, to_the_end, while_running};
use crate::shared::guests::Guests;
use crate::shared::rounds::{compare, several_side_by_side, side_by_side};
use crate::shared::samples::Samples;
use crate::shared::table::{Comparison, Table, Target, Unit, seconds};
use crate::shared::{Failure, host};

/// Default RAM of a guest, in MiB.
const RAM: u32 = 64;
/// RAM of the guest whose start is compared with that of a small one, in MiB.
const LARGE_RAM: u32 = 65536;
/// RAM while the memory of the process is measured, in MiB: larger than any other mapping.
const MEASURED_RAM: u32 = 512;

/// How much is measured.
pub struct Plan {
    /// Port writes of the long guests; a multiple of 64.
    writes: u32,
    /// Rounds of measurements that take milliseconds.
    short_rounds: usize,
    /// Rounds of measurements that take seconds.
    long_rounds: usize,
    /// Maximum rounds with QEMU of measurements that take seconds.
    qemu_rounds: usize,
    /// Whether QEMU's default machine is measured, too.
    pc: bool,
}

/// A table for publication: a few minutes.
pub const FULL: Plan =
    Plan { writes: 1_000_000, short_rounds: 101, long_rounds: 5, qemu_rounds: 2, pc: true };

/// A smoke run: under 15 seconds.
pub const QUICK: Plan = Plan { writes: 32_000, short_rounds: 25, long_rounds: 5, qemu_rounds: 1, pc: false };

const TIME: Unit = Unit { show: seconds, more_is_better: false };
const MEMORY: Unit = Unit { show: kibibytes, more_is_better: false };

fn kibibytes(bytes: f64) -> String {
    format!("{:.0} KiB", bytes / 1024.0)
}

/// Makes all measurements of `plan`.
pub fn measure(plan: &Plan) -> Result<Table, Failure> {
    let guests = Guests::build(plan.writes)?;
    let mut table = Table::new(host::line());
    start(plan, &guests, &mut table)?;
    writes(plan, &guests, &mut table)?;
    process_memory(&guests, &mut table)?;
    large_memory(plan, &guests, &mut table)?;
    Ok(table)
}

fn start(plan: &Plan, guests: &Guests, table: &mut Table) -> Result<(), Failure> {
    let rounds = |contender: Contender| match contender {
        QemuPc => plan.qemu_rounds,
        QemuMicrovm => plan.short_rounds.div_ceil(5),
        _ => plan.short_rounds,
    };
    let mut contenders = vec![Kvm, Bare, QemuMicrovm];
    if plan.pc {
        contenders.push(QemuPc);
    }
    let first = "process start to first byte";
    let whole = "process start to end, guest prints a line and halts";
    let [first_byte, to_end] = several_side_by_side(first, &contenders, rounds, |contender| {
        let ran = run(contender, guests, "first-byte", RAM)?;
        let first_byte = ran.first_byte.ok_or("the guest's byte did not arrive")?;
        Ok([first_byte.as_secs_f64(), ran.whole.as_secs_f64()])
    })?;
    compare(table, first, TIME, &first_byte, |against| (against == Bare).then_some(Target::Ratio(1.25)));
    compare(table, whole, TIME, &to_end, |against| (against == Bare).then_some(Target::Ratio(1.3)));

    let what = "process start to end, guest halts at once";
    let measured = side_by_side(what, &contenders, rounds, |contender| {
        Ok(run(contender, guests, "halt", RAM)?.whole.as_secs_f64())
    })?;
    compare(table, what, TIME, &measured, |_| None);
    Ok(())
}

fn writes(plan: &Plan, guests: &Guests, table: &mut Table) -> Result<(), Failure> {
    let rounds = |contender: Contender| match contender {
        QemuMicrovm | QemuPc => plan.qemu_rounds,
        _ => plan.long_rounds,
    };
    let what = format!("{} writes to COM1, read through a pipe", grouped(plan.writes));
    let measured = side_by_side(&what, &[Kvm, BareCoalesced, Bare, QemuMicrovm], rounds, |contender| {
        let ran = run(contender, guests, "serial-million", RAM)?;
        if ran.bytes != u64::from(plan.writes) {
            return Err(format!("{} of {} bytes arrived", ran.bytes, plan.writes).into());
        }
        Ok(ran.whole.as_secs_f64())
    })?;
    compare(table, &what, TIME, &measured, |against| {
        (against == BareCoalesced).then_some(Target::Ratio(1.1))
    });

    let what = format!("{} writes to port 0x80, an exit each", grouped(plan.writes));
    let measured = side_by_side(&what, &[Kvm, Bare, QemuMicrovm], rounds, |contender| {
        Ok(run(contender, guests, "out-million", RAM)?.whole.as_secs_f64())
    })?;
    compare(table, &what, TIME, &measured, |_| None);
    Ok(())
}

fn process_memory(guests: &Guests, table: &mut Table) -> Result<(), Failure> {
    let sample = |part: fn(ProcessMemory) -> u64| {
        move |contender: Contender| {
            let command = contender.command(guests, "spin", MEASURED_RAM);
            let used =
                while_running(command, |process| memory::measure(process, u64::from(MEASURED_RAM) << 20))?;
            Ok(part(used) as f64)
        }
    };
    let contenders = [Kvm, Bare, QemuMicrovm];
    let what = "memory of the process, without guest RAM";
    let measured = side_by_side(what, &contenders, |_| 3, sample(|memory| memory.all))?;
    compare(table, what, MEMORY, &measured, |against| {
        (against == Bare).then_some(Target::Value(2.0 * f64::from(1 << 20)))
    });
    let what = "of that, anonymous memory";
    let measured = side_by_side(what, &contenders, |_| 3, sample(|memory| memory.anonymous))?;
    compare(table, what, MEMORY, &measured, |_| None);
    Ok(())
}

fn large_memory(plan: &Plan, guests: &Guests, table: &mut Table) -> Result<(), Failure> {
    let what = format!("process start to end with --memory {LARGE_RAM}");
    eprintln!("{what} ...");
    let (mut large, mut small) = (Samples::default(), Samples::default());
    for _ in 0..plan.short_rounds {
        small.0.push(run(Kvm, guests, "halt", RAM)?.whole.as_secs_f64());
        large.0.push(run(Kvm, guests, "halt", LARGE_RAM)?.whole.as_secs_f64());
    }
    table.comparisons.push(Comparison {
        what,
        against: format!("kvm with --memory {RAM}"),
        unit: TIME,
        ours: Ok(large),
        theirs: Ok(small),
        target: None,
    });
    Ok(())
}

fn run(contender: Contender, guests: &Guests, guest: &str, mebibytes: u32) -> Result<FinishedRun, Failure> {
    to_the_end(contender.command(guests, guest, mebibytes), contender.good_status())
}

/// `1000000` as `1 000 000`.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
