use super::*;
use crate::boot::BytesImage;

const BASE: u64 = 0x20_0000;

/// What is found in `code`, whose addresses belong to what `start_of` says.
fn found(code: &[u8], start_of: impl Fn(u64) -> Option<Option<u64>>) -> Vec<u64> {
    found_of(Sought::MagicBreakpoint, code, start_of)
}

fn found_of(sought: Sought, code: &[u8], start_of: impl Fn(u64) -> Option<Option<u64>>) -> Vec<u64> {
    let image = BytesImage::new("guest", code.to_vec().leak());
    let range = CodeRange { address: BASE, physical_address: BASE, offset: 0, length: code.len() as u64 };
    let mut found = Vec::new();
    Code { image: &image, range, sought }.find(&start_of, 10, &mut found);
    found.iter().map(|address| address - BASE).collect()
}

#[test]
fn only_whole_instructions_are_found() {
    let code = [
        b"\x90\x66\x87\xDB".as_slice(),
        // mov eax, 0x90db8766; mov rax, 0xdb87669090909090
        b"\xB8\x66\x87\xDB\x90\x48\xB8\x90\x90\x90\x90\x90\x66\x87\xDB",
        // xchg ebx, ebx; xchg bx, bx at the end.
        b"\x87\xDB\x66\x87\xDB",
    ];
    assert_eq!(found(&code.concat(), |_| Some(None)), [1, 21]);
}

#[test]
fn loads_of_the_idt_are_found_with_their_prefixes_and_not_within_others() {
    let code = [
        // lidt [0x1000]; lidt [r8]; lgdt [rax]
        b"\x0F\x01\x1C\x25\x00\x10\x00\x00".as_slice(),
        b"\x41\x0F\x01\x18",
        b"\x0F\x01\x10",
        // mov eax, 0x18010f; lidt [rax]; swapgs
        b"\xB8\x0F\x01\x18\x00\x0F\x01\x18\x0F\x01\xF8",
    ];
    assert_eq!(found_of(Sought::IdtLoad, &code.concat(), |_| Some(None)), [0, 8, 20]);
}

#[test]
fn decoding_begins_at_the_symbol_and_leaves_data_out() {
    // The first byte would swallow the instruction behind it.
    let code = b"\xB8\x66\x87\xDB\x90\x66\x87\xDB\x66\x87\xDB";
    let start = |address| match address - BASE {
        0..=4 => Some(Some(BASE + 1)),
        5..=7 => None,
        _ => Some(Some(BASE + 8)),
    };
    assert_eq!(found(code, start), [1, 8]);
}

#[test]
fn code_longer_than_a_window_is_searched_to_its_end() {
    let mut code = Vec::new();
    while code.len() < 2 * WINDOW + 100 {
        // mov rax, imm64: the windows end within instructions.
        code.extend(b"\x48\xB8\x66\x87\xDB\x66\x87\xDB\x66\x87");
    }
    let last = code.len() as u64;
    code.extend(BYTES);
    assert_eq!(found(&code, |_| Some(None)), [last]);
}

#[test]
fn the_search_ends_with_the_limit() {
    let found = found(&BYTES.repeat(100), |_| Some(None));
    assert_eq!(found.len(), 11, "one more than the limit, to know that there are more");
}

#[test]
fn the_addresses_are_those_in_memory() {
    let Some(machine) = crate::machine::testing::machine(16 << 20, b"\x90\x66\x87\xDB\xF4") else { return };
    assert_eq!(
        find(&machine, Sought::MagicBreakpoint, 10),
        (vec![crate::machine::testing::ENTRY + 1], false)
    );
}
