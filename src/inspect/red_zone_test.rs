use iced_x86::{Decoder, DecoderOptions};

use super::*;

/// Where, from the beginning of `code`, the instructions are that use the red zone.
fn found(code: &[u8]) -> Vec<u64> {
    let mut search = RedZoneSearch::default();
    let decoder = Decoder::new(64, code, DecoderOptions::NONE);
    decoder.into_iter().filter(|instruction| search.next(instruction)).map(|found| found.ip()).collect()
}

const NOTHING: [u64; 0] = [];
const PUSH_RBP: [u8; 1] = [0x55];
const MOV_RBP_RSP: [u8; 3] = [0x48, 0x89, 0xE5];
const SUB_RSP_16: [u8; 4] = [0x48, 0x83, 0xEC, 16];
/// `mov [rbp-8], rdi`, and 16 and 24 below it.
const STORE_8: [u8; 4] = [0x48, 0x89, 0x7D, 0xF8];
const STORE_16: [u8; 4] = [0x48, 0x89, 0x7D, 0xF0];
const STORE_24: [u8; 4] = [0x48, 0x89, 0x7D, 0xE8];
const POP_RBP: [u8; 1] = [0x5D];
const RET: [u8; 1] = [0xC3];
const PROLOGUE: [&[u8]; 2] = [&PUSH_RBP, &MOV_RBP_RSP];

#[test]
fn an_access_just_below_rsp_is_found() {
    // mov [rsp-8], rdi; mov rax, [rsp-8]; ret
    assert_eq!(found(&[0x48, 0x89, 0x7C, 0x24, 0xF8, 0x48, 0x8B, 0x44, 0x24, 0xF8, 0xC3]), [0, 5]);
    // mov [rsp-128], rdi
    assert_eq!(found(&[0x48, 0x89, 0x7C, 0x24, 0x80]), [0]);
}

#[test]
fn what_only_looks_like_it_is_not_found() {
    for (code, what) in [
        (&[0x48, 0x8D, 0x64, 0x24, 0xF8][..], "lea rsp, [rsp-8]"),
        (&[0x48, 0x83, 0x8C, 0x24, 0x00, 0xF0, 0xFF, 0xFF, 0x00], "or qword ptr [rsp-0x1000], 0: a probe"),
        (&[0x48, 0x89, 0xBC, 0x24, 0x7F, 0xFF, 0xFF, 0xFF], "mov [rsp-129], rdi"),
        (&[0x48, 0x89, 0x7C, 0x24, 0x08], "mov [rsp+8], rdi"),
        (&[0x48, 0x89, 0x3C, 0x24], "mov [rsp], rdi"),
        (&[0x48, 0x89, 0x7C, 0xC4, 0xF8], "mov [rsp+rax*8-8], rdi"),
        (&[0x0F, 0x1F, 0x44, 0x24, 0xF8], "nop dword ptr [rsp-8]"),
        (&STORE_8, "mov [rbp-8], rdi, where RBP is not known to be a frame pointer"),
    ] {
        assert_eq!(found(code), NOTHING, "{what}");
    }
}

#[test]
fn with_a_frame_pointer_only_what_was_not_reserved_is_found() {
    let function = |body: &[&[u8]]| [PROLOGUE.concat(), body.concat()].concat();
    // As gcc does in leaf functions without optimisation.
    assert_eq!(found(&function(&[&STORE_8, &POP_RBP, &RET])), [4]);
    assert_eq!(found(&function(&[&SUB_RSP_16, &STORE_8, &STORE_16])), NOTHING);
    assert_eq!(found(&function(&[&SUB_RSP_16, &STORE_24])), [8]);
    // push rbx
    assert_eq!(found(&function(&[&[0x53], &STORE_8, &STORE_16])), [9]);
    // sub rsp, rax; and rsp, -16; lea rsp, [rsp-32]: nothing is known of the distance any more.
    for moved in [&[0x48, 0x29, 0xC4][..], &[0x48, 0x83, 0xE4, 0xF0], &[0x48, 0x8D, 0x64, 0x24, 0xE0]] {
        assert_eq!(found(&function(&[moved, &STORE_8])), NOTHING, "{moved:x?}");
    }
}

#[test]
fn a_frame_pointer_is_forgotten_where_rbp_gets_another_value() {
    let jump = &[0xEB, 0x00][..];
    for (end, what) in [
        (&[&RET[..]][..], "ret"),
        (&[&[0xC9], jump], "leave; jmp"),
        (&[&POP_RBP, jump], "pop rbp; jmp"),
        (&[jump, &PUSH_RBP], "jmp; a function that saves RBP"),
        (&[jump, &[0x48, 0x89, 0xFD]], "jmp; mov rbp, rdi"),
        (&[jump, &[0x31, 0xED]], "jmp; xor ebp, ebp"),
    ] {
        let code = [PROLOGUE.concat(), end.concat(), STORE_8.to_vec()].concat();
        assert_eq!(found(&code), NOTHING, "{what}");
    }
    // cmp rbp, 0 changes nothing.
    let compared = [PROLOGUE.concat(), vec![0x48, 0x83, 0xFD, 0x00], STORE_8.to_vec()].concat();
    assert_eq!(found(&compared), [8]);
}
