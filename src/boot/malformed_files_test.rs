//! Malformed files: each is rejected with the right message, and none can make the loader panic, hang or
//! exhaust the host's memory.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::test_guest::{CODE, DATA, TABLE, TestGuest, words};
use super::*;
use crate::fuzzing::Random;
use crate::memory::GuestMemory;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-guests")
}

fn load_into(memory: &GuestMemory, file: &[u8], strict: bool) -> Result<LoadedGuest, BootError> {
    let options = BootOptions { strict, ..BootOptions::default() };
    load(&BytesImage::new("guest.elf", file), memory, &options)
}

#[test]
fn every_bad_guest_is_refused_with_its_message() {
    let expected = std::fs::read_to_string(directory().join("expected.txt")).unwrap();
    let memory = GuestMemory::new(8 << 20).unwrap();
    let mut wrong = Vec::new();
    for line in expected.lines() {
        let (name, fragment) = line.split_once('\t').unwrap();
        let path = directory().join(name);
        let image = FileImage::open(&path).unwrap();
        let message = match load(&image, &memory, &BootOptions::default()) {
            Ok(_) => "(it was loaded)".to_owned(),
            Err(error) => error.to_string(),
        };
        let told_which = message.starts_with(&format!("{}: ", path.display()));
        if !told_which || !message.contains(fragment) {
            wrong.push(format!("{name}:\n  expected {fragment}\n  got      {message}"));
        }
        assert!(!message.contains(char::is_control), "{name}: {message:?}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_bad_guest_has_a_line_saying_what_is_expected() {
    let expected = std::fs::read_to_string(directory().join("expected.txt")).unwrap();
    for entry in std::fs::read_dir(directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let listed = expected.lines().any(|line| line.starts_with(&format!("{name}\t")));
        assert!(listed || ["make", "expected.txt"].contains(&name.as_str()), "{name}");
    }
}

/// A number of the kind that breaks arithmetic.
fn awkward(random: &mut Random) -> u64 {
    let base = match random.below(6) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << random.below(64),
        3 => 0x20_0000,
        4 => 0xFFFF_8000_0000_0000,
        _ => random.next(),
    };
    base.wrapping_add(random.next() % 9).wrapping_sub(4)
}

/// A guest that uses everything the loader examines.
fn rich_guest() -> Vec<u8> {
    const BASE: u64 = 0xFFFF_FFFF_8000_0000;
    let relocations = words(&[0x4000, 8, 0x1000, 0x4008, 8, 0x4000]);
    let compact = words(&[0x4000, 0b101 << 1 | 1]);
    let dynamic =
        words(&[7, 0x2000, 8, 48, 9, 24, 36, 0x3000, 35, 16, 37, 8, 23, 0x2000, 2, 24, 5, 0x2000, 0, 0]);
    TestGuest::relocatable(0x1000)
        .load(CODE, 0x1000, b"\xF4")
        .load(DATA, 0x2000, &relocations)
        .load(DATA, 0x3000, &compact)
        .load(DATA, 0x4000, &[0; 64])
        .load(DATA, BASE, b"moved")
        .at_physical(0x8000)
        .header(2, DATA, 0x5000, &dynamic)
        .build()
}

#[test]
fn damaged_copies_of_a_good_guest_never_panic_and_never_take_long() {
    let good = rich_guest();
    let memory = GuestMemory::new(4 << 20).unwrap();
    load_into(&memory, &good, true).expect("the guest is good as it is");
    let table = TABLE..TABLE + 6 * 56;
    let mut random = Random::new(0x9E37_79B9_7F4A_7C15);
    let (mut loaded, mut refused) = (0, 0);
    let started = Instant::now();
    for round in 0..6000 {
        let mut file = good.clone();
        for _ in 0..=random.below(3) {
            match random.below(4) {
                0 => {
                    let at = random.below(file.len());
                    file[at] ^= 1 << random.below(8);
                }
                1 => {
                    // A whole field of a program header.
                    let at = table.start + 8 * random.below((table.end - table.start) / 8);
                    file[at..at + 8].copy_from_slice(&awkward(&mut random).to_le_bytes());
                }
                2 => {
                    // A whole word of the header or of the tables the segments contain.
                    let at = 8 * random.below(file.len() / 8);
                    file[at..at + 8].copy_from_slice(&awkward(&mut random).to_le_bytes());
                }
                _ => file.truncate(file.len() - random.below(32).min(file.len() - 64)),
            }
            if file.len() < good.len() {
                break;
            }
        }
        let one = Instant::now();
        match load_into(&memory, &file, round % 2 == 0) {
            Ok(_) => loaded += 1,
            Err(_) => refused += 1,
        }
        assert!(one.elapsed() < Duration::from_secs(2), "round {round}: {:?}", one.elapsed());
    }
    assert!(loaded > 500 && refused > 500, "{loaded} loaded, {refused} refused: too one-sided to tell");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn every_shorter_copy_of_a_good_guest_is_refused() {
    let good = TestGuest::simple().build();
    let memory = GuestMemory::new(4 << 20).unwrap();
    for length in 0..good.len() {
        let error = load_into(&memory, &good[..length], false).expect_err("not complete").to_string();
        let expected = match length {
            0 => "an empty file",
            1..4 => "unknown kind",
            _ => "the file ends",
        };
        assert!(error.contains(expected), "{length}: {error}");
    }
}

#[test]
fn as_many_segments_as_a_file_can_have_are_loaded_in_reasonable_time() {
    let mut guest = TestGuest::simple();
    for n in 1..0xFFFE {
        guest = guest.load(DATA, 0x30_0000 + n * 16, b"x");
    }
    let memory = GuestMemory::new(8 << 20).unwrap();
    let started = Instant::now();
    load_into(&memory, &guest.build(), true).unwrap();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}
