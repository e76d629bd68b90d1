use super::super::{TABLE, downcast_mut};
use super::*;
use crate::devices::pci::function::PciFunction;
use crate::devices::pci::space::{COMMAND, ConfigurationSpace, PciIdentity};
use crate::devices::scratch;
use crate::devices::table::Registration;
use crate::devices::{MachineTime, OPEN_BUS};

/// Slots 8 and 12 have their INTA# at the same input of the ISA bridge.
const SLOTS: [PciAddress; 2] =
    [PciAddress { device: 8, function: 0 }, PciAddress { device: 12, function: 0 }];
const IDENTITY: PciIdentity = PciIdentity { vendor: 1, device: 2, revision: 0, class: 0 };

#[derive(Debug)]
struct Function(ConfigurationSpace);

impl PciFunction for Function {
    fn space(&self) -> &ConfigurationSpace {
        &self.0
    }

    fn space_mut(&mut self) -> &mut ConfigurationSpace {
        &mut self.0
    }
}

/// A board with two scratch registers that are PCI functions with 16 ports each, set up.
fn board() -> Board {
    let scratch = SLOTS.map(|at| Registration {
        pci: Some(at),
        number: u16::from(at.device),
        ports: &[],
        interrupt: None,
        ..scratch::ENTRY
    });
    let table: Vec<Registration> = TABLE.iter().cloned().chain(scratch).collect();
    let mut board = Board::new(table.leak());
    for at in SLOTS {
        let space = ConfigurationSpace::new(IDENTITY)
            .word(COMMAND, 0, 0x0407)
            .bar(0, BarKind::Io { size: 16 })
            .interrupt_pin(1);
        downcast_mut::<PciBus>(&mut board.slots[usize::from(board.pci)]).add(at, Box::new(Function(space)));
    }
    board.set_up_pci();
    board
}

fn configure(board: &mut Board, at: PciAddress, register: u32, value: u32) {
    let address = 0x8000_0000 | u32::from(at.device) << 11 | u32::from(at.function) << 8 | register;
    let _ = board.port_out(0xCF8, 4, address);
    let _ = board.port_out(0xCFC, 4, value);
}

fn configuration(board: &mut Board, at: PciAddress, register: u32) -> u32 {
    let address = 0x8000_0000 | u32::from(at.device) << 11 | u32::from(at.function) << 8 | register;
    let _ = board.port_out(0xCF8, 4, address);
    board.port_in(0xCFC, 4).0
}

/// Has the scratch registers at these ports raise their interrupt.
fn raise(board: &mut Board, ports: &[u16]) {
    for port in ports {
        let _ = board.port_out(port + 1, 1, 0);
    }
    board.advance(MachineTime::from_nanos(1), |_| {});
}

fn high_lines(board: &Board) -> Vec<u8> {
    // Line 0 is the timer's.
    (1..16).filter(|line| board.interrupts().level(*line)).collect()
}

#[test]
fn a_function_answers_where_its_base_address_register_says_and_only_if_it_may() {
    let mut board = board();
    // The IDE function has the first ports.
    assert_eq!(configuration(&mut board, SLOTS[0], 0x10), 0xC011);
    let _ = board.port_out(0xC010, 1, 0x5A);
    assert_eq!(board.port_in(0xC010, 1).0 as u8, 0x5A);
    assert_eq!(board.port_in(0xC00F, 1).0 as u8, 0);
    configure(&mut board, SLOTS[0], 0x10, 0x0000_0300);
    assert_eq!(board.port_in(0x300, 1).0 as u8, 0x5A);
    assert_eq!(board.port_in(0xC010, 1).0 as u8, OPEN_BUS);
    configure(&mut board, SLOTS[0], 0x04, 0x0006);
    assert_eq!(board.port_in(0x300, 1).0 as u8, OPEN_BUS);
    configure(&mut board, SLOTS[0], 0x04, 0x0001);
    // Devices at fixed ports answer before it; what is beyond the last port answers nowhere.
    configure(&mut board, SLOTS[0], 0x10, 0x0000_0060);
    assert_ne!(board.port_in(0x64, 1).0 as u8, 0x5A);
    configure(&mut board, SLOTS[0], 0x10, 0x0001_0060);
    assert_ne!(board.port_in(0x60, 1).0 as u8, 0x5A);
    configure(&mut board, SLOTS[0], 0x10, 0x0000_FFF0);
    assert_eq!(board.port_in(0xFFF0, 1).0 as u8, 0x5A);
}

#[test]
fn interrupts_of_functions_share_the_line_that_their_pins_are_routed_to() {
    let mut board = board();
    assert_eq!(configuration(&mut board, SLOTS[0], 0x3C), 0x010B);
    assert_eq!(board.port_in(0x4D1, 1).0 as u8, 0x0C, "lines 10 and 11 are level-triggered");
    raise(&mut board, &[0xC010, 0xC020]);
    assert_eq!(high_lines(&board), [11]);
    // One of them is served.
    let _ = board.port_out(0xC011, 1, 200);
    assert_eq!(high_lines(&board), [11]);
    assert!(board.pic().describe().lines[11].requested);
    // The guest routes both elsewhere, then nowhere.
    configure(&mut board, PciAddress::ISA_BRIDGE, 0x60, 0x0505_0505);
    assert_eq!(high_lines(&board), [5]);
    configure(&mut board, PciAddress::ISA_BRIDGE, 0x60, 0x8080_8080);
    assert_eq!(high_lines(&board), [0u8; 0]);
    configure(&mut board, PciAddress::ISA_BRIDGE, 0x60, 0x0B0B_0A0A);
    assert_eq!(high_lines(&board), [11]);
    // One may switch its own off.
    configure(&mut board, SLOTS[1], 0x04, 0x0401);
    assert_eq!(high_lines(&board), [0u8; 0]);
    configure(&mut board, SLOTS[1], 0x04, 0x0001);
    assert_eq!(high_lines(&board), [11]);
}

#[test]
fn level_triggered_interrupts_are_requested_again_until_the_line_falls() {
    let mut board = board();
    for (port, value) in [(0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0xFB)].into_iter().chain([
        (0xA0, 0x11),
        (0xA1, 0x28),
        (0xA1, 2),
        (0xA1, 1),
        (0xA1, 0xF7),
    ]) {
        let _ = board.port_out(port, 1, value);
    }
    raise(&mut board, &[0xC010, 0xC020]);
    for port in [0xC010, 0xC020] {
        assert!(board.interrupt_pending(0));
        assert_eq!(board.acknowledge_interrupt(0), 0x2B);
        let _ = board.port_out(port + 1, 1, 200);
        let _ = board.port_out(0xA0, 1, 0x20);
        let _ = board.port_out(0x20, 1, 0x20);
    }
    assert!(!board.interrupt_pending(0));
}
