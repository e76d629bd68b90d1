//! Instructions that some hosts' KVM refuses: they do the same on every host.

use libtest_mimic::Trial;

use crate::support::{Kvm, Lane, exact_output, guest_test, halted, lane};

/// What `system-instructions` prints on every host; found out where the processor runs guests itself.
const SYSTEM_INSTRUCTIONS: &str = include_str!("../guests/system-instructions.txt");

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("system_instructions_do_the_same_on_every_host", || {
            let ran = Kvm::with_guest("system-instructions").arg("--log-level=debug").run();
            let right = exact_output(0, SYSTEM_INSTRUCTIONS, halted(5));
            if lane() == Lane::Amd {
                // Proxy two entries into a guest, QEMU's AMD-V now and then forgets that XSAVE is on.
                let forgotten = SYSTEM_INSTRUCTIONS
                    .replace("XSAVE is used if it is there: right", "XSAVE is used if it is there: wrong");
                ran.expect_one_of(&[right, exact_output(0, &forgotten, halted(5))])?;
            } else {
                ran.expect_exactly(&right)?;
            }
            Ok(())
        }),
        guest_test("the_log_names_each_kind_of_emulated_instruction_once", || {
            let ran = Kvm::with_guest("system-instructions").arg("--log-level=debug").run();
            let log = ran.folder.read("console.log");
            let times = log.matches("`lar` is emulated in place of KVM, first at 0x20").count();
            let counted =
                log.contains(" emulated_instructions=") && !log.contains(" emulated_instructions=0");
            let expected = match lane() {
                Lane::Emulated => 1,
                // A processor that runs guests itself does it.
                Lane::Amd | Lane::Intel => 0,
                Lane::Other => times.min(usize::from(counted)),
            };
            ran.check(times == expected, &format!("{expected} lines for `lar`"))?;
            Ok(())
        }),
        guest_test("a_guest_that_only_runs_emulated_instructions_can_be_stopped", || {
            let ran = Kvm::with_guest("endless-emulation").args(["--timeout", "0.5"]).run();
            ran.expect_status(12)?.expect_err("kvm: the run took longer than --timeout allows at 0x2000")?;
            Ok(())
        }),
    ]
}
