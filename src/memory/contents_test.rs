//! Chunks that are visited, and RAM that maps a file.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use super::*;

fn chunks(memory: &GuestMemory) -> Vec<(u64, u8)> {
    let mut found = Vec::new();
    let result: Result<(), ()> = memory.for_each_chunk(|at, bytes| {
        found.push((at, bytes.iter().copied().max().unwrap_or(0)));
        Ok(())
    });
    result.unwrap();
    found
}

fn file(bytes: &[u8]) -> File {
    let path = std::env::temp_dir().join(format!("kvm-contents-{}-{}", std::process::id(), bytes.len()));
    std::fs::write(&path, bytes).unwrap();
    let file = File::open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

#[test]
fn only_chunks_that_are_not_zero_are_visited() {
    let memory = GuestMemory::new(64 << 30).unwrap();
    memory.write(0x1_2345, &[7]).unwrap();
    memory.write(0x9_0000, &[0]).unwrap();
    memory.write(super::super::HIGH_RAM_BASE + (50 << 30) + 0xFFFF, &[9]).unwrap();
    assert_eq!(chunks(&memory), [(0x1_0000, 7), (super::super::HIGH_RAM_BASE + (50 << 30), 9)]);
    // All of a megabyte, up to its end.
    let memory = GuestMemory::new(1 << 20).unwrap();
    memory.write((1 << 20) - 1, &[5]).unwrap();
    assert_eq!(chunks(&memory), [((1 << 20) - CHUNK, 5)]);
}

#[test]
fn mapped_ram_holds_the_contents_of_the_file_until_it_is_written_or_discarded() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let mut bytes = vec![3; 2 * CHUNK as usize];
    bytes[CHUNK as usize..].fill(4);
    let file = file(&bytes);
    memory.map_file(0x2_0000..0x4_0000, "file", file.as_fd(), 0).unwrap();
    memory.map_file(0x8_0000..0x8_1000, "file", file.as_fd(), CHUNK).unwrap();
    // No page has been accessed yet.
    assert_eq!(chunks(&memory), [(0x2_0000, 3), (0x3_0000, 4), (0x8_0000, 4)]);
    memory.write(0x2_0000, &[9]).unwrap();
    assert_eq!(memory.read_word(0x2_0000, 2).unwrap(), 0x0309);
    let mut kept = [0];
    file.read_exact_at(&mut kept, 0).unwrap();
    assert_eq!(kept, [3], "the file is not written");
    memory.discard().unwrap();
    assert_eq!(chunks(&memory), []);
    assert_eq!(memory.read_word(0x3_0000, 8).unwrap(), 0);
}

#[test]
fn a_range_that_the_file_does_not_fill_is_refused() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let file = file(&[1; 4097]);
    for (range, offset) in [
        (0..0x2000, 0),
        (0..0x1000, 0x1000),
        (0..0x1000, u64::MAX - 0xFFF),
        (0..0x800, 0),
        (0..0, 0),
        (0xF_F000..0x10_1000, 0),
    ] {
        assert!(
            memory.map_file(range.clone(), "file", file.as_fd(), offset).is_err(),
            "{range:x?} {offset:#x}"
        );
    }
    memory.map_file(0..0x1000, "file", file.as_fd(), 0).unwrap();
}
