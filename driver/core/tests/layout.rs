// SPDX-License-Identifier: MIT OR GPL-2.0
//! The structures of `core.h`, and those of the KVM API, have their fields where core has them.

use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

use yakvm_core::control::{Limits, Sregs, Table};
use yakvm_core::cpuid::Leaf;
use yakvm_core::decode::Insn;
use yakvm_core::msr::Msr;
use yakvm_core::paging::Walk;
use yakvm_core::segment::{Segment, VmcbSegment};

/// Lines of C that hold if the fields are at the same places, named as in C (`rust as c` if they differ).
macro_rules! fields {
    ($rust:ty, $c:literal, $($field:ident $(as $name:literal)?),*) => {{
        let mut lines = format!("_Static_assert(sizeof(struct {}) == {}, \"\");\n", $c, size_of::<$rust>());
        $(
            let names = [stringify!($field) $(, $name)?];
            let name = names[names.len() - 1];
            let offset = offset_of!($rust, $field);
            lines += &format!("_Static_assert(offsetof(struct {}, {name}) == {offset}, \"{name}\");\n", $c);
        )*
        lines
    }};
}

#[test]
fn structures_are_the_same_in_c() {
    let asserts = [
        fields!(Insn, "yakvm_insn", size, flags, segment, address_size),
        fields!(VmcbSegment, "yakvm_vmcb_segment", selector, attributes, limit, base),
        fields!(Limits, "yakvm_limits", cr4, efer, physical_bits),
        fields!(Leaf, "yakvm_cpuid_leaf", leaf, index, indexed),
        fields!(Msr, "yakvm_msr", index, vmcb_offset, kind, flags, reset),
        fields!(
            Walk,
            "yakvm_walk",
            gpa,
            entry_size,
            error_code,
            linear,
            cr0,
            cr3,
            cr4,
            efer,
            rflags,
            access,
            physical_bits,
            writable
        ),
        fields!(
            Segment, "kvm_segment", base, limit, selector, kind as "type", present, dpl, db, s, l, g, avl, unusable
        ),
        fields!(Table, "kvm_dtable", base, limit),
        fields!(
            Sregs,
            "kvm_sregs",
            cs,
            ds,
            es,
            fs,
            gs,
            ss,
            tr,
            ldt,
            gdt,
            idt,
            cr0,
            cr2,
            cr3,
            cr4,
            cr8,
            efer,
            apic_base,
            interrupt_bitmap
        ),
    ];
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("core.h");
    let source = format!(
        "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n\
         typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32; typedef uint64_t u64; typedef int64_t s64;\n\
         #include \"{}\"\n{}",
        header.display(),
        asserts.concat()
    );
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("layout.c");
    std::fs::write(&file, source).unwrap();
    let compiled =
        Command::new("gcc").args(["-fsyntax-only", "-Wall", "-Werror"]).arg(&file).output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}
