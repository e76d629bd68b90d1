//! The first lines of the log: the program, its settings, the host and the guest file.

use std::ffi::OsString;
use std::path::Path;

use crate::boot::{FileImage, Image, build_id, is_compressed};
use crate::frontends::log::LogEntry;
use crate::kvm::Driver;
use crate::kvm::probe::kernel_release;
use crate::settings::Settings;

/// The lines. The log thread calls this, so that the guest's start does not wait for it.
pub(super) fn lines(arguments: &[OsString], settings: &Settings) -> Vec<LogEntry> {
    let words: Vec<String> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    vec![
        LogEntry {
            message: concat!("kvm ", env!("CARGO_PKG_VERSION")),
            fields: vec![("command_line", words.join(" "))],
        },
        LogEntry { message: "settings", fields: settings.summary() },
        host(&settings.device),
        guest(settings),
    ]
}

/// The device, the kernel, and who executes the guest's ring 0.
fn host(device: &Path) -> LogEntry {
    let modules = Driver::of(device).modules();
    let ring_0 = match modules.as_slice() {
        ["kvm_intel"] => "by the processor (VT-x)",
        ["kvm_amd"] | ["yakvm"] => "by the processor (AMD-V)",
        ["kvm_pvm"] => "by the instruction emulator of KVM",
        _ => "unknown: `kvm check` measures it",
    };
    let modules = if modules.is_empty() { "others".to_owned() } else { modules.join(",") };
    LogEntry {
        message: "host",
        fields: vec![
            ("device", device.display().to_string()),
            ("kernel", kernel_release()),
            ("kvm_modules", modules),
            ("ring_0_is_executed", ring_0.to_owned()),
        ],
    }
}

fn guest(settings: &Settings) -> LogEntry {
    if let Some(file) = &settings.restore {
        return LogEntry { message: "guest from a snapshot", fields: vec![path(file)] };
    }
    if settings.migration.is_some() {
        return LogEntry { message: "guest from another kvm", fields: Vec::new() };
    }
    let mut fields = vec![path(&settings.guest)];
    // A file that cannot be read is reported by the run itself.
    if let Ok(image) = FileImage::open(&settings.guest) {
        fields.push(("bytes", image.len().to_string()));
        if is_compressed(&image) {
            fields.push(("compression", "gzip".to_owned()));
        }
        fields.push(("build_id", build_id(&image).unwrap_or_else(|| "none".to_owned())));
    }
    LogEntry { message: "guest file", fields }
}

fn path(file: &Path) -> (&'static str, String) {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    ("path", absolute.display().to_string())
}
