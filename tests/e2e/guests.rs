//! Every example guest does what its table says.

use libtest_mimic::Trial;

use crate::support::{Kvm, guest_test};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("hello_serial_prints_its_line_and_halts", || {
            let ran = Kvm::with_guest("hello-serial").run();
            ran.expect_out("Hello from the bare metal!\n")?.expect_status(0)?;
            ran.expect_err("kvm: the guest halted; result (RAX) 0 (0x0).")?;
            Ok(())
        }),
        guest_test("recursion_returns_its_result_in_rax", || {
            let ran = Kvm::with_guest("recursion").run();
            ran.expect_out("")?.expect_status(0)?.expect_err("result (RAX) 610 (0x262)")?;
            ran.expect_log("Program result (keycode): 610")?;
            Ok(())
        }),
    ]
}
