//! Values of options that are refused.

/// Options that are refused, with the whole message.
pub const REFUSED: &[(&str, &str, &str)] = &[
    (
        "--memory",
        "--memory 0",
        "--memory: `0` is too small; allowed: a number of MiB, or one with K, M or G, decimal or hexadecimal \
        after 0x: a multiple of 1M from 1M to 32768G",
    ),
    (
        "--memory",
        "--memory 1500K",
        "--memory: `1500K` is not a multiple of 1 MiB; allowed: a number of MiB, or one \
        with K, M or G, decimal or hexadecimal after 0x: a multiple of 1M from 1M to 32768G",
    ),
    (
        "--memory",
        "--memory 99999999999999999999G",
        "--memory: `99999999999999999999G` is too large; allowed: a \
        number of MiB, or one with K, M or G, decimal or hexadecimal after 0x: a multiple of 1M from 1M to 32768G",
    ),
    (
        "--timeout",
        "--timeout 0",
        "--timeout: `0` is zero; allowed: seconds such as 10 or 0.5, or with a \
        unit: 500ms, 10s, 2m, 1h; at most a year; none",
    ),
    (
        "--disk",
        "--disk ,ro",
        "--disk: `,ro` does not name a file; allowed: the path of a raw disk image; after it `,ro` refuses writes, \
        `,snapshot` keeps them in memory, and `,virtio` makes it a virtio disk on the PCI bus",
    ),
    ("--cpus", "--cpus 65", "--cpus: `65` is not a number of processors; allowed: 1 to 64"),
    (
        "--schedule",
        "--schedule lottery",
        "--schedule: `lottery` is not a schedule; allowed: parallel, serial",
    ),
    (
        "--cdrom",
        "--cdrom=",
        "--cdrom: `` does not name a file; allowed: the path of an ISO image, which is only read",
    ),
    ("--clock", "--clock sundial", "--clock: `sundial` is not a clock; allowed: host, virtual"),
    (
        "--irqchip",
        "--irqchip split",
        "--irqchip: `split` names no interrupt controllers; allowed: user, kernel",
    ),
    (
        "--pictures",
        "--pictures gif",
        "--pictures: `gif` is no way to show pictures; allowed: auto, kitty, sixel, blocks, off",
    ),
    (
        "--device",
        "--device kvm",
        "`--device kvm`, an option of QEMU, is refused. The devices are always the same; README.md lists them. \
        Leave it out. With a path, as in `--device /dev/kvm`, it names the device that runs guests. docs/from-qemu.md \
        lists the options of QEMU and Bochs.",
    ),
    ("--vga", "--vga ega", "--vga: `ega` is no display adapter; allowed: auto, text, std"),
    (
        "--rtc",
        "--rtc=yesterday",
        "--rtc: `yesterday` is not a time of day; allowed: host, or seconds since 1970 UTC: \
        0 to 4294967295 (`date +%s -d 2030-01-31` prints them)",
    ),
    (
        "--no-reboot",
        "--no-reboot=maybe",
        "--no-reboot: `maybe` is neither yes nor no; allowed: yes, no (or true, \
        false, on, off, 1, 0)",
    ),
    (
        "--flat-ide-bars",
        "--flat-ide-bars=very",
        "--flat-ide-bars: `very` is neither yes nor no; allowed: yes, no (or true, \
        false, on, off, 1, 0)",
    ),
    (
        "--append",
        "--append",
        "--append needs a value: any text. \
        A value that starts with a dash is attached with `=`, as in --append=-x.\nIncorrect Format. Use: kvm <elf file> \
        [OPTIONS]",
    ),
    (
        "--boot",
        "--boot efi",
        "--boot: `efi` is no kind of guest file; allowed: auto, elf64, linux, linux16, pvh, multiboot, multiboot2, limine, flat, disk, cdrom, rom",
    ),
    (
        "--bios",
        "--bios=",
        "--bios: `` does not name a file; allowed: the path of a firmware image, of a multiple of 64 KiB up to 16 MiB",
    ),
    (
        "--vga-bios",
        "--vga-bios=",
        "--vga-bios: `` does not name a file; allowed: the path of an option ROM of at most 64 KiB, or none",
    ),
    (
        "--load",
        "--load 32M",
        "--load: `32M` is not a number; allowed: a guest-physical address, such as 0x7c00",
    ),
    (
        "--entry",
        "--entry 0x10000:0",
        "--entry: `0x10000:0` has more than 16 bits; allowed: a guest-physical address below 0x10fff0, such as 0x7c10, \
        or CS:IP, such as 0x7c0:0x10",
    ),
    ("--initrd", "--initrd=", "--initrd: `` does not name a file; allowed: the path of a file"),
    (
        "--symbols",
        "--symbols=@0x10",
        "--symbols: `@0x10` does not name a file; allowed: the path of an ELF file, and after an `@` what is added to \
        the addresses in it",
    ),
    (
        "--module",
        "--module =a",
        "--module: `=a` does not name a file; allowed: the path of a file without `=` in it, and \
        after an `=` its arguments if it has some",
    ),
    (
        "--strict",
        "--strict=2",
        "--strict: `2` is neither yes nor no; allowed: yes, no (or true, false, on, off, \
        1, 0)",
    ),
    (
        "--no-guards",
        "--no-guards=2",
        "--no-guards: `2` is neither yes nor no; allowed: yes, no (or true, false, on, off, \
        1, 0)",
    ),
    ("--mouse", "--mouse on", "--mouse: `on` is not a mode of the mouse; allowed: auto, off"),
    ("--display", "--display sdl", "--display: `sdl` is not a display; allowed: auto, vga, serial, none"),
    (
        "--dashboard",
        "--dashboard=stopped",
        "--dashboard: `stopped` is neither yes, no nor paused; allowed: yes, no, paused",
    ),
    (
        "--dashboard",
        "--dashboard --display=none",
        "--dashboard is shown on the terminal, and --display none keeps that empty: leave one of them out",
    ),
    (
        "--dump-screen",
        "--dump-screen=x",
        "--dump-screen: `x` is neither yes nor no; allowed: yes, no (or true, \
        false, on, off, 1, 0)",
    ),
    (
        "--keys",
        "--keys mouse",
        "--keys: `mouse` is not a target of key input; allowed: auto, keyboard, serial",
    ),
    ("--layout", "--layout de", "--layout: `de` is not a keyboard layout; allowed: us, it"),
    (
        "--serial",
        "--serial 5=log",
        "--serial: `5=log` does not name a serial port from 1 to 4; allowed: N from 1 to 4, \
        `=`, and stdio, log, file:PATH, unix:PATH (at most 107 bytes), pty or null",
    ),
    (
        "--serial",
        "--serial 2=stdio",
        "serial ports 1 and 2 cannot both be stdio: add --serial 1=log or --serial \
        2=log, or set com1 or com2 in [serial] of the config file to log",
    ),
    (
        "--debugcon",
        "--debugcon tty",
        "--debugcon: `tty` is not a serial backend; allowed: stdio, log, \
        file:PATH, unix:PATH (at most 107 bytes), pty, null",
    ),
    (
        "--logfile",
        "--logfile=",
        "--logfile: `` does not name a file; allowed: the path of a file or of a FIFO",
    ),
    (
        "--log-level",
        "--log-level 3",
        "--log-level: `3` is not a log level; allowed: error, warn, info, debug, trace",
    ),
    (
        "--log-filter",
        "--log-filter debug",
        "--log-filter: `debug` sets a level for everything, which is what --log-level does; allowed: a \
         list such as kvm::devices=debug,kvm::boot=trace; levels: off, error to trace",
    ),
    (
        "--trace",
        "--trace io,irq",
        "--trace: `io,irq` names `irq`, which cannot be traced; allowed: exceptions, interrupts, io, mode, several between commas; all; none",
    ),
    ("--log-format", "--log-format xml", "--log-format: `xml` is not a log format; allowed: text, json"),
    (
        "--gdb",
        "--gdb=nowhere:1234",
        "--gdb: `nowhere:1234` is not an IP address; allowed: ADDRESS:PORT, ADDRESS, PORT, \
        unix:PATH (at most 107 bytes), yes, no; PORT from 1 to 65535, ADDRESS an IP address",
    ),
    (
        "--gdb-nowait",
        "--gdb-nowait=1234",
        "--gdb-nowait: `1234` is neither yes nor no; allowed: yes, no (or true, false, on, off, \
         1, 0)",
    ),
    (
        "--gdb-arch",
        "--gdb-arch 8086",
        "--gdb-arch: `8086` is not an architecture; allowed: auto, x86-64, i386, i8086, x86-64-linux",
    ),
    (
        "--debug-server",
        "--debug-server=65536",
        "--debug-server: `65536` is neither an IP address nor a TCP port; allowed: ADDRESS:PORT, ADDRESS, \
         PORT, unix:PATH (at most 107 bytes), yes, no; PORT from 1 to 65535, ADDRESS a loopback address",
    ),
    (
        "--debug-server",
        "--debug-server=0.0.0.0",
        "--debug-server: `0.0.0.0` can be reached from other hosts, and clients are not authenticated; `ssh -L` forwards a loopback address; allowed: ADDRESS:PORT, ADDRESS, PORT, unix:PATH (at \
         most 107 bytes), yes, no; PORT from 1 to 65535, ADDRESS a loopback address",
    ),
    (
        "--magic-break",
        "--magic-break",
        "--magic-break stops the guest in a debugger, and none can connect: add --gdb, --gdb-nowait, \
         --console or --dashboard (or `enable = yes` to [gdb-server] or [console] in the config file).",
    ),
    (
        "--explain",
        "--explain=why",
        "--explain: `why` is neither yes nor no; allowed: yes, no (or true, false, on, off, 1, 0)",
    ),
    (
        "--consoleport",
        "--consoleport 0",
        "--consoleport: `0` is not a TCP port; allowed: a TCP port from 1 to 65535, \
        none",
    ),
    (
        "--console",
        "--console=0.0.0.0",
        "--console: `0.0.0.0` can be reached from other hosts, and clients are not authenticated; `ssh -L` forwards a loopback address; allowed: ADDRESS:PORT, ADDRESS, PORT, unix:PATH (at most 107 bytes), yes, no; PORT from 1 to 65535, \
        ADDRESS an IP address of the loopback",
    ),
    (
        "--migr",
        "-migr",
        "Elf file cannot be specified together with -migr. Use: kvm <elf file> [OPTIONS]\n-migr \
        receives a running guest from another kvm: leave out either -migr or `guest.elf`.",
    ),
    (
        "--migrport",
        "-migrport 8000",
        "-migrport used without -migr. Use: kvm <elf file> [OPTIONS]\n-migrport is \
        the port on which -migr waits for a guest: add -migr or leave out -migrport.",
    ),
    ("--core", "--core=", "--core: `` does not name a file; allowed: the path of a file, none"),
    ("--report", "--report=", "--report: `` does not name a file; allowed: the path of a file, none"),
    (
        "--snapshot-at-exit",
        "--snapshot-at-exit=",
        "--snapshot-at-exit: `` does not name a file; allowed: the path of a file, none",
    ),
    (
        "--overwrite-disks",
        "--overwrite-disks=very",
        "--overwrite-disks: `very` is neither yes nor no; allowed: yes, no (or true, \
         false, on, off, 1, 0)",
    ),
    (
        "--downtime",
        "--downtime 60001",
        "--downtime: `60001` is out of range; allowed: milliseconds from 1 to 60000",
    ),
    (
        "--migr-key",
        "--migr-key shared.key --tls-ca ca.crt",
        "--migr-key takes the place of --tls-cert, --tls-key and --tls-ca: leave out either it or them.",
    ),
    ("--tls-cert", "--tls-cert here.crt --tls-ca ca.crt", ALL_THREE),
    ("--tls-key", "--tls-key here.key", ALL_THREE),
    ("--tls-ca", "--tls-key here.key --tls-ca ca.crt", ALL_THREE),
    (
        "--restore",
        "--restore guest.kvmstate",
        "`guest.elf` cannot be run together with --restore. Use: kvm <elf file> [OPTIONS]\n--restore continues \
         the guest in a snapshot: leave out one of the two.",
    ),
    (
        "--config",
        "--config missing.ini",
        "cannot read the config file `missing.ini`: No such file or directory \
        (os error 2)",
    ),
    (
        "--help",
        "--help=me",
        "--help takes no value: leave out `=me`.\nIncorrect Format. Use: kvm <elf file> [OPTIONS]",
    ),
    (
        "--version",
        "--version=2",
        "--version takes no value: leave out `=2`.\nIncorrect Format. Use: kvm <elf file> [OPTIONS]",
    ),
];

/// The message about an incomplete set of certificate files.
const ALL_THREE: &str = "--tls-cert, --tls-key and --tls-ca belong together: give all three, or none.";
