//! `kvm`: arguments in, exit status out.

use std::panic::catch_unwind;
use std::process::ExitCode;

use kvm::app;
use kvm::machine::outcome::status;

fn main() -> ExitCode {
    // A panic's own status is odd, and odd statuses belong to the guest.
    ExitCode::from(catch_unwind(|| app::run(std::env::args_os())).unwrap_or(status::DEFECT))
}
