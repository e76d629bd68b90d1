//! What `kvm` costs, side by side with the smallest KVM program there is and with QEMU.
//!
//! `cargo bench --bench compare [-- OPTION...]`; docs/benchmarks.md says what the lines mean.

mod contender;
mod guests;
mod host;
mod memory;
mod plan;
mod run;
mod samples;
mod table;

use std::process::ExitCode;

/// Why nothing could be measured: a text for the user.
type Failure = Box<dyn std::error::Error>;

const USE: &str = "\
Use: cargo bench --bench compare [-- OPTION...]
  --quick      a smoke run of a few seconds: fewer rounds, fewer writes
  --markdown   print the table in Markdown
  --check      exit status 1 if a target is missed
KVM_BIN=FILE measures another kvm than the one cargo built.";

#[derive(Default)]
struct Options {
    quick: bool,
    markdown: bool,
    check: bool,
}

fn main() -> ExitCode {
    match compare() {
        Ok(status) => status,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(2)
        }
    }
}

fn compare() -> Result<ExitCode, Failure> {
    let Some(options) = options()? else { return Ok(ExitCode::SUCCESS) };
    let table = plan::measure(if options.quick { &plan::QUICK } else { &plan::FULL })?;
    print!("{}", if options.markdown { table.markdown() } else { table.text() });
    let missed = table.missed();
    for comparison in &missed {
        eprintln!("missed: {comparison}");
    }
    Ok(if options.check && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What the command line asks for; `None` if it was answered already.
fn options() -> Result<Option<Options>, Failure> {
    let mut options = Options::default();
    let mut benchmarking = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--bench" => benchmarking = true,
            "--quick" => options.quick = true,
            "--markdown" => options.markdown = true,
            "--check" => options.check = true,
            "--help" | "-h" => {
                println!("{USE}");
                return Ok(None);
            }
            other => return Err(format!("`{other}` is no option\n{USE}").into()),
        }
    }
    // `cargo test --benches` only wants to know that it runs.
    options.quick |= !benchmarking;
    Ok(Some(options))
}
