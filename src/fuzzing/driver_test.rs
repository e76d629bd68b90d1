//! Targets with known defects: each is found, and correct targets pass.

use super::*;
use crate::arch::PAGE_SIZE;

/// A driver that starts from one input, in a folder of its own.
fn hunt(name: &str, input: &[u8]) -> FuzzDriver {
    let folder = std::env::temp_dir().join(format!("kvm-hunt-{name}-{}", std::process::id()));
    let seeds = folder.join("seeds");
    fs::create_dir_all(&seeds).unwrap();
    fs::write(seeds.join("only"), input).unwrap();
    let (time, slow) = (Duration::from_secs(20), Duration::from_millis(50));
    let artifacts = folder.join("artifacts");
    FuzzDriver { folders: vec![seeds], time, slow, seed: 7, artifacts, ..FuzzDriver::new("planted") }
}

/// Expects a failure of `target` with its message; the saved input reproduces it.
fn finds(name: &str, input: &[u8], target: fn(&[u8]), words: &str) -> Vec<u8> {
    let hunt = hunt(name, input);
    let found = hunt.search(&target).unwrap_err();
    assert!(found.what.contains(words), "{}", found.what);
    assert_eq!(fs::read(&found.kept).unwrap(), found.input);
    assert!(hunt.check(&found.input, &target).is_err(), "it does it again");
    assert_eq!(fs::read_dir(&hunt.artifacts).unwrap().count(), 1, "nothing else is kept");
    fs::remove_dir_all(hunt.artifacts.parent().unwrap()).unwrap();
    found.input
}

/// Records of a length (16 bits, little-endian) and as many bytes; one of the lengths is trusted without a
/// check.
fn believes_a_length(input: &[u8]) {
    let mut rest = input;
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length));
        if behind.first() == Some(&b'C') {
            rest = &behind[length..];
        } else {
            rest = behind.get(length..).unwrap_or_default();
        }
    }
}

#[test]
fn a_target_that_trusts_a_length_fails() {
    finds("length", b"\x03\0Abc\x02\0Bc\x04\0Cdef", believes_a_length, "it panics: range start index");
}

#[test]
fn an_input_that_allocates_much_memory_fails() {
    let target = |input: &[u8]| {
        if let [_, pages, ..] = input {
            let pages = if *pages > 0x7F { usize::from(*pages) << 7 } else { 1 };
            std::hint::black_box(vec![1u8; pages * PAGE_SIZE as usize]);
        }
    };
    finds("memory", b"\x01\x02", target, "bytes of memory");
}

#[test]
fn an_input_that_takes_too_long_fails() {
    let target = |input: &[u8]| {
        if input.len() > 9 {
            thread::sleep(Duration::from_millis(60));
        }
    };
    finds("slow", b"123456789", target, "it takes 6");
}

#[test]
fn a_correct_target_passes() {
    let hunt = FuzzDriver { time: Duration::from_millis(100), ..hunt("order", b"any") };
    let tried = hunt.search(&|input| assert!(input.len() < 1 << 20)).unwrap();
    assert!(tried > 20, "{tried}");
    assert!(!hunt.artifacts.exists(), "nothing is left behind");
    fs::remove_dir_all(hunt.artifacts.parent().unwrap()).unwrap();
}
