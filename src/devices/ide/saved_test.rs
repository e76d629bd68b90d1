//! Resets, saved states, and accesses at random.

use super::*;

#[test]
fn a_reset_ends_a_transfer_and_drops_its_answer() {
    let mut rig = Rig::new(1000);
    rig.command(0x20, 5, 1);
    let (device, _) = rig.ide.take_request().unwrap();
    rig.write(&[(CONTROL, CONTROL_SRST), (CONTROL, 0)]);
    rig.command(0x20, 6, 1);
    // One request at a time: the next one waits for the answer to the abandoned one.
    assert!(rig.ide.take_request().is_none());
    assert!(rig.ide.complete(device, Ok(contents(5, 1))).disk);
    assert_eq!(rig.read(STATUS_COMMAND), STATUS_BSY);
    let _ = rig.answer();
    assert_eq!(rig.read_bytes(SECTOR), contents(6, 1));
    // So is an answer to no request.
    let before = rig.ide.clone();
    let _ = rig.ide.complete(0, Ok(contents(5, 1)));
    let _ = rig.ide.complete(7, Ok(contents(5, 1)));
    assert_eq!(rig.ide, before);
}

#[test]
fn a_transfer_survives_save_and_restore() {
    // Reading, in the middle of the second sector; writing likewise; and waiting for the disk.
    for command in [0x20, 0x30, 0x40] {
        let mut rig = Rig::new(1000);
        rig.command(command, 5, 3);
        if command == 0x20 {
            let _ = rig.answer();
        }
        for word in 0..300 {
            let _ = rig.ide.write_wide(DATA, 2, word);
            let _ = rig.ide.read_wide(DATA, 2);
        }
        let taken = rig.ide.take_request();
        let mut copy = IdeChannel::default();
        copy.restore(&rig.ide.save()).unwrap();
        assert_eq!(copy.line(), rig.ide.line());
        // The request is made again.
        assert_eq!(copy.take_request(), taken);
        assert_eq!(copy, rig.ide);
        let mut copy = Rig { ide: copy, requests: Vec::new() };
        let mut seen = Vec::new();
        for rig in [&mut rig, &mut copy] {
            let mut words = Vec::new();
            for word in 300..768 {
                let _ = rig.ide.write_wide(DATA, 2, word);
                words.push(rig.ide.read_wide(DATA, 2).unwrap().0);
            }
            let request = taken.clone().or_else(|| rig.ide.take_request()).map(|(_, request)| request);
            let _ = rig.ide.complete(0, Ok(Vec::new()));
            seen.push((words, request, rig.read(STATUS_COMMAND)));
        }
        assert_eq!(seen[0], seen[1]);
        assert_eq!(copy.ide, rig.ide);
    }
}

#[test]
fn impossible_states_are_refused() {
    let mut rig = Rig::new(1000);
    rig.command(0x20, 5, 3);
    let _ = rig.answer();
    let changes: [fn(&mut IdeChannel); 7] = [
        |ide| ide.selected = 2,
        |ide| ide.control = 1,
        |ide| ide.drives[0].as_mut().unwrap().geometry.sectors = 0,
        |ide| ide.drives[0].as_mut().unwrap().geometry.sectors = 7,
        |ide| ide.drives[0].as_mut().unwrap().phase = Phase::DataOut,
        |ide| ide.drives[0].as_mut().unwrap().transfer.block = 3,
        |ide| ide.drives[0].as_mut().unwrap().translation.heads = 17,
    ];
    for change in changes {
        let mut state = rig.ide.clone();
        change(&mut state);
        let mut ide = IdeChannel::default();
        assert!(ide.restore(&state.save()).is_err());
        assert_eq!(ide, IdeChannel::default());
    }
}

#[test]
fn a_reset_of_the_machine_keeps_the_drives() {
    let mut rig = Rig::new(1000);
    rig.write(&[(SECTOR_COUNT, 8), (STATUS_COMMAND, 0xC6)]);
    let after = rig.ide.after_reset();
    assert_eq!(after, Rig::new(1000).ide);
}

#[test]
fn any_accesses_and_answers_leave_a_valid_state() {
    const COMMANDS: [u8; 28] = [
        0x25, 0x35, 0xC8, 0xCA, 0xA0, 0xA0, 0xA1, 0x08, 0x20, 0x24, 0x29, 0x30, 0x34, 0x39, 0x40, 0x42, 0x70,
        0x90, 0x91, 0xC4, 0xC5, 0xC6, 0xE7, 0xEC, 0xEF, 0xE6, 0x00, 0xE5,
    ];
    let mut random = Random::new(12);
    let mut rig = Rig::new(3000);
    rig.ide.attach(0, 1, DiskGeometry::disk(1 << 40, true));
    any_accesses(rig, random.next(), &COMMANDS);
    let mut rig = Rig::new(3000);
    rig.ide.attach(0, 1, DiskGeometry::cdrom(4000));
    any_accesses(rig, random.next(), &COMMANDS);
}

fn any_accesses(mut rig: Rig, seed: u64, commands: &[u8]) {
    let mut random = Random::new(seed);
    let mut taken = Vec::new();
    for step in 0..30_000 {
        let value = random.next();
        match value % 16 {
            0..=4 => drop(rig.ide.write((value >> 8) as u16 % 7, (value >> 32) as u8 >> ((value >> 40) % 8))),
            5 => drop(rig.ide.write(STATUS_COMMAND, *random.pick(commands))),
            6 if value >> 8 & 0x1F == 0 => drop(rig.ide.write(CONTROL, (value >> 32) as u8)),
            7 => drop(rig.ide.read(*random.pick(&[1, 2, 3, 4, 5, 6, 7, CONTROL]))),
            8 => taken.extend(rig.ide.take_request()),
            9 if !taken.is_empty() => {
                let (device, request): (usize, DiskRequest) = taken.remove(0);
                assert!(request.sectors <= MOST_SECTORS);
                let end = request.lba + u64::from(request.sectors);
                assert!(end <= rig.ide.disk(device).unwrap().sectors);
                let result = match (value >> 8 & 7, &request.kind) {
                    (0, _) => Err(DiskError { lba: request.lba }),
                    (_, DiskRequestKind::Read) => Ok(contents(request.lba, request.sectors)),
                    _ => Ok(Vec::new()),
                };
                let _ = rig.ide.complete(device, result);
            }
            11 => {
                if let Some((device, demand)) = rig.ide.dma_demand() {
                    let length = (value >> 8) as usize % demand.length + 1;
                    let _ = if demand.to_memory {
                        assert_eq!(rig.ide.dma_data(device, length).len(), length);
                        rig.ide.dma_taken(device, length)
                    } else {
                        rig.ide.dma_supplied(device, &vec![0; length])
                    };
                }
            }
            12 if value >> 8 & 3 == 0 => {
                // A packet that may do something.
                let _ = rig.ide.write(DEVICE, 0x10);
                let _ = rig.ide.write(STATUS_COMMAND, 0xA0);
                let code =
                    *random.pick(&[0x03, 0x12, 0x1B, 0x1E, 0x25, 0x28, 0x43, 0x46, 0x4A, 0x5A, 0xA8, 0xBD]);
                for word in
                    [code | value as u32 & 0xFF00, 0, (value >> 16) as u32, 0, (value >> 40) as u32 & 0x7F, 0]
                {
                    let _ = rig.ide.write_wide(DATA, 2, word);
                }
            }
            10 if value >> 8 & 0xFF == 0 => {
                let mut copy = IdeChannel::default();
                copy.restore(&rig.ide.save()).unwrap_or_else(|error| panic!("step {step}: {error}"));
                rig.ide = copy;
                taken.clear();
            }
            _ => {
                for _ in 0..value >> 8 & 0xFF {
                    let size = if value & 0x10_0000 == 0 { 2 } else { 4 };
                    let _ = rig.ide.read_wide(DATA, size);
                    let _ = rig.ide.write_wide(DATA, size, value as u32);
                }
            }
        }
    }
}
