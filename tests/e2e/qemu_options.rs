//! Options of QEMU on the command line of `kvm`.

use libtest_mimic::Trial;

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
            let ran = Kvm::new().args(["-kernel", "a.elf", "-hda", "disk.img"]).run();
            ran.expect_status(2)?;
            ran.expect_err(
                "kvm: `-hda disk.img`, an option of QEMU, is refused. It comes with a later version. ",
            )
            .map(drop)
        }),
    ]
}
