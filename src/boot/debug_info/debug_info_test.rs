use super::*;
use crate::boot::OwnedImage;

/// A file of tests/debug-info, which `make` there builds from `inlined.c`.
fn image(name: &str) -> OwnedImage {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/debug-info").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    OwnedImage::new(name.to_owned(), bytes)
}

fn debug_info(name: &str) -> DebugInfo {
    DebugInfo::read(&image(name))
}

fn functions(info: &DebugInfo, address: u64) -> Vec<String> {
    let line = |function: SourceFunction| {
        let place = function.place.map(|place| place.to_string());
        format!("{} {}", function.name.unwrap_or_default(), place.unwrap_or_default())
    };
    info.functions_at(address).into_iter().map(line).collect()
}

#[test]
fn an_instruction_has_its_line_and_the_functions_that_are_inlined_there() {
    let info = debug_info("inlined.elf");
    let inlined =
        ["innermost /kernel/inlined.c:8", "middle /kernel/inlined.c:13", "called /kernel/inlined.c:18"];
    assert_eq!(functions(&info, 0x20_0003), inlined);
    assert_eq!(functions(&info, 0x20_0015), ["_start /kernel/inlined.c:24"]);
    assert_eq!(info.place_at(0x20_0009).unwrap().to_string(), "/kernel/inlined.c:19");
    for outside in [0, 0x1F_FFFF, 0x20_0100, u64::MAX] {
        assert_eq!(info.place_at(outside), None, "{outside:#x}");
        assert_eq!(functions(&info, outside), [""; 0], "{outside:#x}");
    }
}

#[test]
fn files_of_32_bits_with_compressed_sections_are_read() {
    let info = debug_info("inlined-32.elf");
    let inlined =
        ["innermost /kernel/inlined.c:8", "middle /kernel/inlined.c:13", "called /kernel/inlined.c:18"];
    assert_eq!(functions(&info, 0x20_0007), inlined);
    let mut registers = FrameRegisters { general: [None; 16], width: 4 };
    registers.general[4] = Some(0x9000);
    // In `_start`, with two words on the stack.
    let load = |address, size| Some(address + u64::from(size));
    let caller = info.caller(0x20_0028, &registers, &load).unwrap();
    assert_eq!((caller.address, caller.registers.stack_pointer()), (Some(0x900C), Some(0x900C)));
}

#[test]
fn a_caller_is_found_without_a_frame_pointer() {
    let info = debug_info("inlined.elf");
    let mut registers = FrameRegisters { general: [None; 16], width: 8 };
    registers.general[6] = Some(0x1111);
    registers.general[7] = Some(0x9000);
    let load = |address, size| (address == 0x9000 && size == 8).then_some(0x20_001A);
    let caller = info.caller(0x20_0009, &registers, &load).unwrap();
    assert_eq!((caller.address, caller.was_interrupted), (Some(0x20_001A), false));
    assert_eq!(caller.registers.stack_pointer(), Some(0x9008));
    assert_eq!(caller.registers.frame_pointer(), Some(0x1111));
    assert_eq!(info.caller(0x20_0100, &registers, &load), None, "no code");
    assert_eq!(info.caller(0x20_0009, &registers, &|_, _| None).unwrap().address, None, "no stack");
}

#[test]
fn files_without_debug_information_say_nothing() {
    for bytes in [&b""[..], b"\x7fELF", &[0; 100]] {
        let info = DebugInfo::read(&OwnedImage::new("none".to_owned(), bytes.to_vec()));
        assert_eq!((info.place_at(0), functions(&info, 0)), (None, Vec::new()));
    }
}

#[test]
fn names_of_files_are_shown_as_users_write_them() {
    let here = std::env::current_dir().unwrap();
    assert_eq!(path(&format!("{}/src/main.c", here.display())), "src/main.c");
    assert_eq!(path("./target-examples/idle.S"), "target-examples/idle.S");
    assert_eq!(path("/kernel/./a.c"), "/kernel/a.c");
    assert_eq!(path("a\x1b[31m.c"), "a[31m.c");
}

#[test]
fn the_line_table_and_the_declarations_are_read_as_a_whole() {
    for name in ["inlined.elf", "inlined-32.elf"] {
        let info = debug_info(name);
        let code = crate::boot::code_ranges(&image(name));
        let table = info.line_table(&code);
        assert_eq!((&table.files[..], table.is_cut), (&["/kernel/inlined.c".to_owned()][..], false));
        assert!(table.rows.windows(2).all(|rows| rows[0].address + rows[0].length <= rows[1].address));
        for row in table.rows.iter().filter(|row| row.line != 0) {
            assert_eq!(info.place_at(row.address).unwrap().line, row.line, "{row:x?}");
        }
        // The call in line 18 is inlined and has left no instruction.
        assert!([8, 13, 19, 24].iter().all(|line| table.rows.iter().any(|row| row.line == *line)));
        assert!(info.line_table(&code[..0]).rows.is_empty());
        let declarations = info.declarations();
        let mut found: Vec<String> = declarations
            .functions
            .iter()
            .map(|(address, place)| {
                let name = info.functions_at(*address).pop().and_then(|function| function.name);
                format!("{} {place}", name.unwrap_or_default())
            })
            .collect();
        found.sort();
        assert_eq!(found, ["_start /kernel/inlined.c:22", "called /kernel/inlined.c:16"]);
        assert!(declarations.assembly.is_empty());
    }
}
