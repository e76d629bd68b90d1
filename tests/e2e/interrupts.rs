//! Interrupts of the timer, the keyboard and the serial ports, in guests that sleep, compute or are debugged.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::gdb::{debug, gdb_test};
use crate::support::debugger::expect;
use crate::support::pty::Terminal;
use crate::support::{KERNEL_SUFFIX, Kvm, Lane, guest_test, lane, result};

/// Whose interrupt controllers and interval timer a test's machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Irqchip {
    /// Those of `kvm`.
    User,
    /// Those of KVM.
    Kernel,
}

impl Irqchip {
    /// Both.
    pub const ALL: [Irqchip; 2] = [Irqchip::User, Irqchip::Kernel];

    /// The arguments that select them.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Irqchip::User => &[],
            Irqchip::Kernel => &["--irqchip", "kernel"],
        }
    }

    /// The name of a test with them.
    pub fn named(self, name: &str) -> String {
        match self {
            Irqchip::User => name.to_owned(),
            Irqchip::Kernel => format!("{name}{KERNEL_SUFFIX}"),
        }
    }
}

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    Irqchip::ALL.into_iter().flat_map(with).collect()
}

fn with(irqchip: Irqchip) -> Vec<Trial> {
    vec![
        guest_test(&irqchip.named("a_guest_that_sleeps_counts_the_ticks_of_its_timer"), move || {
            let start = Instant::now();
            let ran = Kvm::with_guest("timer").args(irqchip.arguments()).args(["--timeout", "60"]).run();
            ran.expect_status(0)?.expect_err("result (RAX) 50 ")?;
            let took = start.elapsed();
            ran.check(ran.out == "tick\n".repeat(5), "five lines")?;
            ran.check(took >= Duration::from_millis(490), &format!("half a second, not {took:?}"))?;
            Ok(())
        }),
        guest_test(&irqchip.named("a_guest_that_computes_is_interrupted_by_its_timer"), move || {
            let ran = Kvm::with_guest("busy-timer").args(irqchip.arguments()).args(["--timeout", "60"]).run();
            let result = result(&ran.err)?;
            ran.expect_status(0)?;
            ran.check(result >> 32 >= 40 && result as u32 == 500_500, "at least 40 ticks and the right sum")?;
            Ok(())
        }),
        guest_test(&irqchip.named("a_request_that_is_masked_again_leaves_the_guest_running"), move || {
            let ran =
                Kvm::with_guest("masked-request").args(irqchip.arguments()).args(["--timeout", "20"]).run();
            ran.expect_err("result (RAX) 0 ")?.expect_status(0)?;
            Ok(())
        }),
        guest_test(&irqchip.named("x2apic_mode_can_be_the_first_use_of_the_local_apic"), move || {
            let ran = Kvm::with_guest("x2apic").args(irqchip.arguments()).args(["--timeout", "60"]).run();
            ran.expect_err("result (RAX) 15 ")?.expect_status(0)?;
            Ok(())
        }),
        guest_test(&irqchip.named("the_local_apic_and_the_ioapic_interrupt_a_guest"), move || {
            let ran = Kvm::with_guest("apic").args(irqchip.arguments()).args(["--timeout", "60"]).run();
            // With VT-x the TSC deadline is not offered by `kvm`.
            let no_deadline = lane() == Lane::Intel && irqchip == Irqchip::User;
            let result = if no_deadline { 255 - 64 } else { 255 };
            ran.expect_err(&format!("result (RAX) {result} "))?.expect_status(0)?;
            Ok(())
        }),
        guest_test(&irqchip.named("a_key_interrupts_a_guest_that_sleeps"), move || {
            let kvm = Kvm::with_guest("interrupt-echo").args(irqchip.arguments()).args([
                "--keys",
                "keyboard",
                "--display",
                "serial",
            ]);
            let terminal = Terminal::kvm(kvm, 80, 25);
            terminal.wait_for_text("Type; Escape ends.")?;
            terminal.type_keys("a");
            terminal.wait_for_text("key 0x1e")?;
            terminal.wait_for_text("key 0x9e")?;
            terminal.type_keys("\x1b");
            terminal.wait_for_text("key 0x01")?;
            terminal.end()?.expect_status(0)?;
            Ok(())
        }),
        guest_test(&irqchip.named("a_received_byte_interrupts_a_guest_that_sleeps"), move || {
            let ran = Kvm::with_guest("interrupt-echo")
                .args(irqchip.arguments())
                .args(["--keys", "serial"])
                .input(b"ab\x1b")
                .run();
            ran.expect_status(0)?;
            ran.check(ran.out == "Type; Escape ends.\nbyte 0x61\nbyte 0x62\nbyte 0x1b\n", "three bytes")?;
            Ok(())
        }),
        guest_test(&irqchip.named("the_end_of_a_sleeping_guest_names_what_can_wake_it"), move || {
            let ran =
                Kvm::with_guest("interrupt-echo").args(irqchip.arguments()).args(["--timeout", "1"]).run();
            ran.expect_status(12)?
                .expect_err("What can wake it: the keyboard (line 1) and COM1 (line 4).")?;
            Ok(())
        }),
        gdb_test(&irqchip.named("steps_over_a_line_stay_in_the_line_while_the_timer_runs"), move || {
            let commands = ["tbreak sum_to", "continue", "next", "print sum", "print ticks", "continue"];
            let (output, ran) = debug("busy-timer", irqchip.arguments(), &commands)?;
            expect(&output, "$1 = 500500")?;
            expect(&output, "$2 = 20")?;
            ran.expect_status(0)?;
            Ok(())
        }),
        gdb_test(&irqchip.named("a_step_takes_no_tick_in_the_middle"), move || {
            let commands =
                ["tbreak sum_to", "continue", "stepi 500", "print ticks < 40", "info symbol $pc", "kill"];
            let (output, _) = debug("busy-timer", irqchip.arguments(), &commands)?;
            expect(&output, "sum_to")?;
            expect(&output, "$1 = 1")
        }),
        gdb_test(&irqchip.named("a_breakpoint_in_an_interrupt_handler_stops_the_guest"), move || {
            let commands = ["break on_tick", "continue", "print ticks", "continue", "print ticks", "kill"];
            let (output, _) = debug("timer", irqchip.arguments(), &commands)?;
            expect(&output, "$1 = 0")?;
            expect(&output, "$2 = 1")
        }),
    ]
}
