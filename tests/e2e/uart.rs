//! The serial port's chip, as a driver sees it that probes it: `target-examples/uart-probe.S` on kvm and on QEMU.

use std::process::Command;

use libtest_mimic::{Failed, Trial};

use crate::support::{HALTED_0, Kvm, exact_output, guest, guest_test, source, test};

/// What the guest prints on QEMU. `KVM_BLESS=1 cargo test --test e2e uart` writes it.
const EXPECTED: &str = "tests/guests/uart-probe.txt";

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("a_guest_that_probes_the_uart_sees_what_it_sees_on_qemu", || {
            // By its PVH entry point, as on QEMU, and by that of its ELF header.
            for kind in ["auto", "elf64"] {
                let ran = Kvm::with_guest("uart-probe").args(["--serial", "1=null", "--boot", kind]).run();
                ran.expect_exactly(&exact_output(0, &expected()?, HALTED_0))?;
            }
            Ok(())
        }),
        match Command::new(QEMU).arg("--version").output() {
            Ok(_) => test(ON_QEMU, on_qemu),
            Err(_) => Trial::test(format!("{ON_QEMU} (skipped: {QEMU} is not installed)"), on_qemu)
                .with_ignored_flag(true),
        },
    ]
}

const QEMU: &str = "qemu-system-x86_64";
const ON_QEMU: &str = "the_expected_answers_of_the_uart_are_those_of_qemu";

fn expected() -> Result<String, Failed> {
    Ok(std::fs::read_to_string(source(EXPECTED))?)
}

fn on_qemu() -> Result<(), Failed> {
    let mut qemu = Command::new(QEMU);
    qemu.args(["-M", "microvm,isa-serial=on", "-accel", "tcg", "-nodefaults", "-display", "none"]);
    qemu.args(["-serial", "null", "-debugcon", "stdio", "-device", "isa-debug-exit", "-kernel"]);
    let output = Command::new("timeout")
        .arg("100")
        .arg(qemu.get_program())
        .args(qemu.get_args())
        .arg(guest("uart-probe"))
        .output()?;
    let (text, message) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
    // The debug exit device makes 1 of 0.
    assert_eq!(output.status.code(), Some(1), "{text}\n{message}");
    if std::env::var_os("KVM_BLESS").is_some() {
        std::fs::write(source(EXPECTED), &text)?;
    }
    assert_eq!(text, expected()?);
    Ok(())
}
