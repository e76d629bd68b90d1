//! Every option: one value that is accepted and one that is refused.

mod refused;

use libtest_mimic::{Failed, Trial};

use refused::REFUSED;

use crate::support::{Kvm, exact_output, guest, guest_test, test};

/// What a test runs, and what must come of it.
pub struct Case {
    /// The option, or `[section] key`.
    pub about: &'static str,
    /// The guest; none if a guest is no part of it.
    pub guest: Option<&'static str>,
    /// The arguments, or the value of the key.
    pub with: &'static str,
    /// Exit status.
    status: i32,
    /// A part of standard output, and a part of standard error.
    expected: (&'static str, &'static str),
}

/// A case with a guest.
pub const fn case(
    about: &'static str,
    guest: &'static str,
    with: &'static str,
    status: i32,
    out: &'static str,
    err: &'static str,
) -> Case {
    Case { about, guest: Some(guest), with, status, expected: (out, err) }
}

/// Options that are taken, with an effect that shows.
const TAKEN: &[Case] = &[
    case("--memory", "start-info", "--memory 9", 0, "0x0000000f1000 + 0x00000080f000 RAM", ""),
    case("--memory", "start-info", "--memory=3072K", 0, "0x0000000f1000 + 0x00000020f000 RAM", ""),
    case("--memory", "start-info", "--memory 1G", 0, "0x0000000f1000 + 0x00003ff0f000 RAM", ""),
    case("--timeout", "endless", "--timeout 50ms", 12, "", "longer than --timeout allows"),
    case("--disk", "hello-serial", "--disk missing.img", 6, "", "the disk image missing.img does not exist"),
    case("--cpus", "ipi", "--cpus 2", 0, "", "result (RAX) 127 "),
    case("--schedule", "ipi", "--cpus 2 --schedule serial", 0, "", "result (RAX) 127 "),
    case("--cdrom", "hello-serial", "--cdrom missing.iso", 6, "", "the CD image missing.iso does not exist"),
    case("--clock", "hello-serial", "--clock virtual", 0, "Hello from", ""),
    case("--irqchip", "hello-serial", "--irqchip kernel", 0, "Hello from", ""),
    case("--device", "hello-serial", "--device /dev/null", 6, "", "/dev/null is not the device of KVM"),
    case("--vga", "hello-serial", "--vga std", 0, "Hello from", ""),
    case("--rtc", "hello-serial", "--rtc 1000000000", 0, "Hello from", ""),
    case("--no-reboot", "reset", "--no-reboot", 18, "", "(--no-reboot)"),
    case("--no-reboot", "reset", "--no-reboot=off --timeout 0.1", 12, "", "--timeout"),
    case("--flat-ide-bars", "ide-bars", "--flat-ide-bars", 0, "", "RAX) 66454000"),
    case("--flat-ide-bars", "ide-bars", "--flat-ide-bars=no", 0, "", "RAX) 0"),
    case("--append", "start-info", "--append -x", 2, "", "There is no option `-x`."),
    case("--append", "start-info", "--append=-x", 0, "command line: -x\n", ""),
    case("--module", "start-info", "--module /etc/passwd=a --module /etc/passwd", 0, "modules: 2\n", ""),
    case("--boot", "hello-serial", "--boot elf64", 0, "Hello from", ""),
    case("--bios", "hello-serial", "--bios missing.bin --disk=missing.img", 6, "", "disk"),
    case("--vga-bios", "hello-serial", "--vga-bios none", 0, "Hello from", ""),
    case("--load", "hello-serial", "--load 0x7c00", 4, "", "--load is for flat images, and"),
    case("--entry", "hello-serial", "--entry 0x7c0:0x10", 4, "", "--entry is for flat images, and"),
    case("--initrd", "start-info", "--initrd /etc/passwd --module /etc/passwd=b", 0, "modules: 2\n", ""),
    case("--symbols", "hello-serial", "--symbols /etc/passwd", 4, "", "/etc/passwd has no symbol table"),
    case("--strict", "stray", "--strict --append code-write", 8, "", "triple fault"),
    case("--strict", "stray", "--strict=FALSE --append code-write", 0, "", "RAX) 7"),
    case("--no-guards", "stray", "--no-guards --append null-read", 0, "", "RAX) 7"),
    case("--no-guards", "stray", "--no-guards=no --append null-read", 8, "", "triple fault"),
    case("--pictures", "hello-serial", "--pictures blocks", 0, "Hello from", ""),
    case("--mouse", "hello-serial", "--mouse off", 0, "Hello from", ""),
    case("--display", "hello-serial", "--display vga", 0, "Hello from", ""),
    case("--display", "hello-serial", "--display serial", 0, "Hello from", ""),
    case("--dashboard", "hello-serial", "--dashboard=no", 0, "Hello from", ""),
    case("--dashboard", "hello-serial", "--dashboard", 2, "", "--dashboard needs a terminal"),
    case("--dump-screen", "hello-vga", "--dump-screen", 0, "Hello from the VGA", ""),
    case("--keys", "keyboard-echo", "--keys keyboard --timeout 0.1", 12, "", "--timeout"),
    case("--layout", "hello-serial", "--layout it", 0, "Hello from", ""),
    case("--serial", "multi-com", "--serial 1=log --serial 2=stdio", 0, "This is COM2.", ""),
    case("--serial", "multi-com", "--serial 4=pty", 0, "", "kvm: COM4 is /dev/pts/"),
    case("--debugcon", "post-and-e9", "--debugcon stdio", 0, "E9 works\n", ""),
    case("--debugcon", "post-and-e9", "--debugcon=pty", 0, "", "kvm: port 0xE9 is /dev/pts/"),
    case("--logfile", "hello-serial", "--logfile other.log", 0, "Hello from", ""),
    case("--log-level", "hello-serial", "--log-level trace", 0, "Hello from", ""),
    case("--log-filter", "hello-serial", "--log-filter kvm::boot=off", 0, "Hello from", ""),
    case("--trace", "hello-serial", "--trace io", 0, "Hello from", ""),
    case("--log-format", "hello-serial", "--log-format json", 0, "Hello from", ""),
    case("--gdb", "hello-serial", "--gdb=no", 0, "Hello from", ""),
    case(
        "--gdb",
        "hello-serial",
        "--gdb=127.77.1.2:23817 --timeout 0.2",
        12,
        "",
        "kvm: waiting for gdb on 127.77.1.2:23817\n",
    ),
    case(
        "--gdb",
        "hello-serial",
        "--gdb=unix:gdb.socket --timeout 0.2",
        12,
        "",
        "kvm: waiting for gdb on gdb.socket\n",
    ),
    case(
        "--gdb-nowait",
        "hello-serial",
        "--gdb-nowait --gdb=127.77.1.4:23819",
        0,
        "Hello from",
        "kvm: gdb can connect to 127.77.1.4:23819 at any time\n",
    ),
    case("--gdb-arch", "hello-serial", "--gdb-arch i8086", 0, "Hello from", ""),
    case("--debug-server", "hello-serial", "--debug-server=no", 0, "Hello from", ""),
    case(
        "--debug-server",
        "hello-serial",
        "--debug-server=127.77.1.3:23818",
        0,
        "Hello from",
        "kvm: the debug server listens on 127.77.1.3:23818\n",
    ),
    case(
        "--debug-server",
        "hello-serial",
        "--debug-server=unix:debug.socket",
        0,
        "Hello from",
        "kvm: the debug server listens on debug.socket\n",
    ),
    case(
        "--console",
        "hello-serial",
        "--console=unix:console.socket",
        0,
        "Hello from",
        "kvm: the console is on console.socket\n",
    ),
    case(
        "--consoleport",
        "hello-serial",
        "-consoleport 23820",
        0,
        "Hello from",
        "kvm: the console is on 127.0.0.1:23820\n",
    ),
    case("--consoleport", "hello-serial", "--consoleport none", 0, "Hello from", ""),
    case(
        "--magic-break",
        "hello-serial",
        "--magic-break --gdb-nowait --gdb=unix:gdb.socket",
        0,
        "Hello from",
        "gdb can connect",
    ),
    case("--magic-break", "hello-serial", "--magic-break=no", 0, "Hello from", ""),
    case("--explain", "hello-serial", "--explain", 0, "Hello from", ""),
    case(
        "--explain",
        "hello-serial",
        "--explain --cpus=2",
        2,
        "",
        "--explain: a guest with several CPUs does not do the same a second time",
    ),
    case("--explain", "triple-fault", "--explain", 8, "", "invalid opcode, #UD"),
    case("--core", "triple-fault", "--core=crash.core", 8, "", "kvm: the core is in crash.core, "),
    case("--report", "triple-fault", "--report=crash.json", 8, "", "kvm: the report is in crash.json.\n"),
    case("--migr", "hello-serial", "--migr=no", 0, "Hello from", ""),
    Case {
        about: "--migrport",
        guest: None,
        with: "--migr --migrport 192.0.2.1",
        status: 2,
        expected: ("", "kvm: -migrport 192.0.2.1: other hosts can reach this address"),
    },
    case(
        "--snapshot-at-exit",
        "hello-serial",
        "--snapshot-at-exit end.kvmstate",
        0,
        "Hello from",
        "kvm: the machine is saved in end.kvmstate, ",
    ),
    case("--overwrite-disks", "hello-serial", "--overwrite-disks", 0, "Hello from", ""),
    case("--downtime", "hello-serial", "--downtime 60000", 0, "Hello from", ""),
    case(
        "--migr-key",
        "hello-serial",
        "--console=unix:socket --migr-key no.key",
        2,
        "",
        "kvm: no.key: No such",
    ),
    case(
        "--tls-cert",
        "hello-serial",
        "--console=unix:socket --tls-cert no.crt --tls-key no.key --tls-ca ca.crt",
        2,
        "",
        "kvm: no.crt: No such file",
    ),
    case("--config", "hello-serial", "--config /dev/null", 0, "Hello from", ""),
    Case { about: "--help", guest: None, with: "--help", status: 0, expected: ("Usage: kvm <GUEST>", "") },
    Case { about: "--version", guest: None, with: "--version", status: 0, expected: ("kvm ", "") },
];

/// Options that are taken only with files which other tests make (snapshots.rs, migration*.rs).
const TAKEN_ELSEWHERE: &[&str] = &["--restore", "--tls-key", "--tls-ca"];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials =
        vec![test("every_option_of_the_help_is_tested_with_a_valid_and_an_invalid_value", || {
            let help = Kvm::new().arg("--help").run();
            let listed: Vec<&str> = help
                .out
                .lines()
                .skip_while(|line| *line != "Machine:")
                .take_while(|line| !line.starts_with("Examples"))
                .filter_map(|line| line.trim_start().trim_start_matches(|c| c != '-').split_once("--"))
                .filter_map(|(_, rest)| rest.split([' ', '=', '[']).next())
                .collect();
            help.check(listed.len() > 20, "more than 20 options")?;
            let tried =
                |name: &str, all: &[&str]| all.iter().any(|about| about.trim_start_matches('-') == name);
            let taken: Vec<&str> =
                TAKEN.iter().map(|case| case.about).chain(TAKEN_ELSEWHERE.iter().copied()).collect();
            let refused: Vec<&str> = REFUSED.iter().map(|case| case.0).collect();
            let untried = listed.iter().find(|name| !tried(name, &taken) || !tried(name, &refused));
            help.check(untried.is_none(), &format!("a case that takes and one that refuses {untried:?}"))
                .map(|_| ())
        })];
    trials.extend(TAKEN.iter().map(|case| {
        let name = format!("option_is_taken: {}", case.with);
        if case.guest.is_some() { guest_test(&name, || taken(case)) } else { test(&name, || taken(case)) }
    }));
    trials.extend(REFUSED.iter().map(|(_, arguments, message)| {
        test(&format!("option_is_refused: {arguments}"), move || {
            let ran = Kvm::new().arg("guest.elf").args(arguments.split(' ')).run();
            ran.expect_exactly(&exact_output(2, "", message)).map(|_| ())
        })
    }));
    trials
}

fn taken(case: &Case) -> Result<(), Failed> {
    let kvm = Kvm::new().args(case.guest.map(guest)).args(case.with.split(' '));
    expect(kvm, case)
}

/// Runs `kvm`, and checks the result against the case.
pub fn expect(kvm: Kvm, case: &Case) -> Result<(), Failed> {
    let ran = kvm.run();
    let (out, err) = case.expected;
    ran.expect_status(case.status)?.expect_err(err)?;
    ran.check(ran.out.contains(out), &format!("{out:?} on standard output")).map(|_| ())
}
