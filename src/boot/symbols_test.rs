use std::cell::RefCell;
use std::io;

use goblin::elf::section_header::section_header64::SIZEOF_SHDR;
use goblin::elf::sym::sym64::SIZEOF_SYM;

use super::super::image::BytesImage;
use super::*;

/// Where the parts of the test file are.
const SECTIONS: u64 = 64;
const NAMES: u64 = 512;
const SYMBOLS: u64 = 1024;
/// Where its code section is in memory.
const TEXT: u64 = 0x10_0000;
const TEXT_SIZE: u64 = 0x1000;

const FUNC: u8 = 2;
const FILE: u8 = 4;

/// A file that records which offsets are read.
struct CountingImage {
    bytes: Vec<u8>,
    length: u64,
    reads: RefCell<Vec<u64>>,
}

impl CountingImage {
    fn new(bytes: Vec<u8>) -> CountingImage {
        CountingImage { length: bytes.len() as u64, bytes, reads: RefCell::default() }
    }

    fn reads_of_symbols(&self) -> usize {
        self.reads.borrow().iter().filter(|offset| **offset >= SYMBOLS).count()
    }
}

impl Image for CountingImage {
    fn name(&self) -> &str {
        "test"
    }

    fn len(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.reads.borrow_mut().push(offset);
        if offset >= self.bytes.len() as u64 && offset + buf.len() as u64 <= self.length {
            // What follows in a large sparse file; the symbols in it are functions called `b`.
            let symbol = symbol(3, FUNC, 1, 1, 1);
            buf.chunks_mut(SIZEOF_SYM).for_each(|entry| entry.copy_from_slice(&symbol[..entry.len()]));
            return Ok(());
        }
        BytesImage::new("test", &self.bytes).read_at(offset, buf)
    }
}

fn symbol(name: u32, kind: u8, section: u16, value: u64, size: u64) -> [u8; SIZEOF_SYM] {
    let mut bytes = [0; SIZEOF_SYM];
    bytes[..4].copy_from_slice(&name.to_le_bytes());
    bytes[4] = kind;
    bytes[6..8].copy_from_slice(&section.to_le_bytes());
    bytes[8..16].copy_from_slice(&value.to_le_bytes());
    bytes[16..].copy_from_slice(&size.to_le_bytes());
    bytes
}

/// An ELF file with the sections code (1), string table (2) and symbol table (3, of `size` bytes).
fn file(names: &[u8], symbols: &[[u8; SIZEOF_SYM]], size: u64) -> Vec<u8> {
    let mut bytes = vec![0; SYMBOLS as usize];
    let mut put = |at: u64, value: &[u8]| bytes[at as usize..][..value.len()].copy_from_slice(value);
    put(0, b"\x7FELF\x02\x01\x01");
    put(40, &SECTIONS.to_le_bytes());
    put(60, &4_u16.to_le_bytes());
    let mut section = |number: u64, kind: u32, link: u32, [address, offset, size]: [u64; 3]| {
        let at = SECTIONS + number * SIZEOF_SHDR as u64;
        put(at + 4, &kind.to_le_bytes());
        put(at + 16, &address.to_le_bytes());
        put(at + 24, &offset.to_le_bytes());
        put(at + 32, &size.to_le_bytes());
        put(at + 40, &link.to_le_bytes());
    };
    section(1, 1, 0, [TEXT, 0, TEXT_SIZE]);
    section(2, 3, 0, [0, NAMES, names.len() as u64]);
    section(3, SHT_SYMTAB, 2, [0, SYMBOLS, size]);
    put(NAMES, names);
    bytes.extend(symbols.iter().flatten());
    bytes
}

/// The names `a` (1), `b` (3), `start` (5) and its end `art` (7), with symbols in no order.
fn sample() -> CountingImage {
    let symbols = [
        symbol(0, 0, 0, 0, 0),
        symbol(3, FUNC, 1, TEXT + 0x100, 0x10),
        symbol(5, FUNC, 1, TEXT + 0x80, 0),
        symbol(1, FUNC, 1, TEXT, 0x20),
        symbol(7, FUNC, 1, TEXT, 0x40),
        symbol(1, FUNC, 1, TEXT + 0x200, 4),
        symbol(3, FUNC, 0, TEXT + 0x300, 4),
        symbol(3, FILE, 1, TEXT + 0x300, 4),
    ];
    CountingImage::new(file(b"\0a\0b\0start\0", &symbols, size_of_val(&symbols) as u64))
}

#[test]
fn symbols_of_a_32_bit_file_are_found() {
    let mut bytes = vec![0; 52];
    bytes[..7].copy_from_slice(b"\x7FELF\x01\x01\x01");
    bytes[32..36].copy_from_slice(&52_u32.to_le_bytes());
    bytes[48..50].copy_from_slice(&4_u16.to_le_bytes());
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let (names, symbols) = (52 + 4 * 40, 52 + 4 * 40 + 8);
    bytes.extend([0; 40]);
    bytes.extend(words(&[0, 1, 0, TEXT as u32, 0, TEXT_SIZE as u32, 0, 0, 0, 0]));
    bytes.extend(words(&[0, 3, 0, 0, names, 8, 0, 0, 0, 0]));
    bytes.extend(words(&[0, SHT_SYMTAB, 0, 0, symbols, 32, 2, 0, 0, 0]));
    bytes.extend(b"\0kmain\0\0");
    bytes.extend([0; 16]);
    bytes.extend(words(&[1, TEXT as u32 + 0x10, 0x20, u32::from(FUNC) | 1 << 16]));
    let image = BytesImage::new("kernel", &bytes);
    let index = SymbolIndex::read(&image);
    assert_eq!(index.symbol_at(&image, TEXT + 0x14).unwrap().to_string(), "kmain+0x4");
    assert_eq!(index.address_of(&image, "kmain"), Some(TEXT + 0x10));
}

#[test]
fn an_address_has_the_nearest_symbol_that_covers_it() {
    let image = sample();
    let index = SymbolIndex::read(&image);
    for (offset, name) in [
        // Of two symbols with one address the last in the file counts.
        (0, Some("art")),
        (0x3f, Some("art+0x3f")),
        (0x40, None),
        (0x80, Some("start")),
        // Without a size up to the next symbol.
        (0xff, Some("start+0x7f")),
        (0x10f, Some("b+0xf")),
        (0x110, None),
        (0x203, Some("a+0x3")),
        (0x300, None),
    ] {
        let found = index.symbol_at(&image, TEXT + offset).map(|symbol| symbol.to_string());
        assert_eq!(found.as_deref(), name, "{offset:#x}");
    }
    assert_eq!(index.symbol_at(&image, TEXT - 1), None);
    assert_eq!(index.symbol_at(&image, u64::MAX), None);
}

#[test]
fn a_symbol_without_a_size_ends_with_its_section() {
    let symbols = [symbol(1, FUNC, 1, TEXT + 0x10, 0), symbol(3, FUNC, 9, TEXT - 0x10, 0)];
    let image = CountingImage::new(file(b"\0a\0b\0", &symbols, size_of_val(&symbols) as u64));
    let index = SymbolIndex::read(&image);
    let found = |address| index.symbol_at(&image, address).map(|symbol| symbol.name);
    assert_eq!(found(TEXT + TEXT_SIZE - 1).as_deref(), Some("a"));
    assert_eq!(found(TEXT + TEXT_SIZE), None);
    assert_eq!(found(TEXT - 0x10), None, "a section that the file does not have");
}

#[test]
fn a_name_has_the_address_of_the_first_symbol_called_so() {
    let image = sample();
    let index = SymbolIndex::read(&image);
    assert_eq!(index.address_of(&image, "a"), Some(TEXT));
    assert_eq!(index.address_of(&image, "b"), Some(TEXT + 0x100));
    assert_eq!(index.address_of(&image, "start"), Some(TEXT + 0x80));
    assert_eq!(index.address_of(&image, "art"), Some(TEXT));
    for missing in ["", "sta", "start0", "tart", &"a".repeat(LONGEST_NAME + 1)] {
        assert_eq!(index.address_of(&image, missing), None, "{missing}");
    }
}

#[test]
fn the_symbol_table_is_read_once() {
    let image = sample();
    let index = SymbolIndex::read(&image);
    assert_eq!(image.reads_of_symbols(), 1);
    for offset in 0..TEXT_SIZE {
        let _ = index.symbol_at(&image, TEXT + offset);
    }
    assert!(index.address_of(&image, "b").is_some());
    assert_eq!(image.reads_of_symbols(), 1);
}

#[test]
fn a_name_is_looked_up_with_one_read_of_a_small_string_table() {
    let image = sample();
    let index = SymbolIndex::read(&image);
    let before = image.reads.borrow().len();
    assert!(index.address_of(&image, "start").is_some());
    assert_eq!(image.reads.borrow().len(), before + 1);
}

#[test]
fn a_symbol_table_larger_than_the_file_ends_with_the_file() {
    let symbols = [symbol(1, FUNC, 1, TEXT, 4), symbol(3, FUNC, 1, TEXT + 4, 4)];
    for size in [1 << 40, u64::MAX - SYMBOLS] {
        let image = CountingImage::new(file(b"\0a\0b\0", &symbols, size));
        let index = SymbolIndex::read(&image);
        assert_eq!(index.by_address.len(), 2);
        assert_eq!(index.address_of(&image, "b"), Some(TEXT + 4));
    }
    let image = CountingImage::new(file(b"\0a\0b\0", &symbols, u64::MAX));
    assert_eq!(SymbolIndex::read(&image).by_address.len(), 0);
}

#[test]
fn a_huge_symbol_table_is_read_up_to_the_limit() {
    let size = 1_u64 << 40;
    let image = CountingImage { length: SYMBOLS + size, ..CountingImage::new(file(b"\0a\0b\0", &[], size)) };
    let index = SymbolIndex::read(&image);
    assert_eq!(index.by_address.len() as u64, MAX_SYMBOLS);
    assert_eq!(index.by_name.len() as u64, MAX_SYMBOLS);
    assert!(image.reads_of_symbols() as u64 <= MAX_SYMBOLS.div_ceil(BATCH));
}

#[test]
fn a_file_that_is_no_elf_file_has_no_symbols() {
    for bytes in [&b""[..], b"\x7fELF", &[0xff; 4096]] {
        let image = BytesImage::new("x", bytes);
        let index = SymbolIndex::read(&image);
        assert_eq!(index.symbol_at(&image, 0), None);
        assert_eq!(index.address_of(&image, "main"), None);
    }
}

#[test]
fn decoding_begins_at_functions_and_labels_and_behind_objects() {
    const LABEL: u8 = STT_NOTYPE;
    let symbols = [
        symbol(1, LABEL, 1, TEXT + 0x10, 0),
        symbol(1, STT_OBJECT, 1, TEXT + 0x20, 8),
        // The end of one object and the start of another.
        symbol(1, LABEL, 1, TEXT + 0x40, 0),
        symbol(1, STT_OBJECT, 1, TEXT + 0x40, 0),
        symbol(1, STT_OBJECT, 1, TEXT + 0x60, 4),
        symbol(1, FUNC, 1, TEXT + 0x60, 0),
    ];
    let image = CountingImage::new(file(b"\0a\0", &symbols, size_of_val(&symbols) as u64));
    let index = SymbolIndex::read(&image);
    for (offset, start) in [
        (0, Some(None)),
        (0x10, Some(Some(0x10))),
        (0x1F, Some(Some(0x10))),
        (0x20, None),
        (0x27, None),
        // Behind the object.
        (0x28, Some(Some(0x28))),
        (0x2F, Some(Some(0x28))),
        // Without a size up to the next symbol.
        (0x40, None),
        (0x5F, None),
        (0x61, Some(Some(0x60))),
    ] {
        let found = index.code_start(TEXT + offset).map(|start| start.map(|start| start - TEXT));
        assert_eq!(found, start, "{offset:#x}");
    }
}

#[test]
fn symbols_of_a_relocatable_file_are_where_its_sections_go_one_behind_the_other() {
    let section = |flags: u32, size, align| SectionHeader {
        sh_flags: flags.into(),
        sh_size: size,
        sh_addralign: align,
        ..SectionHeader::default()
    };
    let sections = [
        section(0, 0, 0),
        section(SHF_ALLOC, 0x3A, 16),
        section(0, 0x100, 4),
        section(SHF_ALLOC, 4, 4),
        section(SHF_ALLOC, u64::MAX, 8),
        section(SHF_ALLOC, 1, 3),
    ];
    let expected = [None, Some(0), None, Some(0x3C), None, Some(0x42)];
    assert_eq!(section_starts(&sections), expected);
    // Sizes and alignments are the file's.
    assert_eq!(section_starts(&[section(SHF_ALLOC, 1, 1), section(SHF_ALLOC, 1, u64::MAX)])[1], None);
}
