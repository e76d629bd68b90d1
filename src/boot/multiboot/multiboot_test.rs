use std::io::Write;

use super::super::BytesImage;
use super::super::test_guest::{CODE, DATA, TestGuest};
use super::*;

const MEMORY: u64 = 8 << 20;

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn header1(flags: u32, more: &[u32]) -> Vec<u8> {
    const MAGIC: u32 = 0x1BAD_B002;
    let mut header = words(&[MAGIC, flags, MAGIC.wrapping_add(flags).wrapping_neg()]);
    header.extend(words(more));
    header
}

fn header2(tags: &[u8]) -> Vec<u8> {
    const MAGIC: u32 = 0xE852_50D6;
    let length = 24 + tags.len() as u32;
    let mut header = words(&[MAGIC, 0, length, MAGIC.wrapping_add(length).wrapping_neg()]);
    header.extend(tags);
    header.extend(words(&[0, 8]));
    header
}

/// A tag of a header, padded.
fn tag(kind: u16, flags: u16, content: &[u32]) -> Vec<u8> {
    let mut tag = words(&[u32::from(flags) << 16 | u32::from(kind), 8 + 4 * content.len() as u32]);
    tag.extend(words(content));
    tag.resize(tag.len().next_multiple_of(8), 0);
    tag
}

/// A 32-bit kernel at 1 MiB with `header` at its start, whose first instruction follows it.
fn kernel(header: &[u8]) -> Vec<u8> {
    let mut content = [0; 4].to_vec(); // The header of the file has 52 bytes, its table 32.
    content.extend(header);
    let entry = 0x10_0000 + content.len() as u64;
    content.push(0xF4);
    TestGuest::new(entry).for_32_bits().load(CODE, 0x10_0000, &content).build()
}

fn load_in(
    bytes: &[u8],
    version: Version,
    options: &BootOptions,
) -> Result<(LoadedGuest, GuestMemory), String> {
    let memory = GuestMemory::new(MEMORY).unwrap();
    let guest = load(&BytesImage::new("kernel", bytes), &memory, options, version);
    guest.map(|guest| (guest, memory)).map_err(|error| error.to_string())
}

fn refused(bytes: &[u8], version: Version) -> String {
    load_in(bytes, version, &BootOptions::default()).unwrap_err()
}

fn expect_refused(bytes: &[u8], version: Version, text: &str) {
    let error = refused(bytes, version);
    assert!(error.contains(text), "{error}");
}

struct Info<'m> {
    memory: &'m GuestMemory,
    at: u64,
}

impl Info<'_> {
    fn word(&self, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        self.memory.read(self.at + offset, &mut bytes).unwrap();
        u32::from_le_bytes(bytes)
    }

    fn text(&self, at: u32) -> String {
        let mut bytes = [0; 64];
        self.memory.read(at.into(), &mut bytes).unwrap();
        let end = bytes.iter().position(|byte| *byte == 0).unwrap();
        String::from_utf8(bytes[..end].to_vec()).unwrap()
    }
}

/// The tags of version 2, each with its type and contents.
fn tags(info: &Info<'_>) -> Vec<(u32, Vec<u8>)> {
    let total = u64::from(info.word(0));
    let mut tags = Vec::new();
    let mut at = 8;
    while at < total {
        let (kind, size) = (info.word(at), u64::from(info.word(at + 4)));
        let mut bytes = vec![0; size as usize - 8];
        info.memory.read(info.at + at + 8, &mut bytes).unwrap();
        tags.push((kind, bytes));
        at = (at + size).next_multiple_of(8);
    }
    assert_eq!(at, total);
    assert_eq!(tags.pop().unwrap(), (0, vec![]));
    tags
}

fn with_modules() -> (Vec<tempfile::Module>, BootOptions) {
    let files = vec![tempfile::Module::new(b"first module"), tempfile::Module::new(&[7; 5000])];
    let options = BootOptions {
        command_line: "root=none debug".to_owned(),
        modules: files
            .iter()
            .zip(["a b", ""])
            .map(|(file, text)| (file.path.clone(), text.to_owned()))
            .collect(),
        ..BootOptions::default()
    };
    (files, options)
}

mod tempfile {
    use super::*;

    pub struct Module {
        pub path: std::path::PathBuf,
    }

    impl Module {
        pub fn new(bytes: &[u8]) -> Module {
            use std::sync::atomic::{AtomicU32, Ordering};
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("kvm-multiboot-{}-{number}", std::process::id()));
            std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
            Module { path }
        }
    }

    impl Drop for Module {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[test]
fn version_1_has_its_information_in_ebx() {
    let (_files, options) = with_modules();
    let (guest, memory) = load_in(&kernel(&header1(3, &[])), Version::One, &options).unwrap();
    let general = guest.registers.general;
    assert_eq!((general.rax, general.rip), (0x2BAD_B002, 0x10_0010));
    assert_eq!(guest.registers.system.cr0, 0x11);
    let info = Info { memory: &memory, at: general.rbx };
    assert_eq!(info.word(0), 0x124D, "memory, command line, modules, memory map, loader, screen");
    assert_eq!((info.word(4), info.word(8)), (639, (MEMORY as u32 >> 10) - 1024));
    assert_eq!(info.text(info.word(16)), "root=none debug");
    assert_eq!(info.text(info.word(64)), LOADER_NAME);
    assert_eq!(info.word(20), 2);
    let modules = Info { memory: &memory, at: info.word(24).into() };
    let (start, end) = (modules.word(0), modules.word(4));
    assert_eq!((start, end - start), (0x10_1000, 12), "behind the kernel");
    assert_eq!((modules.word(16), modules.word(20)), (0x10_2000, 0x10_2000 + 5000));
    assert_eq!((info.text(start), info.text(modules.word(8))), ("first module".to_owned(), "a b".to_owned()));
    assert_eq!(info.text(modules.word(24)), "");
    let map = Info { memory: &memory, at: info.word(48).into() };
    assert_eq!(info.word(44), 24 * 4);
    assert_eq!([0, 4, 8, 12, 16, 20].map(|at| map.word(at)), [20, 0, 0, 0x9_FC00, 0, 1]);
    assert_eq!([76, 84, 92].map(|at| map.word(at)), [0x10_0000, MEMORY as u32 - 0x10_0000, 1]);
    assert_eq!([88, 96, 100, 104].map(|at| info.word(at)), [0xB8000, 160, 80, 25]);
    assert_eq!(info.word(108) & 0xFFFF, 0x0210, "16 bits, EGA text");
}

#[test]
fn version_2_has_its_tags_in_ebx() {
    let (_files, options) = with_modules();
    let (guest, memory) = load_in(&kernel(&header2(&[])), Version::Two, &options).unwrap();
    let general = guest.registers.general;
    assert_eq!((general.rax, general.rbx % 8), (0x36D7_6289, 0));
    let info = Info { memory: &memory, at: general.rbx };
    let tags = tags(&info);
    let kinds: Vec<u32> = tags.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [1, 2, 3, 3, 4, 6, 8, 14, 15]);
    let content = |kind| &tags.iter().find(|tag| tag.0 == kind).unwrap().1;
    assert_eq!(content(1), b"root=none debug\0");
    assert_eq!(content(2), format!("{LOADER_NAME}\0").as_bytes());
    assert_eq!(*content(3), [&words(&[0x10_1000, 0x10_100C])[..], b"a b\0"].concat());
    assert_eq!(*content(4), words(&[639, (MEMORY as u32 >> 10) - 1024]));
    assert_eq!(content(6)[..8], words(&[24, 0]));
    assert_eq!(content(6)[8..32], words(&[0, 0, 0x9_FC00, 0, 1, 0]));
    assert_eq!(content(8)[..20], words(&[0xB8000, 0, 160, 80, 25]));
    assert_eq!(content(8)[20..22], [16, 2]);
    let mut rsdp = [0; 36];
    memory.read(0xF_0000, &mut rsdp).unwrap();
    assert_eq!(content(15)[..], rsdp, "as it is in memory");
    assert_eq!(content(14)[..8], rsdp[..8]);
    assert_eq!(content(14)[16..20], rsdp[16..20]);
}

#[test]
fn the_address_fields_count_before_the_elf_headers() {
    // The file has 16 bytes that are not loaded before the header, which is to be at 2 MiB.
    let addresses = [0x20_0000, 0x20_0000, 0x20_0021, 0x20_1000, 0x20_0020];
    let mut file = vec![0xCC; 16];
    file.extend(header1(1 << 16, &addresses));
    file.push(0xF4);
    let (guest, memory) = load_in(&file, Version::One, &BootOptions::default()).unwrap();
    assert_eq!(guest.registers.general.rip, 0x20_0020);
    assert_eq!(memory.read_u64(0x20_0018).unwrap(), 0x0020_0020_0020_1000);
    assert_eq!(memory.read_u64(0x20_0020).unwrap(), 0xF4);
    assert!(guest.layout.iter().any(|region| region.range == (0x20_0000..0x20_1000)), "{:?}", guest.layout);

    let tags = [tag(2, 0, &[0x20_0010, u32::MAX, 0, 0]), tag(3, 0, &[0x20_0040])].concat();
    let file = [vec![0xCC; 16], header2(&tags), vec![0xF4]].concat();
    let (guest, memory) = load_in(&file, Version::Two, &BootOptions::default()).unwrap();
    assert_eq!(guest.registers.general.rip, 0x20_0040);
    assert_eq!(memory.read_u64(0x20_0000).unwrap(), 0xCCCC_CCCC_CCCC_CCCC, "from the beginning of the file");
}

#[test]
fn a_kernel_in_the_upper_half_starts_at_its_physical_address() {
    let content = [&header1(0, &[])[..], &[0xF4]].concat();
    for guest in [TestGuest::new(0xC010_000C).for_32_bits(), TestGuest::new(0xC010_000C)] {
        let file = guest.load(CODE, 0xC010_0000, &content).at_physical(0x10_0000).build();
        let (guest, _) = load_in(&file, Version::One, &BootOptions::default()).unwrap();
        assert_eq!(guest.registers.general.rip, 0x10_000C);
        assert_eq!(guest.symbols.bias(), 0);
    }
}

#[test]
fn a_relocatable_kernel_is_moved_into_its_limits() {
    let limits = |min: u32, max: u32, preference: u32| {
        kernel(&header2(&tag(10, 0, &[min, max, 0x10_0000, preference])))
    };
    let base = |file: &[u8]| {
        let (guest, memory) = load_in(file, Version::Two, &BootOptions::default()).unwrap();
        let info = Info { memory: &memory, at: guest.registers.general.rbx };
        let found = tags(&info).into_iter().find(|tag| tag.0 == 21).unwrap().1;
        assert_eq!(guest.registers.general.rip & 0xFFFFF, 0x34);
        u32::from_le_bytes(*found.first_chunk().unwrap())
    };
    assert_eq!(base(&limits(0, u32::MAX, 2)), 0x10_0000, "where it was linked");
    assert_eq!(base(&limits(0x20_0001, u32::MAX, 0)), 0x30_0000);
    assert_eq!(base(&limits(0x20_0001, u32::MAX, 2)), 0x70_0000);
    expect_refused(&limits(0x100, 0x200, 1), Version::Two, "no place for the kernel's 53 bytes");
}

#[test]
fn bad_headers_are_named() {
    use Version::{One, Two};
    let mut wrong = header1(3, &[]);
    wrong[8] ^= 1;
    expect_refused(&kernel(&wrong), One, "wrong checksum");
    let mut wrong = header2(&[]);
    wrong[12] ^= 1;
    expect_refused(&kernel(&wrong), Two, "wrong checksum");
    expect_refused(&kernel(b""), One, "no Multiboot header in the first 8192 bytes");
    expect_refused(&kernel(b""), Two, "no Multiboot2 header in the first 32768 bytes");
    expect_refused(&kernel(&header1(8, &[])), One, "bit 3");
    expect_refused(&header1(1 << 16, &[0x10_0000]), One, "the address fields is missing");
    expect_refused(&header1(3, &[]), One, "no ELF file");
    expect_refused(&header2(&[]), Two, "no ELF file");
    expect_refused(&kernel(&header2(&tag(11, 0, &[]))), Two, "has type 11");
    assert!(load_in(&kernel(&header2(&tag(11, 1, &[]))), Two, &BootOptions::default()).is_ok());
    expect_refused(&kernel(&header2(&tag(1, 0, &[22]))), Two, "type 22");
    expect_refused(&kernel(&header2(&tag(3, 0, &[]))), Two, "has size 8; an entry address tag has 12 bytes");
    expect_refused(&kernel(&header2(&words(&[3, 7]))), Two, "has size 7");
    expect_refused(&kernel(&header2(&words(&[3, 0x100]))), Two, "header_length ends before");
    let mut other = header2(&[]);
    other[4] = 4;
    other[12] = other[12].wrapping_sub(4);
    expect_refused(&kernel(&other), Two, "architecture 4");
    let mut endless = header2(&[]);
    let end = endless.len() - 8;
    endless[end] = 6;
    expect_refused(&kernel(&endless), Two, "the end tag is missing");
}

#[test]
fn bad_addresses_are_named() {
    let by = |addresses: [u32; 5]| [header1(1 << 16, &addresses), vec![0xF4; 16]].concat();
    let at = 0x10_0000;
    for (addresses, text) in [
        ([at, at + 1, 0, 0, at], "load_addr of the Multiboot header is 0x100001"),
        ([at, at - 1, 0, 0, at], "load_addr"),
        ([at, at, at, 0, at], "load_end_addr"),
        ([at, at, at + 0x1000, 0, at], "the file ends 4048 bytes before"),
        ([at, at, 0, at + 1, at], "bss_end_addr"),
        ([at, at, 0, 0, at - 1], "entry_addr"),
        ([0x100_0000, 0x100_0000, 0, 0, 0x100_0000], "`--memory 17M` is enough"),
        ([0xC000_0000, 0xC000_0000, 0, 0, 0xC000_0000], "can never be in RAM"),
    ] {
        expect_refused(&by(addresses), Version::One, text);
    }
}

#[test]
fn bad_segments_are_named() {
    let header = header1(0, &[]);
    let guest = TestGuest::new(0x10_0000).for_32_bits().load(CODE, 0x10_0000, &header);
    let overlapping = guest.clone().load(DATA, 0x10_0004, b"data").build();
    expect_refused(&overlapping, Version::One, "overlap in physical memory");
    let far = TestGuest::new(1 << 32).load(CODE, 1 << 32, &header).build();
    expect_refused(&far, Version::One, "which 32-bit code without paging does not reach");
    let elsewhere = TestGuest::new(0x20_0000).for_32_bits().load(CODE, 0x10_0000, &header).build();
    expect_refused(&elsewhere, Version::One, "the entry point 0x200000 is in no segment");
    let mut arm = guest.build();
    arm[18] = 40;
    expect_refused(&arm, Version::One, "an ELF file for 32-bit Arm");
}

#[test]
fn modules_that_do_not_fit_are_named_with_the_memory_that_is_enough() {
    let module = tempfile::Module::new(&vec![0; 7 << 20]);
    let options = BootOptions { modules: vec![(module.path.clone(), String::new())], ..Default::default() };
    let error = load_in(&kernel(&header1(0, &[])), Version::One, &options).unwrap_err();
    assert!(error.contains("for module ") && error.contains("`--memory 18M` is enough"), "{error}");
}

#[test]
fn wishes_that_are_not_granted_are_reported() {
    let warnings = |file: &[u8], version| load_in(file, version, &BootOptions::default()).unwrap().0.warnings;
    let video = header1(1 << 2, &[0, 0, 0, 0, 0, 0, 1024, 768, 32]);
    assert!(warnings(&kernel(&video), Version::One)[0].contains("1024x768x32"));
    let text = header1(1 << 2, &[0, 0, 0, 0, 0, 1, 80, 25, 0]);
    assert!(warnings(&kernel(&text), Version::One).is_empty());
    let framebuffer = tag(5, 0, &[1024, 768, 32]);
    assert!(warnings(&kernel(&header2(&framebuffer)), Version::Two)[0].contains("1024x768x32"));
    let both = [framebuffer, tag(4, 0, &[3])].concat();
    assert!(warnings(&kernel(&header2(&both)), Version::Two).is_empty());
    assert!(warnings(&kernel(&header2(&tag(1, 0, &[1, 10]))), Version::Two)[0].contains("type 10"));
}

#[test]
fn a_kernel_that_prefers_graphics_gets_it_where_there_is_video_memory() {
    let guest = |file: &[u8], version| {
        let memory = GuestMemory::new(MEMORY).unwrap();
        memory.add_video_memory().unwrap();
        let image = BytesImage::new("kernel", file);
        let guest = load(&image, &memory, &BootOptions::default(), version).unwrap();
        assert!(guest.warnings.is_empty(), "{:?}", guest.warnings);
        (guest, memory)
    };
    let one = kernel(&header1(1 << 2, &[0, 0, 0, 0, 0, 0, 800, 600, 24]));
    let two = kernel(&header2(&tag(5, 0, &[0, 0, 0])));
    assert!(wants_framebuffer_1(&BytesImage::new("kernel", &one)));
    assert!(wants_framebuffer_2(&BytesImage::new("kernel", &two)));
    assert!(!wants_framebuffer_1(&BytesImage::new("kernel", &kernel(&header1(0, &[])))));

    let (loaded, memory) = guest(&one, Version::One);
    assert_eq!(loaded.framebuffer, Some(Framebuffer { width: 800, height: 600 }));
    let info = Info { memory: &memory, at: loaded.registers.general.rbx };
    assert_eq!([88, 92, 96, 100, 104].map(|at| info.word(at)), [0xFD00_0000, 0, 3200, 800, 600]);
    let mut kind = [0; 8];
    memory.read(info.at + 108, &mut kind).unwrap();
    assert_eq!(kind, [32, 1, 16, 8, 8, 8, 0, 8]);

    let (loaded, memory) = guest(&two, Version::Two);
    assert_eq!(loaded.framebuffer, Some(Framebuffer::USUAL));
    let tags = tags(&Info { memory: &memory, at: loaded.registers.general.rbx });
    let screen = &tags.iter().find(|(kind, _)| *kind == 8).unwrap().1;
    assert_eq!(screen[..20], [&[0, 0, 0, 0xFD, 0, 0, 0, 0][..], &words(&[4096, 1024, 768])].concat());
    assert_eq!((&screen[20..22], &screen[24..30]), (&[32, 1][..], &[16, 8, 8, 8, 0, 8][..]));

    // Text.
    let (loaded, _) = guest(&kernel(&header2(&[])), Version::Two);
    assert_eq!(loaded.framebuffer, None);
}

#[test]
fn files_are_recognised_by_a_whole_header() {
    let of = |bytes: &[u8], recognise: fn(&Candidate<'_>) -> Recognition| {
        recognise(&Candidate::new(&BytesImage::new("kernel", bytes)))
    };
    let one = kernel(&header1(3, &[]));
    assert_eq!((of(&one, recognise_1), of(&one, recognise_2)), (Recognition::ByContents, Recognition::No));
    let two = kernel(&header2(&[]));
    assert_eq!((of(&two, recognise_1), of(&two, recognise_2)), (Recognition::No, Recognition::ByContents));
    let mut wrong = header1(3, &[]);
    wrong[8] ^= 1;
    assert_eq!(of(&kernel(&wrong), recognise_1), Recognition::ByContents, "to be refused with the reason");
    let long = |header: &[u8]| TestGuest::new(0x10_0000).load(CODE, 0x10_0000, header).build();
    assert_eq!(of(&long(&wrong), recognise_1), Recognition::No);
    let Recognition::WithNote(note) = of(&long(&header1(3, &[])), recognise_1) else { panic!("a note") };
    assert!(note.contains("`--boot elf64`"), "{note}");
}
