//! End-to-end tests of the built `kvm`: real guests, real terminals, real clients.
//!
//! Tests that need `/dev/kvm` are ignored, with the reason in their names, where it is missing or
//! refused. `KVM_BIN`, `KVM_GUESTS` and `KVM_SOURCES` name another binary, another folder
//! of guests and another copy of the sources than the ones cargo, `target-examples/build` and
//! `tests/guests/build` made or found, so that the suite can run on another host.

mod acpi;
mod bad_files;
mod bios;
mod boot_state;
mod check;
mod chips;
mod clocks;
mod console;
mod console_client;
mod console_docs;
mod cpus;
mod debug_server;
mod disk;
mod emulate_interrupts;
mod emulate_native;
mod emulate_system;
mod firmware;
mod flat;
mod foreign_protocols;
mod gdb;
mod gdb_breakpoints;
mod gdb_control;
mod gdb_cpus;
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
mod in_flight;
mod interrupts;
mod key_table;
mod keyboard;
mod lifetime;
mod limine;
mod linux_kernels;
mod lldb;
mod log;
mod magic_break;
mod migration;
mod migration_failures;
mod migration_gdb;
mod migration_tls;
mod mouse;
mod multiboot;
mod option_table;
mod options;
mod pci;
mod qemu_options;
mod readme;
mod resets;
mod screen;
mod scripts;
mod serial;
mod shared_output;
mod shell_integration;
mod snapshots;
mod support;
mod terminal;
mod transfers_in_flight;
mod triple_faults;
mod truncated_snapshots;
mod uart;
mod virtio_disk;
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
    trials.extend(gdb_cpus::trials());
    trials.extend(gdb_user_stories::trials());
    trials.extend(gdb_real_mode::trials());
    trials.extend(gdb_registers::trials());
    trials.extend(gdb_snapshots::trials());
    trials.extend(gdb_watch::trials());
    trials.extend(magic_break::trials());
    trials.extend(guests::trials());
    trials.extend(flat::trials());
    trials.extend(triple_faults::trials());
    trials.extend(emulate_native::trials());
    trials.extend(emulate_system::trials());
    trials.extend(resets::trials());
    trials.extend(multiboot::trials());
    trials.extend(limine::trials());
    trials.extend(snapshots::trials());
    trials.extend(truncated_snapshots::trials());
    trials.extend(emulate_interrupts::trials());
    trials.extend(cpus::trials());
    trials.extend(bios::trials());
    trials.extend(firmware::trials());
    trials.extend(disk::trials());
    trials.extend(virtio_disk::trials());
    trials.extend(interrupts::trials());
    trials.extend(clocks::trials());
    trials.extend(pci::trials());
    trials.extend(linux_kernels::trials());
    trials.extend(lifetime::trials());
    trials.extend(log::trials());
    trials.extend(of_migration(migration::trials()));
    trials.extend(of_migration(in_flight::trials()));
    trials.extend(of_migration(transfers_in_flight::trials()));
    trials.extend(of_migration(migration_gdb::trials()));
    // These do not depend on the processor.
    let mut independent: Vec<Trial> = Vec::new();
    independent.extend(debug_server::trials());
    independent.extend(gdb::connections());
    independent.extend(gdb_control::trials());
    independent.extend(gdb_docs::trials());
    independent.extend(gdb_files::trials());
    independent.extend(console::trials());
    independent.extend(screen::trials());
    independent.extend(console_client::trials());
    independent.extend(console_docs::trials());
    independent.extend(foreign_protocols::trials());
    independent.extend(gdb_places::trials());
    independent.extend(gdb_resets::trials());
    independent.extend(gdb_malformed_packets::trials());
    independent.extend(gdb_threads::trials());
    independent.extend(acpi::trials());
    independent.extend(chips::trials());
    independent.extend(bad_files::trials());
    independent.extend(flat::others());
    independent.extend(limine::others());
    independent.extend(firmware::others());
    independent.extend(boot_state::trials());
    independent.extend(options::trials());
    independent.extend(option_table::trials());
    independent.extend(key_table::trials());
    independent.extend(host::trials());
    independent.extend(keyboard::trials());
    independent.extend(snapshots::others());
    independent.extend(truncated_snapshots::others());
    independent.extend(of_migration(migration::others()));
    independent.extend(of_migration(in_flight::others()));
    independent.extend(of_migration(migration_failures::trials()));
    independent.extend(of_migration(migration_tls::trials()));
    independent.extend(mouse::trials());
    independent.extend(terminal::trials());
    independent.extend(serial::trials());
    independent.extend(shared_output::trials());
    independent.extend(uart::trials());
    independent.extend(vscode::trials());
    independent.extend(qemu_options::trials());
    independent.extend(readme::trials());
    independent.extend(shell_integration::trials());
    independent.extend(scripts::trials());
    independent.extend(lldb::trials());
    trials.extend(support::skip_unless_all(independent));
    let trials = support::skip_unsupported(support::skip_the_same(trials));
    let trials = support::part_of(trials);
    libtest_mimic::run(&arguments, trials).exit();
}

/// Tests that the filter `migration` finds.
fn of_migration(trials: Vec<Trial>) -> impl Iterator<Item = Trial> {
    trials.into_iter().map(|trial| trial.with_kind("migration"))
}
