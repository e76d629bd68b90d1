//! The order of the rooms, as ARCHITECTURE.md lists them, holds in the code.
//!
//! Each room may import only rooms that stand before it in the table. Comments are not looked at, so that
//! documentation may point anywhere.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Rooms that any room may use: they exist in tests and fuzz targets only.
const FOR_TESTS: &[&str] = &["fuzzing"];

/// Rooms with `unsafe` code; the lints of the crate hold this, too, but not that the table says so.
const UNSAFE_COLUMN: &str = "unsafe";

#[derive(Debug)]
struct Room {
    name: String,
    may_be_unsafe: bool,
}

/// The rows of the table under "## Rooms" in ARCHITECTURE.md.
fn rooms() -> Vec<Room> {
    let text = fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap();
    let (_, section) = text.split_once("\n## Rooms\n").expect("a section on the rooms");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.trim_end_matches('`').to_owned();
        let may_be_unsafe = cells.any(|cell| cell.contains(UNSAFE_COLUMN));
        Some(Room { name, may_be_unsafe })
    };
    section.lines().filter_map(row).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "c") {
            found.push(path);
        }
    }
}

/// The room a file belongs to; `None` for `lib.rs` and `main.rs`.
fn room_of(path: &Path) -> Option<String> {
    let path = path.strip_prefix(Path::new(ROOT).join("src")).unwrap();
    let first = path.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(name, "lib" | "main")).then(|| name.to_owned())
}

/// The lines of a file without comments, numbered from 1.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let without = |line: &'_ str| line.find("//").unwrap_or(line.len());
    (1..).zip(text.lines()).map(move |(number, line)| (number, &line[..without(line)]))
}

/// The first name behind each `prefix` in `line`; several for `prefix{a, b}`.
fn names_after<'l>(line: &'l str, prefix: &str) -> Vec<&'l str> {
    let mut names = Vec::new();
    for (at, _) in line.match_indices(prefix) {
        let rest = &line[at + prefix.len()..];
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        match rest.strip_prefix('{') {
            Some(list) => {
                let list = list.split(['}', ';']).next().unwrap_or(list);
                names.extend(list.split(',').map(|name| {
                    let name = name.trim();
                    &name[..name.find(|c| !is_name(c)).unwrap_or(name.len())]
                }));
            }
            None => names.push(&rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())]),
        }
    }
    names
}

/// Every line of every room's code: room, place for messages, and the line.
fn every_line(mut look: impl FnMut(&str, &str, &str)) {
    let mut files = Vec::new();
    sources(&Path::new(ROOT).join("src"), &mut files);
    for path in files {
        let Some(room) = room_of(&path) else { continue };
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(ROOT).unwrap().display();
        for (number, line) in code(&text) {
            look(&room, &format!("{name}:{number}"), line);
        }
    }
}

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn the_table_lists_every_room_once() {
    let mut listed: Vec<String> = rooms().into_iter().map(|room| room.name).collect();
    let mut files = Vec::new();
    sources(&Path::new(ROOT).join("src"), &mut files);
    let mut found: Vec<String> = files.iter().filter_map(|path| room_of(path)).collect();
    found.retain(|room| !FOR_TESTS.contains(&room.as_str()));
    found.sort();
    found.dedup();
    listed.sort();
    assert_eq!(listed, found);
}

#[test]
fn rooms_import_only_rooms_before_them() {
    let order: BTreeMap<String, usize> =
        rooms().into_iter().enumerate().map(|(place, room)| (room.name, place)).collect();
    let mut violations = Vec::new();
    every_line(|room, place, line| {
        let Some(own) = order.get(room) else { return };
        for other in names_after(line, "crate::") {
            if order.get(other).is_some_and(|other| other > own) {
                violations.push(format!("{place}: `{room}` uses `{other}`, which comes after it"));
            }
        }
    });
    assert_none(&violations);
}

#[test]
fn kvm_bindings_stay_in_their_room() {
    let mut violations = Vec::new();
    every_line(|room, place, line| {
        if room != "kvm" && (line.contains("kvm_bindings") || line.contains("kvm_ioctls")) {
            violations.push(format!("{place}: {}", line.trim()));
        }
    });
    assert_none(&violations);
}

#[test]
fn unsafe_code_stands_only_where_the_table_allows_it() {
    let allowed: Vec<String> =
        rooms().into_iter().filter(|room| room.may_be_unsafe).map(|room| room.name).collect();
    let mut violations = Vec::new();
    every_line(|room, place, line| {
        let is_unsafe =
            line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl");
        if is_unsafe && !allowed.iter().any(|allowed| allowed == room) {
            violations.push(format!("{place}: {}", line.trim()));
        }
    });
    assert_none(&violations);
}

#[test]
fn no_two_public_types_have_one_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    every_line(|_, place, line| {
        for keyword in ["pub struct ", "pub enum ", "pub trait ", "pub type "] {
            if line.trim_start().starts_with(keyword) {
                let name = names_after(line, keyword).remove(0);
                places.entry(name.to_owned()).or_default().push(place.to_owned());
            }
        }
    });
    let twice: Vec<String> = places
        .into_iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect();
    assert_none(&twice);
}

/// Longest source file, in lines.
const LONGEST_FILE: usize = 500;

#[test]
fn no_source_file_is_too_long() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "fuzz/fuzz_targets", "driver"] {
        sources(&Path::new(ROOT).join(folder), &mut files);
    }
    let mut violations = Vec::new();
    for path in files {
        let length = fs::read_to_string(&path).unwrap().lines().count();
        if length > LONGEST_FILE {
            let name = path.strip_prefix(ROOT).unwrap().display();
            violations.push(format!("{name}: {length} lines, at most {LONGEST_FILE}: split it by concept"));
        }
    }
    assert_none(&violations);
}

#[test]
fn imports_are_found_however_they_are_written() {
    assert_eq!(names_after("use crate::{kvm, boot::load};", "crate::"), ["kvm", "boot"]);
    assert_eq!(names_after("    crate::kvm::probe(crate::arch::X)", "crate::"), ["kvm", "arch"]);
    assert_eq!(
        code("a // crate::b\n/// crate::c\nd").map(|(_, line)| line).collect::<Vec<_>>(),
        ["a ", "", "d"]
    );
}

#[test]
fn files_that_documents_name_exist() {
    let mut documents = vec![Path::new(ROOT).join("docs")];
    let mut texts = Vec::new();
    while let Some(path) = documents.pop() {
        for entry in fs::read_dir(path).unwrap() {
            texts.push(entry.unwrap().path());
        }
    }
    texts.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| Path::new(ROOT).join(name)));
    let mut missing = Vec::new();
    for text in texts.iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let content = fs::read_to_string(text).unwrap();
        for word in content.split(|c: char| c.is_whitespace() || "`()[],;:|".contains(c)) {
            let word = word.trim_end_matches('.').trim_start_matches("../");
            let is_path = ["src/", "tests/", "scripts/", "benches/", "docs/", "target-examples/", "fuzz/"]
                .iter()
                .any(|folder| word.starts_with(folder));
            let is_pattern = word.chars().any(|c| "<>*{}".contains(c)) || word.contains("TARGET");
            let word = word.split('#').next().unwrap_or(word);
            if is_path && !is_pattern && !Path::new(ROOT).join(word).exists() {
                missing.push(format!("{}: {word}", text.strip_prefix(ROOT).unwrap().display()));
            }
        }
    }
    assert_none(&missing);
}

/// The example of a device in CONTRIBUTING.md is a diff against the sources as they are.
#[test]
fn the_device_that_is_shown_to_contributors_applies() {
    let text = fs::read_to_string(Path::new(ROOT).join("CONTRIBUTING.md")).unwrap();
    let (_, diff) = text.split_once("```diff\n").expect("a diff");
    let (diff, _) = diff.split_once("```").expect("its end");
    let mut child = match Command::new("git")
        .args(["apply", "--check", "-"])
        .current_dir(ROOT)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    {
        Ok(child) => child,
        Err(error) => return println!("skipped: git cannot be run ({error})"),
    };
    child.stdin.take().unwrap().write_all(diff.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
