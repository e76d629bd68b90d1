use super::super::bar::BarMapping;
use super::*;

const IDENTITY: PciIdentity =
    PciIdentity { vendor: 0x1234, device: 0x5678, revision: 0x9A, class: 0x01_02_03 };

fn bar(space: &ConfigurationSpace, index: u8) -> u32 {
    space.read(0x10 + 4 * index, 4)
}

#[test]
fn the_identity_is_where_the_specification_has_it_and_cannot_be_written() {
    let mut space = ConfigurationSpace::new(IDENTITY);
    space.write(0x00, 4, 0xFFFF_FFFF);
    space.write(0x08, 4, 0);
    assert_eq!((space.read(0x00, 4), space.read(0x08, 4)), (0x5678_1234, 0x0102_039A));
    assert_eq!((space.vendor_and_device(), space.class()), ((0x1234, 0x5678), 0x01_02_03));
    assert_eq!((space.read(0x0A, 1), space.read(0x0A, 2), space.read(0x01, 2)), (2, 0x0102, 0x7812));
}

#[test]
fn reserved_registers_read_as_zero_and_ignore_writes() {
    let mut space = ConfigurationSpace::new(IDENTITY);
    for register in (0x0C..=0xFC).step_by(4) {
        space.write(register, 4, 0xFFFF_FFFF);
        assert_eq!(space.read(register, 4), 0, "register {register:#x}");
    }
    // Without an interrupt pin there is no interrupt line.
    assert_eq!(space.interrupt(), None);
}

#[test]
fn writing_ones_to_base_address_registers_tells_their_sizes() {
    let mut space = ConfigurationSpace::new(IDENTITY)
        .bar(0, BarKind::Io { size: 16 })
        .bar(1, BarKind::Memory { size: 0x1000, prefetchable: false })
        .bar(2, BarKind::Memory { size: 0x0200_0000, prefetchable: true });
    assert_eq!([0, 1, 2, 3].map(|index| bar(&space, index)), [1, 0, 8, 0]);
    for index in 0..6 {
        space.write(0x10 + 4 * index, 4, 0xFFFF_FFFF);
    }
    let sizes = [0, 1, 2, 3, 4, 5].map(|index| bar(&space, index));
    assert_eq!(sizes, [0xFFFF_FFF1, 0xFFFF_F000, 0xFE00_0008, 0, 0, 0]);
    assert!(space.mappings().all(|mapping| mapping.base.is_none()), "no address while sizes are asked for");
    space.write(0x10, 4, 0x0000_C04F);
    space.write(0x14, 4, 0xFEBF_1234);
    assert_eq!([bar(&space, 0), bar(&space, 1)], [0xC041, 0xFEBF_1000]);
}

#[test]
fn the_command_register_enables_ports_and_memory_each() {
    let mut space = ConfigurationSpace::new(IDENTITY)
        .word(COMMAND, 0, COMMAND_IO | COMMAND_MEMORY)
        .bar(0, BarKind::Io { size: 8 })
        .bar(5, BarKind::Memory { size: 16, prefetchable: false });
    space.write(0x10, 4, 0x0000_C000);
    space.write(0x24, 4, 0xFE00_0000);
    let enabled = |space: &ConfigurationSpace| -> Vec<bool> {
        space.mappings().map(|mapping| mapping.enabled).collect()
    };
    for (command, expected) in
        [(0, [false, false]), (1, [true, false]), (2, [false, true]), (0xFFFF, [true, true])]
    {
        space.write(COMMAND, 2, command);
        assert_eq!(enabled(&space), expected, "command {command}");
    }
    assert_eq!(space.command(), 3);
    let first = space.mappings().next();
    let expected = BarMapping { index: 0, kind: BarKind::Io { size: 8 }, base: Some(0xC000), enabled: true };
    assert_eq!(first, Some(expected));
}

#[test]
fn status_bits_are_cleared_by_writing_ones_and_by_nothing_else() {
    let space = ConfigurationSpace::new(IDENTITY).word(COMMAND, 0, 0x0007).status(0x0280, 0xF900);
    let mut contents = space.contents().to_vec();
    contents[7] |= 0xF0;
    let mut space = space.with_contents(&contents).unwrap();
    assert_eq!(space.read(STATUS, 2), 0xF280);
    space.write(STATUS, 2, 0x0FFF);
    assert_eq!(space.read(STATUS, 2), 0xF280);
    space.write(STATUS + 1, 1, 0x20);
    assert_eq!(space.read(STATUS, 2), 0xD280);
    space.write(COMMAND, 4, 0xFFFF_0005);
    assert_eq!(space.read(COMMAND, 4), 0x0280_0005);
}

#[test]
fn an_interrupt_pin_brings_an_interrupt_line_register() {
    let mut space = ConfigurationSpace::new(IDENTITY).interrupt_pin(1);
    space.write(0x3C, 4, 0xFFFF_FF0B);
    assert_eq!((space.read(0x3C, 4), space.interrupt()), (0x0000_010B, Some((1, 0x0B))));
}

#[test]
fn contents_that_the_guest_cannot_have_written_are_refused() {
    let space = ConfigurationSpace::new(IDENTITY).word(COMMAND, 0, 0x0007);
    for (register, value) in [(0x00, 0x35), (0x04, 0x08), (0x40, 0x01), (0xFF, 0x80)] {
        let mut contents = space.contents().to_vec();
        contents[register] = value;
        let error = space.with_contents(&contents).unwrap_err().to_string();
        assert!(error.contains(&format!("register {register:#04x} of 1234:5678")), "{error}");
    }
    assert!(space.with_contents(&[0; 255]).is_err());
}
