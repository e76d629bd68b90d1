//! Register numbers as QEMU's machines have them.

use super::*;

fn name_of(layout: Layout, number: usize) -> Option<String> {
    layout.register(number).map(|(register, _)| name(register))
}

#[test]
fn registers_have_the_numbers_of_qemu() {
    let wide = Layout::new(GdbArch::X86_64, false);
    for (number, name) in [
        (0, "rax"),
        (1, "rbx"),
        (2, "rcx"),
        (5, "rdi"),
        (6, "rbp"),
        (7, "rsp"),
        (15, "r15"),
        (16, "rip"),
        (17, "eflags"),
        (18, "cs"),
        (23, "gs"),
        (24, "fs_base"),
        (26, "k_gs_base"),
        (27, "cr0"),
        (31, "cr8"),
        (32, "efer"),
        (33, "st0"),
        (41, "fctrl"),
        (48, "fop"),
        (49, "xmm0"),
        (65, "mxcsr"),
    ] {
        assert_eq!(name_of(wide, number).as_deref(), Some(name));
    }
    assert_eq!(name_of(wide, 66), None);
    let avx = Layout::new(GdbArch::X86_64, true);
    assert_eq!(name_of(avx, 66).as_deref(), Some("ymm0h"));
    assert_eq!((name_of(avx, 81).as_deref(), name_of(avx, 82)), (Some("ymm15h"), None));
    for arch in [GdbArch::I386, GdbArch::I8086] {
        let narrow = Layout::new(arch, false);
        for (number, name) in [
            (0, "eax"),
            (1, "ecx"),
            (4, "esp"),
            (5, "ebp"),
            (8, "eip"),
            (9, "eflags"),
            (10, "cs"),
            (16, "fs_base"),
            (24, "efer"),
            (25, "st0"),
            (33, "fctrl"),
            (41, "xmm0"),
            (49, "mxcsr"),
        ] {
            assert_eq!(name_of(narrow, number).as_deref(), Some(name));
        }
        assert_eq!(name_of(narrow, 50), None);
    }
}

#[test]
fn numbers_beyond_the_last_register_are_refused() {
    for arch in [GdbArch::X86_64, GdbArch::I386] {
        for avx in [false, true] {
            let layout = Layout::new(arch, avx);
            let count = layout.registers().count();
            for number in [count, count + 1, count + 9, 0xFFFF, usize::MAX] {
                assert!(layout.register(number).is_none(), "{number}");
            }
        }
    }
}

#[test]
fn expedited_registers_are_the_instruction_stack_and_frame_pointers() {
    let names = |arch| {
        Layout::new(arch, true).expedited().map(|number| name_of(Layout::new(arch, true), number).unwrap())
    };
    assert_eq!(names(GdbArch::X86_64), ["rip", "rsp", "rbp"]);
    assert_eq!(names(GdbArch::I8086), ["eip", "esp", "ebp"]);
}

#[test]
fn a_description_of_linux_ends_with_orig_rax() {
    for (avx, number) in [(false, 66), (true, 82)] {
        let linux = Layout::new(GdbArch::X86_64Linux, avx);
        assert_eq!(name_of(linux, number).as_deref(), Some("orig_rax"));
        assert_eq!(name_of(linux, number + 1), None);
        assert_eq!(linux.size(), Layout::new(GdbArch::X86_64, avx).size() + 8);
        let xml = crate::gdb::description::target_xml(linux);
        assert!(xml.contains("<osabi>GNU/Linux</osabi>") && xml.contains("org.gnu.gdb.i386.linux"), "{xml}");
    }
    assert!(!crate::gdb::description::target_xml(Layout::new(GdbArch::X86_64, true)).contains("linux"));
}
