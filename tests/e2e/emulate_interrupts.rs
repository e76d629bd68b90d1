//! Interrupts and exceptions reach a guest's handlers, and return from there, whatever host runs it.

use libtest_mimic::Trial;

use crate::support::{Kvm, exact_output, guest_test, halted};

/// The tests of this file. Each transcript is what processors with VT-x and AMD-V make of the guest.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("interrupts_and_faults_of_64_bit_code_reach_their_handlers", || {
            let ran = Kvm::with_guest("interrupts").run();
            ran.expect_out(include_str!("../guests/interrupts.txt"))?;
            ran.expect_status(8)?.expect_err("kvm: triple fault")?;
            Ok(())
        }),
        guest_test("interrupts_and_faults_of_32_bit_code_reach_their_handlers", || {
            let transcript = include_str!("../guests/protected-interrupts.txt");
            let ran = Kvm::with_guest("protected-interrupts").run();
            ran.expect_exactly(&exact_output(0, transcript, halted(0x80)))?;
            Ok(())
        }),
        guest_test("interrupts_of_real_mode_code_reach_their_handlers", || {
            let transcript = include_str!("../guests/real-interrupts.txt");
            let ran = Kvm::with_guest("real-interrupts").run();
            ran.expect_exactly(&exact_output(0, transcript, halted(0x21)))?;
            Ok(())
        }),
    ]
}
