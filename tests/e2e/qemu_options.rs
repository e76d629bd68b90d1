//! Options of QEMU and Bochs on the command line of `kvm`, and commands of their monitors at its console.

use libtest_mimic::{Failed, Trial};

use crate::support::console::KvmWithConsole;
use crate::support::debugger::expect;
use crate::support::{HALTED_0, Kvm, exact_output, free_address, guest, guest_test, test};

const HELLO: &str = "Hello from the bare metal!\n";

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("a_command_line_for_qemu_runs_the_guest", || {
            let ran = Kvm::new()
                .args(["-enable-kvm", "-M", "q35", "-m", "32M", "-display", "none", "-serial", "stdio"])
                .args(["-no-reboot", "-name", "test", "-D", "qemu.log", "-kernel"])
                .arg(guest("hello-serial"))
                .run();
            let ignored = "ignored: `-M q35`, `-name test`. The log has the reasons.";
            ran.expect_exactly(&exact_output(0, HELLO, format!("{ignored}\nkvm: {HALTED_0}")))?;
            let log = ran.folder.read("qemu.log");
            for line in [
                "`-m 32M` of QEMU means `--memory=32M`\n",
                "`-enable-kvm` of QEMU is always so: guests always run on KVM\n",
                "`-name test` of QEMU is ignored: machines have no names\n",
                "`-display none` of QEMU means `--display=serial`, because `-serial stdio` is given, too\n",
            ] {
                ran.check(log.contains(line), &format!("{line:?} in the log"))?;
            }
            ran.check(!ran.folder.file("console.log").exists(), "no other log").map(drop)
        }),
        guest_test("the_debug_exit_of_qemu_is_accepted_at_its_port", || {
            let device = ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"];
            let plain = Kvm::with_guest("debug-exit").run();
            let ran = Kvm::with_guest("debug-exit").args(device).run();
            ran.check(ran.status == plain.status && ran.err == plain.err, "the same end").map(drop)
        }),
        guest_test("a_line_of_a_bochsrc_switches_magic_breakpoints_on", || {
            let options = ["magic_break: enabled=1", "--gdb-nowait", "--gdb=unix:gdb", "--timeout", "0.5"];
            let ran = Kvm::with_guest("magic-break").args(options).run();
            ran.expect_status(12)?.expect_err("kvm: magic breakpoint at ")?;
            ran.expect_log("`magic_break: enabled=1` of Bochs means `--magic-break`").map(drop)
        }),
        guest_test("s_of_qemu_starts_the_guest_and_accepts_gdb", || {
            let address = free_address()?;
            let qemu = format!("tcp:{address}");
            let ran = Kvm::with_guest("hello-serial").args(["-gdb", &qemu]).run();
            ran.expect_status(0)?.expect_out(HELLO)?;
            ran.expect_err(&format!("kvm: gdb can connect to {address} at any time\n"))?;
            let ran = Kvm::with_guest("hello-serial").args(["-gdb", &qemu, "-S", "--timeout", "0.2"]).run();
            ran.expect_status(12)?.expect_err(&format!("kvm: waiting for gdb on {address}\n")).map(drop)
        }),
        guest_test("the_address_of_gdb_may_follow_after_a_blank", || {
            let address = free_address()?;
            let ran = Kvm::new().args(["--gdb-nowait", "--gdb", &address]).arg(guest("hello-serial")).run();
            ran.expect_status(0)?.expect_out(HELLO)?;
            ran.expect_err(&format!("kvm: gdb can connect to {address} at any time\n")).map(drop)
        }),
        test("an_option_of_qemu_without_an_equivalent_names_the_option_to_use", || {
            let message = "`-monitor stdio`, an option of QEMU, is refused. `--console` accepts commands while the \
                           guest runs; `kvm console`, in another terminal, sends them. docs/from-qemu.md lists the \
                           options of QEMU and Bochs.";
            let ran = Kvm::new().args(["-kernel", "a.elf", "-monitor", "stdio"]).run();
            ran.expect_exactly(&exact_output(2, "", message)).map(drop)
        }),
        test("an_option_of_qemu_for_a_later_version_says_so", || {
            let ran = Kvm::new().args(["-kernel", "a.elf", "-fda", "disk.img"]).run();
            ran.expect_status(2)?;
            ran.expect_err(
                "kvm: `-fda disk.img`, an option of QEMU, is refused. It comes with a later version. ",
            )
            .map(drop)
        }),
        guest_test("a_command_line_for_bochs_runs_the_guest", || {
            let ran = Kvm::with_guest("hello-serial").args(["-q", "-n", "-log", "bochs.log"]).run();
            ran.expect_status(0)?.expect_out(HELLO)?;
            let log = ran.folder.read("bochs.log");
            for line in [
                "`-q` of Bochs is always so: there is no start menu\n",
                "`-log bochs.log` of Bochs means `--logfile=bochs.log`\n",
            ] {
                ran.check(log.contains(line), &format!("{line:?} in the log"))?;
            }
            let ran = Kvm::with_guest("hello-serial").args(["-f", "bochsrc.txt"]).run();
            ran.expect_status(2)?.expect_err("A bochsrc cannot be read. `--config FILE`").map(drop)
        }),
        guest_test("the_console_accepts_the_commands_of_qemu_and_bochs", commands),
    ]
}

fn commands() -> Result<(), Failed> {
    let kvm = KvmWithConsole::start("recursion", &["--gdb=unix:gdb"])?;
    let mut client = kvm.connect()?;
    for (line, part) in [
        ("h", "\nx [/FMT] ADDRESS "),
        ("info status", "the guest waits for gdb"),
        ("stop", "the guest is already stopped"),
        ("info registers", "RSP    0000000000014ff0\n"),
        ("info cpus", "* CPU #0: rip 0x200000\n"),
        ("info mem", "0000000000005000-0000000004000000 0000000003ffb000 urwx\n"),
        ("info tlb 0x200000", "0000000000200000: 0000000000200000 --P----UW\n"),
        ("info tab", "0000000000005000-0000000003ffffff -> 0000000000005000-0000000003ffffff urwx\n"),
        ("info gdt", "0x0008: 64-bit code, ring 0, base 0x0, limit 0xffffffff\n"),
        ("info idt", "IDT at 0x2000, limit 0xfff\n0x00 to 0x1f: as at the start, the exception ends the run"),
        ("info qtree", "serial 0\n    ports 0x03f8-0x03ff\n"),
        ("info mtree", "0x000000000000..0x000004000000 RAM, 64 MiB\n"),
        ("x/2xb 0x200000", "0x200000 <_start>:\t0x31\t0xed\n"),
        ("xp/2xb 0x200000", "0x200000:\t0x31\t0xed\n"),
        ("p $rip + 1", "2097153 (0x200001)\n"),
        ("savevm start", "snapshot `start` at 0x200000 (_start)"),
        ("s", "=> 0x200002 <_start+0x2>: call"),
        ("loadvm start", "restored snapshot `start` at 0x200000 (_start)"),
        ("p $rip", "2097152 (0x200000)\n"),
        ("system_powerdown", "the power button is pressed\n"),
        ("s", "=> 0x200002 <_start+0x2>: call"),
        ("system_reset", "the machine was reset\n"),
        ("p $rip", "2097152 (0x200000)\n"),
        ("break fibonacci", "breakpoint 1 at 0x200010 (fibonacci)\n"),
        ("c", "the guest runs\n"),
        ("wait", "=> 0x200010 <fibonacci>: push rbp ; target-examples/recursion.c:10\n"),
        ("delete", "deleted: 1\n"),
        ("savevm call", "snapshot `call` at 0x200010 (fibonacci)"),
        ("cont", "the guest runs\n"),
    ] {
        let answer = client.ask(line)?;
        expect(&answer, part)
            .map_err(|failed| format!("{line}: {}", failed.message().unwrap_or_default()))?;
        if answer.contains("unrecognized") {
            return Err(format!("{line}: {answer}").into());
        }
    }
    client.send(b"q\n")?;
    expect(&client.rest()?, "kvm: ended by the user.\n")?;
    kvm.finish()?.expect_status(14).map(drop)
}
