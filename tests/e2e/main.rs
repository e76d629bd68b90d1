//! The built `kvm`, run as its user runs it: real guests, real terminals, real clients.
//!
//! Tests that need `/dev/kvm` are reported as ignored, with the reason in front, where it is
//! missing or refused. `KVM_BIN` and `KVM_GUESTS` name another binary and another folder of guests
//! than the ones cargo and `target-examples/build` made, so that the suite can be carried elsewhere.

mod gdb;
mod guests;
mod support;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    support::prepare();
    let mut trials: Vec<Trial> = Vec::new();
    trials.extend(gdb::trials());
    trials.extend(guests::trials());
    libtest_mimic::run(&arguments, trials).exit();
}
