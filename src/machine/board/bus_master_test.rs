//! Transfers between a disk and memory, as the guest programs them at the ports.

use super::*;
use crate::devices::ide::{DiskGeometry, DiskRequestKind, SECTOR};

const TABLE: u64 = 0x1000;
const BASE: u16 = 0xC000;
const COMMAND: u16 = 0x1F7;
/// Status of the bus master.
const ACTIVE: u32 = 1;
const ERROR: u32 = 2;
const INTERRUPT: u32 = 4;

struct Rig {
    board: Board,
    memory: GuestMemory,
}

impl Rig {
    fn new() -> Rig {
        let mut board = Board::default();
        board.attach_disk(0, DiskGeometry::disk(1000, false));
        board.set_up_pci();
        let rig = Rig { board, memory: GuestMemory::new(4 << 20).unwrap() };
        rig.memory.track_host_writes(true);
        rig
    }

    fn out(&mut self, port: u16, size: u8, value: u32) {
        if self.board.port_out(port, size, value).disk {
            self.board.transfer_by_dma(&self.memory);
        }
    }

    /// Writes the command register of the function: 1 for ports, and 4 for the bus master.
    fn set_command(&mut self, command: u32) {
        self.out(0xCF8, 4, 0x8000_0904);
        self.out(0xCFC, 2, command);
    }

    fn table(&self, regions: &[(u32, u32)]) {
        for (number, (address, length)) in (0..).zip(regions) {
            let entry = u64::from(*address) | u64::from(*length) << 32;
            self.memory.write_u64(TABLE + 8 * number, entry).unwrap();
        }
    }

    /// Starts a command and the bus master.
    fn start(&mut self, command: u8, sectors: u8, direction: u32) {
        self.start_at(TABLE as u32, command, sectors, direction);
    }

    fn start_at(&mut self, table: u32, command: u8, sectors: u8, direction: u32) {
        for (port, value) in
            [(0x1F6, 0x40), (0x1F2, sectors), (0x1F3, 5), (0x1F4, 0), (0x1F5, 0), (COMMAND, command)]
        {
            self.out(port, 1, value.into());
        }
        self.out(BASE, 1, direction);
        self.out(BASE + 2, 1, ERROR | INTERRUPT);
        self.out(BASE + 4, 4, table);
        self.out(BASE, 1, direction | 1);
    }

    /// Answers the request of the drive; its data, if it writes.
    fn answer(&mut self) -> Option<Vec<u8>> {
        let (unit, request) = self.board.take_disk_request()?;
        let (result, data) = match request.kind {
            DiskRequestKind::Read => (vec![0xA5; request.sectors as usize * SECTOR], Vec::new()),
            DiskRequestKind::Write { data, .. } => (Vec::new(), data),
            DiskRequestKind::Flush => (Vec::new(), Vec::new()),
        };
        if self.board.complete_disk_request(unit, Ok(result)).disk {
            self.board.transfer_by_dma(&self.memory);
        }
        Some(data)
    }

    fn status(&mut self) -> u32 {
        self.board.port_in(BASE + 2, 1).0 & 0xFF
    }

    fn line(&self) -> bool {
        self.board.interrupts().level(14)
    }
}

const LAST: u32 = 0x8000_0000;

#[test]
fn a_read_fills_the_regions_and_marks_their_pages() {
    let mut rig = Rig::new();
    rig.table(&[(0x2_0FF0, 0x20), (0x3_0000, LAST | (512 - 0x20))]);
    let _ = rig.memory.take_host_writes();
    rig.start(0xC8, 1, 8);
    assert_eq!((rig.status(), rig.line()), (ACTIVE, false));
    assert!(rig.answer().is_some());
    assert_eq!((rig.status(), rig.line()), (INTERRUPT, true));
    let written = rig.memory.take_host_writes();
    for page in [0x2_0000, 0x2_1000, 0x3_0000] {
        assert!(written.contains(page), "{page:#x}");
    }
    assert!(!written.contains(0x3_1000));
    let mut bytes = [0; 0x22];
    rig.memory.read(0x2_0FEF, &mut bytes).unwrap();
    assert_eq!((bytes[0], bytes[1], bytes[0x20], bytes[0x21]), (0, 0xA5, 0xA5, 0));
}

#[test]
fn a_write_takes_memory_in_the_order_of_the_table() {
    let mut rig = Rig::new();
    rig.memory.write(0x2_0000, &[1; 300]).unwrap();
    rig.memory.write(0x1_0000, &[2; 212]).unwrap();
    rig.table(&[(0x2_0000, 300), (0x1_0000, LAST | 212)]);
    rig.start(0xCA, 1, 0);
    assert_eq!(rig.answer(), Some([vec![1; 300], vec![2; 212]].concat()));
    assert_eq!((rig.status(), rig.line()), (INTERRUPT, true));
}

#[test]
fn nothing_is_transferred_before_the_function_is_a_bus_master() {
    let mut rig = Rig::new();
    rig.set_command(1);
    rig.table(&[(0x2_0000, LAST | 512)]);
    rig.start(0xC8, 1, 8);
    assert!(rig.answer().is_some());
    assert_eq!((rig.status(), rig.line()), (ACTIVE, false));
    // It begins when the guest allows it.
    rig.set_command(5);
    assert_eq!((rig.status(), rig.line()), (INTERRUPT, true));
}

#[test]
fn tables_of_another_length_than_the_command_are_reported() {
    let mut rig = Rig::new();
    rig.table(&[(0x2_0000, 0), (0x3_0000, LAST)]);
    rig.start(0xC8, 1, 8);
    let _ = rig.answer();
    assert_eq!((rig.status(), rig.line()), (ACTIVE | INTERRUPT, true), "more than the command");
    let mut rig = Rig::new();
    rig.table(&[(0x2_0000, LAST | 510)]);
    rig.start(0xC8, 1, 8);
    let _ = rig.answer();
    assert_eq!((rig.status(), rig.line()), (0, false), "less than the command");
    // A second table gives the rest room.
    rig.out(BASE, 1, 0);
    rig.out(BASE, 1, 9);
    assert_eq!((rig.status(), rig.line()), (INTERRUPT | ACTIVE, true));
}

#[test]
fn malformed_tables_end_the_transfer_with_an_error() {
    let cases: [(u32, &[(u32, u32)]); 4] = [
        // The table is no memory; a region is none; it begins in memory and ends behind it; a device is there.
        (0xF000_0000, &[]),
        (TABLE as u32, &[(0xF000_0000, LAST | 512)]),
        (TABLE as u32, &[((4 << 20) - 256, LAST | 512)]),
        (TABLE as u32, &[(0xFEE0_0000, LAST | 512)]),
    ];
    for (at, regions) in cases {
        for (command, direction) in [(0xC8, 8), (0xCA, 0)] {
            let mut rig = Rig::new();
            rig.table(regions);
            rig.start_at(at, command, 1, direction);
            let _ = rig.answer();
            assert_eq!((rig.status(), rig.line()), (ERROR, false), "{regions:x?}");
            // The status register of the function shows a master abort.
            rig.out(0xCF8, 4, 0x8000_0904);
            assert_eq!(rig.board.port_in(0xCFE, 2).0 & 0x2000, 0x2000);
        }
    }
}

#[test]
fn a_table_without_an_end_costs_no_more_than_the_data() {
    let mut rig = Rig::new();
    // All of memory is a table of regions of two bytes.
    let entry = [0, 0, 8, 0, 2, 0, 0, 0].repeat(512);
    for page in (0..4 << 20).step_by(4096) {
        rig.memory.write(page, &entry).unwrap();
    }
    rig.start(0xC8, 0, 8);
    assert!(rig.answer().is_some());
    assert_eq!((rig.status(), rig.line()), (ACTIVE | INTERRUPT, true));
}

#[test]
fn the_ports_are_where_the_guest_places_them() {
    let mut board = Board::default();
    board.set_up_pci();
    let place = |board: &mut Board, address: u32| {
        let _ = board.port_out(0xCF8, 4, 0x8000_0920);
        let _ = board.port_out(0xCFC, 4, address);
    };
    let answers = |board: &mut Board, port: u16| board.port_in(port + 7, 1).0 & 0xFF == 0;
    assert!(answers(&mut board, 0xC000) && answers(&mut board, 0xC008) && !answers(&mut board, 0xC010));
    place(&mut board, 0xD040);
    assert!(!answers(&mut board, 0xC000) && answers(&mut board, 0xD040));
    // While the guest asks for the size they are nowhere.
    place(&mut board, 0xFFFF_FFFF);
    assert!(!answers(&mut board, 0xD040) && !answers(&mut board, 0xFFF0));
    // Other devices keep their ports; each high byte of the port number is possible.
    place(&mut board, 0x3F0);
    let _ = board.port_out(0x3FF, 1, 0x5A);
    assert_eq!(board.port_in(0x3FF, 1).0 & 0xFF, 0x5A);
    for high in 1..=0xFF {
        place(&mut board, high << 8 | 0xE0);
    }
    assert!(answers(&mut board, 0xFFE0));
    // Neither do they answer while ports are disabled, nor after a reset, and a restored board has them again.
    let mut copy = Board::restored(&board.save()).unwrap();
    assert!(answers(&mut copy, 0xFFE0) && !answers(&mut copy, 0xC000));
    let _ = board.port_out(0xCF8, 4, 0x8000_0904);
    let _ = board.port_out(0xCFC, 2, 4);
    assert!(!answers(&mut board, 0xFFE0));
    board.reset();
    board.set_up_pci();
    assert!(answers(&mut board, 0xC000));
}
