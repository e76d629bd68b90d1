//! The measurements, their order and their targets.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::contender::Contender::{self, Kvm, KvmKernel, QemuMicrovm, QemuPc};
use crate::run::{Report, report};
use crate::shared::guests::Guests;
use crate::shared::rounds::{Contender as _, Measured, compare, several_side_by_side};
use crate::shared::table::{Table, Target, Unit};
use crate::shared::{Failure, host};

/// Size of the disk in bytes, as the guest knows it.
const DISK: u64 = 16 << 20;

/// How much is measured.
pub struct Plan {
    /// Rounds of measurements that take seconds.
    rounds: usize,
    /// Rounds with QEMU's default machine, whose BIOS takes seconds.
    pc_rounds: usize,
}

/// A table for publication: some minutes.
pub const FULL: Plan = Plan { rounds: 7, pc_rounds: 3 };

/// A smoke run: a minute.
pub const QUICK: Plan = Plan { rounds: 1, pc_rounds: 1 };

const RATE: Unit = Unit { show: per_second, more_is_better: true };
const BYTES: Unit = Unit { show: megabytes, more_is_better: true };
const SHORT_TIME: Unit = Unit { show: microseconds, more_is_better: false };
const PART: Unit = Unit { show: percent, more_is_better: false };

fn per_second(rate: f64) -> String {
    format!("{rate:.0}/s")
}

fn megabytes(rate: f64) -> String {
    format!("{:.2} MB/s", rate / 1e6)
}

fn microseconds(time: f64) -> String {
    format!("{:.1} us", time * 1e6)
}

fn percent(part: f64) -> String {
    format!("{:.2} %", part * 100.0)
}

/// Makes all measurements of `plan`.
pub fn measure(plan: &Plan) -> Result<Table, Failure> {
    // The number is that of other guests.
    let guests = Guests::build(32_000)?;
    let mut table = Table::new(host::line());
    interrupts(plan, &guests, &mut table)?;
    processors(plan, &guests, &mut table)?;
    devices(plan, &guests, &mut table)?;
    Ok(table)
}

/// The value of a measurement that a program may lack.
fn value(result: Result<f64, Failure>) -> f64 {
    result.unwrap_or(f64::NAN)
}

/// Says of each program that has reported no number that it does not offer that.
fn named<const N: usize>(mut measured: [Measured<Contender>; N]) -> [Measured<Contender>; N] {
    for (_, samples) in measured.iter_mut().flatten() {
        if samples.as_ref().is_ok_and(|samples| samples.0.iter().any(|value| value.is_nan())) {
            *samples = Err("not offered".to_owned());
        }
    }
    measured
}

/// Compares the first with all others, and the one with KVM's interrupt controllers with QEMU.
fn compare_all(
    table: &mut Table,
    what: &str,
    unit: Unit,
    measured: &Measured<Contender>,
    target: impl Fn(Contender) -> Option<Target>,
) {
    compare(table, what, unit, measured, target);
    let kernel: Measured<Contender> =
        measured.iter().filter(|(contender, _)| *contender != Kvm).cloned().collect();
    if kernel.first().is_some_and(|(contender, samples)| *contender == KvmKernel && samples.is_ok()) {
        compare(table, &format!("{what}, {}", KvmKernel.name()), unit, &kernel, |_| None);
    }
}

fn interrupts(plan: &Plan, guests: &Guests, table: &mut Table) -> Result<(), Failure> {
    let contenders = [Kvm, KvmKernel, QemuMicrovm];
    let [computing, sleeping, own, idle] = named(several_side_by_side(
        "interrupts",
        &contenders,
        |_| plan.rounds,
        |contender| {
            let report = report(contender.command(guests, "timers", 1, None))?;
            let idle = report.idle.ok_or("the guest did not sleep")?;
            Ok([report.rate("computing")?, report.rate("sleeping")?, report.time("own")?, idle])
        },
    )?);
    let beside_qemu = |against| (against == QemuMicrovm).then_some(Target::Ratio(0.8));
    compare_all(table, "timer interrupts, guest computes", RATE, &computing, beside_qemu);
    compare_all(table, "timer interrupts, guest sleeps", RATE, &sleeping, beside_qemu);
    compare_all(table, "from the request of an interrupt to its handler", SHORT_TIME, &own, |_| None);
    // What KVM's own controllers under QEMU need is what the guest itself costs, and more.
    compare_all(table, "part of a processor for 100 ticks a second", PART, &idle, |against| {
        (against == QemuMicrovm).then_some(Target::Difference(0.01))
    });
    Ok(())
}

fn processors(plan: &Plan, guests: &Guests, table: &mut Table) -> Result<(), Failure> {
    let what = "interrupt to another processor and back";
    let [measured] = named(several_side_by_side(
        what,
        &[Kvm, KvmKernel, QemuMicrovm],
        |_| plan.rounds,
        |contender| Ok([report(contender.command(guests, "ipi", 2, None))?.time("ipi")?]),
    )?);
    compare_all(table, what, SHORT_TIME, &measured, |_| None);
    Ok(())
}

fn devices(plan: &Plan, guests: &Guests, table: &mut Table) -> Result<(), Failure> {
    let disk = |contender: Contender| -> Result<PathBuf, Failure> {
        let path = guests.folder().join(format!("{}.img", contender.name().replace(' ', "-")));
        make_disk(&path)?;
        Ok(path)
    };
    let measured = several_side_by_side(
        "PCI and disks",
        &[Kvm, QemuPc],
        |contender| if contender == QemuPc { plan.pc_rounds } else { plan.rounds },
        |contender| {
            let disk = disk(contender)?;
            let report: Report = report(contender.command(guests, "devices", 1, Some(&disk)))?;
            Ok([
                value(report.time("scan")),
                report.rate("read")?,
                report.rate("write")?,
                report.rate("single")?,
                value(report.rate("read-dma")),
                value(report.rate("write-dma")),
                value(report.rate("single-dma")),
            ])
        },
    )?;
    let [scan, read, write, single, read_dma, write_dma, single_dma] = named(measured);
    let throughput = |against| (against == QemuPc).then_some(Target::Ratio(1.5));
    compare(table, "PCI scan, each function", SHORT_TIME, &scan, |_| None);
    compare(table, "disk read by PIO, 64 KiB each", BYTES, &read, throughput);
    compare(table, "disk written by PIO, 64 KiB each", BYTES, &write, |_| None);
    compare(table, "disk read by PIO, sectors anywhere", RATE, &single, |_| None);
    compare(table, "disk read by DMA, 64 KiB each", BYTES, &read_dma, throughput);
    compare(table, "disk written by DMA, 64 KiB each", BYTES, &write_dma, |_| None);
    compare(table, "disk read by DMA, sectors anywhere", RATE, &single_dma, |_| None);
    Ok(())
}

/// A disk whose sectors are allocated.
fn make_disk(path: &Path) -> Result<(), Failure> {
    let wrong = |e: std::io::Error| format!("{}: {e}", path.display());
    if std::fs::metadata(path).is_ok_and(|data| data.len() == DISK) {
        return Ok(());
    }
    let mut file = File::create(path).map_err(wrong)?;
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0x5A), DISK), &mut file).map_err(wrong)?;
    Ok(())
}
