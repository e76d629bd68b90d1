use super::super::test_guest::{CODE, DATA, TestGuest, words};
use super::super::{BytesImage, load as load_guest};
use super::*;
use crate::arch::gate::GateEntry;
use crate::arch::paging::Paging;
use crate::boot::{Platform, is_rescue_gate};

const MEMORY: u64 = 16 << 20;
/// Where the segment with the requests is.
const REQUESTS: u64 = KERNEL_BASE + 0x1000;
const COMMON: [u64; 2] = [0xC7B1_DD30_DF4C_8B88, 0x0A82_E883_A194_F07B];
const BASE: [u64; 2] = [0xF956_2B2D_5C95_A6C8, 0x6A7B_3849_4453_6BDC];
const START: [u64; 4] =
    [0xF6B8_F4B3_9DE7_D1AE, 0xFAB9_1A69_40FC_B9CF, 0x785C_6ED0_15D3_E316, 0x181E_920A_7852_B9D9];
const END: [u64; 2] = [0xADC0_E053_1BB1_0D03, 0x9572_709F_3176_4C62];
const HHDM: [u64; 2] = [0x48DC_F1CB_8AD2_B852, 0x6398_4E95_9A98_244B];
const PAGING_MODE: [u64; 2] = [0x95C1_A0ED_AB09_44CB, 0xA4E5_CB38_42F7_488A];
const ENTRY_POINT: [u64; 2] = [0x13D8_6C03_5A1C_D3E1, 0x2B0C_AA89_D8F3_026A];
const STACK: [u64; 2] = [0x224E_F046_0A8E_8926, 0xE1CB_0FC2_5F46_EA3D];
const MODULES: [u64; 2] = [0x3E7E_2797_02BE_32AF, 0xCA1C_4F3B_D128_0CEE];
const PROCESSORS: [u64; 2] = [0x95A6_7B81_9A1B_857E, 0xA0B6_1B72_3B6A_73E0];
const RSDP: [u64; 2] = [0xC5E7_7B6B_397E_7B43, 0x2763_7845_ACCD_CF3C];
const FRAMEBUFFER: [u64; 2] = [0x9D58_27DC_D881_DD75, 0xA314_8604_F6FA_B11B];
const DATE: [u64; 2] = [0x5027_46E1_84C0_88AA, 0xFBC5_EC83_E632_7893];

fn base(revision: u64) -> Vec<u64> {
    vec![BASE[0], BASE[1], revision]
}

/// A request with a revision and arguments.
fn request(id: [u64; 2], revision: u64, arguments: &[u64]) -> Vec<u64> {
    [&COMMON[..], &id, &[revision, 0], arguments].concat()
}

/// A kernel with these words as its data.
fn kernel(parts: &[Vec<u64>]) -> Vec<u8> {
    TestGuest::new(KERNEL_BASE)
        .load(CODE, KERNEL_BASE, b"\xFA\xF4")
        .load(DATA, REQUESTS, &words(&parts.concat()))
        .build()
}

fn options() -> BootOptions {
    BootOptions { platform: Platform { cpus: 3, ..Platform::default() }, ..BootOptions::default() }
}

fn load_with(file: &[u8], options: &BootOptions) -> Result<(GuestMemory, LoadedGuest), String> {
    let memory = GuestMemory::new(MEMORY).unwrap();
    let loaded = load_guest(&BytesImage::new("kernel", file), &memory, options);
    loaded.map(|loaded| (memory, loaded)).map_err(|error| error.to_string())
}

fn loaded(parts: &[Vec<u64>]) -> (GuestMemory, LoadedGuest) {
    load_with(&kernel(parts), &options()).unwrap()
}

fn refused(parts: &[Vec<u64>]) -> String {
    load_with(&kernel(parts), &options()).unwrap_err()
}

/// The word that the loaded kernel reads at a virtual address; `None` if that is not mapped.
fn word(memory: &GuestMemory, loaded: &LoadedGuest, address: u64) -> Option<u64> {
    let at = Paging::new(&loaded.registers, Paging::WIDEST).find(memory, address).ok()?;
    memory.read_u64(at.physical).ok()
}

/// The word of the response to a request at a number of words in the data.
fn response(memory: &GuestMemory, loaded: &LoadedGuest, request: u64, number: u64) -> Option<u64> {
    let response = word(memory, loaded, REQUESTS + 8 * (request + 5))?;
    if response == 0 { None } else { word(memory, loaded, response + 8 * number) }
}

#[test]
fn the_kernel_is_mapped_where_it_is_linked_with_its_permissions() {
    let (memory, loaded) = loaded(&[base(3), request(HHDM, 0, &[])]);
    assert_eq!(loaded.kind, BootKind::Limine);
    assert_eq!(loaded.registers.general.rip, KERNEL_BASE);
    let paging = Paging::new(&loaded.registers, Paging::WIDEST);
    assert_eq!(paging.find(&memory, KERNEL_BASE).unwrap().physical, USUAL_PLACE);
    assert_eq!(word(&memory, &loaded, REQUESTS + 16), Some(0), "the base revision is there");
    assert_eq!(word(&memory, &loaded, REQUESTS + 8), Some(3));
    assert_eq!(response(&memory, &loaded, 3, 1), Some(DIRECT_MAP));
    let stack = loaded.registers.general.rsp;
    assert_eq!((stack % 16, word(&memory, &loaded, stack)), (8, Some(0)));
    assert_eq!(loaded.other_processors, [], "no processor is requested");
}

#[test]
fn the_direct_map_has_what_each_base_revision_promises() {
    // Its own addresses, the firmware's tables, and the local APIC.
    for (revision, identity, tables, devices) in
        [(0, true, true, true), (1, false, true, true), (2, false, true, true), (3, false, false, false)]
    {
        let (memory, loaded) = loaded(&[base(revision), request(RSDP, 0, &[])]);
        let paging = Paging::new(&loaded.registers, Paging::WIDEST);
        let mapped = |address: u64| paging.find(&memory, address).is_ok();
        assert!(mapped(DIRECT_MAP + 0x1000) && mapped(DIRECT_MAP + MEMORY - 8));
        assert_eq!(mapped(0x1000), identity, "{revision}");
        assert_eq!(mapped(DIRECT_MAP + 0xF_0000), tables, "{revision}");
        assert_eq!(mapped(DIRECT_MAP + 0xFEE0_0000), devices, "{revision}");
        assert!(!mapped(DIRECT_MAP + (5 << 30)));
        let rsdp = if revision == 3 { 0xF_0000 } else { DIRECT_MAP + 0xF_0000 };
        assert_eq!(response(&memory, &loaded, 3, 1), Some(rsdp));
    }
}

#[test]
fn exceptions_have_gates_and_a_stack_where_the_kernel_maps_them() {
    for revision in 0..=3 {
        let (memory, loaded) = loaded(&[base(revision), request(HHDM, 0, &[])]);
        let system = &loaded.registers.system;
        assert_eq!((system.idt.limit, system.tr.selector), (0xFFF, 0));
        for vector in 0..32 {
            let entry = GateEntry::of(&loaded.registers, vector).unwrap();
            let half = |at: u64| word(&memory, &loaded, at).unwrap().to_le_bytes();
            let bytes = [half(entry.address), half(entry.address + 8)].concat();
            let gate = entry.decode(bytes.try_into().unwrap()).unwrap();
            assert!(is_rescue_gate(&memory, &gate), "{revision}: {gate:x?}");
            assert_eq!(
                word(&memory, &loaded, gate.offset).map(|code| code as u8),
                Some(0xF4),
                "`hlt` is mapped"
            );
        }
        assert_eq!(word(&memory, &loaded, system.idt.base + 32 * 16), Some(0));
        let stack = word(&memory, &loaded, system.tr.base + 36).unwrap();
        assert!(stack.is_multiple_of(16) && word(&memory, &loaded, stack - 512) == Some(0));
    }
}

#[test]
fn a_kernel_without_a_base_revision_gets_revision_0() {
    let (memory, loaded) = loaded(&[request(HHDM, 0, &[])]);
    assert_eq!(word(&memory, &loaded, 0x20_0000), word(&memory, &loaded, KERNEL_BASE));
}

#[test]
fn an_unknown_base_revision_stays_in_the_tag_and_the_newest_is_used() {
    let (memory, loaded) = loaded(&[base(9), request(HHDM, 0, &[])]);
    assert_eq!(word(&memory, &loaded, REQUESTS + 16), Some(9));
    assert_eq!(word(&memory, &loaded, REQUESTS + 8), Some(3));
    assert!(loaded.warnings[0].contains("base revision 9"), "{:?}", loaded.warnings);
}

#[test]
fn only_requests_between_the_delimiters_count() {
    let parts =
        [request(HHDM, 0, &[]), START.to_vec(), base(3), request(HHDM, 0, &[]), END.to_vec(), base(1)];
    let (memory, loaded) = loaded(&parts);
    assert_eq!(response(&memory, &loaded, 0, 1), None);
    assert_eq!(response(&memory, &loaded, 13, 1), Some(DIRECT_MAP));
    assert!(loaded.warnings[0].starts_with("2 requests"), "{:?}", loaded.warnings);
}

#[test]
fn what_the_protocol_forbids_is_refused_with_its_place() {
    let hhdm = || request(HHDM, 0, &[]);
    for (parts, expected) in [
        (vec![hhdm(), hhdm()], "the feature HHDM is requested twice, the second time at 0xffffffff80001030"),
        (vec![base(3), base(3)], "a second base revision tag at 0xffffffff80001018"),
        (vec![base(3), hhdm()[..5].to_vec()], "the request for a feature at 0xffffffff80001018 is cut off"),
        (
            vec![request(STACK, 0, &[])],
            "the request for Stack Size at 0xffffffff80001000 is cut off: it has 56",
        ),
        (vec![request(PAGING_MODE, 1, &[1, 1, 1])], "the Paging Mode request wants at least mode 1"),
        (vec![request(ENTRY_POINT, 0, &[REQUESTS])], "the Entry Point request names 0xffffffff80001000"),
        (vec![request(STACK, 0, &[u64::MAX])], "the Stack Size request is for 0xffffffffffffffff bytes"),
        (vec![request(STACK, 0, &[MEMORY])], "no room in 16 MiB of guest memory for the stacks"),
        (vec![request(MODULES, 1, &[1, 0x1000])], "names 1 internal modules"),
    ] {
        let error = refused(&parts);
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn a_kernel_that_is_not_in_the_higher_half_is_refused() {
    let file = TestGuest::new(0x20_0000)
        .load(CODE, 0x20_0000, b"\xF4")
        .load(DATA, 0x20_1000, &words(&base(3)))
        .build();
    let error = load_with(&file, &options()).unwrap_err();
    assert!(error.contains("segment 0 is linked at 0x200000; the Limine boot protocol wants"), "{error}");
    let chosen = BootOptions { kind: Some(BootKind::Limine), ..options() };
    let without = load_with(&kernel(&[vec![1, 2, 3]]), &chosen).unwrap_err();
    assert!(without.contains("it has no requests of the Limine boot protocol"), "{without}");
}

#[test]
fn other_files_keep_their_kind() {
    // Magic numbers in constants of a guest that is not in the higher half, and at odd addresses.
    let constants = TestGuest::simple().load(4, 0x20_1000, &words(&base(3))).build();
    let odd = TestGuest::simple().load(DATA, 0x20_1004, &words(&base(3))).build();
    for file in [constants, odd] {
        assert_eq!(load_with(&file, &options()).unwrap().1.kind, BootKind::Elf64);
    }
}

#[test]
fn a_magic_number_across_two_pieces_of_the_file_is_found() {
    let padding = vec![0u64; (64 << 10) / 8 - 1];
    assert_eq!(loaded(&[padding, base(3)]).1.kind, BootKind::Limine);
}

#[test]
fn a_position_independent_kernel_is_moved_to_the_higher_half() {
    let file = TestGuest::relocatable(0)
        .load(CODE, 0, b"\xFA\xF4")
        .load(DATA, 0x1000, &words(&[base(3), request(HHDM, 0, &[])].concat()))
        .build();
    let (memory, loaded) = load_with(&file, &options()).unwrap();
    assert_eq!(loaded.registers.general.rip, KERNEL_BASE);
    assert_eq!(loaded.symbols, SymbolSource::GuestFile { bias: KERNEL_BASE });
    assert_eq!(response(&memory, &loaded, 3, 1), Some(DIRECT_MAP));
}

#[test]
fn the_requested_entry_point_and_stack_are_used() {
    let parts = [base(3), request(ENTRY_POINT, 0, &[KERNEL_BASE + 1]), request(STACK, 0, &[1 << 20])];
    let (_, loaded) = loaded(&parts);
    assert_eq!(loaded.registers.general.rip, KERNEL_BASE + 1);
    let stack = loaded.layout.iter().find(|region| region.name == "the stacks").unwrap();
    assert_eq!(stack.range.end - stack.range.start, 1 << 20);
    assert_eq!(loaded.registers.general.rsp, DIRECT_MAP + stack.range.end - 8);
}

#[test]
fn the_other_processors_wait_in_guest_memory() {
    let (memory, loaded) = loaded(&[base(3), request(PROCESSORS, 0, &[0])]);
    assert_eq!(response(&memory, &loaded, 3, 2), Some(3), "processors");
    let table = response(&memory, &loaded, 3, 3).unwrap();
    let [first, second] = &loaded.other_processors[..] else { panic!("two others") };
    for (number, registers) in [(1, first), (2, second)] {
        let info = word(&memory, &loaded, table + 8 * number).unwrap();
        assert_eq!(registers.general.rdi, info);
        assert_eq!(word(&memory, &loaded, info), Some(number << 32 | number));
        assert_eq!(word(&memory, &loaded, info + 16), Some(0), "it is not started");
        let paging = Paging::new(registers, Paging::WIDEST);
        for address in [info, registers.general.rip, registers.general.rsp, registers.system.idt.base] {
            let kernels = Paging::new(&loaded.registers, Paging::WIDEST).find(&memory, address).unwrap();
            assert_eq!(paging.find(&memory, address).unwrap().physical, kernels.physical);
        }
        assert_eq!(paging.find(&memory, registers.general.rsi).unwrap().physical, 0xFEE0_0000);
        assert_eq!(registers.system.apic_base, 0xFEE0_0800);
    }
    assert_eq!(second.general.rsp - first.general.rsp, STACK_SIZE);
}

#[test]
fn a_framebuffer_is_passed_on_if_the_machine_has_one() {
    let parts = [base(3), request(FRAMEBUFFER, 0, &[]), request(DATE, 0, &[])];
    let (memory, without) = loaded(&parts);
    assert_eq!(response(&memory, &without, 3, 1), None);
    assert_eq!(response(&memory, &without, 9, 1), None);
    let memory = GuestMemory::new(MEMORY).unwrap();
    memory.add_video_memory().unwrap();
    let options = BootOptions { time_of_day: Some(1000), ..options() };
    let with = load_guest(&BytesImage::new("kernel", &kernel(&parts)), &memory, &options).unwrap();
    assert_eq!(with.framebuffer, Some(Framebuffer::USUAL));
    assert_eq!(response(&memory, &with, 9, 1), Some(1000));
    let first = word(&memory, &with, response(&memory, &with, 3, 2).unwrap()).unwrap();
    let fields: Vec<u64> = (0..10).map(|number| word(&memory, &with, first + 8 * number).unwrap()).collect();
    assert_eq!(fields[..4], [DIRECT_MAP + 0xFD00_0000, 1024, 768, 4096]);
    assert_eq!(fields[4].to_le_bytes(), [32, 0, 1, 8, 16, 8, 8, 8]);
    assert_eq!(fields[5..9], [0, 0, 0, 1]);
    let paging = Paging::new(&with.registers, Paging::WIDEST);
    assert_eq!(paging.find(&memory, fields[0]).unwrap().physical, 0xFD00_0000);
}
