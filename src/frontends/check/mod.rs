//! `kvm check`: what KVM really does on this host, for people and for programs.

mod descriptions;
mod facts;
mod json;
mod report;
mod table;

use std::io::{IsTerminal, Write};

use crate::kvm::Kvm;
use table::Style;

/// Measures everything and prints it on standard output; true if guests can run here.
#[cold]
pub fn run(json: bool) -> bool {
    let report = match Kvm::open() {
        Ok(kvm) => facts::all(&kvm),
        Err(error) => facts::without_kvm(&error),
    };
    let mut stdout = std::io::stdout();
    let text = if json { json::object(&report) } else { table::table(&report, style(&stdout)) };
    // A reader that has seen enough may close the pipe.
    let _ = stdout.write_all(text.as_bytes());
    report.usable
}

/// Marks and colours only for people: <https://no-color.org>.
fn style(stdout: &std::io::Stdout) -> Style {
    let colour_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match (stdout.is_terminal(), colour_unwanted) {
        (false, _) => Style::Words,
        (true, true) => Style::Marks,
        (true, false) => Style::Colours,
    }
}
