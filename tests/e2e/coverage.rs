//! `kvm test --coverage`: which lines and functions tests have run.

use std::collections::BTreeMap;

use libtest_mimic::{Failed, Trial};

use crate::support::{FinishedRun, Kvm, guest, guest_test, source};

/// What a tracefile says of a source file.
#[derive(Debug, Default, PartialEq)]
struct Record {
    lines: BTreeMap<u32, bool>,
    functions: BTreeMap<String, bool>,
}

/// Reads a tracefile, and checks its sums (geninfo(1), "FILES").
fn records(tracefile: &str) -> Result<BTreeMap<String, Record>, Failed> {
    let mut records = BTreeMap::new();
    let (mut path, mut record) = (String::new(), Record::default());
    let mut declared = BTreeMap::new();
    for line in tracefile.lines() {
        let bad = || Failed::from(format!("the tracefile has the line `{line}`"));
        let expect = |is: bool| if is { Ok(()) } else { Err(bad()) };
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let pair = || value.split_once(',').ok_or_else(bad);
        let count = |flags: &mut dyn Iterator<Item = &bool>| flags.filter(|run| **run).count().to_string();
        match key {
            "TN" => expect(path.is_empty())?,
            "SF" => path = value.to_owned(),
            "FN" => expect(declared.insert(pair()?.1.to_owned(), pair()?.0.parse::<u32>()?).is_none())?,
            "FNDA" => {
                expect(declared.contains_key(pair()?.1))?;
                expect(record.functions.insert(pair()?.1.to_owned(), pair()?.0 == "1").is_none())?;
            }
            "FNF" => expect(value == declared.len().to_string() && declared.len() == record.functions.len())?,
            "FNH" => expect(value == count(&mut record.functions.values()))?,
            "DA" => expect(record.lines.insert(pair()?.0.parse()?, pair()?.1 == "1").is_none())?,
            "LF" => expect(value == record.lines.len().to_string())?,
            "LH" => expect(value == count(&mut record.lines.values()))?,
            "end_of_record" => {
                records.insert(std::mem::take(&mut path), std::mem::take(&mut record));
                declared.clear();
            }
            _ => return Err(bad()),
        }
    }
    Ok(records)
}

fn covered(ran: &FinishedRun) -> Result<BTreeMap<String, Record>, Failed> {
    records(&ran.folder.read("lcov.info"))
}

/// The lines of a source that its comments say are run, and not run.
fn marked(path: &str) -> Result<BTreeMap<u32, bool>, Failed> {
    let text = std::fs::read_to_string(source(path))?;
    let mark = |line: &str| match line.rsplit_once("// ")?.1 {
        "run" => Some(true),
        "not run" => Some(false),
        _ => None,
    };
    Ok((1..).zip(text.lines()).filter_map(|(number, line)| Some((number, mark(line)?))).collect())
}

const SOURCE: &str = "tests/guests/coverage.c";

/// Checks the lines of the guest `coverage`.
fn expect_marked(ran: &FinishedRun) -> Result<(), Failed> {
    let records = covered(ran)?;
    let record = records.get(SOURCE).ok_or("the source is in the tracefile")?;
    for (line, run) in marked(SOURCE)? {
        let found = record.lines.get(&line);
        ran.check(found == Some(&run), &format!("line {line}: {run}, not {found:?}"))?;
    }
    for (function, run) in [("jump", true), ("by_pointer", true), ("never", false), ("is_ignored", false)] {
        ran.check(record.functions.get(function) == Some(&run), &format!("{function}: {run}"))?;
    }
    Ok(())
}

/// The tests of the guest `coverage` that end by themselves.
fn tests_with_coverage() -> Kvm {
    let kvm = Kvm::new().arg("test").arg(guest("coverage"));
    kvm.args(["--coverage", "lcov.info", "--skip", "computes_for_ever"])
}

/// The tests that start guests.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("coverage_names_the_lines_that_tests_have_run", || {
            let ran = tests_with_coverage().args(["--jobs", "1", "--logfile", "log"]).run();
            ran.expect_status(101)?.check(ran.out.contains("test crashes ... FAILED"), "the crash")?;
            expect_marked(&ran)?;
            // The snapshot before each test has not brought a breakpoint back.
            let log = ran.folder.read("log");
            let line = log.lines().find(|line| line.contains("blocks, ")).ok_or("the number of stops")?;
            let numbers: Vec<u64> = line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
            let [.., run, all, stops] = numbers[..] else { return Err(line.into()) };
            ran.check(run == stops && run < all, &format!("one stop for each block: {line}"))?;
            Ok(())
        }),
        guest_test("coverage_of_all_jobs_is_put_together", || {
            let ran = tests_with_coverage().args(["--jobs", "2", "--retries", "1"]).run();
            ran.expect_status(101)?;
            expect_marked(&ran)
        }),
        guest_test("coverage_has_the_lines_of_a_test_that_is_stopped", || {
            let ran = Kvm::new()
                .arg("test")
                .arg(guest("coverage"))
                .args(["computes_for_ever", "--timeout", "0.3", "--coverage", "lcov.info"])
                .run();
            ran.expect_status(101)?;
            let records = covered(&ran)?;
            let lines = &records.get(SOURCE).ok_or("the source")?.lines;
            let text = std::fs::read_to_string(source(SOURCE))?;
            let run = |text: &str, part: &str| {
                let line = text.lines().position(|line| line.contains(part)).unwrap() as u32 + 1;
                lines.get(&line).copied()
            };
            ran.check(run(&text, "seen++; // stopped here") == Some(true), "the loop")?;
            ran.check(run(&text, "loop(10);") == Some(false), "another test")?;
            Ok(())
        }),
        guest_test("coverage_changes_nothing_in_guests_of_all_kinds", || {
            // Relocated, in the higher half, in 32-bit code, by the Limine boot protocol, with several processors, and
            // with code that is copied, with interrupts and `hlt`.
            for (name, file) in [
                ("tests-in-pie", "tests/guests/tests-in-pie.c"),
                ("higher-half", "target-examples/higher-half.c"),
                ("multiboot1", "tests/guests/multiboot1.c"),
                ("limine", "target-examples/limine.c"),
                ("cpus", "target-examples/cpus.c"),
                ("later", "tests/guests/later.S"),
                ("own-int3", "tests/guests/own-int3.S"),
                ("timer", "target-examples/timer.c"),
            ] {
                let test =
                    || Kvm::new().arg("test").arg(guest(name)).args(["--show-output", "--rtc", "1800000000"]);
                let reference = test().run();
                let ran = test().args(["--coverage", "lcov.info"]).run();
                let result = |out: &str| out.split("\ntest result").next().unwrap_or_default().to_owned();
                let (is, expected) = (result(&ran.out), result(&reference.out));
                ran.check(is == expected, &format!("{name}: {expected}"))?.expect_err("")?;
                let records = covered(&ran)?;
                let lines = &records.get(file).ok_or_else(|| format!("{name}: its source"))?.lines;
                ran.check(lines.values().any(|run| *run), &format!("{name}: lines that are run"))?;
            }
            Ok(())
        }),
    ]
}

/// The tests to which the processor makes no difference.
pub fn others() -> Vec<Trial> {
    vec![
        guest_test("coverage_of_several_guests_is_put_together", || {
            let ran = Kvm::new()
                .arg("test")
                .args([guest("kernel-tests"), guest("many-tests"), guest("tests-in-pie")])
                .args(["--coverage", "lcov.info", "--jobs", "2"])
                .run();
            ran.expect_status(101)?;
            let records = covered(&ran)?;
            let rust = records.get("target-examples/kernel-tests.rs").ok_or("the source in Rust")?;
            ran.check(rust.functions.get("guest_main") == Some(&true), "the function that is always run")?;
            let text = std::fs::read_to_string(source("target-examples/kernel-tests.rs"))?;
            let ignored = text.lines().position(|line| line.contains("loop {}")).unwrap() as u32 + 1;
            ran.check(rust.lines.get(&ignored) == Some(&false), "the test that is ignored")?;
            let library = records.get("target-examples/lib/kernel_test.rs").ok_or("the library in Rust")?;
            let name = "kernel_tests::a_null_pointer_crashes";
            ran.check(library.functions.get(name) == Some(&true), name)?;
            let foreign = records.keys().find(|path| path.contains("/rustc/"));
            ran.check(foreign.is_none(), "no file of Rust's own libraries")?;
            for file in ["tests/guests/many-tests.c", "tests/guests/tests-in-pie.c"] {
                ran.check(records.contains_key(file), file)?;
                ran.check(ran.out.contains(&format!("%  {file}\n")), "a line of the table")?;
            }
            ran.check(ran.out.contains("\ncoverage in lcov.info:\n"), "the table")?;
            Ok(())
        }),
        guest_test("coverage_is_no_part_of_a_report_for_programs", || {
            let ran = tests_with_coverage().args(["--format", "junit"]).run();
            ran.check(ran.out.ends_with("</testsuites>\n"), "only XML on standard output")?;
            ran.expect_err("coverage in lcov.info:\n")?;
            Ok(())
        }),
        guest_test("coverage_replaces_a_tracefile_and_no_other_file", || {
            let run = |contents: &str| tests_with_coverage().file("lcov.info", contents).run();
            run("TN:\nSF:a.c\nend_of_record\n").expect_status(101)?;
            let ran = run("a letter\n");
            ran.expect_status(2)?
                .expect_err("`lcov.info` exists, and is no lcov tracefile")?
                .expect_out("")?;
            ran.check(ran.folder.read("lcov.info") == "a letter\n", "the letter")?;
            let ran =
                Kvm::new().arg("test").arg(guest("coverage")).args(["--coverage", "no/lcov.info"]).run();
            ran.expect_status(6)?.expect_err("cannot write `no/lcov.info`")?.expect_out("")?;
            Ok(())
        }),
        guest_test("coverage_of_a_guest_without_lines_is_refused_with_the_remedy", || {
            let ran = Kvm::new().arg("test").arg(guest("coverage")).in_shell(
                "objcopy --strip-debug \"$3\" stripped.elf && exec \"$1\" \"$2\" stripped.elf --coverage lcov.info",
            );
            let ran = ran.run();
            ran.expect_status(4)?.expect_err("build it with debug information (-g")?.expect_out("")?;
            let file = crate::support::flat("hello");
            let ran = Kvm::new().arg("test").arg(file).args(["--coverage", "lcov.info"]).run();
            ran.expect_status(4)?.expect_err("is no ELF file")?.expect_out("")?;
            Ok(())
        }),
        guest_test("coverage_is_read_by_lcov_and_genhtml_where_they_are_installed", || {
            let ran = tests_with_coverage().run();
            let path = ran.folder.path();
            for (tool, arguments) in
                [("lcov", &["--summary", "lcov.info"][..]), ("genhtml", &["-o", "html", "lcov.info"])]
            {
                std::os::unix::fs::symlink(source("tests"), path.join("tests")).ok();
                std::os::unix::fs::symlink(source("target-examples"), path.join("target-examples")).ok();
                let Ok(output) = std::process::Command::new(tool).args(arguments).current_dir(path).output()
                else {
                    continue;
                };
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                ran.check(output.status.success(), &format!("{tool}: {text}"))?;
            }
            Ok(())
        }),
    ]
}
