use super::*;
use crate::arch::flags::{CR0_PE, CR0_PG, CR4_PAE, EFER_LMA, EFER_NXE};
use crate::arch::{SegmentRegister, TableRegister};
use crate::boot::{FileSection, NamedStack, Symbol};

const GDT: u64 = 0x8000;
const TSS: u64 = 0x8100;
const IDT: u64 = 0x9000;
const CODE_AT: u64 = 0xA000;
const HANDLER: u64 = 0xB000;
const STACK_TOP: u64 = 0x1_0000;

/// A guest file with code at [`CODE_AT`] and [`HANDLER`], and a stack.
struct File;

impl Names for File {
    fn symbol_at(&self, address: u64) -> Option<Symbol> {
        let name = match address & !0xFFF {
            CODE_AT => "work",
            HANDLER => "on_tick",
            0xD000 => "counters",
            _ => return None,
        };
        Some(Symbol { name: name.to_owned(), offset: address & 0xFFF })
    }

    fn sections(&self) -> Vec<FileSection> {
        vec![FileSection { name: ".text".to_owned(), range: CODE_AT..CODE_AT + 0x100, executable: true }]
    }

    fn stacks(&self) -> Vec<NamedStack> {
        vec![NamedStack { name: Some("stack_bottom".to_owned()), range: 0xE000..STACK_TOP }]
    }
}

/// A guest with nothing wrong: code is read-only, data is not executable, the stack has a guard page.
fn good() -> (GuestMemory, Registers) {
    let memory = GuestMemory::new(4 << 20).unwrap();
    for (at, entry) in [(0x1000, 0x2007), (0x2000, 0x3007), (0x3000, 0x4007)] {
        memory.write_u64(at, entry).unwrap();
    }
    let data = |page: u64| 0x4000 + 8 * page;
    for page in [8, 9, 0xE, 0xF] {
        memory.write_u64(data(page), page << 12 | 3 | 1 << 63).unwrap();
    }
    for page in [0xA, 0xB] {
        memory.write_u64(data(page), page << 12 | 1).unwrap();
    }
    for (at, entry) in [(8, 0x00AF_9B00_0000_FFFF), (0x10, 0x00CF_9300_0000_FFFF), (0x18, 0x8B00_8100_0067)] {
        memory.write_u64(GDT + at, entry).unwrap();
    }
    for (vector, ist) in [(0, 0), (6, 0), (8, 1), (13, 0), (14, 0), (0x20, 0)] {
        gate(&memory, vector, HANDLER, ist, 0);
    }
    memory.write_u64(TSS + 36, STACK_TOP - 0x800).unwrap();
    memory.write_u64(TSS + 96, 0x68 << 48).unwrap();
    // push rbp; mov rbp, rsp; sub rsp, 16; mov [rbp-8], rdi; leave; ret
    memory
        .write(CODE_AT, &[0x55, 0x48, 0x89, 0xE5, 0x48, 0x83, 0xEC, 16, 0x48, 0x89, 0x7D, 0xF8, 0xC9, 0xC3])
        .unwrap();
    // push rax; pop rax; iretq
    memory.write(HANDLER, &[0x50, 0x58, 0x48, 0xCF]).unwrap();
    let mut registers = Registers::default();
    let system = &mut registers.system;
    (system.cr0, system.cr3) = (CR0_PG | CR0_PE, 0x1000);
    (system.cr4, system.efer) = (CR4_PAE, EFER_LMA | EFER_NXE);
    (system.cs.l, system.cs.selector, system.ldt.unusable) = (1, 8, 1);
    system.gdt = TableRegister { base: GDT, limit: 0x27 };
    system.idt = TableRegister { base: IDT, limit: 0xFFF };
    system.tr = SegmentRegister {
        base: TSS,
        limit: 0x67,
        selector: 0x18,
        type_: 11,
        present: 1,
        ..Default::default()
    };
    (registers.general.rip, registers.general.rsp) = (CODE_AT + 4, STACK_TOP - 0x20);
    (memory, registers)
}

fn gate(memory: &GuestMemory, vector: u64, offset: u64, ist: u64, ring: u64) {
    let low =
        offset & 0xFFFF | 8 << 16 | ist << 32 | (0x8E | ring << 5) << 40 | (offset >> 16 & 0xFFFF) << 48;
    memory.write_u64(IDT + 16 * vector, low).unwrap();
}

/// The lines about the guest after a change.
fn after(change: impl FnOnce(&GuestMemory, &mut Registers)) -> String {
    let (memory, mut registers) = good();
    change(&memory, &mut registers);
    lint(&memory, &registers, &File).to_string()
}

fn expect(change: impl FnOnce(&GuestMemory, &mut Registers), line: &str) {
    let text = after(change);
    assert_eq!(text, format!("{line}\n"));
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    expect(|_, _| {}, "nothing found");
}

#[test]
fn pages_that_are_writable_and_executable_are_found() {
    expect(
        |memory, _| memory.write_u64(0x4000 + 8 * 0xA, 0xA003 | 1 << 8).unwrap(),
        "the pages 0xa000-0xafff (.text) are writable and executable: clear W for code, set NX for data",
    );
}

#[test]
fn what_the_boot_tables_do_is_one_note() {
    let text = after(|memory, _| {
        (0x20..0x1FF).for_each(|page| memory.write_u64(0x4000 + 8 * page, page << 12 | 7).unwrap());
    });
    assert_eq!(
        text,
        "nothing found\nnote: 2 MiB are mapped to themselves, writable, executable and open to ring 3, as the boot \
         tables have it; `--strict` maps segments with the rights that the file asks for\n"
    );
}

#[test]
fn pages_of_the_kernel_that_ring_3_may_access_are_found() {
    expect(
        |memory, _| memory.write_u64(0x4000 + 8 * 9, 0x9007 | 1 << 63).unwrap(),
        "the IDT at 0x9000 is open to ring 3: clear U",
    );
    expect(
        |memory, _| memory.write_u64(0x4000 + 8 * 0x40, 0x2007 | 1 << 63).unwrap(),
        "the page table at guest-physical 0x2000 can be written by ring 3 at 0x40000: clear U",
    );
}

#[test]
fn a_stack_without_a_guard_page_is_found() {
    expect(
        |memory, _| memory.write_u64(0x4000 + 8 * 0xD, 0xD003 | 1 << 63).unwrap(),
        "the stack `stack_bottom` (0xe000-0xffff) has no guard page: an overflow overwrites 0xdfff (counters+0xfff); \
         leave the page 0xd000 unmapped",
    );
}

#[test]
fn gates_that_cannot_work_are_found() {
    expect(
        |memory, _| gate(memory, 13, 0x20_0000, 0, 0),
        "the gate for #GP: nothing is mapped at the handler's address 0x200000",
    );
    expect(
        |memory, _| memory.write_u64(IDT + 16 * 14, 0).unwrap(),
        "the IDT at 0x9000 has no gate for #PF: it ends in a triple fault; set one",
    );
    expect(
        |memory, _| gate(memory, 8, HANDLER, 0, 0),
        "the gate for #DF has no stack of its own: it runs on the stack that may have overflowed; give it an IST",
    );
    expect(
        |memory, _| gate(memory, 14, HANDLER, 0, 3),
        "the gate for #PF is open to ring 3: ring 3 can call it by `int`, without an error code; use ring 0 in the gate",
    );
    expect(
        |memory, _| (0..256).for_each(|vector| memory.write_u64(IDT + 16 * vector, 0).unwrap()),
        "the IDT at 0x9000 has no gate: every exception is a triple fault; set gates and load them",
    );
}

#[test]
fn task_states_that_cannot_work_are_found() {
    expect(
        |memory, _| memory.write_u64(TSS + 44, STACK_TOP - 0x810).unwrap(),
        "IST1 and IST2 of the task state segment are one stack, 0xf800: the second event overwrites the first; use two",
    );
    expect(
        |memory, registers| {
            memory.write_u64(GDT + 0x28, 0x00AF_FB00_0000_FFFF).unwrap();
            registers.system.gdt.limit = 0x2F;
        },
        "there are segments for ring 3, and the stack for ring 0 in the task state segment at 0x8100 is not set; write RSP0",
    );
    expect(
        |memory, registers| {
            memory.write_u64(GDT + 0x28, 0x00AF_FB00_0000_FFFF).unwrap();
            gate(memory, 8, HANDLER, 0, 0);
            registers.system.gdt.limit = 0x2F;
            registers.system.tr.unusable = 1;
        },
        "the gate for #DF has no stack of its own: it runs on the stack that may have overflowed; give it an IST\n\
         there are segments for ring 3, and TR holds no task state segment: an interrupt of ring 3 finds no stack; load \
         one with `ltr`",
    );
}

#[test]
fn tables_and_segments_that_overlap_are_found() {
    expect(
        |_, registers| registers.system.gdt.limit = 0x107,
        "the GDT and the task state segment overlap at 0x8100: move one of them, or lower its limit",
    );
    let text = after(|memory, registers| {
        memory.write_u64(GDT + 0x10, 0x0040_9300_8000_FFFF).unwrap();
        memory.write_u64(GDT + 8, 0x0040_9B00_0000_FFFF).unwrap();
        (registers.system.efer, registers.system.cs.l, registers.system.cs.db) = (0, 0, 1);
        registers.system.cr0 = CR0_PE;
    });
    let line =
        "the segments 0x8 (32-bit code) and 0x10 (data) overlap in part: check their bases and limits\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn a_stack_pointer_that_is_wrong_is_found() {
    expect(
        |_, registers| registers.general.rsp = 0x20_0000,
        "RSP is 0x200000, where nothing writable is mapped: set it to the top of a stack",
    );
    expect(
        |_, registers| registers.general.rsp = STACK_TOP - 0x11,
        "RSP is 0xffef, no multiple of 8: every push and pop is split; align it to 16 bytes",
    );
    let entered = |rsp: u64, word: u64| {
        move |memory: &GuestMemory, registers: &mut Registers| {
            (registers.general.rip, registers.general.rsp) = (CODE_AT, rsp);
            memory.write_u64(rsp, word).unwrap();
        }
    };
    expect(
        entered(STACK_TOP - 0x20, CODE_AT + 8),
        "`work` is entered with RSP 0xffe0: at a function RSP is 8 off a multiple of 16, or `movaps` faults; call it \
         with RSP a multiple of 16",
    );
    expect(entered(STACK_TOP - 0x18, CODE_AT + 8), "nothing found");
    expect(entered(STACK_TOP - 0x20, 0), "nothing found");
}

#[test]
fn functions_that_use_the_red_zone_are_found() {
    let line = "`work` at 0xa020 uses memory below RSP (the red zone), which an interrupt in ring 0 overwrites: build with \
                -mno-red-zone";
    // mov [rsp-8], rdi; ret
    expect(|memory, _| memory.write(CODE_AT + 0x20, &[0x48, 0x89, 0x7C, 0x24, 0xF8, 0xC3]).unwrap(), line);
    // As gcc does without optimisation: push rbp; mov rbp, rsp; mov [rbp-8], rdi; pop rbp; ret
    let leaf = [0x55, 0x48, 0x89, 0xE5, 0x48, 0x89, 0x7D, 0xF8, 0x5D, 0xC3];
    expect(|memory, _| memory.write(CODE_AT + 0x20, &leaf).unwrap(), &line.replace("0xa020", "0xa024"));
    // Without interrupts on this stack there is nothing wrong with it.
    let text = after(|memory, _| {
        memory.write(CODE_AT + 0x20, &leaf).unwrap();
        gate(memory, 0x20, HANDLER, 1, 0);
    });
    assert_eq!(text, "nothing found\n");
    // lea rax, [rsp-8]; ret
    expect(
        |memory, _| memory.write(CODE_AT + 0x20, &[0x48, 0x8D, 0x44, 0x24, 0xF8, 0xC3]).unwrap(),
        "nothing found",
    );
}

#[test]
fn handlers_that_change_vector_registers_are_found() {
    // call +1; iretq (skipped over by nothing); pxor xmm3, xmm3; ret
    let code = [0xE8, 2, 0, 0, 0, 0x48, 0xCF, 0x66, 0x0F, 0xEF, 0xDB, 0xC3];
    expect(
        |memory, _| memory.write(HANDLER, &code).unwrap(),
        "the handler of vector 0x00, 0xb000 (on_tick), changes xmm3 at 0xb007 (on_tick+0x7) and has not saved it: what it \
         interrupts loses it; build handlers with -mgeneral-regs-only, or save with `fxsave`",
    );
    // fxsave64 [rax] first, or the register alone: movups [rsp+16], xmm3.
    for save in [&[0x48, 0x0F, 0xAE, 0x00][..], &[0x0F, 0x11, 0x5C, 0x24, 0x10]] {
        expect(|memory, _| memory.write(HANDLER, &[save, &code].concat()).unwrap(), "nothing found");
    }
}

#[test]
fn many_findings_of_a_kind_are_counted() {
    let text = after(|memory, _| {
        (0x40..0x60).step_by(2).for_each(|page| memory.write_u64(0x4000 + 8 * page, page << 12 | 3).unwrap())
    });
    assert!(text.ends_with("set NX for data\n... and 6 more of this kind\n"), "{text}");
}

#[test]
fn real_mode_has_nothing_to_check() {
    let memory = GuestMemory::new(4 << 20).unwrap();
    assert_eq!(lint(&memory, &Registers::default(), &File).to_string(), "nothing found\n");
}
