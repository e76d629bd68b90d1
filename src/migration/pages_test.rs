use super::*;
use crate::fuzzing::Random;

fn page(byte: u8) -> [u8; PAGE] {
    let mut page = [byte; PAGE];
    page[17] = byte / 2;
    page
}

/// Bytes that lz4 cannot compress.
fn noise(seed: u64) -> [u8; PAGE] {
    let mut random = Random::new(seed);
    std::array::from_fn(|_| random.next() as u8)
}

fn add(encoder: &mut PageEncoder, number: u64, page: &[u8; PAGE]) {
    let read = |bytes: &mut [u8]| -> Result<(), ()> {
        bytes.copy_from_slice(page);
        Ok(())
    };
    encoder.add(number, read).unwrap();
}

fn byte_at(memory: &GuestMemory, number: u64) -> u8 {
    let mut byte = [0];
    memory.read(number * PAGE as u64, &mut byte).unwrap();
    byte[0]
}

#[test]
fn pages_arrive_where_they_were_whether_packed_or_not() {
    for compress in [false, true] {
        let memory = GuestMemory::new(2 << 20).unwrap();
        memory.write(9 * PAGE as u64, &page(9)).unwrap();
        let mut encoder = PageEncoder::new(compress);
        for (number, page) in [
            (1, page(1)),
            (2, noise(2)),
            (3, page(0)),
            (8, page(8)),
            (9, page(0)),
            (10, page(0)),
            (511, page(5)),
        ] {
            add(&mut encoder, number, &page);
        }
        let frame = encoder.take().unwrap().to_vec();
        assert_eq!(write_pages(&memory, &frame[HEADER..]).unwrap(), 7);
        assert_eq!([1, 8, 9, 511].map(|number| byte_at(&memory, number)), [1, 8, 0, 5], "{compress}");
        let mut found = [0; PAGE];
        memory.read(2 * PAGE as u64, &mut found).unwrap();
        assert_eq!(found, noise(2));
        assert_eq!(encoder.take(), None);
    }
}

#[test]
fn full_frames_are_no_longer_than_frames_may_be() {
    for compress in [false, true] {
        let memory = GuestMemory::new(8 << 20).unwrap();
        let mut encoder = PageEncoder::new(compress);
        let mut frames = Vec::new();
        for number in 0..2048 {
            add(&mut encoder, number, &noise(number));
            if encoder.is_full() {
                frames.extend(encoder.take().map(<[u8]>::to_vec));
            }
        }
        frames.extend(encoder.take().map(<[u8]>::to_vec));
        for frame in &frames {
            assert!(frame.len() <= FRAME, "{}", frame.len());
            write_pages(&memory, &frame[HEADER..]).unwrap();
        }
        assert!(frames.len() < 40, "{}", frames.len());
        let mut found = [0; PAGE];
        memory.read(2047 * PAGE as u64, &mut found).unwrap();
        assert_eq!(found, noise(2047));
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let run = |how: u8, length: u32, count: u32, first: u64, data: &[u8]| {
        let [a, b, c, _] = length.to_le_bytes();
        let mut bytes = vec![how, a, b, c];
        bytes.extend(count.to_le_bytes());
        bytes.extend(first.to_le_bytes());
        bytes.extend(data);
        write_pages(&memory, &bytes)
    };
    let one = [1; PAGE];
    assert_eq!(run(RAW, PAGE as u32, 1, 255, &one).unwrap(), 1);
    assert!(matches!(run(RAW, PAGE as u32, 1, 256, &one), Err(PagesError::Memory(_))));
    assert!(matches!(run(RAW, PAGE as u32, 1, u64::MAX, &one), Err(PagesError::Run { .. })));
    assert!(matches!(run(RAW, PAGE as u32, 2, 0, &one), Err(PagesError::Run { .. })));
    assert!(matches!(run(RAW, PAGE as u32, 1, 0, &one[1..]), Err(PagesError::CutOff)));
    assert!(matches!(run(RAW, 0, 0, 0, b""), Err(PagesError::Run { .. })));
    assert!(matches!(run(ZERO, 0, 0, 0, b""), Err(PagesError::Run { .. })));
    assert!(matches!(run(ZERO, 0, 257, 0, b""), Err(PagesError::Memory(_))));
    assert!(matches!(run(ZERO, 0, u32::MAX, 0, b""), Err(PagesError::TooMany)));
    assert!(matches!(run(LZ4, 3, 1, 0, b"abc"), Err(PagesError::Lz4 { .. })));
    assert!(matches!(run(LZ4, 3, u32::MAX, 0, b"abc"), Err(PagesError::TooMany)));
    assert!(matches!(run(9, 0, 1, 0, b""), Err(PagesError::Run { how: 9, .. })));
    assert!(matches!(write_pages(&memory, &[0; 15]), Err(PagesError::CutOff)));
}
