//! Parsers for single values. Each error says what is wrong with the value as a predicate, such as "is not a
//! number"; the table lists the allowed values.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::filter::Targets;

use super::{
    BootKind, ClockMode, DashboardMode, DiskInterface, DiskMode, DiskSpec, DisplayMode, EntryAddress,
    GdbArch, IrqchipMode, KeyTarget, LayoutName, LogFormat, MAX_RAM, MOST_CPUS, ModuleSpec, MouseMode,
    Password, PictureMode, RAM_GRANULE, Schedule, SerialBackend, SymbolFileSpec, TraceSpec, VgaBiosSpec,
    VgaMode,
};

/// Longest `--timeout`: one year. Deadlines computed from it cannot overflow a clock.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Longest path of a unix socket in bytes, see unix(7).
const LONGEST_SOCKET_PATH: usize = 107;

/// The result of a parser.
pub(super) type ParseResult<T> = Result<T, String>;

fn refuse<T>(reason: &str) -> ParseResult<T> {
    Err(reason.to_owned())
}

/// Yes or no; case is ignored.
pub(super) fn boolean(text: &str) -> ParseResult<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Ok(true),
        "no" | "false" | "off" | "0" => Ok(false),
        _ => refuse("is neither yes nor no"),
    }
}

/// A size in MiB, or in KiB, MiB or GiB with a suffix, decimal or hexadecimal after `0x`; the result is in bytes.
pub(super) fn memory(text: &str) -> ParseResult<u64> {
    let (digits, unit) = match text.as_bytes().last().map(u8::to_ascii_uppercase) {
        Some(b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1 << 20),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return refuse("is not a size");
    }
    let size = u64::from_str_radix(digits, radix).ok().and_then(|number| number.checked_mul(unit));
    match size {
        Some(0) => refuse("is too small"),
        Some(size) if size <= MAX_RAM && size.is_multiple_of(RAM_GRANULE) => Ok(size),
        Some(size) if size <= MAX_RAM => refuse("is not a multiple of 1 MiB"),
        _ => refuse("is too large"),
    }
}

/// A duration in seconds, possibly with a fraction, or with the unit `ms`, `s`, `m` or `h`; or `none`.
pub(super) fn timeout(text: &str) -> ParseResult<Option<Duration>> {
    if text == "none" {
        return Ok(None);
    }
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return refuse("is not a duration"),
    };
    let Ok(number) = number.parse::<f64>() else { return refuse("is not a duration") };
    match Duration::try_from_secs_f64(number * scale) {
        Ok(Duration::ZERO) => refuse("is zero"),
        Ok(time) if time <= LONGEST_TIMEOUT => Ok(Some(time)),
        _ => refuse("is too long"),
    }
}

/// A duration in milliseconds.
pub(super) fn downtime(text: &str) -> ParseResult<Duration> {
    match text.parse() {
        Ok(ms @ 1..=60_000) => Ok(Duration::from_millis(ms)),
        Ok(_) => refuse("is out of range"),
        Err(_) => refuse("is not a number of milliseconds"),
    }
}

/// `PATH[=ARGUMENTS]`.
pub(super) fn module(text: &str) -> ParseResult<ModuleSpec> {
    let (path, arguments) = text.split_once('=').unwrap_or((text, ""));
    Ok(ModuleSpec { path: file(path)?, arguments: arguments.to_owned() })
}

/// A kind of guest file; `None` for `auto`.
pub(super) fn boot_kind(text: &str) -> ParseResult<Option<BootKind>> {
    match text {
        "auto" => Ok(None),
        name => BootKind::named(name).map(Some).ok_or_else(|| "is no kind of guest file".to_owned()),
    }
}

/// The address of a flat image.
pub(super) fn load_address(text: &str) -> ParseResult<u64> {
    let address = number(text)?;
    if address < MAX_RAM { Ok(address) } else { refuse("is too large") }
}

/// An address that real mode can reach, or CS:IP.
pub(super) fn entry(text: &str) -> ParseResult<EntryAddress> {
    const LIMIT: u64 = 0xFFFF0 + 0x10000;
    if let Some((segment, offset)) = text.split_once(':') {
        let half = |text| u16::try_from(number(text)?).map_err(|_| "has more than 16 bits".to_owned());
        return Ok(EntryAddress::Far { segment: half(segment)?, offset: half(offset)? });
    }
    match number(text)? {
        address if address < LIMIT => Ok(EntryAddress::Linear(address)),
        _ => refuse("cannot be reached in real mode"),
    }
}

/// `FILE[@OFFSET]`; an `@` without a number behind it is part of the name.
pub(super) fn symbols(text: &str) -> ParseResult<SymbolFileSpec> {
    let (path, offset) = match text.rsplit_once('@') {
        Some((path, offset)) if offset.starts_with(|c: char| c.is_ascii_digit()) => (path, number(offset)?),
        _ => (text, 0),
    };
    Ok(SymbolFileSpec { path: file(path)?, offset })
}

/// A VGA BIOS, or `none`.
pub(super) fn vga_bios(text: &str) -> ParseResult<VgaBiosSpec> {
    if text == "none" { Ok(VgaBiosSpec::None) } else { file(text).map(VgaBiosSpec::File) }
}

/// The image of a CD.
pub(super) fn cdrom(text: &str) -> ParseResult<DiskSpec> {
    Ok(DiskSpec { path: file(text)?, mode: DiskMode::ReadOnly, interface: DiskInterface::Cdrom })
}

/// A disk image, and behind commas how it is used.
pub(super) fn disk(text: &str) -> ParseResult<DiskSpec> {
    let (mut path, mut mode, mut interface) = (text, None, None);
    while let Some((rest, word)) = path.rsplit_once(',') {
        match word {
            "ro" if mode.is_none() => mode = Some(DiskMode::ReadOnly),
            "snapshot" if mode.is_none() => mode = Some(DiskMode::Snapshot),
            "virtio" if interface.is_none() => interface = Some(DiskInterface::Virtio),
            _ => break,
        }
        path = rest;
    }
    Ok(DiskSpec {
        path: file(path)?,
        mode: mode.unwrap_or(DiskMode::ReadWrite),
        interface: interface.unwrap_or(DiskInterface::Ide),
    })
}

/// A password, or nothing.
pub(super) fn password(text: &str) -> ParseResult<Option<Password>> {
    match text.len() {
        0 => Ok(None),
        1..=Password::LONGEST => Ok(Some(Password(text.to_owned()))),
        _ => refuse("is too long"),
    }
}

/// The name of a file.
pub(super) fn file(text: &str) -> ParseResult<PathBuf> {
    if text.is_empty() { refuse("does not name a file") } else { Ok(PathBuf::from(text)) }
}

/// The path of a device. QEMU's devices, which its option of this name takes, have no paths.
pub(super) fn device(text: &str) -> ParseResult<PathBuf> {
    if text.starts_with('/') { Ok(PathBuf::from(text)) } else { refuse("is no absolute path") }
}

/// The name of a file, or `none`.
pub(super) fn file_or_none(text: &str) -> ParseResult<Option<PathBuf>> {
    if text == "none" { Ok(None) } else { file(text).map(Some) }
}

/// Where the guest's output goes.
pub(super) fn display(text: &str) -> ParseResult<DisplayMode> {
    match text {
        "auto" => Ok(DisplayMode::Auto),
        "vga" => Ok(DisplayMode::Vga),
        "serial" => Ok(DisplayMode::Serial),
        "none" => Ok(DisplayMode::None),
        _ => refuse("is not a display"),
    }
}

/// Whether the terminal shows the dashboard.
pub(super) fn dashboard(text: &str) -> ParseResult<DashboardMode> {
    match text {
        "paused" => Ok(DashboardMode::Paused),
        _ => match boolean(text) {
            Ok(true) => Ok(DashboardMode::Running),
            Ok(false) => Ok(DashboardMode::Off),
            Err(_) => refuse("is neither yes, no nor paused"),
        },
    }
}

/// Number of CPUs.
pub(super) fn cpus(text: &str) -> ParseResult<u8> {
    match text.parse() {
        Ok(count @ 1..=MOST_CPUS) => Ok(count),
        _ => refuse("is not a number of processors"),
    }
}

/// How several CPUs run.
pub(super) fn schedule(text: &str) -> ParseResult<Schedule> {
    match text {
        "parallel" => Ok(Schedule::Parallel),
        "serial" => Ok(Schedule::Serial),
        _ => refuse("is not a schedule"),
    }
}

/// When the machine's clock runs.
pub(super) fn clock(text: &str) -> ParseResult<ClockMode> {
    match text {
        "host" => Ok(ClockMode::Host),
        "virtual" => Ok(ClockMode::Virtual),
        _ => refuse("is not a clock"),
    }
}

/// How a terminal shows pictures.
pub(super) fn pictures(text: &str) -> ParseResult<PictureMode> {
    PictureMode::named(text).map_or_else(|| refuse("is no way to show pictures"), Ok)
}

/// Which display adapter the machine has.
pub(super) fn vga(text: &str) -> ParseResult<VgaMode> {
    match text {
        "auto" => Ok(VgaMode::Auto),
        "text" => Ok(VgaMode::Text),
        "std" => Ok(VgaMode::Std),
        _ => refuse("is no display adapter"),
    }
}

/// Whose interrupt controllers the machine has.
pub(super) fn irqchip(text: &str) -> ParseResult<IrqchipMode> {
    match text {
        "user" => Ok(IrqchipMode::User),
        "kernel" => Ok(IrqchipMode::Kernel),
        _ => refuse("names no interrupt controllers"),
    }
}

/// The time of day at power-on: `host`, or seconds since 1970 UTC.
pub(super) fn rtc(text: &str) -> ParseResult<Option<i64>> {
    if text == "host" {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(seconds) => Ok(Some(i64::from(seconds))),
        Err(_) => refuse("is not a time of day"),
    }
}

/// Whether the guest gets the terminal's mouse.
pub(super) fn mouse(text: &str) -> ParseResult<MouseMode> {
    match text {
        "auto" => Ok(MouseMode::Auto),
        "off" => Ok(MouseMode::Off),
        _ => refuse("is not a mode of the mouse"),
    }
}

/// Where keyboard input goes.
pub(super) fn keys(text: &str) -> ParseResult<KeyTarget> {
    match text {
        "auto" => Ok(KeyTarget::Auto),
        "keyboard" => Ok(KeyTarget::Keyboard),
        "serial" => Ok(KeyTarget::Serial),
        _ => refuse("is not a target of key input"),
    }
}

/// A keyboard layout.
pub(super) fn layout(text: &str) -> ParseResult<LayoutName> {
    match text {
        "us" => Ok(LayoutName::Us),
        "it" => Ok(LayoutName::It),
        _ => refuse("is not a keyboard layout"),
    }
}

/// `N=BACKEND`; the result is an index from 0, and the backend.
pub(super) fn serial(text: &str) -> ParseResult<(usize, SerialBackend)> {
    let Some((port, end)) = text.split_once('=') else { return refuse("has no `=`") };
    match port {
        "1" | "2" | "3" | "4" => Ok((usize::from(port.as_bytes()[0] - b'1'), serial_backend(end)?)),
        _ => refuse("does not name a serial port from 1 to 4"),
    }
}

/// The backend of a serial port.
pub(super) fn serial_backend(text: &str) -> ParseResult<SerialBackend> {
    if let Some(path) = text.strip_prefix("file:") {
        return file(path).map(SerialBackend::File);
    }
    if let Some(path) = socket(text)? {
        return Ok(SerialBackend::Unix(path));
    }
    match text {
        "stdio" => Ok(SerialBackend::Stdio),
        "log" => Ok(SerialBackend::Log),
        "pty" => Ok(SerialBackend::Pty),
        "null" => Ok(SerialBackend::Null),
        _ => refuse("is not a serial backend"),
    }
}

/// `unix:PATH`; `None` if the text begins differently.
pub(super) fn socket(text: &str) -> ParseResult<Option<PathBuf>> {
    let Some(path) = text.strip_prefix("unix:") else { return Ok(None) };
    if path.len() > LONGEST_SOCKET_PATH {
        return Err(format!(
            "names a socket with {} bytes, and Linux takes {LONGEST_SOCKET_PATH}",
            path.len()
        ));
    }
    file(path).map(Some)
}

/// A number, decimal or hexadecimal after `0x`.
pub(super) fn number(text: &str) -> ParseResult<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return refuse("is not a number");
    }
    u64::from_str_radix(digits, radix).map_err(|_| "has more than 64 bits".to_owned())
}

/// A level of severity; case is ignored.
pub(super) fn log_level(text: &str) -> ParseResult<Level> {
    // `Level` itself would also accept the numbers 1 to 5, which are unclear to readers.
    match text.to_ascii_lowercase().as_str() {
        "error" => Ok(Level::ERROR),
        "warn" => Ok(Level::WARN),
        "info" => Ok(Level::INFO),
        "debug" => Ok(Level::DEBUG),
        "trace" => Ok(Level::TRACE),
        _ => refuse("is not a log level"),
    }
}

/// The format of log lines.
pub(super) fn log_format(text: &str) -> ParseResult<LogFormat> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => refuse("is not a log format"),
    }
}

/// Kinds of what the guest does, between commas.
pub(super) fn trace(text: &str) -> ParseResult<TraceSpec> {
    TraceSpec::parse(text).or_else(|unknown| refuse(&format!("names `{unknown}`, which cannot be traced")))
}

/// A list of targets with their levels, checked and returned unchanged.
pub(super) fn log_filter(text: &str) -> ParseResult<String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let targets: Targets = text.parse().map_err(|e| format!("is not a filter ({e})"))?;
    if !text.is_empty() && targets.default_level().is_some() {
        return refuse("sets a level for everything, which is what --log-level does");
    }
    Ok(text.to_owned())
}

/// A TCP port.
pub(super) fn port(text: &str) -> ParseResult<u16> {
    match text.parse() {
        Ok(0) | Err(_) => refuse("is not a TCP port"),
        Ok(port) => Ok(port),
    }
}

/// An IP address, or `localhost`.
pub(super) fn address(text: &str) -> ParseResult<IpAddr> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    text.parse().map_err(|_| "is not an IP address".to_owned())
}

/// An address that other hosts cannot reach.
pub(super) fn own_address(address: IpAddr) -> ParseResult<IpAddr> {
    if address.to_canonical().is_loopback() {
        return Ok(address);
    }
    refuse(
        "can be reached from other hosts, and clients are not authenticated; `ssh -L` forwards a loopback \
            address",
    )
}

/// The guest's architecture as reported to gdb.
pub(super) fn gdb_arch(text: &str) -> ParseResult<Option<GdbArch>> {
    match text {
        "auto" => Ok(None),
        "x86-64" => Ok(Some(GdbArch::X86_64)),
        "x86-64-linux" => Ok(Some(GdbArch::X86_64Linux)),
        "i386" => Ok(Some(GdbArch::I386)),
        "i8086" => Ok(Some(GdbArch::I8086)),
        _ => refuse("is not an architecture"),
    }
}

/// True for `ADDRESS:PORT`.
pub(super) fn is_address_with_port(text: &str) -> bool {
    matches!(address_and_port(text), Ok((Some(_), Some(_))))
}

/// `ADDRESS:PORT`, `ADDRESS` or `PORT`; an IPv6 address before a port is in brackets.
pub(super) fn address_and_port(text: &str) -> ParseResult<(Option<IpAddr>, Option<u16>)> {
    if let Ok(both) = text.parse::<SocketAddr>()
        && both.port() != 0
    {
        return Ok((Some(both.ip()), Some(both.port())));
    }
    if let Ok(address) = address(text) {
        return Ok((Some(address), None));
    }
    match text.split_once(':') {
        Some((before, after)) => Ok((Some(address(before)?), Some(port(after)?))),
        None => port(text)
            .map(|port| (None, Some(port)))
            .map_err(|_| "is neither an IP address nor a TCP port".to_owned()),
    }
}
