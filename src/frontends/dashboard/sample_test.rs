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
        source: &|_| None,
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
    let guest = Guest {
        memory: &memory,
        registers: &registers,
        symbol: &|_| None,
        source: &|_| None,
        breakpoint: &|_| false,
    };
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
        let guest =
            Guest { memory: &memory, registers, symbol: &symbol, source: &|_| None, breakpoint: &|_| false };
        guest.words(address, lines)
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
fn a_source_line_is_named_where_it_begins_and_has_its_text_once_that_is_read() {
    let (memory, registers) = (memory(), sixty_four_bit());
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/debug-info/inlined.c");
    let source = |address: u64| {
        let line = if address < 0x1004 { 8 } else { 3 };
        (0x1000..0x100A).contains(&address).then(|| SourcePlace { file: file.to_owned(), line })
    };
    let guest = Guest {
        memory: &memory,
        registers: &registers,
        symbol: &|_| None,
        source: &source,
        breakpoint: &|_| false,
    };
    let mut sample = Sample { code: guest.code(0x1000, 4), ..Sample::default() };
    let lines = sample.code.lines.iter().filter(|line| line.address >= 0x1000);
    let named: Vec<_> = lines.map(|line| line.source.as_ref().map(|source| source.place.line)).collect();
    assert_eq!(named, [Some(8), None, Some(3), None, None]);
    sample.add_source_texts(&mut SourceFiles::default());
    let texts = sample.code.lines.iter().filter_map(|line| line.source.as_ref()?.text.as_deref());
    assert_eq!(texts.collect::<Vec<_>>().last(), Some(&"where = value; /* line 8 */"));
}

#[test]
fn source_lines_that_take_long_to_find_are_left_out() {
    let (memory, registers) = (memory(), sixty_four_bit());
    let slow = |address: u64| {
        std::thread::sleep(SOURCE_TIME);
        Some(SourcePlace { file: "slow.c".to_owned(), line: address as u32 })
    };
    let guest = Guest {
        memory: &memory,
        registers: &registers,
        symbol: &|_| None,
        source: &slow,
        breakpoint: &|_| false,
    };
    let code = guest.code(0x1000, 200);
    assert!(code.lines.len() > 100);
    assert!(code.lines.iter().filter(|line| line.source.is_some()).count() <= 2);
}
