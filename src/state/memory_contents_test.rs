use super::*;
use crate::boot::BytesImage;

fn entry(offset: u64, length: u64) -> SectionEntry {
    SectionEntry { name: MEMORY.into(), number: 0, version: 1, checksum: 0, offset, length }
}

#[test]
fn little_memory_is_compressed_and_restored_without_zero_chunks() {
    let memory = GuestMemory::new(64 << 20).unwrap();
    memory.write(0x1_0123, b"hello").unwrap();
    memory.write(0x2_F000, &[7; 4096]).unwrap();
    memory.write(0x300_0000, b"far").unwrap();
    let mut bytes = Vec::new();
    let written: Result<_, ()> = write(&memory, |piece| {
        bytes.extend(piece);
        Ok(())
    });
    let (map, total) = written.unwrap();
    assert_eq!((map.runs.as_slice(), map.lengths.len()), (&[(1, 2), (0x300, 1)][..], 3));
    assert_eq!(total, bytes.len() as u64);
    assert!(total < 2000, "{total}");
    map.check(&entry(0, total), memory.ram()).unwrap();
    let pages = MemoryContents { map, offset: 0 };
    let copy = GuestMemory::new(64 << 20).unwrap();
    pages.each(&BytesImage::new("x", &bytes), |at, chunk| write_pages(&copy, at, chunk)).unwrap();
    assert_eq!(copy.committed().len(), 3);
    let mut found = [0; 5];
    copy.read(0x1_0123, &mut found).unwrap();
    assert_eq!(&found, b"hello");
    assert_eq!(copy.read_word(0x300_0000, 3).unwrap(), u64::from_le_bytes(*b"far\0\0\0\0\0"));
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    assert!(pages.verify(&BytesImage::new("x", &bytes)).unwrap_err().to_string().contains("damaged"));
}

#[test]
fn invalid_chunk_maps_are_refused() {
    let ram = [0..1 << 20, 1 << 32..(1 << 32) + (1 << 20)];
    let map = |runs: &[(u64, u64)], chunks: usize| ChunkMap {
        chunk: CHUNK,
        runs: runs.to_vec(),
        checksums: vec![0; chunks],
        lengths: Vec::new(),
    };
    let at = |chunks: u64| entry(4096, chunks * CHUNK);
    map(&[(0, 2), (0x1_0000, 1)], 3).check(&at(3), &ram).unwrap();
    for (wrong, bulk) in [
        (map(&[(15, 2)], 2), at(2)),
        (map(&[(0, 2), (1, 1)], 3), at(3)),
        (map(&[(0, 0)], 0), at(0)),
        (map(&[(u64::MAX, 2)], 2), at(2)),
        (map(&[(0, u64::MAX)], 2), at(2)),
        (map(&[(1 << 60, 1)], 1), at(1)),
        (map(&[(0, 2)], 1), at(2)),
        (map(&[(0, 2)], 2), at(1)),
        (map(&[(0, 2)], 2), entry(4095, 2 * CHUNK)),
        (ChunkMap { chunk: 4096, ..map(&[(0, 2)], 2) }, at(2)),
        (ChunkMap { lengths: vec![1], ..map(&[(0, 2)], 2) }, entry(0, 1)),
        (ChunkMap { lengths: vec![u32::MAX; 2], ..map(&[(0, 2)], 2) }, entry(0, 2 * u64::from(u32::MAX))),
    ] {
        assert!(wrong.check(&bulk, &ram).is_err(), "{wrong:?} {bulk:?}");
    }
}
