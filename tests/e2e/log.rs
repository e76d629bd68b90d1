//! What the log of a run holds, as text and as JSON.

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{FinishedRun, Kvm, guest, guest_test, skip_unless_all};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let processor = vec![guest_test("the_log_counts_exits_and_emulated_instructions", || {
        let ran = Kvm::with_guest("multi-com").arg("--log-format=json").run();
        let lines = objects(&ran)?;
        let totals = lines.last().ok_or("an empty log")?;
        let number = |key: &str| totals[key].as_u64().unwrap_or(u64::MAX);
        ran.check(totals["message"] == "totals", "totals at the end")?;
        ran.check(number("halts") == 1 && number("port_writes") > 52, &format!("the exits in {totals}"))?;
        let reasons =
            ["port_writes", "port_reads", "mmio_writes", "mmio_reads", "halts", "kicks", "debug_stops"];
        let sum: u64 = reasons.into_iter().chain(["refusals", "others"]).map(number).sum();
        ran.check(sum == number("exits"), &format!("the sum of {totals}"))?;
        ran.check(totals["seconds"].as_f64().is_some_and(|time| time > 0.0), &format!("a time in {totals}"))?;
        ran.check(number("emulated_instructions") == 0, &format!("no emulation in {totals}"))?;
        Ok(())
    })];
    let independent = vec![
        guest_test("the_log_begins_with_program_settings_host_and_guest_and_ends_with_the_result", || {
            let ran = Kvm::new().arg(guest("recursion")).args(["--memory", "9", "--append", "a b"]).run();
            let log = ran.folder.read("console.log");
            let lines: Vec<&str> = log.lines().collect();
            let starts = [
                "kvm 0.1.0 command_line=\"",
                "settings memory=9M append=\"a b\" display=auto keys=auto layout=us \
                 serial=1=stdio,2=log,3=log,4=log debugcon=stdio logfile=console.log log-level=info",
                "host device=/dev/",
                "guest file path=",
            ];
            for (line, start) in lines.iter().zip(starts) {
                let found =
                    line.strip_prefix("   0.000000  INFO kvm::log: ").is_some_and(|it| it.starts_with(start));
                ran.check(found, &format!("{start:?}, not {line:?}"))?;
            }
            let bytes = std::fs::metadata(guest("recursion"))?.len();
            let file = format!("/recursion.elf bytes={bytes} build_id=none");
            ran.check(lines[0].ends_with(" --memory 9 --append a b\""), "the command line")?;
            ran.check(lines[3].ends_with(&file), "the guest file")?;
            for field in [" kernel=", " kvm_modules=", " ring_0_is_executed=\""] {
                ran.check(lines[2].contains(field), &format!("{field} in {:?}", lines[2]))?;
            }
            // What KVM cannot do is logged with its consequence.
            for line in lines.iter().filter(|line| line.contains("leaf 7")) {
                ran.check(line.contains("is hidden from the guest: "), &format!("a reason in {line:?}"))?;
            }
            let end = lines.len().saturating_sub(2);
            ran.check(
                lines[end].ends_with(" INFO kvm::app: the guest halted; result (RAX) 610 (0x262)."),
                "result",
            )?;
            ran.check(lines[end + 1].contains(" INFO kvm::app: totals seconds="), "the totals")?;
            Ok(())
        }),
        guest_test("every_line_of_a_json_log_is_an_object", || {
            let ran =
                Kvm::with_guest("triple-fault").args(["--log-format", "json", "--log-level", "trace"]).run();
            let lines = objects(&ran)?;
            for line in &lines {
                let complete = line["time"].is_number()
                    && ["level", "target", "message"].iter().all(|key| line[key].is_string());
                ran.check(complete, &format!("time, level, target and message in {line}"))?;
            }
            let find = |message: &str| lines.iter().find(|line| line["message"] == message);
            ran.check(find("settings").is_some_and(|line| line["log-format"] == "json"), "the settings")?;
            ran.check(find("guest file").is_some_and(|line| line["build_id"] == "none"), "the guest file")?;
            ran.check(find("kvm: TRIPLE FAULT. Shutting down").is_some(), "the end")?;
            ran.check(lines.iter().any(|line| line["level"] == "ERROR"), "an error")?;
            Ok(())
        }),
        guest_test("a_config_file_chooses_the_log_format_and_the_level_holds_for_the_header", || {
            let ran =
                Kvm::with_guest("recursion").file("config.ini", "[log]\nformat = json\nlevel = warn\n").run();
            ran.expect_status(0)?.expect_file("console.log", "")?;
            Ok(())
        }),
        guest_test("a_guest_file_with_a_build_id_is_logged_with_it", || {
            let kvm = Kvm::new().arg("id.elf");
            let mut file = std::fs::read(guest("recursion"))?;
            // A program header for a note, in place of the first one that the loader ignores.
            let (table, count) = (u64_at(&file, 32) as usize, usize::from(file[56]));
            let ignored = (0..count)
                .map(|index| table + 56 * index)
                .find(|at| {
                    u32::from_le_bytes(file[*at..at + 4].try_into().expect("four bytes")) == 0x6474_E551
                })
                .ok_or("no PT_GNU_STACK")?;
            let note = file.len() as u64;
            file[ignored..ignored + 4].copy_from_slice(&4_u32.to_le_bytes());
            file[ignored + 8..ignored + 16].copy_from_slice(&note.to_le_bytes());
            file[ignored + 32..ignored + 40].copy_from_slice(&20_u64.to_le_bytes());
            file.extend(b"\x04\0\0\0\x04\0\0\0\x03\0\0\0GNU\0\xAB\xCD\x01\x02");
            std::fs::write(kvm.folder.file("id.elf"), file)?;
            kvm.run().expect_status(0)?.expect_log("build_id=abcd0102")?;
            Ok(())
        }),
    ];
    processor.into_iter().chain(skip_unless_all(independent)).collect()
}

fn u64_at(file: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(file[at..at + 8].try_into().expect("eight bytes"))
}

/// The lines of the log, each of which must be a JSON object.
fn objects(ran: &FinishedRun) -> Result<Vec<Value>, Failed> {
    let log = ran.folder.read("console.log");
    let parse = |line: &str| {
        let value: Value = serde_json::from_str(line).map_err(|error| format!("{line:?}: {error}"))?;
        if value.is_object() { Ok(value) } else { Err(format!("{line:?} is no object").into()) }
    };
    log.lines().map(parse).collect()
}
