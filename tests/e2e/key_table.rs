//! Every key of `config.ini`: one value that is accepted and one that is refused.

use libtest_mimic::{Failed, Trial};

use crate::option_table::{Case, case, expect};
use crate::support::{Kvm, guest, guest_test, source, test};

/// Keys with a value that is taken, and its effect.
const TAKEN: &[Case] = &[
    case("[vm-spec] memsize", "start-info", "10", 0, "0x0000000f1000 + 0x00000090f000 RAM", ""),
    case("[vm-spec] memsize", "start-info", "0xA", 0, "0x0000000f1000 + 0x00000090f000 RAM", ""),
    case("[vm-spec] timeout", "endless", "0.05", 12, "", "--timeout"),
    case("[disk] image", "hello-serial", "missing.img", 6, "", "the disk image missing.img does not exist"),
    case("[vm-spec] cpus", "ipi", "2", 0, "", "result (RAX) 127 "),
    case("[vm-spec] schedule", "hello-serial", "serial", 0, "Hello from", ""),
    case("[disk] cdrom", "hello-serial", "missing.iso", 6, "", "the CD image missing.iso does not exist"),
    case("[vm-spec] clock", "hello-serial", "virtual", 0, "Hello from", ""),
    case("[vm-spec] irqchip", "hello-serial", "kernel", 0, "Hello from", ""),
    case("[vm-spec] device", "hello-serial", "/dev/null", 6, "", "/dev/null is not the device of KVM"),
    case("[vm-spec] vga", "hello-serial", "std", 0, "Hello from", ""),
    case("[vm-spec] rtc", "hello-serial", "1000000000", 0, "Hello from", ""),
    case("[vm-spec] no-reboot", "reset", "yes", 18, "", "(--no-reboot)"),
    case("[pci] flat_ide_bars", "ide-bars", "yes", 0, "", "RAX) 66454000"),
    case(
        "[guest] append",
        "start-info",
        "root=ram  quiet ; not this",
        0,
        "command line: root=ram  quiet\n",
        "",
    ),
    case("[guest] module", "start-info", "/etc/passwd=of users", 0, "    command line: of users\n", ""),
    case("[vm-spec] boot", "hello-serial", "elf64", 0, "Hello from", ""),
    case("[guest] bios", "hello-serial", "missing.bin\n[disk]\nimage=missing.img", 6, "", "disk"),
    case("[guest] vga_bios", "hello-serial", "none", 0, "Hello from", ""),
    case("[guest] load", "hello-serial", "0x7c00", 4, "", "--load is for flat images, and"),
    case("[guest] entry", "hello-serial", "0x7c10", 4, "", "--entry is for flat images, and"),
    case("[guest] initrd", "start-info", "/etc/passwd", 0, "modules: 1\n", ""),
    case("[guest] symbols", "hello-serial", "/etc/passwd@0x10", 4, "", "/etc/passwd has no symbol table"),
    case("[guest] strict", "stray", "on\nappend = code-write", 8, "", "triple fault"),
    case("[guest] no-guards", "stray", "on\nappend = null-read", 0, "", "RAX) 7"),
    case("[screen] display", "hello-serial", "serial", 0, "Hello from", ""),
    case("[screen] dashboard", "hello-serial", "no", 0, "Hello from", ""),
    case("[screen] pictures", "hello-serial", "sixel", 0, "Hello from", ""),
    case("[screen] mouse", "hello-serial", "off", 0, "Hello from", ""),
    case("[keyboard] keys", "hello-serial", "keyboard", 0, "Hello from", ""),
    case("[keyboard] layout", "hello-serial", "it", 0, "Hello from", ""),
    case("[serial] com1", "multi-com", "pty", 0, "", "kvm: COM1 is /dev/pts/"),
    case("[serial] com2", "multi-com", "pty", 0, "This is COM1.", "kvm: COM2 is /dev/pts/"),
    case("[serial] com3", "multi-com", "pty", 0, "This is COM1.", "kvm: COM3 is /dev/pts/"),
    case("[serial] com4", "multi-com", "null", 0, "This is COM1.", ""),
    case("[serial] debugcon", "post-and-e9", "pty", 0, "", "kvm: port 0xE9 is /dev/pts/"),
    case("[log] file", "hello-serial", "other.log", 0, "Hello from", ""),
    case("[log] level", "hello-serial", "DEBUG", 0, "Hello from", ""),
    case("[log] filter", "hello-serial", "kvm::boot=trace", 0, "Hello from", ""),
    case("[log] trace", "hello-serial", "io,mode", 0, "Hello from", ""),
    case("[log] format", "hello-serial", "json", 0, "Hello from", ""),
    case(
        "[gdb-server] enable",
        "hello-serial",
        "yes\nport = 23818\naddress = 127.77.1.3\n[vm-spec]\ntimeout = 0.2",
        12,
        "",
        "kvm: waiting for gdb on 127.77.1.3:23818\n",
    ),
    case("[gdb-server] enable", "hello-serial", "No", 0, "Hello from", ""),
    case("[gdb-server] address", "hello-serial", "0.0.0.0", 0, "Hello from", ""),
    case("[gdb-server] port", "hello-serial", "1", 0, "Hello from", ""),
    case(
        "[gdb-server] address",
        "hello-serial",
        "unix:gdb.socket\nenable = yes\n[vm-spec]\ntimeout = 0.2",
        12,
        "",
        "kvm: waiting for gdb on gdb.socket\n",
    ),
    case(
        "[gdb-server] nowait",
        "hello-serial",
        "yes\nenable = yes\naddress = unix:gdb.socket",
        0,
        "Hello from",
        "kvm: gdb can connect to gdb.socket at any time\n",
    ),
    case("[gdb-server] nowait", "hello-serial", "yes", 0, "Hello from", ""),
    case("[gdb-server] arch", "hello-serial", "i386", 0, "Hello from", ""),
    case(
        "[debug-server] enable",
        "hello-serial",
        "1\nport = 23819\naddress = 127.77.1.4",
        0,
        "Hello from",
        "kvm: the debug server listens on 127.77.1.4:23819\n",
    ),
    case("[debug-server] enable", "hello-serial", "false", 0, "Hello from", ""),
    case("[debug-server] address", "hello-serial", "::1", 0, "Hello from", ""),
    case("[debug-server] port", "hello-serial", "65535", 0, "Hello from", ""),
    case("[debug-server] passw", "hello-serial", "open sesame", 0, "Hello from", ""),
    case("[console] enable", "hello-serial", "yes", 0, "Hello from", "kvm: the console is on 127.0.0.1:90"),
    case("[console] enable", "hello-serial", "no\nport = 9001", 0, "Hello from", ""),
    case(
        "[console] address",
        "hello-serial",
        "unix:console.socket",
        0,
        "Hello from",
        "kvm: the console is on console.socket\n",
    ),
    case(
        "[console] port",
        "hello-serial",
        "23821",
        0,
        "Hello from",
        "kvm: the console is on 127.0.0.1:23821\n",
    ),
    case("[console] port", "hello-serial", "none", 0, "Hello from", ""),
    case("[debug] magic-break", "hello-serial", "no", 0, "Hello from", ""),
    case(
        "[debug] magic-break",
        "hello-serial",
        "yes",
        2,
        "",
        "kvm: --magic-break stops the guest in a debugger",
    ),
    case("[debug] explain", "triple-fault", "yes", 8, "", "invalid opcode, #UD"),
    case("[debug] core", "triple-fault", "crash.core", 8, "", "kvm: the core is in crash.core, "),
    case("[debug] report", "triple-fault", "crash.json", 8, "", "kvm: the report is in crash.json.\n"),
    case("[snapshot] at-exit", "hello-serial", "end.kvmstate", 0, "Hello from", "saved in end.kvmstate, "),
    case("[migration] downtime_ms", "hello-serial", "1", 0, "Hello from", ""),
    case(
        "[migration] key",
        "hello-serial",
        "no.key\n[console]\naddress = unix:console.socket",
        2,
        "",
        "kvm: no.key: No such file",
    ),
    case(
        "[migration] tls-cert",
        "hello-serial",
        "no.crt\ntls-key = no.key\ntls-ca = ca.crt\n[console]\naddress = unix:console.socket",
        2,
        "",
        "kvm: no.crt: No such file",
    ),
];

/// Keys that are taken only with files which other tests make (migration_tls.rs).
const TAKEN_ELSEWHERE: &[&str] = &["[migration] tls-key", "[migration] tls-ca"];

/// Keys with a value that is refused, and what is wrong with it.
const REFUSED: &[(&str, &str, &str)] = &[
    ("[vm-spec] memsize", "8.5", "is not a size; allowed: a number of MiB,"),
    ("[vm-spec] timeout", "soon", "is not a duration; allowed: seconds such as"),
    ("[disk] image", ",ro", "does not name a file; allowed: the path of a raw disk image"),
    ("[vm-spec] cpus", "0", "is not a number of processors; allowed: 1 to 64"),
    ("[vm-spec] schedule", "lottery", "is not a schedule; allowed: parallel, serial"),
    ("[disk] cdrom", "", "does not name a file; allowed: the path of an ISO image"),
    ("[vm-spec] clock", "sundial", "is not a clock; allowed: host, virtual"),
    ("[vm-spec] irqchip", "split", "names no interrupt controllers; allowed: user, kernel"),
    ("[vm-spec] device", "kvm", "is no absolute path; allowed: the path of a device"),
    ("[vm-spec] vga", "cirrus", "is no display adapter; allowed: auto, text, std"),
    ("[vm-spec] rtc", "yesterday", "is not a time of day; allowed: host, or seconds"),
    ("[vm-spec] no-reboot", "", "is neither yes nor no; allowed: yes, no"),
    ("[pci] flat_ide_bars", "very", "is neither yes nor no; allowed: yes, no"),
    ("[guest] append", "\"open", ""),
    ("[guest] module", "", "does not name a file; allowed: the path of a file"),
    (
        "[vm-spec] boot",
        "efi",
        "is no kind of guest file; allowed: auto, elf64, linux, linux16, pvh, multiboot, multiboot2, limine, flat, disk, cdrom, rom",
    ),
    ("[guest] bios", "", "does not name a file; allowed: the path of a firmware image"),
    ("[guest] vga_bios", "", "does not name a file; allowed: the path of an option ROM"),
    ("[guest] load", "low", "is not a number; allowed: a guest-physical address"),
    ("[guest] entry", "0x10fff0", "cannot be reached in real mode; allowed: a guest-physical address"),
    ("[guest] initrd", "", "does not name a file; allowed: the path of a file"),
    ("[guest] symbols", "@1", "does not name a file; allowed: the path of an ELF file"),
    ("[guest] strict", "very", "is neither yes nor no; allowed: yes, no"),
    ("[guest] no-guards", "very", "is neither yes nor no; allowed: yes, no"),
    ("[screen] dashboard", "stopped", "is neither yes, no nor paused; allowed: yes, no, paused"),
    ("[screen] pictures", "gif", "is no way to show pictures; allowed: auto, kitty, sixel, blocks, off"),
    ("[screen] mouse", "on", "is not a mode of the mouse; allowed: auto, off"),
    ("[screen] display", "none at all", "is not a display; allowed: auto, vga, serial, none"),
    ("[keyboard] keys", "all", "is not a target of key input; allowed: auto, keyboard, serial"),
    ("[keyboard] layout", "US", "is not a keyboard layout; allowed: us, it"),
    ("[serial] com1", "1=log", "is not a serial backend; allowed: stdio, log, file:PATH,"),
    ("[serial] com2", "file:", "does not name a file; allowed: stdio, log, file:PATH,"),
    ("[serial] com3", "unix:", "does not name a file; allowed: stdio, log, file:PATH,"),
    ("[serial] com4", "stdout", "is not a serial backend; allowed: stdio, log,"),
    ("[serial] debugcon", "yes", "is not a serial backend; allowed: stdio, log,"),
    ("[log] file", "", "does not name a file; allowed: the path of a file or of a FIFO"),
    ("[log] level", "all", "is not a log level; allowed: error, warn, info, debug, trace"),
    ("[log] filter", "kvm=loud", "is not a filter"),
    ("[log] trace", "irq", "names `irq`, which cannot be traced"),
    ("[log] format", "xml", "is not a log format"),
    ("[gdb-server] enable", "maybe", "is neither yes nor no; allowed: yes, no"),
    ("[gdb-server] address", "here", "is not an IP address; allowed: an IP address, localhost, unix:PATH"),
    ("[gdb-server] nowait", "1234", "is neither yes nor no; allowed: yes, no"),
    ("[gdb-server] port", "-1", "is not a TCP port; allowed: a TCP port from 1 to 65535"),
    ("[gdb-server] arch", "x86", "is not an architecture; allowed: auto, x86-64, i386, i8086, x86-64-linux"),
    ("[debug-server] enable", "5553", "is neither yes nor no; allowed: yes, no"),
    (
        "[debug-server] address",
        "10.0.0.1",
        "can be reached from other hosts, and clients are not authenticated",
    ),
    (
        "[debug-server] passw",
        "12345678901234567890123456789012345678901234567890123",
        "is too long; allowed: at most 52 bytes",
    ),
    ("[debug-server] port", "0", "is not a TCP port; allowed: a TCP port from 1 to 65535"),
    ("[console] enable", "9000", "is neither yes nor no; allowed: yes, no"),
    ("[console] address", "10.0.0.1", "can be reached from other hosts, and clients are not authenticated"),
    ("[console] port", "yes", "is not a TCP port; allowed: a TCP port from 1 to 65535, none"),
    ("[debug] magic-break", "bochs", "is neither yes nor no; allowed: yes, no"),
    ("[debug] explain", "why", "is neither yes nor no; allowed: yes, no"),
    ("[debug] core", "", "does not name a file; allowed: the path of a file, none"),
    ("[debug] report", "", "does not name a file; allowed: the path of a file, none"),
    ("[snapshot] at-exit", "", "does not name a file; allowed: the path of a file, none"),
    ("[migration] downtime_ms", "0", "is out of range; allowed: milliseconds from 1 to 60000"),
    ("[migration] key", "", "does not name a file; allowed: the path of a file of at least 32 bytes"),
    ("[migration] tls-cert", "", "does not name a file; allowed: the path of a"),
    ("[migration] tls-key", "", "does not name a file; allowed: the path of a"),
    ("[migration] tls-ca", "", "does not name a file; allowed: the path of a"),
];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = vec![test(
        "every_key_of_the_shipped_config_file_is_tested_with_a_valid_and_an_invalid_value",
        || {
            let shipped = std::fs::read_to_string(source("config.ini"))?;
            let keys = keys_of(&shipped);
            assert!(keys.len() > 20, "{keys:?}");
            for key in keys {
                let taken = TAKEN.iter().any(|case| case.about == key);
                assert!(taken || TAKEN_ELSEWHERE.contains(&key.as_str()), "{key} is never taken");
                assert!(REFUSED.iter().any(|case| case.0 == key), "{key} is never refused");
            }
            Ok(())
        },
    )];
    trials.extend(TAKEN.iter().map(|case| {
        guest_test(&format!("key_is_taken: {} = {}", case.about, case.with.replace('\n', "; ")), || {
            taken(case)
        })
    }));
    trials.extend(REFUSED.iter().map(|(key, value, wrong)| {
        test(&format!("key_is_refused: {key} = {value}"), move || refused(key, value, wrong))
    }));
    trials
}

/// All keys of a config file as `[section] key`, those that are commented out included.
fn keys_of(text: &str) -> Vec<String> {
    let mut section = "";
    let mut keys = Vec::new();
    for line in text.lines() {
        let line = line.strip_prefix(';').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
        if line.starts_with('[') {
            section = line;
        } else if let Some((key, _)) = line.split_once('=').filter(|_| !line.starts_with(';')) {
            keys.push(format!("{section} {}", key.trim()));
        }
    }
    keys
}

fn taken(case: &Case) -> Result<(), Failed> {
    let (section, key) = case.about.split_once(' ').ok_or("[section] key")?;
    let config = format!("{section}\n{key} = {}\n", case.with);
    expect(Kvm::new().file("config.ini", &config).args(case.guest.map(guest)), case)
}

fn refused(about: &str, value: &str, wrong: &str) -> Result<(), Failed> {
    let (section, key) = about.split_once(' ').ok_or("[section] key")?;
    let config = format!("; a comment\n{section}\n{key} = {value}\n");
    let ran = Kvm::new().file("config.ini", &config).arg("guest.elf").run();
    ran.expect_status(2)?.expect_out("")?;
    if value.starts_with('"') {
        ran.expect_err("kvm: config.ini:3: `append = \"open` is neither")?;
        ran.expect_err("a quotation mark is not closed")?;
    } else {
        ran.expect_err(&format!("kvm: config.ini:3: {about}: `{value}` {wrong}"))?;
    }
    Ok(())
}
