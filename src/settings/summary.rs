//! The effective settings as text, for the log: each option's name and value.

use std::path::Path;

use super::{
    ClockMode, DEFAULT_DEVICE, DashboardMode, DiskInterface, DiskMode, DisplayMode, GdbArch, IrqchipMode,
    KeyTarget, LayoutName, LogFormat, MigrationSecurity, ModuleSpec, MouseMode, PictureMode, Schedule,
    SerialBackend, Settings, SymbolFileSpec, TraceSpec, VgaBiosSpec, VgaMode,
};

impl Settings {
    /// Every option that has an effect on this run with its effective value, from the command line, the config
    /// file or the defaults, as the option takes it. Options that are off or unset are left out.
    pub fn summary(&self) -> Vec<(&'static str, String)> {
        let mut all: Vec<(&'static str, String)> = Vec::new();
        let path = |path: &Path| path.display().to_string();
        if let Some(file) = &self.config {
            all.push(("config", path(file)));
        }
        all.push(("memory", format!("{}M", self.memory >> 20)));
        let mut on = |name, on: bool| {
            if on {
                all.push((name, "yes".to_owned()));
            }
        };
        on("no-reboot", self.no_reboot);
        on("flat-ide-bars", self.flat_ide_bars);
        on("overwrite-disks", self.overwrite_disks);
        on("strict", self.strict);
        on("no-guards", self.no_guards);
        on("dump-screen", self.dump_screen);
        if let Some(timeout) = self.timeout {
            all.push(("timeout", format!("{timeout:?}")));
        }
        let boot = &self.boot;
        let kind = boot.kind.map(|kind| kind.name().to_owned());
        let load = boot.load.map(|address| format!("{address:#x}"));
        let entry = boot.entry.map(|entry| entry.to_string());
        let initrd = boot.initrd.as_deref().map(path);
        for (name, value) in [("boot", kind), ("load", load), ("entry", entry), ("initrd", initrd)] {
            all.extend(value.map(|value| (name, value)));
        }
        all.extend(boot.bios.as_deref().map(|bios| ("bios", path(bios))));
        match &boot.vga_bios {
            VgaBiosSpec::Beside => {}
            VgaBiosSpec::None => all.push(("vga-bios", "none".to_owned())),
            VgaBiosSpec::File(file) => all.push(("vga-bios", path(file))),
        }
        for SymbolFileSpec { path, offset } in &boot.symbols {
            all.push(("symbols", format!("{}@{offset:#x}", path.display())));
        }
        if !self.append.is_empty() {
            all.push(("append", self.append.clone()));
        }
        if !self.modules.is_empty() {
            let module = |module: &ModuleSpec| format!("{}={}", module.path.display(), module.arguments);
            all.push(("module", self.modules.iter().map(module).collect::<Vec<_>>().join(",")));
        }
        for disk in &self.disks {
            let mode = match disk.mode {
                DiskMode::ReadWrite => "",
                DiskMode::ReadOnly => ",ro",
                DiskMode::Snapshot => ",snapshot",
            };
            let interface = match disk.interface {
                DiskInterface::Ide | DiskInterface::Cdrom => "",
                DiskInterface::Virtio => ",virtio",
            };
            all.push(("disk", format!("{}{mode}{interface}", disk.path.display())));
        }
        if self.cpus != 1 {
            all.push(("cpus", self.cpus.to_string()));
        }
        if self.schedule != Schedule::Parallel {
            all.push(("schedule", "serial".to_owned()));
        }
        if let Some(cdrom) = &self.cdrom {
            all.push(("cdrom", cdrom.path.display().to_string()));
        }
        if self.clock != ClockMode::Host {
            all.push(("clock", clock(self.clock).to_owned()));
        }
        if self.irqchip != IrqchipMode::User {
            all.push(("irqchip", self.irqchip.name().to_owned()));
        }
        if let Some(seconds) = self.rtc {
            all.push(("rtc", seconds.to_string()));
        }
        all.push(("display", display(self.display).to_owned()));
        match self.dashboard {
            DashboardMode::Off => {}
            DashboardMode::Running => all.push(("dashboard", "yes".to_owned())),
            DashboardMode::Paused => all.push(("dashboard", "paused".to_owned())),
        }
        if self.vga != VgaMode::Auto {
            all.push(("vga", self.vga.name().to_owned()));
        }
        if self.pictures != PictureMode::Auto {
            all.push(("pictures", self.pictures.name().to_owned()));
        }
        if self.mouse != MouseMode::Auto {
            all.push(("mouse", mouse(self.mouse).to_owned()));
        }
        all.push(("keys", keys(self.keys).to_owned()));
        all.push(("layout", layout(self.layout).to_owned()));
        let ports = (1..).zip(&self.serial).map(|(number, backend)| format!("{number}={}", serial(backend)));
        all.push(("serial", ports.collect::<Vec<_>>().join(",")));
        all.push(("debugcon", serial(&self.debug_console)));
        all.push(("logfile", path(&self.log.file)));
        all.push(("log-level", self.log.level.as_str().to_ascii_lowercase()));
        if !self.log.filter.is_empty() {
            all.push(("log-filter", self.log.filter.clone()));
        }
        if self.log.format == LogFormat::Json {
            all.push(("log-format", "json".to_owned()));
        }
        if let Some(gdb) = &self.gdb {
            all.push((if gdb.wait { "gdb" } else { "gdb-nowait" }, gdb.address.to_string()));
            all.push(("gdb-arch", self.gdb_arch.map_or("auto", gdb_arch).to_owned()));
        }
        if let Some(address) = &self.debug_server {
            // The password stays secret.
            let password = if self.debug_server_password.is_some() { " with a password" } else { "" };
            all.push(("debug-server", format!("{address}{password}")));
        }
        if let Some(console) = &self.console {
            all.push(("console", console.address.to_string()));
        }
        if self.log.trace != TraceSpec::default() {
            all.push(("trace", self.log.trace.to_string()));
        }
        if self.magic_break {
            all.push(("magic-break", "yes".to_owned()));
        }
        if self.explain {
            all.push(("explain", "yes".to_owned()));
        }
        if let Some(file) = &self.crash_files.report {
            all.push(("report", path(file)));
        }
        if let Some(file) = &self.crash_files.core {
            all.push(("core", path(file)));
        }
        if let Some(file) = &self.restore {
            all.push(("restore", path(file)));
        }
        if let Some(file) = &self.snapshot_at_exit {
            all.push(("snapshot-at-exit", path(file)));
        }
        if let Some(address) = self.migration {
            all.push(("migr", address.to_string()));
        }
        all.push(("downtime", format!("{:?}", self.downtime)));
        // Names of files, no secrets.
        match &self.security {
            MigrationSecurity::Plain => {}
            MigrationSecurity::Tls { cert, key, ca } => {
                all.extend([("tls-cert", path(cert)), ("tls-key", path(key)), ("tls-ca", path(ca))]);
            }
            MigrationSecurity::Key(file) => all.push(("migr-key", path(file))),
        }
        if self.device != Path::new(DEFAULT_DEVICE) {
            all.push(("device", path(&self.device)));
        }
        all
    }
}

fn display(mode: DisplayMode) -> &'static str {
    match mode {
        DisplayMode::Auto => "auto",
        DisplayMode::Vga => "vga",
        DisplayMode::Serial => "serial",
        DisplayMode::None => "none",
    }
}

fn clock(mode: ClockMode) -> &'static str {
    match mode {
        ClockMode::Host => "host",
        ClockMode::Virtual => "virtual",
    }
}

fn keys(target: KeyTarget) -> &'static str {
    match target {
        KeyTarget::Auto => "auto",
        KeyTarget::Keyboard => "keyboard",
        KeyTarget::Serial => "serial",
    }
}

fn mouse(mode: MouseMode) -> &'static str {
    match mode {
        MouseMode::Auto => "auto",
        MouseMode::Off => "off",
    }
}

fn layout(layout: LayoutName) -> &'static str {
    match layout {
        LayoutName::Us => "us",
        LayoutName::It => "it",
    }
}

fn gdb_arch(arch: GdbArch) -> &'static str {
    match arch {
        GdbArch::X86_64 => "x86-64",
        GdbArch::X86_64Linux => "x86-64-linux",
        GdbArch::I386 => "i386",
        GdbArch::I8086 => "i8086",
    }
}

fn serial(backend: &SerialBackend) -> String {
    match backend {
        SerialBackend::Stdio => "stdio".to_owned(),
        SerialBackend::Log => "log".to_owned(),
        SerialBackend::File(path) => format!("file:{}", path.display()),
        SerialBackend::Unix(path) => format!("unix:{}", path.display()),
        SerialBackend::Pty => "pty".to_owned(),
        SerialBackend::Null => "null".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use super::super::draft::Draft;
    use super::super::table::options;
    use super::super::{Invocation, SettingsError, from_args_and_config};

    #[test]
    fn the_defaults_are_summarised_by_options_that_exist() {
        let settings = Draft::from_defaults().unwrap().settings;
        let summary = settings.summary();
        for (name, _) in &summary {
            assert!(options().any(|option| option.long == *name), "{name}");
        }
        let has = |name: &str, value: &str| summary.contains(&(option_name(name), value.to_owned()));
        assert!(
            has("memory", "64M")
                && has("serial", "1=stdio,2=log,3=log,4=log")
                && has("logfile", "console.log"),
            "{summary:?}"
        );
        assert!(!summary.iter().any(|(name, _)| *name == "timeout"), "{summary:?}");
    }

    fn option_name(name: &str) -> &'static str {
        options().map(|option| option.long).find(|long| *long == name).unwrap()
    }

    /// Every option that lasts for the run: the command line without it, the argument that sets it to another value
    /// than its default, and how the summary shows that.
    const CHANGES: &[(&[&str], &str, &str)] = &[
        (&["a.elf"], "--memory=9", "memory=9M"),
        (&["a.elf"], "--timeout=90s", "timeout=90s"),
        (&["a.elf"], "--no-reboot", "no-reboot=yes"),
        (&["a.elf"], "--cpus=2", "cpus=2"),
        (&["a.elf"], "--schedule=serial", "schedule=serial"),
        (&["a.elf"], "--clock=virtual", "clock=virtual"),
        (&["a.elf"], "--irqchip=kernel", "irqchip=kernel"),
        (&["a.elf"], "--device=/dev/yakvm", "device=/dev/yakvm"),
        (&["a.elf"], "--vga=std", "vga=std"),
        (&["a.elf"], "--pictures=sixel", "pictures=sixel"),
        (&["a.elf"], "--mouse=off", "mouse=off"),
        (&["a.elf"], "--rtc=7", "rtc=7"),
        (&["a.elf"], "--disk=a.img,ro", "disk=a.img,ro"),
        (&["a.elf"], "--disk=a.img,virtio,ro", "disk=a.img,ro,virtio"),
        (&["a.elf"], "--cdrom=a.iso", "cdrom=a.iso"),
        (&[], "--bios=b.bin", "bios=b.bin"),
        (&["--bios=b.bin"], "--vga-bios=v.bin", "vga-bios=v.bin"),
        (&["a.elf"], "--flat-ide-bars", "flat-ide-bars=yes"),
        (&["a.elf"], "--boot=flat", "boot=flat"),
        (&["a.elf"], "--load=0x7c00", "load=0x7c00"),
        (&["a.elf"], "--entry=0x7c0:16", "entry=0x7c0:0x10"),
        (&["a.elf"], "--initrd=root.cpio", "initrd=root.cpio"),
        (&["a.elf"], "--symbols=a.sym@0x10", "symbols=a.sym@0x10"),
        (&["a.elf"], "--append=one two", "append=one two"),
        (&["a.elf"], "--module=m.bin=x", "module=m.bin=x"),
        (&["a.elf"], "--strict", "strict=yes"),
        (&["a.elf"], "--no-guards", "no-guards=yes"),
        (&["a.elf"], "--display=none", "display=none"),
        (&["a.elf"], "--dashboard", "dashboard=yes"),
        (&["a.elf"], "--dump-screen", "dump-screen=yes"),
        (&["a.elf"], "--keys=serial", "keys=serial"),
        (&["a.elf"], "--layout=it", "layout=it"),
        (&["a.elf"], "--serial=2=file:out", "serial=1=stdio,2=file:out,3=log,4=log"),
        (&["a.elf"], "--debugcon=null", "debugcon=null"),
        (&["a.elf"], "--logfile=other.log", "logfile=other.log"),
        (&["a.elf"], "--log-level=debug", "log-level=debug"),
        (&["a.elf"], "--log-filter=kvm::boot=trace", "log-filter=kvm::boot=trace"),
        (&["a.elf"], "--log-format=json", "log-format=json"),
        (&["a.elf"], "--trace=mode,io", "trace=io,mode"),
        (&["a.elf"], "--gdb=1235", "gdb=127.0.0.1:1235"),
        (&["a.elf"], "--gdb-nowait", "gdb-nowait=127.0.0.1:1234"),
        (&["a.elf", "--gdb"], "--gdb-arch=i8086", "gdb-arch=i8086"),
        (&["a.elf"], "--debug-server=5554", "debug-server=127.0.0.1:5554"),
        (&["a.elf"], "--console", "console=127.0.0.1:9000"),
        (&["a.elf"], "--consoleport=9001", "console=127.0.0.1:9001"),
        (&["a.elf", "--console"], "--magic-break", "magic-break=yes"),
        (&["a.elf"], "--explain", "explain=yes"),
        (&["a.elf"], "--report=crash.json", "report=crash.json"),
        (&["a.elf"], "--core=crash.core", "core=crash.core"),
        (&[], "--restore=a.kvmstate", "restore=a.kvmstate"),
        (&["a.elf"], "--snapshot-at-exit=end.kvmstate", "snapshot-at-exit=end.kvmstate"),
        (&[], "--migr", "migr=127.0.0.1:8000"),
        (&["--migr"], "--migrport=8001", "migr=127.0.0.1:8001"),
        (&["a.elf"], "--downtime=300", "downtime=300ms"),
        (&["a.elf"], "--overwrite-disks", "overwrite-disks=yes"),
        (&["a.elf", "--tls-key=k", "--tls-ca=a"], "--tls-cert=c", "tls-cert=c"),
        (&["a.elf", "--tls-cert=c", "--tls-ca=a"], "--tls-key=k", "tls-key=k"),
        (&["a.elf", "--tls-cert=c", "--tls-key=k"], "--tls-ca=a", "tls-ca=a"),
        (&["a.elf"], "--migr-key=k", "migr-key=k"),
    ];

    /// The summary for this command line and this config file.
    fn summary(args: &[&str], config: &Path) -> Result<Vec<String>, SettingsError> {
        let args = std::iter::once("kvm").chain(args.iter().copied()).map(OsString::from);
        match from_args_and_config(args, config)? {
            Invocation::Run(settings) => {
                Ok(settings.summary().iter().map(|(name, value)| format!("{name}={value}")).collect())
            }
            other => panic!("no run: {other:?}"),
        }
    }

    #[test]
    fn every_option_with_an_effect_is_in_the_summary() {
        let none = Path::new("/nowhere/config.ini");
        for (others, argument, shown) in CHANGES {
            let with = summary(&[*others, &[*argument]].concat(), none).unwrap();
            assert!(with.iter().any(|line| line == shown), "{argument}: {with:?}");
            // Some options are valid only together with this one.
            if let Ok(without) = summary(others, none) {
                assert!(!without.iter().any(|line| line == shown), "{argument}: {without:?}");
            }
        }
        // The config file is in the next test.
        for option in options().filter(|option| !["config", "help", "version"].contains(&option.long)) {
            let name =
                |argument: &str| argument.trim_start_matches('-').split('=').next() == Some(option.long);
            assert!(CHANGES.iter().any(|(_, argument, _)| name(argument)), "no case for --{}", option.long);
        }
    }

    #[test]
    fn the_config_file_is_in_the_summary_and_a_password_without_its_value() {
        let config = std::env::temp_dir().join(format!("kvm-summary-{}.ini", std::process::id()));
        std::fs::write(&config, "[debug-server]\nenable = yes\npassw = open sesame\n").unwrap();
        let lines = summary(&["a.elf"], &config).unwrap();
        std::fs::remove_file(&config).unwrap();
        assert!(lines.contains(&"debug-server=127.0.0.1:5553 with a password".to_owned()), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("sesame")), "{lines:?}");
        assert_eq!(lines[0], format!("config={}", config.display()));
    }
}
