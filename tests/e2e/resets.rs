//! A guest that resets the machine in each possible way, with and without `--no-reboot`.

use libtest_mimic::{Failed, Trial};

use crate::support::{Kvm, guest_test};

/// The guest's command line, and what it prints before each reset.
const WAYS: [(&str, &str); 3] = [
    ("cf9", "Reset by port 0xcf9 ...\n"),
    ("keyboard", "Reset by the keyboard controller ...\n"),
    ("fast", "Reset by port 0x92 ...\n"),
];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    WAYS.iter()
        .flat_map(|(way, line)| {
            [
                guest_test(&format!("reset_by_{way}_ends_the_run_with_no_reboot"), || ends(way, line)),
                guest_test(&format!("reset_by_{way}_starts_the_guest_again"), || starts_again(way, line)),
            ]
        })
        .collect()
}

fn ends(way: &str, line: &str) -> Result<(), Failed> {
    let ran = Kvm::with_guest("reset").args(["--append", way, "--no-reboot"]).run();
    ran.expect_status(18)?.expect_out(line)?;
    ran.expect_err("kvm: the guest reset the machine (--no-reboot) at 0x2")?.expect_err(" (guest_main+")?;
    Ok(())
}

fn starts_again(way: &str, line: &str) -> Result<(), Failed> {
    let ran = Kvm::with_guest("reset").args(["--append", way, "--timeout", "0.5"]).run();
    // The timeout may come in the middle of a line.
    let starts = ran.out.len().div_ceil(line.len());
    ran.check(starts >= 3, "at least three starts")?;
    ran.check(line.repeat(starts).starts_with(&ran.out), &format!("{line:?} over and over"))?;
    ran.expect_status(12)?.expect_err("kvm: the run took longer than --timeout allows")?;
    ran.expect_log("kvm::machine: machine reset number 2\n")?;
    Ok(())
}
