use super::*;
use crate::boot::BytesImage;

fn code(bytes: &[u8]) -> Code {
    let mut code = Code::default();
    code.decode(bytes, 0x1000);
    code
}

#[test]
fn accesses_below_rsp_are_found_in_code_that_takes_interrupts() {
    // cli; mov [rsp-8], rdi; iretq
    let found = code(&[0xFA, 0x48, 0x89, 0x7C, 0x24, 0xF8, 0x48, 0xCF]);
    assert_eq!(found, Code { takes_interrupts: true, below_rsp: Some(0x1001), vector_register: None });
    // push rbp; mov rbp, rsp; mov [rbp-8], rdi: a leaf function without optimisation.
    assert_eq!(code(&[0x55, 0x48, 0x89, 0xE5, 0x48, 0x89, 0x7D, 0xF8]).below_rsp, Some(0x1004));
    // The parts of a file are not parts of one function.
    let mut parts = code(&[0x55, 0x48, 0x89, 0xE5]);
    parts.decode(&[0x48, 0x89, 0x7D, 0xF8], 0x2000);
    assert_eq!(parts.below_rsp, None);
}

#[test]
fn vector_registers_are_found() {
    // nop; movaps xmm0, xmm1
    assert_eq!(code(&[0x90, 0x0F, 0x28, 0xC1]).vector_register, Some(0x1001));
    // fadd st0, st1
    assert_eq!(code(&[0xD8, 0xC1]).vector_register, Some(0x1000));
    assert_eq!(code(&[0x48, 0x89, 0xC3, 0xC5]), Code::default());
}

#[test]
fn a_disk_without_a_boot_loader_is_told_from_one_with_it() {
    let mut disk = vec![0; SECTOR];
    let text = |disk: &[u8]| boot_sector(&BytesImage::new("disk", disk));
    assert!(text(&disk).unwrap().contains("signature"));
    disk[510..].copy_from_slice(&BOOT_SIGNATURE);
    assert!(text(&disk).unwrap().contains("no code"));
    disk[0] = 0xEB;
    assert_eq!(text(&disk), None);
    assert!(text(&[0x55, 0xAA]).unwrap().contains("smaller"));
}
