//! Values of the XSAVE area as gdb has them.

use super::*;

/// Two values were pushed: the top is register 6, which holds 1.0; register 7 holds 0.0.
fn two_pushed() -> ExtendedRegisters {
    let mut area = [0; size_of::<ExtendedRegisters>()];
    set_bytes_at(&mut area, FSW, 2, 6 << 11);
    set_bytes_at(&mut area, TAGS, 1, 0b1100_0000);
    set_bytes_at(&mut area, STACK, 10, 0x3FFF_8000_0000_0000_0000);
    area
}

#[test]
fn tags_say_what_each_x87_register_holds() {
    assert_eq!(extended_value(&two_pushed(), Register::Float(2)), 0b0100_1111_1111_1111);
}

#[test]
fn writing_back_what_was_read_changes_only_what_is_in_use() {
    let (before, mut after) = (two_pushed(), two_pushed());
    let registers = (0..8).flat_map(|n| [Register::Stack(n), Register::Float(n)]);
    let vectors = (0..16).flat_map(|n| [Register::Xmm(n), Register::YmmHigh(n)]);
    for register in registers.chain(vectors).chain([Register::Mxcsr]) {
        let value = extended_value(&before, register);
        set_extended_value(&mut after, register, value);
    }
    assert_eq!(bytes_at(&after, COMPONENTS, 1), u128::from(X87 | SSE | AVX));
    set_bytes_at(&mut after, COMPONENTS, 1, 0);
    assert_eq!(after, before);
}

#[test]
fn every_register_has_a_place_of_its_own() {
    let mut area = [0; size_of::<ExtendedRegisters>()];
    let registers = (0..8).map(Register::Stack).chain((0..16).map(Register::Xmm));
    let all: Vec<Register> = registers.chain((0..16).map(Register::YmmHigh)).collect();
    for (number, register) in all.iter().enumerate() {
        set_extended_value(&mut area, *register, 1000 + number as u128);
    }
    for (number, register) in all.iter().enumerate() {
        assert_eq!(extended_value(&area, *register), 1000 + number as u128, "{register:?}");
    }
}

#[test]
fn a_value_keeps_its_neighbours_as_they_are() {
    let mut area = [0; size_of::<ExtendedRegisters>()];
    set_extended_value(&mut area, Register::Xmm(1), u128::MAX);
    set_extended_value(&mut area, Register::Float(1), u128::MAX);
    assert_eq!(extended_value(&area, Register::Xmm(0)), 0);
    assert_eq!(extended_value(&area, Register::Xmm(2)), 0);
    assert_eq!(extended_value(&area, Register::Float(0)), 0);
    assert_eq!(extended_value(&area, Register::Float(1)), 0xFFFF);
}
