//! The effective settings as text, for the log: each option's name and value.

use std::path::Path;

use super::{
    ClockMode, DisplayMode, GdbArch, KeyTarget, LayoutName, LogFormat, MigrationSecurity, ModuleSpec,
    SerialBackend, Settings,
};

impl Settings {
    /// Every option that has an effect on this run with its effective value, from the command line, the config
    /// file or the defaults, as the option takes it. Options that are off or unset are left out.
    pub fn summary(&self) -> Vec<(&'static str, String)> {
        let mut all: Vec<(&'static str, String)> = Vec::new();
        let path = |path: &Path| path.display().to_string();
        all.push(("memory", format!("{}M", self.memory >> 20)));
        let mut on = |name, on: bool| {
            if on {
                all.push((name, "yes".to_owned()));
            }
        };
        on("no-reboot", self.no_reboot);
        on("flat-ide-bars", self.flat_ide_bars);
        on("strict", self.strict);
        on("dump-screen", self.dump_screen);
        if let Some(timeout) = self.timeout {
            all.push(("timeout", format!("{timeout:?}")));
        }
        if !self.append.is_empty() {
            all.push(("append", self.append.clone()));
        }
        if !self.modules.is_empty() {
            let module = |module: &ModuleSpec| format!("{}={}", module.path.display(), module.arguments);
            all.push(("module", self.modules.iter().map(module).collect::<Vec<_>>().join(",")));
        }
        all.push(("clock", clock(self.clock).to_owned()));
        all.push(("rtc", self.rtc.map_or("host".to_owned(), |seconds| seconds.to_string())));
        all.push(("display", display(self.display).to_owned()));
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
            all.push(("gdb-arch", gdb_arch(self.gdb_arch).to_owned()));
        }
        if let Some(address) = &self.debug_server {
            all.push(("debug-server", address.to_string()));
        }
        if let Some(console) = &self.console {
            all.push(("console", console.address.to_string()));
        }
        if self.magic_break {
            all.push(("magic-break", "yes".to_owned()));
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
        // What only an outgoing migration uses; names of files, no secrets.
        match &self.security {
            MigrationSecurity::Plain => {}
            MigrationSecurity::Tls { cert, key, ca } => {
                all.extend([("tls-cert", path(cert)), ("tls-key", path(key)), ("tls-ca", path(ca))]);
            }
            MigrationSecurity::Key(file) => all.push(("migr-key", path(file))),
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
    use super::super::draft::Draft;
    use super::super::table::options;

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
}
