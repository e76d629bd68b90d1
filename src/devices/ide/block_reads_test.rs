use super::*;

#[test]
fn all_of_a_sector_but_its_end_is_read_at_once() {
    let mut rig = Rig::new(20_480);
    let mut bytes = [0; 2 * SECTOR];
    assert_eq!(rig.ide.read_block(DATA, 2, &mut bytes), 0);
    rig.command(0x20, 7, 2);
    assert_eq!(rig.ide.read_block(DATA, 2, &mut bytes), 0);
    let _ = rig.answer();
    assert!(rig.interrupt());
    assert_eq!(rig.ide.read_block(STATUS_COMMAND, 2, &mut bytes), 0);
    assert_eq!(rig.ide.read_block(DATA, 2, &mut bytes[..7]), 6);
    // The last four bytes end the sector.
    assert_eq!(rig.ide.read_block(DATA, 4, &mut bytes[6..]), SECTOR - 12);
    assert_eq!(rig.ide.read_block(DATA, 2, &mut bytes[SECTOR - 6..]), 4);
    assert_eq!(rig.ide.read_block(DATA, 2, &mut bytes[SECTOR - 2..]), 0);
    assert_eq!(bytes[..SECTOR - 2], contents(7, 1)[..SECTOR - 2]);
    assert_eq!(rig.read(CONTROL), DATA_READY);
    assert!(!rig.ide.line());
    let _ = rig.ide.read_wide(DATA, 2);
    assert_eq!((rig.read(CONTROL), rig.interrupt()), (DATA_READY, true));
    rig.write(&[(CONTROL, CONTROL_SRST)]);
    assert_eq!(rig.ide.read_block(DATA, 2, &mut bytes), 0);
}
