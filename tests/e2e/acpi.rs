//! The ACPI tables as a guest reads them, and the ways to power off.

use libtest_mimic::{Failed, Trial};

use crate::support::{Kvm, exact_output, guest_test};

const SWITCHED_OFF: &str = "the guest switched the machine off.";

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("a_guest_finds_the_acpi_tables_and_powers_off", || {
            for strict in ["--strict=no", "--strict=yes"] {
                let ran = Kvm::with_guest("acpi").arg(strict).run();
                ran.expect_exactly(&exact_output(0, TABLES, SWITCHED_OFF))?;
            }
            Ok(())
        }),
        guest_test("every_power_off_port_of_qemu_and_bochs_ends_the_run_with_status_0", || {
            for port in ["qemu", "old", "bochs"] {
                let ran = Kvm::with_guest("power-off").args(["--append", port]).run();
                ran.expect_exactly(&exact_output(0, "", SWITCHED_OFF))?;
            }
            Ok(())
        }),
        guest_test("the_reset_register_of_the_fadt_resets_the_machine", reset),
    ]
}

/// The output of the guest `acpi`.
const TABLES: &str = "RSDP at 0xf0000, found by search too
tables: FACP APIC HPET
processors: 1
I/O APIC at 0xfec00000
PM timer at port 0x0608, which counts
powering off
";

fn reset() -> Result<(), Failed> {
    let ran = Kvm::with_guest("power-off").args(["--append", "reset", "--no-reboot"]).run();
    ran.expect_status(18)?.expect_out("")?.expect_err("the guest reset the machine (--no-reboot)")?;
    Ok(())
}
