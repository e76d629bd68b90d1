//! Settings under construction: the effect of each option's value, and the checks across options.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::listen_address::{self, ListenAddressDraft};
use super::table::{DEFAULT_LOG_FILE, options};
use super::values::{self, ParseResult};
use super::{
    BootKind, BootSpec, CONSOLE_PORT, ClockMode, ConsoleSpec, CrashFiles, DashboardMode, DiskInterface,
    DiskMode, DiskSpec, DisplayMode, GdbSpec, IrqchipMode, KeyTarget, LayoutName, LogFormat, LogSpec,
    MOST_DISKS, MOST_VIRTIO_DISKS, MigrationSecurity, MouseMode, PictureMode, Schedule, SerialBackend,
    Settings, SettingsError, TraceSpec, ValueOrigin, VgaMode,
};

/// The source of the value being set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueSource {
    /// The table of defaults.
    Default,
    /// The config file.
    File,
    /// The command line.
    CommandLine,
}

/// Settings under construction. Values are set in order of precedence, lowest first.
#[derive(Debug)]
pub(super) struct Draft {
    /// Source of the values being set.
    pub(super) source: ValueSource,
    /// Settings that a single value determines.
    pub(super) settings: Settings,
    /// Whether the gdb server is enabled.
    pub(super) gdb: bool,
    /// Whether the command line enables or disables the gdb server explicitly.
    gdb_explicit: bool,
    /// Whether `--gdb-nowait` implies the gdb server.
    gdb_implied: bool,
    /// Whether the guest starts without waiting for gdb.
    pub(super) gdb_nowait: bool,
    /// Listen address of the gdb server.
    pub(super) gdb_address: ListenAddressDraft,
    /// Whether the debug server is enabled.
    pub(super) debug_server: bool,
    /// Listen address of the debug server.
    pub(super) debug_server_address: ListenAddressDraft,
    /// Whether the console is enabled or disabled explicitly.
    pub(super) console_explicit: Option<bool>,
    /// Whether a console address or port implies the console.
    console_implied: bool,
    /// Listen address of the console.
    console_address: ListenAddressDraft,
    /// Whether the user has set that address.
    console_chosen: bool,
    /// Whether the guest is received from another host.
    pub(super) receive: bool,
    /// Local address to receive it on.
    receive_address: IpAddr,
    /// Port to receive it on.
    receive_port: u16,
    receive_port_chosen: bool,
    /// Files with the local certificate, its key, and the certificate authorities for the peer.
    pub(super) tls: [Option<PathBuf>; 3],
    /// File with the key shared by both migration peers.
    pub(super) shared_key: Option<PathBuf>,
    modules_from: ValueSource,
    /// The source of the disks.
    disks_from: ValueSource,
    /// The source of the files with symbols.
    symbols_from: ValueSource,
    /// The options given on the command line.
    pub(super) given: Vec<&'static str>,
}

impl Draft {
    /// The default settings.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`] if the table holds a default that its own option refuses.
    pub(super) fn from_defaults() -> Result<Draft, SettingsError> {
        let mut draft = Draft::blank();
        for option in options() {
            for (default, set) in option.defaults() {
                set(&mut draft, default).map_err(|reason| SettingsError::Value {
                    origin: Box::new(ValueOrigin::Option { long: option.long }),
                    value: default.to_owned(),
                    reason,
                    allowed: option.allowed,
                })?;
            }
        }
        Ok(draft)
    }

    /// Placeholder values, all overwritten by the defaults of the table.
    fn blank() -> Draft {
        let null = || SerialBackend::Null;
        Draft {
            source: ValueSource::Default,
            settings: Settings {
                guest: PathBuf::new(),
                config: None,
                device: PathBuf::new(),
                memory: 0,
                memory_is_default: true,
                boot: BootSpec::default(),
                strict: false,
                no_guards: false,
                append: String::new(),
                modules: Vec::new(),
                disks: Vec::new(),
                guest_disk: DiskMode::ReadWrite,
                cdrom: None,
                display: DisplayMode::None,
                dashboard: DashboardMode::Off,
                dump_screen: false,
                serial: [null(), null(), null(), null()],
                debug_console: null(),
                mouse: MouseMode::Auto,
                keys: KeyTarget::Auto,
                cpus: 1,
                schedule: Schedule::Parallel,
                clock: ClockMode::Host,
                irqchip: IrqchipMode::User,
                vga: VgaMode::Auto,
                pictures: PictureMode::Auto,
                rtc: None,
                flat_ide_bars: false,
                overwrite_disks: false,
                layout: LayoutName::Us,
                log: LogSpec {
                    file: PathBuf::new(),
                    file_chosen: false,
                    level: tracing::Level::ERROR,
                    filter: String::new(),
                    format: LogFormat::Text,
                    trace: TraceSpec::default(),
                },
                timeout: None,
                no_reboot: false,
                gdb: None,
                magic_break: false,
                explain: false,
                crash_files: CrashFiles::default(),
                gdb_arch: None,
                debug_server: None,
                debug_server_password: None,
                console: None,
                restore: None,
                snapshot_at_exit: None,
                migration: None,
                downtime: Duration::ZERO,
                security: MigrationSecurity::Plain,
                notes: Vec::new(),
            },
            gdb: false,
            gdb_explicit: false,
            gdb_implied: false,
            gdb_nowait: false,
            gdb_address: ListenAddressDraft::anywhere(),
            debug_server: false,
            debug_server_address: ListenAddressDraft::here(),
            console_explicit: None,
            console_implied: false,
            console_address: ListenAddressDraft::here(),
            console_chosen: false,
            receive: false,
            receive_address: Ipv4Addr::LOCALHOST.into(),
            receive_port: 0,
            receive_port_chosen: false,
            tls: [None, None, None],
            shared_key: None,
            modules_from: ValueSource::Default,
            disks_from: ValueSource::Default,
            symbols_from: ValueSource::Default,
            given: Vec::new(),
        }
    }

    /// Adds a module. The first one from a source replaces those from sources of lower precedence.
    pub(super) fn add_module(&mut self, text: &str) -> ParseResult<()> {
        let module = values::module(text)?;
        if self.modules_from != self.source {
            self.modules_from = self.source;
            self.settings.modules.clear();
        }
        self.settings.modules.push(module);
        Ok(())
    }

    /// Sets the size of RAM. A config file that repeats the default does not count as the user's choice, so the
    /// documented `config.ini` also works for guests with another default.
    pub(super) fn set_memory(&mut self, text: &str) -> ParseResult<()> {
        let memory = values::memory(text)?;
        self.settings.memory_is_default = match self.source {
            ValueSource::Default => true,
            ValueSource::File => memory == DEFAULT_MEMORY,
            ValueSource::CommandLine => false,
        };
        self.settings.memory = memory;
        Ok(())
    }

    /// Adds a file with symbols. The first one from a source replaces those from sources of lower precedence.
    pub(super) fn add_symbols(&mut self, text: &str) -> ParseResult<()> {
        let file = values::symbols(text)?;
        if self.symbols_from != self.source {
            self.symbols_from = self.source;
            self.settings.boot.symbols.clear();
        }
        self.settings.boot.symbols.push(file);
        Ok(())
    }

    /// Adds a disk. The first one from a source replaces those from sources of lower precedence.
    pub(super) fn add_disk(&mut self, text: &str) -> ParseResult<()> {
        let disk = values::disk(text)?;
        if self.disks_from != self.source {
            self.disks_from = self.source;
            self.settings.disks.clear();
        }
        let (most, kind) = match disk.interface {
            DiskInterface::Ide | DiskInterface::Cdrom => (MOST_DISKS, "IDE disks"),
            DiskInterface::Virtio => (MOST_VIRTIO_DISKS, "disks with `,virtio`"),
        };
        if self.settings.disks.iter().filter(|other| other.interface == disk.interface).count() == most {
            return Err(format!("is one too many: a machine has at most {most} {kind}"));
        }
        self.settings.disks.push(disk);
        Ok(())
    }

    /// Sets the backend of one serial port.
    pub(super) fn set_serial(&mut self, text: &str) -> ParseResult<()> {
        let (port, end) = values::serial(text)?;
        self.settings.serial[port] = end;
        Ok(())
    }

    /// Sets the log file. A config file that repeats the default does not count as the user's choice, so the
    /// documented `config.ini` also works in a read-only directory.
    pub(super) fn set_log_file(&mut self, text: &str) -> ParseResult<()> {
        self.settings.log.file = values::file(text)?;
        self.settings.log.file_chosen = self.source == ValueSource::CommandLine || text != DEFAULT_LOG_FILE;
        Ok(())
    }

    /// Enables or disables gdb, or enables it at an address.
    pub(super) fn set_gdb(&mut self, text: &str) -> ParseResult<()> {
        self.gdb_explicit = true;
        self.gdb = self.gdb_address.switch_or_set(text)?;
        Ok(())
    }

    /// Sets whether the guest waits for gdb. Disabling the wait implies the gdb server.
    pub(super) fn set_gdb_nowait(&mut self, text: &str) -> ParseResult<()> {
        self.gdb_nowait = values::boolean(text)?;
        self.gdb_implied = self.gdb_nowait;
        Ok(())
    }

    /// Enables or disables the debug server, or enables it at an address.
    pub(super) fn set_debug_server(&mut self, text: &str) -> ParseResult<()> {
        self.debug_server = self.debug_server_address.switch_or_set(text)?;
        Ok(())
    }

    /// Enables or disables the console, or enables it at an address.
    pub(super) fn set_console(&mut self, text: &str) -> ParseResult<()> {
        let switched = listen_address::switch(text);
        if switched.is_none() {
            self.console_address.set(text)?;
            self.console_chosen = true;
        }
        self.console_explicit = Some(switched.unwrap_or(true));
        Ok(())
    }

    /// Sets the address of the console, or its socket. This implies the console.
    pub(super) fn set_console_address(&mut self, text: &str) -> ParseResult<()> {
        self.console_address.set_address(text)?;
        self.imply_console(true);
        Ok(())
    }

    /// Sets the port of the console; `none` disables it. A port implies the console.
    pub(super) fn set_console_port(&mut self, text: &str) -> ParseResult<()> {
        let wanted = text != "none";
        if wanted {
            self.console_address.set_port(text)?;
            if self.source == ValueSource::CommandLine {
                self.console_address.forget_socket();
            }
        }
        self.imply_console(wanted);
        Ok(())
    }

    /// Records that an address implies the console, or that `none` disables it. In a config file `enable`
    /// takes precedence.
    fn imply_console(&mut self, wanted: bool) {
        match self.source {
            ValueSource::Default => return,
            ValueSource::File => self.console_implied = wanted,
            ValueSource::CommandLine => self.console_explicit = Some(wanted),
        }
        let default = self.console_address.is_usual(CONSOLE_PORT);
        // A config file that repeats the default does not count as a choice.
        self.console_chosen = wanted && (self.source == ValueSource::CommandLine || !default);
    }

    /// Sets the port a guest is received on, and the address if given.
    pub(super) fn set_receive_port(&mut self, text: &str) -> ParseResult<()> {
        let (address, port) = values::address_and_port(text)?;
        self.receive_address = address.unwrap_or(self.receive_address);
        self.receive_port = port.unwrap_or(self.receive_port);
        self.receive_port_chosen = self.source != ValueSource::Default;
        Ok(())
    }

    /// Refuses an option whose value a restored snapshot determines. In a config file it is allowed, because
    /// it applies to other runs.
    fn check_restore(&self, guest: Option<&Path>) -> Result<(), SettingsError> {
        if let Some(guest) = guest {
            return Err(SettingsError::GuestWithRestore { guest: guest.to_owned() });
        }
        match IN_SNAPSHOT.into_iter().find(|option| self.given.contains(option)) {
            Some(option) => Err(SettingsError::OptionWithRestore { option }),
            None => Ok(()),
        }
    }

    /// The guest file: the firmware if there is any, whose first disk then is the one on the command line.
    fn with_firmware(&mut self, guest: Option<&Path>) -> Result<PathBuf, SettingsError> {
        let settings = &mut self.settings;
        let Some(bios) = settings.boot.bios.clone() else {
            return guest.map(Path::to_owned).ok_or(SettingsError::NoGuest);
        };
        match settings.boot.kind {
            None | Some(BootKind::Rom) => settings.boot.kind = Some(BootKind::Rom),
            Some(kind) => return Err(SettingsError::BiosWithKind { kind: kind.name() }),
        }
        if let Some(guest) = guest {
            if settings.disks.iter().filter(|disk| disk.interface == DiskInterface::Ide).count() == MOST_DISKS
            {
                return Err(SettingsError::TooManyDisksForBios { guest: guest.to_owned() });
            }
            let disk =
                DiskSpec { path: guest.to_owned(), mode: DiskMode::ReadWrite, interface: DiskInterface::Ide };
            settings.disks.insert(0, disk);
        }
        Ok(bios)
    }

    /// The finished settings for the guest file on the command line.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] for conflicts between options.
    pub(super) fn finish(mut self, guest: Option<&Path>) -> Result<Settings, SettingsError> {
        if self.receive_port_chosen && !self.receive {
            return Err(SettingsError::MigrationPortAlone);
        }
        if self.settings.restore.is_some() {
            self.check_restore(guest)?;
        }
        let without_guest_file = self.receive || self.settings.restore.is_some();
        let guest = match guest {
            Some(guest) if self.receive => {
                return Err(SettingsError::GuestWithMigration { guest: guest.to_owned() });
            }
            Some(guest) if !guest.as_os_str().is_empty() => self.with_firmware(Some(guest))?,
            None if without_guest_file => PathBuf::new(),
            None if self.settings.boot.bios.is_some() => self.with_firmware(None)?,
            // Without a guest file the machine's own BIOS starts a disk.
            None if !self.settings.disks.is_empty() => {
                self.settings.boot.kind.get_or_insert(BootKind::Disk);
                self.settings.disks[0].path.clone()
            }
            None if self.settings.cdrom.is_some() => {
                self.settings.boot.kind.get_or_insert(BootKind::Cdrom);
                self.settings.cdrom.as_ref().map_or_else(PathBuf::new, |cdrom| cdrom.path.clone())
            }
            _ => return Err(SettingsError::NoGuest),
        };
        check_serial(&self.settings)?;
        let ide = self.settings.disks.iter().filter(|disk| disk.interface == DiskInterface::Ide);
        if self.settings.cdrom.is_some() && ide.count() == MOST_DISKS {
            return Err(SettingsError::TooManyDrives);
        }
        let security = security(self.tls, self.shared_key)?;
        let receive_from = SocketAddr::new(self.receive_address, self.receive_port);
        if self.receive
            && security == MigrationSecurity::Plain
            && !receive_from.ip().to_canonical().is_loopback()
        {
            return Err(SettingsError::MigrationUnprotected { address: receive_from.ip() });
        }
        let console = self.console_explicit.unwrap_or(self.console_implied);
        let gdb = self.gdb || self.gdb_implied && !self.gdb_explicit;
        let dashboard = self.settings.dashboard != DashboardMode::Off;
        if dashboard && self.settings.display == DisplayMode::None {
            return Err(SettingsError::DashboardWithoutDisplay);
        }
        if self.settings.magic_break && !gdb && !console && !dashboard {
            return Err(SettingsError::MagicBreakAlone);
        }
        Ok(Settings {
            guest,
            gdb: gdb.then(|| GdbSpec { address: self.gdb_address.finish(), wait: !self.gdb_nowait }),
            debug_server: self.debug_server.then(|| self.debug_server_address.finish()),
            console: console
                .then(|| ConsoleSpec { address: self.console_address.finish(), chosen: self.console_chosen }),
            migration: self.receive.then_some(receive_from),
            security,
            ..self.settings
        })
    }
}

/// The options that a snapshot determines.
const IN_SNAPSHOT: [&str; 12] = [
    "memory",
    "boot",
    "load",
    "entry",
    "append",
    "module",
    "initrd",
    "strict",
    "no-guards",
    "migr",
    "bios",
    "vga-bios",
];

/// The default of `--memory`.
const DEFAULT_MEMORY: u64 = 64 << 20;

/// Determines how the migration peers authenticate.
fn security(tls: [Option<PathBuf>; 3], key: Option<PathBuf>) -> Result<MigrationSecurity, SettingsError> {
    match (tls, key) {
        ([None, None, None], None) => Ok(MigrationSecurity::Plain),
        ([None, None, None], Some(key)) => Ok(MigrationSecurity::Key(key)),
        ([Some(cert), Some(key), Some(ca)], None) => Ok(MigrationSecurity::Tls { cert, key, ca }),
        (_, Some(_)) => Err(SettingsError::TlsAndKey),
        _ => Err(SettingsError::TlsIncomplete),
    }
}

/// Refuses backends that would use the same socket or input as another backend, or the log file.
fn check_serial(settings: &Settings) -> Result<(), SettingsError> {
    for (second, end) in settings.serial.iter().enumerate() {
        if let Some(name) = exclusive(end)
            && let Some(first) = settings.serial[..second].iter().position(|other| other == end)
        {
            return Err(SettingsError::SerialBackendTwice {
                first: first + 1,
                second: second + 1,
                end: name,
            });
        }
    }
    // The debug console has no input, and may share standard output.
    let console = &settings.debug_console;
    if *console != SerialBackend::Stdio
        && let Some(name) = exclusive(console)
        && settings.serial.contains(console)
    {
        return Err(SettingsError::DebugConsoleBackendTwice { end: name });
    }
    let into_log =
        |end: &&SerialBackend| matches!(end, SerialBackend::File(path) if *path == settings.log.file);
    match settings.serial.iter().chain([console]).find(into_log) {
        Some(_) => Err(SettingsError::SerialBackendIsLog { file: settings.log.file.clone() }),
        None => Ok(()),
    }
}

/// The name of a backend that only one port can have.
fn exclusive(end: &SerialBackend) -> Option<String> {
    match end {
        SerialBackend::Stdio => Some("stdio".to_owned()),
        SerialBackend::Unix(path) => Some(format!("unix:{}", path.display())),
        SerialBackend::File(_) | SerialBackend::Log | SerialBackend::Pty | SerialBackend::Null => None,
    }
}
