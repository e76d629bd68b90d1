//! The PCI bus, as guests find it.

use libtest_mimic::{Failed, Trial};

use crate::support::{HALTED_0, Kvm, exact_output, guest_test, halted};

/// What the guest `lspci` prints.
const FUNCTIONS: &str = "00:00.0 0600: 8086:1237\n00:01.0 0601: 8086:7000\n00:01.1 0101: 8086:7010\n";

/// The longest time for two scans of all buses, in milliseconds by the guest's clock, on an idle host.
const LONGEST_SCAN: f64 = if cfg!(debug_assertions) { 3000.0 } else { 2000.0 };
/// Other work on the host can slow down a run: one of these has to be fast enough.
const ATTEMPTS: usize = 5;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("lspci_lists_the_functions_of_the_chipset", || {
            Kvm::with_guest("lspci").run().expect_exactly(&exact_output(0, FUNCTIONS, halted(3)))?;
            Ok(())
        }),
        guest_test("scans_of_all_pci_buses_find_the_same_functions", || {
            let (found, _) = scan()?;
            match found {
                6 => Ok(()),
                other => Err(format!("found {other:#x}").into()),
            }
        }),
        guest_test("two_scans_of_all_pci_buses_take_at_most_two_seconds", || {
            let mut times = Vec::new();
            while times.len() < ATTEMPTS {
                let longest = LONGEST_SCAN * crowding();
                let (_, milliseconds) = scan()?;
                if milliseconds as f64 <= longest {
                    return Ok(());
                }
                times.push(format!("{milliseconds} ms, not {longest:.0} ms"));
            }
            Err(times.join("; ").into())
        }),
        guest_test("a_reset_by_port_cf9_takes_effect_in_a_scan", || {
            let kvm =
                Kvm::with_guest("pci-scan").args(["--append", "reset", "--no-reboot", "--timeout", "60"]);
            kvm.run().expect_status(18)?;
            Ok(())
        }),
        guest_test("flat_ide_bars_are_the_ports_of_the_primary_channel_also_after_a_reset", || {
            Kvm::with_guest("ide-bars").run().expect_exactly(&exact_output(0, "", HALTED_0))?;
            let ran = Kvm::with_guest("ide-bars").arg("--flat-ide-bars").run();
            ran.expect_exactly(&exact_output(0, "", halted(0x3F6 << 16 | 0x1F0)))?;
            Ok(())
        }),
    ]
}

/// How many threads want to run for each processor of the host, this test included; at least 1. They share its time.
fn crowding() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let running: f64 = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    ((running + 1.0) / processors as f64).max(1.0)
}

/// Runs the guest `pci-scan`: what its scans have found, with bit 63 for a fault, and how many milliseconds they took.
fn scan() -> Result<(u64, u64), Failed> {
    let ran = Kvm::with_guest("pci-scan").args(["--timeout", "600"]).run();
    ran.expect_status(0)?;
    let digits = ran.err.split("result (RAX) ").nth(1).and_then(|rest| rest.split(' ').next());
    let result: u64 = digits.ok_or("no result")?.parse()?;
    Ok((result & 0x8000_0000_0000_FFFF, (result & !(1 << 63)) >> 16))
}
