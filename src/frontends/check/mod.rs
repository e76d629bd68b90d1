//! `kvm check`: the actual behaviour of this host's KVM, as a table or as JSON.

mod descriptions;
mod facts;
mod json;
mod report;
mod table;

use std::io::{IsTerminal, Write};
use std::path::Path;

use crate::kvm::Kvm;
use table::Style;

/// Measures all properties of `device` and prints them on standard output; true if guests can run here.
#[cold]
pub fn run(device: &Path, json: bool) -> bool {
    // A device that can be opened can still be of no use: its driver may not get the processor.
    let opened = Kvm::open(device).and_then(|kvm| kvm.check_that_it_creates_vms().map(|()| kvm));
    let report = match opened {
        Ok(kvm) => facts::all(&kvm),
        Err(error) => facts::without_kvm(device, &error),
    };
    let mut stdout = std::io::stdout();
    let text = if json { json::object(&report) } else { table::table(&report, style(&stdout)) };
    // The reader may close the pipe early.
    let _ = stdout.write_all(text.as_bytes());
    report.usable
}

/// Marks and colours on terminals only: <https://no-color.org>.
fn style(stdout: &std::io::Stdout) -> Style {
    let colour_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match (stdout.is_terminal(), colour_unwanted) {
        (false, _) => Style::Words,
        (true, true) => Style::Marks,
        (true, false) => Style::Colours,
    }
}
