//! Interrupts of the timer, the keyboard and the serial ports, in guests that sleep, compute or are debugged.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::gdb::{debug, gdb_test};
use crate::support::debugger::expect;
use crate::support::migration::{Instance, contains, free_port, migrate};
use crate::support::pty::Terminal;
use crate::support::{Folder, KERNEL_SUFFIX, Kvm, Lane, guest_test, lane, result};

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
            let commands = [
                "tbreak sum_to",
                "continue",
                "set $before = ticks",
                "next",
                "print sum",
                "print ticks - $before",
                "continue",
            ];
            let (output, ran) = debug("busy-timer", irqchip.arguments(), &commands)?;
            expect(&output, "$1 = 500500")?;
            expect(&output, "$2 = 0")?;
            ran.expect_status(0)?;
            Ok(())
        }),
        gdb_test(&irqchip.named("a_step_takes_no_tick_in_the_middle"), move || {
            let commands = [
                "tbreak sum_to",
                "continue",
                "set $before = ticks",
                "stepi 60",
                "print ticks - $before",
                "info symbol $pc",
                "kill",
            ];
            let (output, _) = debug("busy-timer", irqchip.arguments(), &commands)?;
            expect(&output, "sum_to + ")?;
            expect(&output, "$1 = 0\n")
        }),
        gdb_test(&irqchip.named("a_breakpoint_in_an_interrupt_handler_stops_the_guest"), move || {
            let commands = ["break on_tick", "continue", "print ticks", "continue", "print ticks", "kill"];
            let (output, _) = debug("timer", irqchip.arguments(), &commands)?;
            expect(&output, "$1 = 0")?;
            expect(&output, "$2 = 1")
        }),
        gdb_test(&irqchip.named("a_step_over_hlt_ends_when_the_interrupt_has_come"), move || {
            let folder = Folder::new();
            let script = folder.file("steps.gdb");
            std::fs::write(&script, TO_HALT)?;
            let source = format!("source {}", script.display());
            let commands = [
                "tbreak on_tick",
                "continue",
                &source,
                "set $halt = $pc",
                "set $before = ticks",
                "stepi",
                "print $pc - $halt",
                "print ticks - $before",
                // The handler runs when the guest continues.
                "tbreak on_tick",
                "continue",
                "print ticks - $before",
                "continue",
            ];
            let (output, ran) = debug("timer", irqchip.arguments(), &commands)?;
            expect(&output, "$1 = 1\n")?;
            expect(&output, "$2 = 0\n")?;
            expect(&output, "$3 = 0\n")?;
            ran.expect_err("result (RAX) 50 ")?.expect_status(0).map(drop)
        }),
        gdb_test(&irqchip.named("the_interrupt_controllers_and_timers_are_shown"), move || {
            let commands = [
                "break serial_print",
                "continue",
                "monitor info pic",
                "monitor info irq",
                "monitor info lapic",
                "monitor info timers",
                "kill",
            ];
            let (output, _) = debug("timer", irqchip.arguments(), &commands)?;
            expect(&output, "8259A master: vectors from 0x20, masked 0xfa,")?;
            expect(&output, "the timer (PIT) (line 0): can interrupt")?;
            expect(&output, "CPU 0: xAPIC, CR8 0, pending none, timer does not interrupt\n")?;
            expect(&output, "PIT counter 0: mode 2 (rate generator), initial count 11931,")
        }),
        gdb_test(&irqchip.named("a_ticking_guest_continues_from_its_snapshot"), move || {
            let folder = Folder::new();
            let file = folder.file("a.kvmstate");
            let save = format!("monitor snapshot {}", file.display());
            let commands = ["break on_tick if ticks == 20", "continue", &save, "kill"];
            let (output, first) = debug("timer", irqchip.arguments(), &commands)?;
            expect(&output, "saved in ")?;
            // It keeps its interrupt controllers.
            for chosen in ["--irqchip=user", "--irqchip=kernel"] {
                let start = Instant::now();
                let second = Kvm::new().arg("--restore").arg(&file).arg(chosen).run();
                second.expect_err("result (RAX) 50 ")?.expect_status(0)?;
                let took = start.elapsed();
                second.check(took >= Duration::from_millis(280), &format!("thirty ticks, not {took:?}"))?;
                let together = format!("{}{}", first.out, second.out);
                second.check(together == "tick\n".repeat(5), "five lines together")?;
                let kept = second.folder.read("console.log").contains("and keeps it");
                let other =
                    chosen != if irqchip == Irqchip::Kernel { "--irqchip=kernel" } else { "--irqchip=user" };
                second.check(kept == other, "the log says that it keeps them")?;
            }
            Ok(())
        }),
        gdb_test(&irqchip.named("a_ticking_guest_goes_back_to_a_snapshot_in_memory"), move || {
            let commands = [
                "tbreak on_tick if ticks == 20",
                "continue",
                "monitor snapshot twenty",
                "tbreak on_tick if ticks == 30",
                "continue",
                "monitor restore twenty",
                "maintenance flush register-cache",
                "maintenance flush dcache",
                "print ticks",
                "continue",
            ];
            let (output, ran) = debug("timer", irqchip.arguments(), &commands)?;
            expect(&output, "$1 = 20\n")?;
            ran.expect_err("result (RAX) 50 ")?.expect_status(0).map(drop)
        }),
        guest_test(&irqchip.named("a_sleeping_guest_migrates_and_is_woken_there"), move || {
            let port = free_port();
            let arguments = [&["--keys", "serial"], irqchip.arguments()].concat();
            let mut source = Instance::source("interrupt-echo", &arguments)?;
            source.expect_out("Escape ends.")?;
            let mut destination = Instance::destination(port, &["--keys", "serial"])?;
            contains(&source.ask(&[&migrate(port)])?, "migration complete")?;
            source.expect_migrated()?;
            destination.send_input("a")?;
            destination.expect_out("byte 0x61")?;
            destination.send_input("\x1b")?;
            let end = destination.finish()?;
            if end.status == Some(0) { Ok(()) } else { Err(format!("{:?}: {}", end.status, end.err).into()) }
        }),
    ]
}

/// Steps to the next `hlt`.
const TO_HALT: &str = "\
while *(unsigned char *)$pc != 0xf4
  stepi
end
";
