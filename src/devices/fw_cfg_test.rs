use super::*;

fn device() -> FirmwareConfiguration {
    let mut device = FirmwareConfiguration::default();
    device.set_up(&FirmwareFacts {
        ram_size: 64 << 20,
        cpus: 2,
        files: vec![("etc/one".to_owned(), vec![1, 2, 3]), ("etc/two".to_owned(), vec![9; 300])],
    });
    device
}

fn select(device: &mut FirmwareConfiguration, key: u16) {
    assert_eq!(device.write_wide(SELECTOR, 2, key.into()), Some(Action::NONE));
}

fn read(device: &mut FirmwareConfiguration, count: usize) -> Vec<u8> {
    (0..count).map(|_| device.read(DATA).0).collect()
}

fn request(command: u32, length: u32, address: u64) -> [u8; DMA_CONTROL] {
    let mut bytes = [0; DMA_CONTROL];
    bytes[..4].copy_from_slice(&command.to_be_bytes());
    bytes[4..8].copy_from_slice(&length.to_be_bytes());
    bytes[8..].copy_from_slice(&address.to_be_bytes());
    bytes
}

#[test]
fn firmware_finds_the_signature_and_the_files_by_the_ports() {
    let mut device = device();
    select(&mut device, SIGNATURE);
    assert_eq!(read(&mut device, 6), b"QEMU\0\0");
    select(&mut device, RAM_SIZE);
    assert_eq!(read(&mut device, 8), (64u64 << 20).to_le_bytes());
    select(&mut device, DIRECTORY);
    assert_eq!(read(&mut device, 4), [0, 0, 0, 2]);
    let entry = read(&mut device, 64);
    assert_eq!((&entry[..8], &entry[8..16]), (&[0, 0, 0, 3, 0, 0x20, 0, 0][..], &b"etc/one\0"[..]));
    select(&mut device, FIRST_FILE);
    assert_eq!(read(&mut device, 5), [1, 2, 3, 0, 0]);
    select(&mut device, 0x7777);
    assert_eq!(read(&mut device, 2), [0, 0]);
}

#[test]
fn a_request_by_dma_selects_skips_and_reads() {
    let mut device = device();
    assert_eq!(device.write_wide(DMA_HIGH, 4, 1u32.to_be()), Some(Action::NONE));
    let action = device.write_wide(DMA_LOW, 4, 0x2000u32.to_be()).unwrap();
    assert!(action.disk);
    assert_eq!((device.take_dma(), device.take_dma()), (Some(0x1_0000_2000), None));
    assert_eq!(device.transfer(request(0x20 << 16 | CONTROL_SELECT | CONTROL_SKIP, 1, 0)), DmaTransfer::Done);
    let read = device.transfer(request(CONTROL_READ, 4, 0x5000));
    assert_eq!(read, DmaTransfer::Read { address: 0x5000, length: 4 });
    let mut bytes = [0xFF; 4];
    device.read_bytes(&mut bytes);
    assert_eq!(bytes, [2, 3, 0, 0]);
    assert_eq!(device.transfer(request(CONTROL_WRITE, 4, 0x5000)), DmaTransfer::Failed);
    assert_eq!(device.transfer(request(CONTROL_SKIP, u32::MAX, 0)), DmaTransfer::Done);
    device.read_bytes(&mut bytes);
    assert_eq!(bytes, [0; 4]);
    assert_eq!((0..8).map(|at| device.read(DMA_HIGH + at).0).collect::<Vec<_>>(), b"QEMU CFG");
}

#[test]
fn a_file_is_replaced_or_added_with_its_entry_in_the_directory() {
    let mut device = device();
    device.set_file("etc/one", vec![7; 9]);
    device.set_file("bootorder", b"x\0".to_vec());
    select(&mut device, DIRECTORY);
    let bytes = read(&mut device, 4 + 3 * 64);
    assert_eq!((bytes[3], bytes[7], &bytes[4 + 128 + 8..][..9]), (3, 9, &b"bootorder"[..]));
    select(&mut device, FIRST_FILE + 2);
    assert_eq!(read(&mut device, 2), b"x\0");
}

#[test]
fn a_device_that_is_saved_in_the_middle_of_a_file_continues_there() {
    let (mut one, mut other) = (device(), FirmwareConfiguration::default());
    select(&mut one, FIRST_FILE);
    let _ = (read(&mut one, 1), one.write_wide(DMA_HIGH, 4, 5));
    let _ = one.write_wide(DMA_LOW, 4, 5);
    let _ = one.write_wide(DMA_HIGH, 4, 7);
    other.restore(&one.save()).unwrap();
    assert_eq!(other, one);
    assert_eq!((read(&mut other, 2), other.take_dma().is_some()), (vec![2, 3], true));
    let reset = other.after_reset();
    assert!(reset.is_present() && reset.selected == 0 && reset.dma_high == 0);
}

#[test]
fn states_that_the_device_cannot_have_are_refused() {
    let good = device();
    let with = |change: &dyn Fn(&mut FirmwareConfiguration)| {
        let mut state = good.clone();
        change(&mut state);
        FirmwareConfiguration::default().set_state(state).is_err()
    };
    assert!(with(&|state| state.items.swap(0, 1)));
    assert!(with(&|state| state.items[0].bytes.resize(MOST_BYTES + 1, 0)));
    assert!(with(&|state| state.items[0].name = "x".repeat(56)));
    assert!(with(&|state| state.items = vec![state.items[0].clone(); MOST_ITEMS + 1]));
    assert!(!with(&|_| {}));
}

#[test]
fn random_accesses_never_panic_and_stay_restorable() {
    let mut device = device();
    let mut seed = 0x1234_5678_9ABC_DEF0u64;
    for _ in 0..20_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let [offset, kind, size, ..] = seed.to_be_bytes();
        let offset = u16::from(offset % 12);
        match kind % 4 {
            0 => drop(device.read(offset)),
            1 => drop(device.write(offset, size)),
            2 => drop(device.write_wide(offset, 2 << (size & 1), (seed >> 3) as u32 & 0x3F)),
            _ => drop(device.transfer(request((seed >> 7) as u32, (seed >> 5) as u32, seed))),
        }
    }
    FirmwareConfiguration::default().restore(&device.save()).unwrap();
}
