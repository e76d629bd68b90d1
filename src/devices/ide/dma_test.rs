//! READ DMA and WRITE DMA, with a bus master that takes and gives what the drive demands.

use super::*;

#[test]
fn sectors_are_read_by_dma_with_one_interrupt() {
    let mut rig = Rig::new(20_480);
    rig.command_48(0x25, 0x123, 300);
    for (lba, sectors) in [(0x123, 256), (0x123 + 256, 44)] {
        assert_eq!((rig.read(CONTROL), rig.ide.line(), rig.ide.dma_demand()), (STATUS_BSY, false, None));
        let action = rig.answer();
        assert!(action.disk && action.line == Some(false));
        let length = sectors as usize * SECTOR;
        assert_eq!(rig.ide.dma_demand(), Some((0, DmaDemand { to_memory: true, length })));
        assert_eq!(rig.read(STATUS_COMMAND), DATA_READY);
        let data = contents(lba, sectors);
        assert!(rig.ide.dma_data(0, 1000) == &data[..1000]);
        let _ = rig.ide.dma_taken(0, 1000);
        assert!(rig.ide.dma_data(0, usize::MAX) == &data[1000..]);
        let _ = rig.ide.dma_taken(0, length - 1000);
    }
    assert_eq!((rig.interrupt(), rig.read(STATUS_COMMAND), rig.ide.dma_demand()), (true, READY, None));
}

#[test]
fn sectors_are_written_by_dma_with_one_interrupt() {
    let mut rig = Rig::new(20_480);
    rig.command_48(0x35, 7, 257);
    for (lba, sectors, ends) in [(7, 256, false), (263, 1, true)] {
        let length = sectors as usize * SECTOR;
        assert_eq!(rig.ide.dma_demand(), Some((0, DmaDemand { to_memory: false, length })));
        assert_eq!((rig.read(CONTROL), rig.ide.take_request()), (DATA_READY, None));
        let data = contents(lba, sectors);
        let _ = rig.ide.dma_supplied(0, &data[..100]);
        assert_eq!(rig.ide.dma_demand().unwrap().1.length, length - 100);
        assert!(rig.ide.dma_supplied(0, &data[100..]).disk);
        assert_eq!(rig.read(CONTROL), STATUS_BSY);
        let _ = rig.answer();
        let request = DiskRequest { lba, sectors, kind: DiskRequestKind::Write { data, through: false } };
        assert!(rig.requests.pop() == Some(request));
        assert_eq!(rig.ide.line(), ends);
    }
    assert_eq!((rig.interrupt(), rig.read(STATUS_COMMAND)), (true, READY));
}

#[test]
fn commands_of_28_bits_transfer_by_dma_too() {
    for (command, to_memory) in [(0xC8, true), (0xC9, true), (0xCA, false), (0xCB, false)] {
        let mut rig = Rig::new(1000);
        rig.command(command, 5, 2);
        if to_memory {
            let _ = rig.answer();
        }
        let demand = DmaDemand { to_memory, length: 1024 };
        assert_eq!(rig.ide.dma_demand(), Some((0, demand)), "{command:#x}");
        // The data register is not part of it.
        let _ = (rig.ide.read_wide(DATA, 2), rig.ide.write_wide(DATA, 2, 1));
        assert_eq!(rig.ide.dma_demand(), Some((0, demand)));
        // A software reset ends it.
        rig.write(&[(CONTROL, CONTROL_SRST), (CONTROL, 0)]);
        assert_eq!((rig.ide.dma_demand(), rig.read(STATUS_COMMAND)), (None, READY));
        rig.command(command, 999, 2);
        assert_eq!((rig.interrupt(), rig.read(ERROR_FEATURES)), (true, ERROR_IDNF));
        assert_eq!(rig.ide.dma_demand(), None);
    }
}

#[test]
fn a_command_that_ends_at_once_interrupts_anew() {
    let mut rig = Rig::new(1000);
    rig.command(0x10, 0, 0);
    assert!(rig.ide.line());
    // The line falls and rises.
    assert_eq!(rig.ide.write(STATUS_COMMAND, 0x10).line, Some(false));
    assert!(rig.ide.line());
}

#[test]
fn a_transfer_by_dma_survives_save_and_restore() {
    for command in [0xC8, 0xCA] {
        let mut rig = Rig::new(1000);
        rig.command(command, 5, 3);
        if command == 0xC8 {
            let _ = rig.answer();
        }
        let _ = (rig.ide.dma_taken(0, 700), rig.ide.dma_supplied(0, &[7; 700]));
        let mut copy = IdeChannel::default();
        copy.restore(&rig.ide.save()).unwrap();
        assert_eq!(copy, rig.ide);
        assert_eq!(copy.dma_demand().unwrap().1.length, 3 * SECTOR - 700);
        assert_eq!(copy.dma_data(0, 2000), rig.ide.dma_data(0, 2000));
        for ide in [&mut copy, &mut rig.ide] {
            let _ = (ide.dma_taken(0, 836), ide.dma_supplied(0, &[8; 900]));
        }
        assert_eq!(copy.take_request(), rig.ide.take_request());
        assert_eq!(copy, rig.ide);
    }
}

#[test]
fn a_channel_of_version_1_is_restored_if_it_has_no_drives() {
    let payload = |bytes: &[u8]| Payload { kind: "ide".to_owned(), version: 1, bytes: bytes.to_vec() };
    let mut ide = IdeChannel::default();
    ide.restore(&payload(&[0, 0, 0, 1, 2])).unwrap();
    assert_eq!((ide.selected, ide.control), (1, CONTROL_NIEN));
    assert!(ide.restore(&payload(&[0, 1, 0, 1, 2])).is_err());
}
