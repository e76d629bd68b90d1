//! Values of the XSAVE area as gdb has them.

use super::*;

const X87_FIELDS: [X87; 8] =
    [X87::Fctrl, X87::Fstat, X87::Ftag, X87::Fiseg, X87::Fioff, X87::Foseg, X87::Fooff, X87::Fop];

/// Two values were pushed: the top is register 6, which holds 1.0; register 7 holds 0.0.
fn two_pushed() -> ExtendedRegisters {
    let mut area = [0; size_of::<ExtendedRegisters>()];
    set_bytes_at(&mut area, FSW, 2, 6 << 11);
    set_bytes_at(&mut area, TAGS, 1, 0b1100_0000);
    set_bytes_at(&mut area, STACK, 10, 0x3FFF_8000_0000_0000_0000);
    area
}

#[test]
fn x87_tags_give_the_class_of_each_register() {
    assert_eq!(extended_value(&two_pushed(), Field::X87(X87::Ftag)), 0b0100_1111_1111_1111);
}

#[test]
fn writing_back_read_values_changes_only_the_components_in_use() {
    let (before, mut after) = (two_pushed(), two_pushed());
    let registers = (0..8).map(Field::Stack).chain(X87_FIELDS.map(Field::X87));
    let vectors = (0..16).flat_map(|n| [Field::Xmm(n), Field::YmmHigh(n)]);
    for register in registers.chain(vectors).chain([Field::Mxcsr]) {
        let value = extended_value(&before, register);
        set_extended_value(&mut after, register, value);
    }
    assert_eq!(bytes_at(&after, COMPONENTS, 1), u128::from(X87_STATE | SSE | AVX));
    set_bytes_at(&mut after, COMPONENTS, 1, 0);
    assert_eq!(after, before);
}

#[test]
fn no_two_fields_overlap() {
    let mut area = [0; size_of::<ExtendedRegisters>()];
    let registers = (0..8).map(Field::Stack).chain((0..16).map(Field::Xmm));
    let all: Vec<Field> = registers.chain((0..16).map(Field::YmmHigh)).collect();
    for (number, register) in all.iter().enumerate() {
        set_extended_value(&mut area, *register, 1000 + number as u128);
    }
    for (number, register) in all.iter().enumerate() {
        assert_eq!(extended_value(&area, *register), 1000 + number as u128, "{register:?}");
    }
}

#[test]
fn writing_a_field_does_not_change_its_neighbours() {
    let mut area = [0; size_of::<ExtendedRegisters>()];
    set_extended_value(&mut area, Field::Xmm(1), u128::MAX);
    set_extended_value(&mut area, Field::X87(X87::Fstat), u128::MAX);
    assert_eq!(extended_value(&area, Field::Xmm(0)), 0);
    assert_eq!(extended_value(&area, Field::Xmm(2)), 0);
    assert_eq!(extended_value(&area, Field::X87(X87::Fctrl)), 0);
    assert_eq!(extended_value(&area, Field::X87(X87::Fstat)), 0xFFFF);
}
