use super::*;

const BASE: u64 = 0x20_0000;

/// The offsets at which blocks begin, for code whose rows have these bytes.
fn starts(bitness: u32, symbols: &[(u64, u64)], rows: &[&[u8]]) -> Vec<u64> {
    starts_of(0..0, bitness, symbols, rows)
}

/// The same with `assembly`.
fn starts_of(assembly: Range<u64>, bitness: u32, symbols: &[(u64, u64)], rows: &[&[u8]]) -> Vec<u64> {
    let code = rows.concat();
    let mut address = BASE;
    let row = |bytes: &&[u8]| {
        let row = LineRow { address, length: bytes.len() as u64, file: 0, line: 1 };
        address += row.length;
        row
    };
    let table: Vec<LineRow> = rows.iter().map(row).collect();
    let read = |row: &LineRow| {
        let start = (row.address - BASE) as usize;
        Some(&code[start..start + row.length as usize])
    };
    let symbols: Vec<(u64, u64)> = symbols.iter().map(|(at, size)| (BASE + at, *size)).collect();
    let found = CodeRows {
        rows: &table,
        read: &read,
        symbols: &symbols,
        assembly: std::slice::from_ref(&assembly),
        bitness,
    }
    .split();
    let bytes: u64 = found.rows.iter().map(|row| row.length).sum();
    assert_eq!(bytes, code.len() as u64, "a row is split into parts of it");
    let begin = found.rows.iter().zip(&found.starts).filter(|(_, starts)| **starts);
    begin.map(|(row, _)| row.address - BASE).collect()
}

#[test]
fn rows_go_on_in_a_block_until_control_may_leave_it() {
    let (nop, call) = (&[0x90][..], &[0xE8, 0, 0, 0, 0][..]);
    assert_eq!(starts(64, &[], &[nop, nop, nop]), [0]);
    let leaving: [&[u8]; 11] = [
        &[0x74, 0x10],
        &[0xC3],
        &[0xF4],
        &[0xEE],
        &[0xE4, 0x60],
        &[0xCC],
        &[0x0F, 0x0B],
        &[0x0F, 0x05],
        &[0x48, 0xCF],
        &[0x74, 0x10, 0x90],
        call,
    ];
    for leaves in leaving {
        assert_eq!(starts(64, &[], &[nop, leaves, nop, nop]), [0, 1 + leaves.len() as u64], "{leaves:x?}");
    }
}

#[test]
fn targets_of_branches_and_symbols_begin_a_block() {
    let rows = |back: u8| starts(64, &[], &[&[0x90], &[0x90, 0x66, 0x90], &[0x90], &[0xEB, back]]);
    assert_eq!(rows(0xFA), [0, 1]);
    assert_eq!(rows(0xFB), [0, 2], "in the middle of a row");
    assert_eq!(
        rows(0xFC),
        [0, 4],
        "in the middle of an instruction: there is none, but a row begins behind it"
    );
    let rows: &[&[u8]] = &[&[0x90], &[0x90, 0x66, 0x90], &[0x90], &[0xEB, 0xFB]];
    assert_eq!(starts_of(BASE..BASE + 7, 64, &[], rows), [0, 4], "no row is split in assembly");
    assert_eq!(starts(64, &[(1, 0)], &[&[0x90], &[0x90], &[0x90]]), [0, 1]);
    assert_eq!(
        starts(64, &[(1, 0)], &[&[0x90, 0x90], &[0x90]]),
        [0, 2],
        "a symbol is no sign of an instruction"
    );
}

#[test]
fn a_row_in_the_shadow_of_sti_begins_none() {
    assert_eq!(starts(64, &[(1, 0)], &[&[0xFB], &[0xF4], &[0x90]]), [0, 2]);
    assert_eq!(starts(32, &[(2, 0)], &[&[0x8E, 0xD0], &[0x90], &[0x90]]), [0]);
}

#[test]
fn all_rows_of_a_function_with_a_jump_table_begin_a_block() {
    let jump = &[0xFF, 0x24, 0xC5, 0, 0, 0, 0][..];
    let rows: &[&[u8]] = &[&[0x90], &[0x90], &[0x90], jump, &[0x90], &[0xFB], &[0x90], &[0x90], &[0x90]];
    // The function ends before the last row; the row behind `sti` begins none.
    assert_eq!(starts(64, &[(1, 13)], rows), [0, 1, 2, 3, 10, 11, 13]);
}

#[test]
fn where_decoding_fails_each_row_begins_a_block() {
    // 32-bit code: `inc eax` is a prefix in 64-bit code.
    assert_eq!(starts(32, &[], &[&[0x40], &[0x90]]), [0]);
    assert_eq!(starts(64, &[], &[&[0x40], &[0x90]]), [0, 1]);
    // The branch into the first row comes from a row that is cut off.
    assert_eq!(starts(64, &[], &[&[0x90, 0x90], &[0xEB, 0xFD, 0xB8, 1], &[0x90]]), [0, 2, 6]);
}
