//! Command lines of QEMU and Bochs, and what they mean.

use std::ffi::OsString;
use std::path::Path;

use super::super::{Invocation, Settings, SettingsError, from_args_and_config};
use super::*;

fn invoke(line: &str) -> Result<Settings, SettingsError> {
    let args =
        std::iter::once("kvm").chain(line.split(' ').filter(|arg| !arg.is_empty())).map(OsString::from);
    match from_args_and_config(args, Path::new("/nowhere/config.ini"))? {
        Invocation::Run(settings) => Ok(*settings),
        other => panic!("no run: {other:?}"),
    }
}

/// The settings for a command line, and its notes.
fn settings(line: &str) -> (Settings, Vec<String>) {
    let mut settings = invoke(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let notes = std::mem::take(&mut settings.notes);
    (settings, notes.iter().map(Note::to_string).collect())
}

fn message(line: &str) -> String {
    match invoke(line) {
        Err(error) => error.to_string(),
        Ok(settings) => panic!("{line} is accepted: {settings:?}"),
    }
}

#[test]
fn options_of_qemu_and_bochs_mean_options_of_kvm() {
    for (theirs, ours) in [
        ("-kernel a.elf", "a.elf"),
        ("--bios b.bin --guest d.raw --serial s.sock", "--bios b.bin d.raw --serial 1=unix:s.sock"),
        ("-kernel a.elf -initrd i.img", "a.elf --initrd i.img"),
        ("a.elf -initrd i.img,j.img", "a.elf --module i.img --module j.img"),
        ("a.elf -boot dc", "a.elf"),
        ("a.elf -m 1G", "a.elf --memory 1G"),
        ("a.elf --m=256", "a.elf --memory 256"),
        ("a.elf -m size=128M,slots=2,maxmem=1G", "a.elf --memory 128M"),
        ("-s a.elf", "a.elf --gdb --gdb-nowait"),
        ("-s -S a.elf", "a.elf --gdb"),
        ("-S -s a.elf", "a.elf --gdb"),
        ("-gdb tcp::1235 a.elf", "a.elf --gdb=127.0.0.1:1235 --gdb-nowait"),
        ("-gdb tcp:localhost:1235,server=on -S a.elf", "a.elf --gdb=127.0.0.1:1235"),
        ("--gdb=tcp:[::1]:1235 -S a.elf", "a.elf --gdb=[::1]:1235"),
        ("--gdb -S a.elf", "a.elf --gdb"),
        ("a.elf -serial stdio", "a.elf --serial 1=stdio"),
        ("a.elf -serial mon:stdio -serial file:b", "a.elf --serial 1=stdio --serial 2=file:b"),
        ("a.elf -serial null -serial stdio", "a.elf --serial 1=null --serial 2=stdio"),
        ("a.elf -serial unix:/s,server=on,wait=off", "a.elf --serial 1=unix:/s"),
        ("a.elf -serial unix:/s,server,nowait -serial pty", "a.elf --serial 1=unix:/s --serial 2=pty"),
        ("a.elf -nographic", "a.elf --display serial"),
        ("a.elf -display curses", "a.elf --display vga"),
        ("a.elf -display none", "a.elf --display none"),
        ("a.elf -display none -serial stdio", "a.elf --display serial --serial 1=stdio"),
        ("a.elf -serial mon:stdio -display=none -strict", "a.elf --display serial --strict"),
        ("a.elf -display none -serial file:x", "a.elf --display none --serial 1=file:x"),
        ("a.elf -monitor unix:m,server,nowait", "a.elf --console=unix:m"),
        ("a.elf -monitor telnet:127.0.0.1:5555,server,nowait", "a.elf --console=127.0.0.1:5555"),
        ("a.elf -k it", "a.elf --layout it"),
        ("a.elf -D q.log", "a.elf --logfile q.log"),
        ("a.elf -hda a.img -hdb b.img", "a.elf --disk a.img --disk b.img"),
        ("a.elf -drive file=a.img,format=raw,if=ide,readonly=on", "a.elf --disk a.img,ro"),
        ("a.elf -drive file=a.iso,media=cdrom,readonly=on", "a.elf --cdrom a.iso"),
        ("a.elf -drive file=a.img,format=raw,snapshot=on", "a.elf --disk a.img,snapshot"),
        ("a.elf -drive file=a.img,if=virtio,format=raw -snapshot", "a.elf --disk a.img,virtio,snapshot"),
        (
            "a.elf -hda a.img -snapshot -drive file=b.img,readonly",
            "a.elf --disk a.img,snapshot --disk b.img,ro",
        ),
        ("a.elf -action reboot=shutdown", "a.elf --no-reboot"),
        ("-incoming tcp::4444", "--migr --migrport 127.0.0.1:4444"),
        ("a.elf -log q.log", "a.elf --logfile q.log"),
        ("a.elf -n", "a.elf --config /dev/null"),
        ("a.elf --gdb magic_break:enabled=1", "a.elf --gdb --magic-break"),
        ("magic_break:enabled=0 a.elf port_e9_hack:enabled=1", "a.elf"),
    ] {
        let (found, notes) = settings(theirs);
        assert_eq!(found, settings(ours).0, "{theirs}");
        let same = ["a.elf -display none"];
        assert_eq!(notes.is_empty(), same.contains(&theirs), "{theirs}: {notes:?}");
    }
}

#[test]
fn a_whole_command_line_of_qemu_runs_the_guest() {
    let (found, notes) = settings(
        "-enable-kvm -cpu host -machine q35,accel=kvm -smp 1 -m 128M -nodefaults -no-reboot -no-shutdown \
         -device isa-debug-exit,iobase=0xf4,iosize=0x04 -serial stdio -display none -monitor none \
         -name test -rtc base=utc -boot d -snapshot -vga std -net none -d int,cpu_reset -D q.log \
         -append quiet -kernel a.elf",
    );
    let ours = "a.elf --memory 128M --no-reboot --display serial --append quiet --logfile q.log \
                --vga std";
    assert_eq!(found, settings(ours).0);
    assert_eq!(notes[0], "`-enable-kvm` of QEMU is always so: guests always run on KVM");
    assert!(
        notes.iter().any(|note| note.starts_with("`-m 128M` of QEMU means `--memory=128M`")),
        "{notes:?}"
    );
    assert!(notes.iter().any(|note| note.starts_with("`-name test` of QEMU is ignored: ")), "{notes:?}");
    assert_eq!(notes.len(), 19, "{notes:#?}");
    assert_eq!(settings("a.elf -s").1, ["`-s` of QEMU means `--gdb` and `--gdb-nowait`"]);
    assert_eq!(settings("a.elf -s -S").1[0], "`-s` of QEMU means `--gdb`");
    assert_eq!(settings("a.elf -smp 4").0.cpus, 4);
    assert_eq!(settings("a.elf -smp cpus=3,sockets=1").0.cpus, 3);
}

#[test]
fn an_option_without_an_equivalent_is_refused_with_the_option_to_use() {
    for (line, expected) in [
        ("a.elf -drive file=a.img,format=qcow2", "`qemu-img convert"),
        ("a.elf -drive file=a.img,if=scsi", "`--disk FILE`"),
        ("a.elf -drive format=raw", "`file=FILE`"),
        ("a.elf -fda a.img", "It comes with a later version."),
        ("a.elf -monitor stdio", "`kvm console`"),
        ("a.elf -loadvm booted", "`kvm --restore FILE`"),
        ("a.elf -pflash b.fd", "Firmware is given as `--bios FILE`"),
        ("a.elf -accel tcg", "Guests run on KVM only."),
        ("a.elf -machine pc,accel=tcg", "Guests run on KVM only."),
        ("a.elf -cpu qemu64,-avx", "Leave out `-avx`."),
        ("a.elf -device isa-debug-exit", "at port 0xF4, not at 0x501"),
        ("a.elf -device virtio-net-pci", "README.md lists them"),
        ("a.elf -serial tcp::4444", "`--serial N=BACKEND`"),
        ("a.elf -serial unix:/s", "`unix:/s,server=on,wait=off`"),
        ("a.elf -initrd a=b,c", "Rename the file."),
        ("a.elf -S", "`--gdb`, or `-s -S`"),
        ("a.elf -gdb tcp:1234", "The port is missing: `tcp:HOST:PORT`."),
        ("a.elf -m", "It needs a value: size=SIZE[,...] or SIZE."),
        ("a.elf -nographic=1", "It takes no value."),
        ("a.elf -f bochsrc.txt", "`-f bochsrc.txt`, an option of Bochs, is refused. A bochsrc"),
        ("a.elf magic_break:enabled=1,cx", "`magic_break: enabled=1`, or `--magic-break`."),
        ("a.elf magic_break:", "`xchg bx, bx` is the only magic breakpoint"),
        ("a.elf -rc commands", "`-x FILE`"),
    ] {
        let message = message(line);
        assert!(message.contains(expected), "{line}: {message}");
        assert!(message.ends_with("docs/from-qemu.md lists the options of QEMU and Bochs."), "{message}");
    }
    assert!(message("a.elf -m ten").starts_with("--memory: `ten` is not a size"));
    assert!(message("a.elf -serial log").starts_with("--serial: `log` has no `=`"));
    assert!(message("a.elf -display gtk").starts_with("--display: `gtk` is not a display"));
    assert!(message("-kernel a.elf b.elf").contains("`b.elf` is a second guest file"));
}

#[test]
fn kvm_and_a_second_accelerator_is_accepted() {
    assert_eq!(settings("a.elf -accel kvm -accel tcg").0, settings("a.elf").0);
    assert_eq!(settings("a.elf -machine accel=kvm:tcg").0, settings("a.elf").0);
}

#[test]
fn options_of_kvm_keep_their_meaning() {
    for line in [
        "a.elf -logfile k.log",
        "-migr -migrport 8001 -consoleport 9001",
        "a.elf --serial 2=file:x --serial=1=stdio",
        "a.elf --display vga -append quiet --append=",
        "a.elf --gdb=1234 --gdb-nowait",
        "a.elf -no-reboot=yes -debugcon file:x -display=none",
        "--strict -- -m",
    ] {
        match invoke(line) {
            Ok(settings) => assert!(settings.notes.is_empty(), "{line}: {:?}", settings.notes),
            Err(error) => assert!(line.contains("--append="), "{line}: {error}"),
        }
    }
    assert_eq!(settings("--strict -- -m").0.guest, Path::new("-m"));
}

#[test]
fn an_address_may_follow_its_option_after_a_blank() {
    for (blank, attached) in [
        ("a.elf --gdb 127.0.0.1:1234", "a.elf --gdb=127.0.0.1:1234"),
        ("--gdb localhost:1235 a.elf", "--gdb=localhost:1235 a.elf"),
        ("-gdb unix:g a.elf", "--gdb=unix:g a.elf"),
        ("--console [::1]:9000 a.elf", "--console=[::1]:9000 a.elf"),
        ("a.elf --debug-server 127.0.0.1:5553", "a.elf --debug-server=127.0.0.1:5553"),
    ] {
        assert_eq!(settings(blank).0, settings(attached).0, "{blank}");
    }
    // These can be guest files.
    for guest in ["a.elf", "1234", "none", "stdio", "yes", "localhost", "./127.0.0.1:1234", "disk:1"] {
        let (found, _) = settings(&format!("--gdb {guest}"));
        assert_eq!((found.guest.as_path(), found.gdb.is_some()), (Path::new(guest), true));
        assert_eq!(settings(&format!("--strict {guest}")).0.guest, Path::new(guest));
    }
}

#[test]
fn every_option_is_listed_once_and_every_value_of_it_is_answered() {
    let all: Vec<&Spelling> = spellings().collect();
    assert!(all.len() >= 45, "{}", all.len());
    for (at, spelling) in all.iter().enumerate() {
        let shown = |it: &Spelling| (it.name, it.value.shown());
        assert!(all[..at].iter().all(|other| shown(other) != shown(spelling)), "{:?}", shown(spelling));
        // A remedy is one or more sentences, an explanation is part of one.
        match &spelling.effect {
            Effect::Refused(text) | Effect::Later(text) => assert!(text.ends_with('.'), "{text}"),
            Effect::Becomes(text, _) | Effect::Implied(text, _) | Effect::Ignored(text, _) => {
                assert!(!text.ends_with('.'), "{text}");
            }
            Effect::Same(_) => {}
        }
        let of_kvm = super::super::table::options().any(|option| option.long == spelling.name);
        let last = all.iter().rfind(|other| other.name == spelling.name).unwrap();
        let complete = matches!(last.value, ValueForm::Any(_) | ValueForm::Absent);
        assert!(of_kvm || complete, "{} has no answer to other values", spelling.name);
    }
}

/// The options that users of QEMU are most likely to type.
const HABITS: &[&str] = &[
    "s",
    "S",
    "gdb",
    "m",
    "smp",
    "kernel",
    "initrd",
    "append",
    "serial",
    "nographic",
    "display",
    "monitor",
    "no-reboot",
    "no-shutdown",
    "d",
    "D",
    "enable-kvm",
    "accel",
    "cpu",
    "machine",
    "device",
    "hda",
    "drive",
    "cdrom",
    "loadvm",
    "snapshot",
    "name",
    "rtc",
    "nodefaults",
    "bios",
    "boot",
];

#[test]
fn every_habit_is_in_the_document_with_what_it_means() {
    let document = reference();
    let (qemu, _) = document.split_once("\n## Bochs\n").unwrap();
    for name in HABITS {
        let row = qemu.lines().find(|row| {
            let option = row.strip_prefix("| `-").and_then(|rest| rest.split(['`', ' ']).next());
            option == Some(name)
        });
        let cells: Vec<&str> = row.unwrap_or_else(|| panic!("no row for -{name}")).split(" | ").collect();
        let effects = ["means", "same", "always so", "ignored", "refused", "later"];
        assert!(effects.contains(&cells[1]), "{cells:?}");
    }
    for value in ["serial stdio", "serial mon:stdio", "serial file:FILE", "device isa-debug-exit,iobase=0xf4"]
    {
        assert!(qemu.contains(&format!("\n| `-{value}` | ")), "no row for -{value}");
    }
}
