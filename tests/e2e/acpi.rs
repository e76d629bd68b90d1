//! The ACPI tables as a guest reads them, and the ways to power off.

use std::process::Command;

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
        guest_test("a_guest_switches_a_machine_off_with_irqchip_kernel", || {
            let ran = Kvm::with_guest("power-off").args(["--append", "qemu", "--irqchip", "kernel"]).run();
            ran.expect_exactly(&exact_output(0, "", SWITCHED_OFF)).map(drop)
        }),
        guest_test("acpica_reads_the_tables_in_guest_memory", acpica),
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

/// Disassembles the tables that a guest has found, where the tools of ACPICA are installed.
fn acpica() -> Result<(), Failed> {
    let ran = Kvm::with_guest("acpi-dump").run();
    ran.expect_status(0)?;
    let folder = &ran.folder;
    std::fs::write(folder.file("dump.txt"), &ran.out)?;
    let tool = |name: &str, arguments: &[&str]| {
        Command::new(name).args(arguments).current_dir(folder.file("")).output()
    };
    if tool("acpixtract", &["-v"]).is_err() || tool("iasl", &["-v"]).is_err() {
        eprintln!("skipped: acpixtract and iasl are not installed");
        return Ok(());
    }
    tool("acpixtract", &["-a", "dump.txt"])?;
    for (table, expected) in [
        ("xsdt", "Revision : 01"),
        ("facp", "PM Timer Block Address : 00000608"),
        ("apic", "Local Apic Address : FEE00000"),
        ("hpet", "Address : 00000000FED00000"),
        ("dsdt", "Name (_S5, Package"),
    ] {
        let output = tool("iasl", &["-d", &format!("{table}.dat")])?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ran.check(
            output.status.success() && !text.contains("Warning"),
            &format!("{table} is sound: {text}"),
        )?;
        let source = std::fs::read_to_string(folder.file(&format!("{table}.dsl")))?;
        let sound = source.contains(expected) && !source.contains("Incorrect checksum");
        ran.check(sound, &format!("{expected:?} in {source}"))?;
    }
    Ok(())
}
