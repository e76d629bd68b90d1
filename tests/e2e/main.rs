//! The built `kvm`, run as its user runs it: real guests, real terminals, real clients.
//!
//! Tests that need `/dev/kvm` are reported as ignored, with the reason in front, where it is
//! missing or refused. `KVM_BIN`, `KVM_GUESTS` and `KVM_SOURCES` name another binary, another folder
//! of guests and another copy of the sources than the ones cargo, `target-examples/build` and
//! `tests/guests/build` made or found, so that the suite can be carried elsewhere.

mod bad_files;
mod check;
mod console;
mod console_client;
mod debug_server;
mod emulate_interrupts;
mod emulate_native;
mod emulate_system;
mod gdb;
mod gdb_breakpoints;
mod gdb_control;
mod gdb_docs;
mod gdb_files;
mod gdb_malformed_packets;
mod gdb_places;
mod gdb_real_mode;
mod gdb_registers;
mod gdb_resets;
mod gdb_snapshots;
mod gdb_steps;
mod gdb_threads;
mod gdb_user_stories;
mod gdb_watch;
mod guests;
mod host;
mod key_table;
mod keyboard;
mod lifetime;
mod lldb;
mod migration;
mod migration_failures;
mod migration_gdb;
mod migration_tls;
mod option_table;
mod options;
mod resets;
mod serial;
mod snapshots;
mod support;
mod terminal;
mod vscode;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    support::prepare();
    let mut trials: Vec<Trial> = Vec::new();
    trials.extend(check::trials());
    trials.extend(gdb::trials());
    trials.extend(gdb_breakpoints::trials());
    trials.extend(gdb_steps::trials());
    trials.extend(gdb_user_stories::trials());
    trials.extend(gdb_real_mode::trials());
    trials.extend(gdb_registers::trials());
    trials.extend(gdb_snapshots::trials());
    trials.extend(gdb_watch::trials());
    trials.extend(guests::trials());
    trials.extend(emulate_native::trials());
    trials.extend(emulate_system::trials());
    trials.extend(resets::trials());
    trials.extend(snapshots::trials());
    trials.extend(emulate_interrupts::trials());
    trials.extend(lifetime::trials());
    trials.extend(moving(migration::trials()));
    trials.extend(moving(migration_gdb::trials()));
    // No processor makes a difference to these.
    let mut same: Vec<Trial> = Vec::new();
    same.extend(debug_server::trials());
    same.extend(gdb::connections());
    same.extend(gdb_control::trials());
    same.extend(gdb_docs::trials());
    same.extend(gdb_files::trials());
    same.extend(console::trials());
    same.extend(console_client::trials());
    same.extend(gdb_places::trials());
    same.extend(gdb_resets::trials());
    same.extend(gdb_malformed_packets::trials());
    same.extend(gdb_threads::trials());
    same.extend(bad_files::trials());
    same.extend(options::trials());
    same.extend(option_table::trials());
    same.extend(key_table::trials());
    same.extend(host::trials());
    same.extend(keyboard::trials());
    same.extend(snapshots::others());
    same.extend(moving(migration::others()));
    same.extend(moving(migration_failures::trials()));
    same.extend(moving(migration_tls::trials()));
    same.extend(terminal::trials());
    same.extend(serial::trials());
    same.extend(vscode::trials());
    same.extend(lldb::trials());
    trials.extend(support::worth_their_time(same));
    libtest_mimic::run(&arguments, support::expected_here(trials)).exit();
}

/// Tests that the filter `migration` finds.
fn moving(trials: Vec<Trial>) -> impl Iterator<Item = Trial> {
    trials.into_iter().map(|trial| trial.with_kind("migration"))
}
