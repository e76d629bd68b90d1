//! Machines with several processors, at the same time and by turns.

use std::path::Path;

use libtest_mimic::{Failed, Trial};

use crate::support::migration::{Instance, contains, free_port, migrate};
use crate::support::{Folder, Kvm, guest_test, resets_registers};

/// How processors run: at the same time, by turns, and at the same time with KVM's interrupt controllers.
const MODES: [(&str, &[&str]); 3] = [
    ("parallel", &["--schedule", "parallel"]),
    ("serial", &["--schedule", "serial"]),
    ("kernel", &["--irqchip", "kernel"]),
];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = MODES.into_iter().flat_map(in_mode).collect();
    trials.extend(on_the_way());
    trials
}

fn in_mode((mode, options): (&'static str, &'static [&'static str])) -> Vec<Trial> {
    let cpus = move |guest: &str, count: &str| {
        Kvm::with_guest(guest).args(options).args(["--cpus", count, "--timeout", "120"])
    };
    vec![
        guest_test(&format!("two_processors_count_to_a_million_exactly ({mode})"), move || {
            let ran = cpus("cpus", "2").run();
            ran.expect_out("2 processors have counted\n")?.expect_err("result (RAX) 1000000 ")?;
            ran.expect_status(0)?;
            Ok(())
        }),
        guest_test(&format!("sixteen_processors_are_started ({mode})"), move || {
            let ran = cpus("cpus", "16").run();
            ran.expect_out("16 processors have counted\n")?.expect_err("result (RAX) 1000000 ")?;
            // KVM's local APICs start them unseen.
            if mode != "kernel" {
                ran.expect_log("CPU 15 starts at 0x70000")?;
            }
            Ok(())
        }),
        guest_test(&format!("processors_interrupt_stop_and_restart_each_other ({mode})"), move || {
            cpus("ipi", "2").run().expect_err("result (RAX) 127 ")?.expect_status(0)?;
            Ok(())
        }),
        guest_test(&format!("a_triple_fault_names_the_processor ({mode})"), move || {
            let ran = cpus("second-fault", "2").run();
            ran.expect_err("triple fault on CPU 1")?.expect_status(8)?;
            if !resets_registers() {
                ran.expect_err(" (second+0x")?;
            }
            Ok(())
        }),
    ]
}

/// Asks a guest `two-counters`, twice.
fn expect_exact(instance: &mut Instance) -> Result<(), Failed> {
    for _ in 0..2 {
        instance.send_input("?")?;
        instance.expect_out("the sums agree, both count\n")?;
    }
    Ok(())
}

fn two_counters(options: &[&str]) -> Result<Instance, Failed> {
    let mut source =
        Instance::source("two-counters", &[&["--cpus", "2", "--keys", "serial"], options].concat())?;
    source.expect_out("counting")?;
    expect_exact(&mut source)?;
    Ok(source)
}

/// Ends the guest with Ctrl-D.
fn finish(mut instance: Instance) -> Result<(), Failed> {
    instance.send_input("\x04")?;
    instance.finish()?.expect_status(0)?;
    Ok(())
}

fn save(instance: &Instance, file: &Path) -> Result<(), Failed> {
    contains(&instance.ask(&[&format!("snapshot {}", file.display())])?, "saved in ")
}

fn on_the_way() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (mode, options) in MODES {
        trials.push(guest_test(
            &format!("two_computing_processors_go_on_from_a_snapshot_file ({mode})"),
            move || {
                let folder = Folder::new();
                let file = folder.file("a.kvmstate");
                let source = two_counters(options)?;
                save(&source, &file)?;
                // The first one goes on, too.
                finish(source)?;
                let restore = Kvm::new().arg("--restore").arg(&file);
                let mut restored = Instance::start(restore.args(options).args(["--keys", "serial"]))?;
                expect_exact(&mut restored)?;
                finish(restored)
            },
        ));
        trials.push(guest_test(
            &format!("two_computing_processors_return_to_a_snapshot_in_memory ({mode})"),
            move || {
                let mut source = two_counters(options)?;
                source.ask(&["savevm here"])?;
                expect_exact(&mut source)?;
                source.ask(&["loadvm here"])?;
                expect_exact(&mut source)?;
                finish(source)
            },
        ));
        trials.push(
            guest_test(&format!("two_computing_processors_migrate ({mode})"), move || {
                let port = free_port();
                let source = two_counters(options)?;
                let arguments = [&["--keys", "serial"], options].concat();
                let mut destination = Instance::destination(port, &arguments)?;
                contains(&source.ask(&[&migrate(port)])?, "migration complete")?;
                source.expect_migrated()?;
                expect_exact(&mut destination)?;
                finish(destination)
            })
            .with_kind("migration"),
        );
    }
    trials
}
