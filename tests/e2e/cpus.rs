//! Machines with several processors, at the same time and by turns.

use std::path::Path;

use libtest_mimic::{Failed, Trial};

use crate::support::migration::{Instance, contains, free_port, migrate};
use crate::support::{Folder, Kvm, Lane, guest_test, lane};

const SCHEDULES: [&str; 2] = ["parallel", "serial"];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = SCHEDULES.into_iter().flat_map(with_schedule).collect();
    trials.extend(on_the_way());
    trials
}

fn with_schedule(schedule: &'static str) -> Vec<Trial> {
    let cpus = move |guest: &str, count: &str| {
        Kvm::with_guest(guest).args(["--cpus", count, "--schedule", schedule, "--timeout", "120"])
    };
    vec![
        guest_test(&format!("two_processors_count_to_a_million_exactly ({schedule})"), move || {
            let ran = cpus("cpus", "2").run();
            ran.expect_out("2 processors have counted\n")?.expect_err("result (RAX) 1000000 ")?;
            ran.expect_status(0)?;
            Ok(())
        }),
        guest_test(&format!("sixteen_processors_are_started ({schedule})"), move || {
            let ran = cpus("cpus", "16").run();
            ran.expect_out("16 processors have counted\n")?.expect_err("result (RAX) 1000000 ")?;
            ran.expect_log("CPU 15 starts at 0x70000")?;
            Ok(())
        }),
        guest_test(&format!("processors_interrupt_stop_and_restart_each_other ({schedule})"), move || {
            cpus("ipi", "2").run().expect_err("result (RAX) 127 ")?.expect_status(0)?;
            Ok(())
        }),
        guest_test(&format!("a_triple_fault_names_the_processor ({schedule})"), move || {
            let ran = cpus("second-fault", "2").run();
            ran.expect_err("triple fault on CPU 1")?.expect_status(8)?;
            // AMD-V has reset the registers.
            if lane() != Lane::Amd {
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

fn two_counters(schedule: &str) -> Result<Instance, Failed> {
    let mut source =
        Instance::source("two-counters", &["--cpus", "2", "--schedule", schedule, "--keys", "serial"])?;
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
    for schedule in SCHEDULES {
        trials.push(guest_test(
            &format!("two_computing_processors_go_on_from_a_snapshot_file ({schedule})"),
            move || {
                let folder = Folder::new();
                let file = folder.file("a.kvmstate");
                let source = two_counters(schedule)?;
                save(&source, &file)?;
                // The first one goes on, too.
                finish(source)?;
                let restore = Kvm::new().arg("--restore").arg(&file);
                let mut restored =
                    Instance::start(restore.args(["--schedule", schedule, "--keys", "serial"]))?;
                expect_exact(&mut restored)?;
                finish(restored)
            },
        ));
        trials.push(guest_test(
            &format!("two_computing_processors_return_to_a_snapshot_in_memory ({schedule})"),
            move || {
                let mut source = two_counters(schedule)?;
                source.ask(&["savevm here"])?;
                expect_exact(&mut source)?;
                source.ask(&["loadvm here"])?;
                expect_exact(&mut source)?;
                finish(source)
            },
        ));
        trials.push(
            guest_test(&format!("two_computing_processors_migrate ({schedule})"), move || {
                let port = free_port();
                let source = two_counters(schedule)?;
                let arguments = ["--keys", "serial", "--schedule", schedule];
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
