//! The command line of a benchmark.

use std::process::ExitCode;

use super::Failure;
use super::table::Table;

const OPTIONS: &str = "\
  --quick      a smoke run of a few seconds: fewer rounds, less in each
  --markdown   print the table in Markdown
  --check      exit status 1 if a target is missed
KVM_BIN=FILE measures another kvm than the one cargo built.";

/// The options of a benchmark.
#[derive(Default)]
struct Options {
    quick: bool,
    markdown: bool,
    check: bool,
}

/// Runs the benchmark `name` as its command line says: `measure` makes the table, of a smoke run if its argument
/// is true.
pub fn run(name: &str, measure: impl FnOnce(bool) -> Result<Table, Failure>) -> ExitCode {
    match try_run(name, measure) {
        Ok(status) => status,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(2)
        }
    }
}

fn try_run(name: &str, measure: impl FnOnce(bool) -> Result<Table, Failure>) -> Result<ExitCode, Failure> {
    let Some(options) = options(name)? else { return Ok(ExitCode::SUCCESS) };
    let table = measure(options.quick)?;
    print!("{}", if options.markdown { table.markdown() } else { table.text() });
    let missed = table.missed();
    for comparison in &missed {
        eprintln!("missed: {comparison}");
    }
    Ok(if options.check && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The options of the command line; `None` after `--help`.
fn options(name: &str) -> Result<Option<Options>, Failure> {
    let usage = format!("Use: cargo bench --bench {name} [-- OPTION...]\n{OPTIONS}");
    let mut options = Options::default();
    let mut benchmarking = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--bench" => benchmarking = true,
            "--quick" => options.quick = true,
            "--markdown" => options.markdown = true,
            "--check" => options.check = true,
            "--help" | "-h" => {
                println!("{usage}");
                return Ok(None);
            }
            other => return Err(format!("`{other}` is no option\n{usage}").into()),
        }
    }
    // `cargo test --benches` only checks that the benchmark runs.
    options.quick |= !benchmarking;
    Ok(Some(options))
}
