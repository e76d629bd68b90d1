use super::*;

/// `push rbp; mov rbp, rsp; call +0; nop; ret`, at 0x1000.
const CODE: [u8; 11] = [0x55, 0x48, 0x89, 0xE5, 0xE8, 0x00, 0x00, 0x00, 0x00, 0x90, 0xC3];

fn sixty_four_bit() -> Registers {
    let mut registers = Registers::default();
    (registers.system.cr0, registers.system.cs.l) = (1, 1);
    registers
}

fn memory() -> GuestMemory {
    let memory = GuestMemory::new(1 << 20).unwrap();
    memory.write(0x1000, &CODE).unwrap();
    memory
}

fn texts(listing: &Listing<CodeLine>) -> Vec<&str> {
    listing.lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn code_is_listed_around_an_address_from_the_start_of_its_function() {
    let (memory, registers) = (memory(), sixty_four_bit());
    let symbol = |address: u64| {
        (0x1000..0x100B)
            .contains(&address)
            .then(|| Symbol { name: "main".to_owned(), offset: address - 0x1000 })
    };
    let guest = Guest {
        memory: &memory,
        registers: &registers,
        symbol: &symbol,
        breakpoint: &|address| address == 0x1009,
    };
    let code = guest.code(0x1004, 2);
    assert_eq!(texts(&code), ["push rbp", "mov rbp, rsp", "call 0x1009", "nop", "ret"]);
    assert_eq!(code.middle, 2);
    assert_eq!(code.lines[0].label.as_deref(), Some("main"));
    assert_eq!(code.lines[2].target, Some(0x1009));
    assert_eq!(code.lines[2].target_symbol.as_deref(), Some("main+0x9"));
    assert!(code.lines[3].breakpoint && !code.lines[2].breakpoint);
    assert_eq!(texts(&guest.code(0x1004, 1)), ["mov rbp, rsp", "call 0x1009", "nop"]);
}

#[test]
fn code_without_symbols_is_listed_from_where_decoding_leads_to_the_address() {
    let (memory, registers) = (memory(), sixty_four_bit());
    let guest = Guest { memory: &memory, registers: &registers, symbol: &|_| None, breakpoint: &|_| false };
    let code = guest.code(0x1009, 3);
    assert_eq!(&texts(&code)[code.middle - 1..code.middle + 2], ["call 0x1009", "nop", "ret"]);
    assert_eq!(guest.code(0, 3).middle, 0, "nothing lies before address 0");
    assert!(guest.code(1 << 20, 3).lines.len() <= 3, "no RAM");
    assert_eq!(guest.code(u64::MAX, 2).lines.len(), 0);
}

#[test]
fn words_are_as_wide_as_addresses_and_name_what_they_point_to() {
    let (memory, mut registers) = (memory(), sixty_four_bit());
    memory.write_u64(0x2000, 0x1009).unwrap();
    let symbol = |address| (address == 0x1009).then(|| Symbol { name: "a".to_owned(), offset: 9 });
    let words = |registers: &Registers, address, lines| {
        Guest { memory: &memory, registers, symbol: &symbol, breakpoint: &|_| false }.words(address, lines)
    };
    let listing = words(&registers, 0x2000, 1);
    let addresses: Vec<_> = listing.lines.iter().map(|word| (word.address, word.value)).collect();
    assert_eq!(addresses, [(0x1FF8, Some(0)), (0x2000, Some(0x1009)), (0x2008, Some(0))]);
    assert_eq!(listing.lines[1].symbol.as_deref(), Some("a+0x9"));
    assert_eq!(words(&registers, 4, 5).middle, 0, "nothing lies before address 0");
    assert_eq!(words(&registers, 1 << 20, 1).lines[1].value, None);
    assert_eq!(words(&registers, u64::MAX, 2).lines.len(), 3);
    registers.system.cs.l = 0;
    assert_eq!(words(&registers, 0x2000, 0).lines[0].size, 2, "real mode");
}

#[test]
fn neighbouring_pages_with_the_same_rights_are_one_range() {
    let (memory, mut registers) = (memory(), sixty_four_bit());
    let tables = [(0x3000, 0x4007), (0x4000, 0x5007), (0x5000, 0x6007), (0x6000, 0x7003)];
    for (at, entry) in tables.into_iter().chain([(0x6008, 0x8003), (0x6010, 0x9001)]) {
        memory.write_u64(at, entry).unwrap();
    }
    (registers.system.cr0, registers.system.cr3, registers.system.efer) = (1 << 31 | 1, 0x3000, 0x500);
    registers.system.cr4 = 1 << 5;
    let guest = Guest { memory: &memory, registers: &registers, symbol: &|_| None, breakpoint: &|_| false };
    let ranges = guest.maps();
    let shown: Vec<_> = ranges.iter().map(|range| (range.start, range.last, range.rights.write)).collect();
    assert_eq!(shown, [(0, 0x1FFF, true), (0x2000, 0x2FFF, false)]);
}
