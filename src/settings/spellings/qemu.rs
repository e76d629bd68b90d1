//! The options of QEMU.

use super::translation::Translation;
use super::values::{
    ONLY_KVM, cpu_model, debug_exit, drive, listen_address, machine_type, modules, server_socket,
};
use super::{Effect, NOTHING, Program, Spelling, ValueForm};

use Effect::{Becomes, Ignored, Implied, Later, Refused, Same};
use ValueForm::{Absent, Any, Begins, Contains, OneOf, Other};

const fn spelling(name: &'static str, value: ValueForm, effect: Effect) -> Spelling {
    Spelling { program: Program::Qemu, name, value, effect }
}

const DISKS: &str = "This version has hard disks and CDs: `--disk FILE`, `--cdrom FILE`. `--module FILE` passes a file in memory.";
const DISK: &str = "`--disk FILE`";
const RTC: &str = "the real-time clock starts with the host's UTC; `--rtc SECONDS` sets another time";
const NETWORK: &str = "There is no network card. Leave it out.";
const FIRMWARE: &str = "Firmware is given as `--bios FILE`, one image that is only read.";
const BOOT_ORDER: &str =
    "firmware boots from the disks in their order, then from the CD; other guest files need none";
const CONSOLE: &str = "`--console` accepts commands while the guest runs; `kvm console`, in another terminal, sends \
                       them.";
const SCREEN: &str = "The screen is displayed on the terminal: `--display vga`. Leave it out.";
const BACKEND: &str = "The backend is named with the port: `--serial N=BACKEND`, with `stdio`, `log`, `file:PATH`, \
                       `unix:PATH`, `pty` or `null`, or `--debugcon BACKEND`.";

/// Options of `qemu-system-x86_64`.
pub(super) static SPELLINGS: &[Spelling] = &[
    // The guest.
    spelling("kernel", Any("FILE"), Becomes("FILE, the guest file", |t, file| t.guest(file))),
    // A single file is the value of this program's own option.
    spelling("initrd", Contains(",", "FILE,FILE..."), Becomes("`--module FILE`", modules)),
    spelling("initrd", Contains(" ", "\"FILE ARGUMENTS\""), Becomes("`--module FILE=ARGUMENTS`", modules)),
    spelling("append", Any("TEXT"), Same(NOTHING)),
    spelling("bios", Any("FILE"), Same(NOTHING)),
    spelling("pflash", Any("FILE"), Refused(FIRMWARE)),
    spelling("L", Any("DIR"), Ignored("files are looked for where their paths say", NOTHING)),
    // Other values are kinds of guest file, of this program's own option.
    spelling("boot", OneOf(&["a", "c", "d", "n", "cd", "dc"]), Ignored(BOOT_ORDER, NOTHING)),
    spelling("boot", Begins("order=", "order=..."), Ignored(BOOT_ORDER, NOTHING)),
    spelling("boot", Begins("once=", "once=..."), Ignored(BOOT_ORDER, NOTHING)),
    spelling("boot", Begins("menu=", "menu=..."), Ignored(BOOT_ORDER, NOTHING)),
    spelling("boot", Begins("strict=", "strict=..."), Ignored(BOOT_ORDER, NOTHING)),
    // The machine.
    spelling("m", Begins("size=", "size=SIZE[,...]"), Becomes("`--memory SIZE`", |t, text| t.memory(text))),
    spelling("m", Any("SIZE"), Becomes("`--memory SIZE`", |t, text| t.memory(text))),
    spelling(
        "smp",
        OneOf(&["1", "cpus=1"]),
        Implied("the machine has one processor unless `--cpus` says otherwise", NOTHING),
    ),
    spelling("smp", Begins("cpus=", "cpus=N"), Becomes("`--cpus N`", |t, text| t.cpus(text))),
    spelling("smp", Any("N"), Becomes("`--cpus N`", |t, text| t.cpus(text))),
    spelling("machine", Any("TYPE[,...]"), Ignored(MACHINE, machine_type)),
    spelling("M", Any("TYPE[,...]"), Ignored(MACHINE, machine_type)),
    spelling("enable-kvm", Absent, Implied("guests always run on KVM", with_kvm)),
    spelling("accel", Begins("kvm", "kvm[,...]"), Implied("guests always run on KVM", with_kvm)),
    spelling("accel", Any("tcg"), Ignored(AFTER_KVM, other_accelerator)),
    spelling("cpu", Begins("host", "host"), Implied(CPU, cpu_model)),
    spelling("cpu", Begins("max", "max"), Implied(CPU, cpu_model)),
    spelling("cpu", Any("MODEL[,+FEATURE]"), Ignored(CPU, cpu_model)),
    spelling(
        "device",
        Begins("isa-debug-exit", "isa-debug-exit,iobase=0xf4"),
        Implied(DEBUG_EXIT, debug_exit),
    ),
    // A path is that of a device of KVM, for this program's own option.
    spelling("device", Other("/", "DEVICE"), Refused(DEVICE)),
    spelling("rtc", OneOf(&["base=utc"]), Implied("the real-time clock starts with the host's UTC", NOTHING)),
    // Other values are those of this program's own option.
    spelling("rtc", Begins("base=", "base=..."), Ignored(RTC, NOTHING)),
    spelling("rtc", Begins("clock=", "clock=..."), Ignored(RTC, NOTHING)),
    spelling("rtc", Begins("driftfix=", "driftfix=..."), Ignored(RTC, NOTHING)),
    spelling("no-reboot", Absent, Same(NOTHING)),
    spelling("action", OneOf(&["reboot=shutdown"]), Becomes("`--no-reboot`", |t, _| t.push("--no-reboot"))),
    spelling(
        "action",
        Any("EVENT=ACTION"),
        Refused("`--no-reboot` ends the run when the guest resets the machine."),
    ),
    spelling("no-shutdown", Absent, Ignored(NO_SHUTDOWN, NOTHING)),
    spelling("no-acpi", Absent, Ignored("the machine always has ACPI tables", NOTHING)),
    spelling("no-hpet", Absent, Ignored("the machine always has an HPET", NOTHING)),
    spelling("nodefaults", Absent, Ignored("the devices are always the same", NOTHING)),
    spelling("no-user-config", Absent, Ignored("no config file of QEMU is read", NOTHING)),
    spelling("mem-prealloc", Absent, Ignored("memory is allocated when the guest uses it", NOTHING)),
    // Disks and network.
    spelling("hda", Any("FILE"), Becomes(DISK, |t, file| t.disk(file))),
    spelling("hdb", Any("FILE"), Becomes(DISK, |t, file| t.disk(file))),
    spelling("hdc", Any("FILE"), Becomes(DISK, |t, file| t.disk(file))),
    spelling("hdd", Any("FILE"), Becomes(DISK, |t, file| t.disk(file))),
    spelling("fda", Any("FILE"), Later(DISKS)),
    spelling("cdrom", Any("FILE"), Same(NOTHING)),
    spelling(
        "drive",
        Any("file=FILE,format=raw[,if=ide|virtio][,media=cdrom][,readonly=on][,snapshot=on]"),
        Becomes("`--disk FILE[,virtio][,ro|,snapshot]` or `--cdrom FILE`", drive),
    ),
    spelling("snapshot", Absent, Becomes("`,snapshot` behind each disk image", |t, _| t.snapshot())),
    spelling("net", OneOf(&["none"]), Implied("there is no network card", NOTHING)),
    spelling("net", Any("..."), Refused(NETWORK)),
    spelling("nic", OneOf(&["none"]), Implied("there is no network card", NOTHING)),
    spelling("nic", Any("..."), Refused(NETWORK)),
    spelling("netdev", Any("..."), Refused(NETWORK)),
    spelling("usb", Absent, Ignored("there is no USB controller", NOTHING)),
    // Screen, keyboard and serial ports.
    spelling("nographic", Absent, Becomes("`--display serial`", |t, _| t.push("--display=serial"))),
    spelling("curses", Absent, Becomes("`--display vga`", |t, _| t.push("--display=vga"))),
    spelling("display", OneOf(&["curses"]), Becomes("`--display vga`", |t, _| t.push("--display=vga"))),
    spelling("display", OneOf(&["none"]), Same(|t, _| t.display_none())),
    spelling(
        "vga",
        OneOf(&["cirrus", "vmware", "qxl", "virtio", "xenfb", "none"]),
        Ignored("the display adapters are those of `--vga`", NOTHING),
    ),
    spelling("vnc", Any("DISPLAY"), Refused(SCREEN)),
    spelling("k", OneOf(&["en-us"]), Becomes("`--layout us`", |t, _| t.push("--layout=us"))),
    spelling("k", OneOf(&["it"]), Becomes("`--layout it`", |t, _| t.push("--layout=it"))),
    spelling("k", Any("LANGUAGE"), Refused("The keyboard layouts are `--layout us` and `--layout it`.")),
    spelling("serial", OneOf(&["stdio"]), Becomes("`--serial N=stdio`", |t, _| t.serial("stdio"))),
    spelling("serial", OneOf(&["mon:stdio"]), Becomes(MUXED, |t, _| t.serial("stdio"))),
    spelling(
        "serial",
        Begins("file:", "file:FILE"),
        Becomes("`--serial N=file:FILE`", |t, file| t.serial(file)),
    ),
    spelling("serial", OneOf(&["null", "none"]), Becomes("`--serial N=null`", |t, _| t.serial("null"))),
    spelling("serial", OneOf(&["pty"]), Becomes("`--serial N=pty`", |t, _| t.serial("pty"))),
    spelling(
        "serial",
        Begins("unix:", "unix:PATH,server=on,wait=off"),
        Becomes("`--serial N=unix:PATH`", |t, text| t.serial(&server_socket(text)?)),
    ),
    spelling("serial", Begins("tcp:", "tcp:..."), Refused(BACKEND)),
    spelling("serial", Begins("telnet:", "telnet:..."), Refused(BACKEND)),
    spelling("serial", Begins("chardev:", "chardev:ID"), Refused(BACKEND)),
    spelling("serial", Begins("vc", "vc"), Refused(BACKEND)),
    spelling("serial", Begins("/dev/", "/dev/..."), Refused(BACKEND)),
    spelling("debugcon", Any("stdio|file:FILE|pty|null"), Same(NOTHING)),
    spelling("chardev", Any("..."), Refused(BACKEND)),
    spelling("parallel", Any("DEVICE"), Ignored("there is no parallel port", NOTHING)),
    // Monitor, debugger and log.
    spelling(
        "monitor",
        OneOf(&["none", "null", "/dev/null"]),
        Implied("the console is off by default", NOTHING),
    ),
    spelling(
        "monitor",
        Begins("unix:", "unix:PATH,server=on,wait=off"),
        Becomes("`--console=unix:PATH`", |t, text| t.push(&format!("--console={}", server_socket(text)?))),
    ),
    spelling(
        "monitor",
        Begins("tcp:", "tcp:[HOST]:PORT,server=on,wait=off"),
        Becomes("`--console=HOST:PORT`", |t, text| t.push(&format!("--console={}", listen_address(text)?))),
    ),
    spelling(
        "monitor",
        Begins("telnet:", "telnet:[HOST]:PORT,server=on,wait=off"),
        Becomes("`--console=HOST:PORT`", |t, text| t.push(&format!("--console={}", listen_address(text)?))),
    ),
    spelling("monitor", Any("stdio"), Refused(CONSOLE)),
    spelling("qmp", OneOf(&["none"]), Implied("there is no QMP server", NOTHING)),
    spelling("qmp", Any("DEVICE"), Refused(CONSOLE)),
    spelling("s", Absent, Becomes("`--gdb-nowait`; with `-S` `--gdb`", |t, _| t.gdb(""))),
    spelling(
        "S",
        Absent,
        Becomes("the guest waits for gdb; needs `-s`, `-gdb` or `--gdb`", |t, _| t.wait_for_gdb()),
    ),
    spelling(
        "gdb",
        Begins("tcp:", "tcp:[HOST]:PORT"),
        Becomes("`--gdb=HOST:PORT --gdb-nowait`; with `-S` without `--gdb-nowait`", |t, text| {
            t.gdb(&format!("={}", listen_address(text)?))
        }),
    ),
    spelling("D", Any("FILE"), Becomes("`--logfile FILE`", |t, file| t.push(&format!("--logfile={file}")))),
    spelling("d", Any("int,cpu_reset,..."), Ignored(LOG_ITEMS, NOTHING)),
    spelling("msg", Any("..."), Ignored("every line of the log has its time", NOTHING)),
    // Snapshots and migration.
    spelling("loadvm", Any("TAG"), Refused("A snapshot is a file of its own: `kvm --restore FILE`.")),
    spelling(
        "incoming",
        Begins("tcp:", "tcp:[HOST]:PORT"),
        Becomes("`--migr --migrport HOST:PORT`", |t, text| {
            t.push("--migr")?;
            t.push(&format!("--migrport={}", listen_address(text)?))
        }),
    ),
    spelling(
        "incoming",
        Any("..."),
        Refused("`--migr` receives a running guest on `--migrport [ADDRESS:]PORT`."),
    ),
    // The process.
    spelling("name", Any("NAME"), Ignored("machines have no names", NOTHING)),
    spelling("uuid", Any("UUID"), Ignored("there are no SMBIOS tables", NOTHING)),
    spelling("daemonize", Absent, Refused("Run `kvm ... &` instead.")),
    spelling("pidfile", Any("FILE"), Refused("In a shell, `$!` is the process id after `kvm ... &`.")),
];

const MACHINE: &str = "there is one machine, which docs/boot-state.md describes";
const AFTER_KVM: &str = "it stands after `-accel kvm`; alone it is refused, because guests run on KVM only";
const CPU: &str = "the guest sees the host's processor, as far as KVM supports it";
const DEBUG_EXIT: &str = "port 0xF4 is always the debug exit";
const DEVICE: &str = "The devices are always the same; README.md lists them. Leave it out. With a path, as in \
    `--device /dev/kvm`, it names the device that runs guests.";
const NO_SHUTDOWN: &str =
    "the last screen and the report remain after the run; under gdb the machine stops at its end";
const MUXED: &str = "`--serial N=stdio`; Ctrl-A h lists the keys, and `--console` is the monitor";
const LOG_ITEMS: &str = "exceptions are delivered by KVM; the report of a crash names the exception, and the log has \
                         the registers";

fn with_kvm(translation: &mut Translation, _: &str) -> Result<(), String> {
    translation.kvm = true;
    Ok(())
}

/// Accepts an accelerator other than KVM only as the second choice.
fn other_accelerator(translation: &mut Translation, _: &str) -> Result<(), String> {
    if translation.kvm { Ok(()) } else { Err(ONLY_KVM.to_owned()) }
}
