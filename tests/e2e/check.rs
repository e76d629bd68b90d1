//! `kvm check`: its report on this host, compared with what is known of this kind of host.

use std::collections::BTreeMap;

use libtest_mimic::{Failed, Trial};

use crate::support::pty::Terminal;
use crate::support::{
    ChrootFolder, FinishedRun, Kvm, Lane, chroot_command, exact_output, guest_test, halted, lane, test,
    test_device,
};

/// The column of expectations for this host; `None` for an unknown kind.
fn column() -> Option<usize> {
    match lane() {
        Lane::Emulated => Some(0),
        Lane::Amd => Some(1),
        Lane::Intel => Some(2),
        Lane::Other => None,
    }
}

/// A row: its group, its key, and the words of the three hosts in the order of [`column`]; `a|b` is either.
type Expected = (&'static str, &'static str, [&'static str; 3]);

/// The words of each kind of host.
const WORDS: [Expected; 59] = [
    ("host", "device", ["usable", "usable", "usable"]),
    ("host", "modules", ["kvm_pvm", "kvm_amd", "kvm_intel"]),
    ("host", "vendor", ["AuthenticAMD", "AuthenticAMD", "GenuineIntel"]),
    ("modes", "real", ["runs", "runs", "runs"]),
    ("modes", "protected", ["runs", "runs", "runs"]),
    ("modes", "paging_32", ["paging_dropped", "runs", "runs"]),
    ("modes", "paging_pae", ["paging_dropped", "runs", "runs"]),
    ("modes", "long", ["runs", "runs", "runs"]),
    ("modes", "huge_pages", ["triple_fault", "runs", "runs"]),
    ("modes", "long_ring3", ["runs", "runs", "runs"]),
    ("instructions", "int_n", ["refused", "runs", "runs"]),
    ("instructions", "int3", ["refused", "runs", "runs"]),
    ("instructions", "iretq", ["runs", "runs", "runs"]),
    ("instructions", "iretd_32_bit", ["refused", "runs", "runs"]),
    ("instructions", "sse_move", ["runs", "runs", "runs"]),
    ("instructions", "sse_arithmetic", ["refused", "runs", "runs"]),
    ("instructions", "fxsave", ["runs", "runs", "runs"]),
    ("instructions", "x87", ["refused", "runs", "runs"]),
    // QEMU does not always remember that the guest has switched AVX on.
    ("instructions", "avx", ["refused", "runs|raises_ud", "runs"]),
    ("instructions", "xsetbv", ["runs", "runs", "runs"]),
    ("instructions", "xgetbv", ["refused", "runs", "runs"]),
    ("instructions", "popcnt", ["refused", "runs", "runs"]),
    ("instructions", "lzcnt", ["wrong", "runs", "runs"]),
    ("instructions", "tzcnt", ["wrong", "runs", "runs"]),
    ("instructions", "andn", ["refused", "runs", "runs"]),
    ("instructions", "movbe", ["raises_ud", "runs", "runs"]),
    ("instructions", "crc32", ["refused", "runs", "runs"]),
    ("instructions", "rdrand", ["runs", "runs", "runs"]),
    ("instructions", "rdtsc", ["runs", "runs", "runs"]),
    ("instructions", "rdtscp", ["refused", "runs", "runs"]),
    ("instructions", "cpuid", ["runs", "runs", "runs"]),
    ("instructions", "cmpxchg16b", ["refused", "runs", "runs"]),
    ("instructions", "clac", ["refused", "runs", "not_offered"]),
    ("instructions", "stac", ["refused", "runs", "not_offered"]),
    ("instructions", "verw", ["refused", "runs", "runs"]),
    ("instructions", "lar", ["refused", "runs", "runs"]),
    ("calls", "int_n", ["raises_ud", "runs", "runs"]),
    ("calls", "syscall", ["stays_in_ring3", "runs", "runs"]),
    ("calls", "vmcall", ["undefined", "undefined", "answered"]),
    ("calls", "vmmcall", ["undefined", "answered", "undefined"]),
    ("calls", "foreign_hypercall", ["hangs", "answered", "answered"]),
    ("debugging", "software_breakpoints_ring0", ["refused", "guest", "debug_exit"]),
    ("debugging", "software_breakpoints_ring3", ["guest", "guest", "debug_exit"]),
    ("debugging", "hardware_breakpoints_ring0", ["stop", "missed", "stop"]),
    ("debugging", "hardware_breakpoints_ring3", ["missed", "missed", "stop"]),
    ("debugging", "resume_flag", ["ignored", "no_breakpoints", "honoured"]),
    ("debugging", "write_watchpoints_ring0", ["missed", "missed", "stop"]),
    ("debugging", "write_watchpoints_ring3", ["missed", "missed", "stop"]),
    ("debugging", "read_watchpoints_ring0", ["missed", "missed", "stop"]),
    ("debugging", "read_watchpoints_ring3", ["missed", "missed", "stop"]),
    ("debugging", "single_step_ring0", ["stops", "stops", "stops"]),
    ("debugging", "single_step_ring3", ["guest", "stops", "stops"]),
    ("debugging", "interrupt_free_stepping", ["held_back", "held_back", "held_back"]),
    ("debugging", "after_triple_fault", ["kept", "reset", "kept"]),
    ("writes", "dirty_log", ["exact", "with_page_tables", "with_page_tables"]),
    ("writes", "read_only", ["told", "told", "told"]),
    ("writes", "collected_writes", ["collected", "collected", "collected"]),
    ("speed", "ring0", ["interpreted", "native", "native"]),
    ("speed", "ring3", ["native", "native", "native"]),
];

/// Answers that are yes or no, under `host`, on the three hosts in the order of [`Host`].
const FLAGS: [(&str, [bool; 3]); 3] = [
    ("shared_registers", [true, true, true]),
    ("cpuid_huge_pages", [false, true, true]),
    ("cpuid_bit_counts", [false, true, true]),
];

/// The least and the most a number may be.
type Range = (f64, f64);

/// Counts and times: the group, the key, and the least and the most on the three hosts in the order of
/// [`Host`]. Times are orders of magnitude: all of these hosts share their processors with others.
const NUMBERS: [(&str, &str, [Range; 3]); 8] = [
    ("host", "api_version", [(12.0, 12.0); 3]),
    ("host", "recommended_vcpus", [(1.0, 4096.0); 3]),
    ("host", "most_vcpus", [(1.0, 65536.0); 3]),
    ("host", "memory_slots", [(4096.0, 1e9); 3]),
    ("host", "dirty_ring", [(0.0, 1e9); 3]),
    ("speed", "ring0_ns", [(100.0, 10_000.0), (0.05, 100.0), (0.05, 1000.0)]),
    ("speed", "ring3_ns", [(0.01, 100.0), (0.05, 100.0), (0.05, 1000.0)]),
    ("speed", "port_exit_ns", [(1e3, 1e6), (1e3, 1e7), (1e3, 1e8)]),
];

/// What is different on the driver of `driver/`, on the same processor as kvm_amd. The documentation lists it, too.
const DRIVER: [(&str, &str, Value); 7] = [
    ("host", "modules", Value::Word("yakvm")),
    ("host", "memory_slots", Value::Range(512.0, 512.0)),
    ("host", "shared_registers", Value::Flag(false)),
    ("calls", "foreign_hypercall", Value::Word("undefined")),
    ("debugging", "interrupt_free_stepping", Value::Word("not_offered")),
    ("debugging", "after_triple_fault", Value::Word("kept")),
    ("writes", "collected_writes", Value::Word("not_offered")),
];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("check_reports_what_is_known_of_this_kind_of_host", || {
            let ran = Kvm::new().args(["check", "--json"]).run();
            ran.expect_status(0)?.check(ran.err.is_empty(), "nothing on standard error")?;
            let found = object(&ran)?;
            let mut wrong = Vec::new();
            for (group, key, value) in expected_values() {
                match (found.get(&(group.to_owned(), key.to_owned())), value) {
                    (None, _) => wrong.push(format!("{group}.{key} is missing")),
                    (Some(found), Some(value)) if !value.allows(found) => {
                        wrong.push(format!("{group}.{key} is {found}, not {value:?}"));
                    }
                    _ => {}
                }
            }
            ran.check(wrong.is_empty(), &wrong.join("\n"))?;
            let known = WORDS.len() + FLAGS.len() + NUMBERS.len() + ALSO.len();
            ran.check(found.len() == known, &format!("{known} rows, not {}", found.len()))?;
            Ok(())
        }),
        test("the_documentation_of_hosts_lists_every_expected_row", || {
            let text = include_str!("../../docs/hosts.md");
            for (group, key, words) in &WORDS {
                // The documentation lists the usual value.
                let words = words.map(|words| words.split('|').next().unwrap_or_default());
                let line = format!("| `{group}.{key}` | {} |", words.join(" | "));
                assert!(text.contains(&line), "docs/hosts.md has no {line:?}");
            }
            for (key, flags) in &FLAGS {
                let line = format!("| `host.{key}` | {} |", flags.map(|flag| flag.to_string()).join(" | "));
                assert!(text.contains(&line), "docs/hosts.md has no {line:?}");
            }
            for (group, key) in NUMBERS.iter().map(|number| (number.0, number.1)).chain(ALSO) {
                assert!(text.contains(&format!("| `{group}.{key}` |")), "docs/hosts.md has no {group}.{key}");
            }
            for (group, key, value) in &DRIVER {
                let shown = match value {
                    Value::Word(word) => (*word).to_owned(),
                    Value::Flag(flag) => flag.to_string(),
                    Value::Range(least, _) => least.to_string(),
                };
                let line = format!("| `{group}.{key}` on the driver | {shown} |");
                assert!(text.contains(&line), "docs/hosts.md has no {line:?}");
            }
            Ok(())
        }),
        guest_test("check_prints_a_table_without_escape_sequences_into_a_pipe", || {
            let ran = Kvm::new().arg("check").run();
            ran.expect_status(0)?.check(ran.err.is_empty(), "nothing on standard error")?;
            ran.check(ran.out.is_ascii() && !ran.out.contains('\x1b'), "plain ASCII")?;
            let device = test_device().unwrap_or_else(|| "/dev/kvm".to_owned());
            let first = format!("Host\n  yes {device} ");
            for line in [first.as_str(), "\n  yes 64-bit, ring 0 ", "\nDebugging\n", "Guests can run here."] {
                ran.check(ran.out.contains(line), &format!("{line:?} in the table"))?;
            }
            let leaves_nothing = std::fs::read_dir(ran.folder.path())?.next().is_none();
            ran.check(leaves_nothing, "no log")?;
            Ok(())
        }),
        guest_test("check_marks_good_and_bad_in_colour_on_a_terminal", || {
            for (no_colour, coloured) in [(None, true), (Some("1"), false), (Some(""), true)] {
                let kvm = Kvm::new().arg("check");
                let mut command = kvm.command();
                command.env_remove("NO_COLOR");
                if let Some(value) = no_colour {
                    command.env("NO_COLOR", value);
                }
                let terminal = Terminal::start(&command, 120, 200);
                terminal.wait_for_text("Guests can run here.")?;
                let device = test_device().unwrap_or_else(|| "/dev/kvm".to_owned());
                terminal.wait_for_text(&format!("\u{2713} {device} "))?;
                let green = {
                    let shown = terminal.shown();
                    let mark = shown.screen().cell(1, 2).ok_or("a mark in the second line")?;
                    mark.contents() == "\u{2713}" && mark.fgcolor() == vt100::Color::Idx(2)
                };
                assert_eq!(green, coloured, "NO_COLOR {no_colour:?}");
                terminal.end()?.expect_status(0)?;
            }
            Ok(())
        }),
        guest_test("a_guest_called_check_is_run_by_its_path", || {
            let kvm = Kvm::new();
            std::fs::copy(crate::support::guest("recursion"), kvm.folder.file("check"))?;
            kvm.arg("./check").run().expect_exactly(&exact_output(0, "", halted(610)))?;
            Ok(())
        }),
        guest_test("hypercalls_return_and_leave_the_guests_code_unchanged", || {
            let ran = Kvm::with_guest("hypercalls").args(["--log-level", "debug"]).run();
            let allowed: &[u64] = match lane() {
                Lane::Emulated => &[3],
                Lane::Amd => &[1],
                Lane::Intel => &[2],
                Lane::Other => &[1, 2, 3],
            };
            let allowed: Vec<_> = allowed.iter().map(|result| exact_output(0, "", halted(*result))).collect();
            ran.expect_one_of(&allowed)?.expect_log("hypercall instructions")?;
            Ok(())
        }),
        guest_test("lzcnt_and_tzcnt_count_as_cpuid_reports", || {
            Kvm::with_guest("bit-counts").run().expect_exactly(&exact_output(0, "", halted(0)))?;
            Ok(())
        }),
        without_kvm(),
    ]
}

/// Rows that identify the host, and do not depend on its kind.
const ALSO: [(&str, &str); 2] = [("host", "kernel"), ("host", "confinement")];

/// The expected value of a row.
#[derive(Clone, Copy, Debug)]
enum Value {
    Word(&'static str),
    Flag(bool),
    Range(f64, f64),
}

impl Value {
    fn allows(&self, found: &str) -> bool {
        match self {
            Value::Word(words) => words.split('|').any(|word| found == format!("\"{word}\"")),
            Value::Flag(flag) => found == flag.to_string(),
            Value::Range(least, most) => {
                found.parse::<f64>().is_ok_and(|found| (*least..=*most).contains(&found))
            }
        }
    }
}

/// Every row there must be, and what it must hold if this kind of host is known.
fn expected_values() -> Vec<(&'static str, &'static str, Option<Value>)> {
    let column = column();
    let words =
        WORDS.iter().map(|(group, key, words)| (*group, *key, column.map(|at| Value::Word(words[at]))));
    let flags = FLAGS.iter().map(|(key, flags)| ("host", *key, column.map(|at| Value::Flag(flags[at]))));
    let numbers = NUMBERS.iter().map(|(group, key, ranges)| {
        (*group, *key, column.map(|at| Value::Range(ranges[at].0, ranges[at].1)))
    });
    let also = ALSO.iter().map(|(group, key)| (*group, *key, None));
    let mut all: Vec<_> = words.chain(flags).chain(numbers).chain(also).collect();
    if test_device().is_some() {
        for (group, key, value) in &mut all {
            if let Some((.., found)) = DRIVER.iter().find(|row| (row.0, row.1) == (*group, *key)) {
                *value = Some(*found);
            }
        }
    }
    all
}

/// The rows of an answer: group and key, and the value as it is written.
type Rows = BTreeMap<(String, String), String>;

/// Reads the JSON object that `kvm check --json` prints: objects of strings, numbers, true and false.
fn object(ran: &FinishedRun) -> Result<Rows, Failed> {
    let mut rows = Rows::new();
    let mut rest = ran.out.trim();
    let mut group = String::new();
    let mut depth = 0;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if let Some(after) = rest.strip_prefix('}') {
            depth -= 1;
            rest = after;
            if depth == 0 {
                break;
            }
        } else if let Some(after) = rest.strip_prefix('{') {
            depth += 1;
            rest = after;
        } else {
            let (key, after) = string(rest).ok_or_else(|| format!("a key, not {rest:?}"))?;
            let after = after.trim_start().strip_prefix(':').ok_or("a colon after a key")?.trim_start();
            if after.starts_with('{') {
                group = key.to_owned();
                rest = after;
                continue;
            }
            let length = match string(after) {
                Some((text, _)) => text.len() + 2,
                None => after.find([',', '\n', '}']).ok_or("a value that ends")?,
            };
            if depth == 2 {
                rows.insert((group.clone(), key.to_owned()), after[..length].to_owned());
            } else {
                ran.check(key == "usable" && &after[..length] == "true", "\"usable\": true")?;
            }
            rest = &after[length..];
        }
    }
    ran.check(rest.is_empty(), "one object and nothing behind it")?;
    Ok(rows)
}

/// A JSON string without escapes at the start of `text`, and what follows it.
fn string(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('"')?.split_once('"')
}

/// Without `/dev/kvm` there is a short table, with the remedy.
fn without_kvm() -> Trial {
    let name = "check_without_dev_kvm_names_the_remedy";
    let way = match chroot_command() {
        Ok(way) => way,
        Err(reason) => {
            return Trial::test(format!("{name} (skipped: {reason})"), || Ok(())).with_ignored_flag(true);
        }
    };
    test(name, move || {
        let table = ChrootFolder::new().run(way, &[], &["check"]);
        table.expect_status(6)?;
        table.check(table.out.starts_with("Host\n  no  /dev/kvm "), "a table")?;
        table
            .check(table.out.contains("Guests cannot run here: this host has no /dev/kvm: "), "the remedy")?;
        table.check(table.err.is_empty(), "nothing on standard error")?;
        let json = ChrootFolder::new().run(way, &[], &["check", "--json"]);
        json.expect_status(6)?;
        json.check(json.out.starts_with("{\n  \"usable\": false,\n  \"host\": {"), "an object")?;
        json.check(json.out.contains("\"device\": \"missing\",\n"), "the device")?;
        Ok(())
    })
}
