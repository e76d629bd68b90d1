use super::*;

#[test]
fn memory_is_shown_in_the_formats_of_gdb() {
    let mut guest = long_mode();
    guest.memory.write(0x20_0000, b"\xFE\xFF\xFF\xFFHi\n\0\x34\x12\x90\xC3").unwrap();
    for (line, wanted) in [
        ("x 0x200000", "0x200000:\t0xfffffffe\n"),
        ("x/2xw 0x200000", "0x200000:\t0xfffffffe\t0x0a6948\n".replace("0x0a", "0x000a").as_str()),
        ("x/dw 0x200000", "0x200000:\t-2\n"),
        ("x/uw 0x200000", "0x200000:\t4294967294\n"),
        ("x/2ob 0x200000", "0x200000:\t0o376\t0o377\n"),
        ("x/tb 0x200000", "0x200000:\t11111110\n"),
        ("x/xg 0x200000", "0x200000:\t0x000a6948fffffffe\n"),
        ("x/2c 0x200004", "0x200004:\t72 'H'\t105 'i'\n"),
        ("x/s 0x200004", "0x200004:\t\"Hi\\n\"\n"),
        ("x/2i 0x20000a", "   0x20000a:\tnop\n   0x20000b:\tret\n"),
        ("x/9xb 0x200000", "0x200000:\t0xfe\t0xff\t0xff\t0xff\t0x48\t0x69\t0x0a\t0x00\n0x200008:\t0x34\n"),
        ("xp/xh 0x200008", "0x200008:\t0x1234\n"),
        ("x/x 0x5000", "error: nothing is mapped at 0x5000; `walk 0x5000` shows where the translation fails"),
        ("xp/x 0x400000", "error: 0x400000 is not RAM; `info mtree` shows the memory map"),
        (
            "xp/2xw 0x3ffffc",
            "0x3ffffc:\t0x00000000\n0x400000 is not RAM; `info mtree` shows the memory map\n",
        ),
        (
            "x/5q 0",
            "error: `q` is no format; there is x d u o t a c s i, and b h w g for the size; use: x [/FMT] ADDRESS",
        ),
        ("x/x", "error: an address is missing; use: x [/FMT] ADDRESS"),
        ("x/0x 0", "error: the count is 0; it must be from 1 to 4096; use: x [/FMT] ADDRESS"),
    ] {
        assert_eq!(run(&mut guest, line), wanted, "{line}");
    }
}

#[test]
fn expressions_are_printed_and_registers_are_set() {
    let mut guest = long_mode();
    for (line, wanted) in [
        ("print 1 + 2", "3 (0x3)\n"),
        ("p $rip", "2097152 (0x200000)\n"),
        ("p/x $rip", "0x200000\n"),
        ("p/t 5", "101\n"),
        ("set $rax = 5 * 2", "$rax is 0xa\n"),
        ("print $rax", "10 (0xa)\n"),
        ("set $ah=0x1ff", "$ah is 0xff\n"),
        ("p/x $rax", "0xff0a\n"),
        ("set $rax = -1", "$rax is 0xffffffffffffffff\n"),
        ("p $rax", "-1 (0xffffffffffffffff)\n"),
        ("set $rflags = 0", "$rflags is 0x0\n"),
        ("p/x $rflags", "0x2\n"),
        ("set $cr3 = 0x9000", "$cr3 is 0x9000\n"),
    ] {
        assert_eq!(run(&mut guest, line), wanted, "{line}");
    }
    assert_eq!(guest.registers.system.cr3, 0x9000);
    for line in ["set $cs = 8", "set $nothing = 1", "set rax = 1", "set $rax", "print", "print 1 1"] {
        assert!(run(&mut guest, line).starts_with("error: "), "{line}");
    }
    let all = run(&mut guest, "registers");
    for part in
        ["RAX    ffffffffffffffff", "CR3    0000000000009000", "XMM0   0000000000000000000000000000005a"]
    {
        assert!(all.contains(part), "{part} is missing in\n{all}");
    }
    assert_eq!(all, run(&mut guest, "info registers"));
}

#[test]
fn page_tables_are_shown_as_ranges_and_page_by_page() {
    let mut guest = long_mode();
    // Three pages that follow one another; the third is writable for the user.
    for (at, entry) in [(0x4008, 0x6001), (0x4010, 0x7001), (0x4018, 0x8007)] {
        guest.memory.write_u64(at, entry).unwrap();
    }
    assert_eq!(
        run(&mut guest, "info mem"),
        "0000000000000000-0000000000001000 0000000000001000 -r--\n\
         0000000000001000-0000000000003000 0000000000002000 -r-x\n\
         0000000000003000-0000000000004000 0000000000001000 urwx\n\
         0000000000200000-0000000000400000 0000000000200000 urwx\n"
    );
    assert_eq!(
        run(&mut guest, "info tab"),
        "0000000000000000-0000000000000fff -> 0000000000000000-0000000000000fff -r--\n\
         0000000000001000-0000000000002fff -> 0000000000006000-0000000000007fff -r-x\n\
         0000000000003000-0000000000003fff -> 0000000000008000-0000000000008fff urwx\n\
         0000000000200000-00000000003fffff -> 0000000000200000-00000000003fffff urwx\n"
    );
    assert_eq!(
        run(&mut guest, "info tlb 0x3000"),
        "0000000000003000: 0000000000008000 -------UW\n0000000000200000: 0000000000200000 --PDA--UW\n"
    );
    // A table that contains itself maps without end.
    guest.memory.write_u64(0x1008, 0x1003).unwrap();
    (0..512).for_each(|entry| guest.memory.write_u64(0x1000 + 8 * entry, 0x1003).unwrap());
    assert!(run(&mut guest, "info mem").ends_with("... and more, which is not shown\n"));
    assert!(run(&mut guest, "info tlb").ends_with("... `info tlb 0x1000000` shows the rest\n"));
    assert_eq!(run(&mut real_mode(), "info mem"), "PG disabled\n");
    assert_eq!(run(&mut real_mode(), "info tab"), "paging is off: addresses are guest-physical ones\n");
}

#[test]
fn descriptor_tables_are_decoded() {
    let mut guest = long_mode();
    for (at, entry) in [
        (0x20_0008, 0x00AF_9B00_0000_FFFF),
        (0x20_0010, 0x00CF_9300_0000_FFFF),
        (0x20_0018, 0x0000_8920_0000_0067),
        (0x20_0020, 0xFFFF_8000),
        (0x20_00E0, 0x0020_8E03_0008_1234),
    ] {
        guest.memory.write_u64(at, entry).unwrap();
    }
    let system = &mut guest.registers.system;
    (system.gdt.base, system.gdt.limit) = (0x20_0000, 0x27);
    (system.idt.base, system.idt.limit) = (0x20_0000, 0xEF);
    let gdt = run(&mut guest, "info gdt");
    assert_eq!(gdt, run(&mut guest, "gdt"));
    assert_eq!(
        gdt,
        "GDT at 0x200000, limit 0x27\n\
         0x0008: 64-bit code, ring 0, base 0x0, limit 0xffffffff\n        in CS\n\
         0x0010: data, ring 0, base 0x0, limit 0xffffffff\n\
         0x0018: TSS (available), ring 0, base 0xffff800000200000, limit 0x67\n"
    );
    let idt = run(&mut guest, "info idt");
    assert_eq!(idt, run(&mut guest, "idt"));
    assert!(idt.contains("\n0x0e: interrupt gate to 0x201234, selector 0x8, ring 0, IST 3\n"), "{idt}");
}

#[test]
fn maps_are_compared_with_those_that_were_shown_last() {
    let mut guest = long_mode();
    let error = "error: there are no maps to compare with; `maps` or `maps save` keeps those of now; use: maps [--json] [ADDRESS|save|diff]";
    assert_eq!(run(&mut guest, "maps diff"), error);
    let maps = run(&mut guest, "maps");
    assert!(maps.contains("\n0000000000200000-00000000003fffff -> 000000200000     2M 2M rwxu-\n"), "{maps}");
    assert_eq!(maps, run(&mut guest, "pt"));
    guest.memory.write_u64(0x3008, 0x20_00E5).unwrap();
    let changed = "- 0000000000200000-00000000003fffff -> 000000200000     2M 2M rwxu-\n\
                   + 0000000000200000-00000000003fffff -> 000000200000     2M 2M r-xu-\n";
    assert!(run(&mut guest, "maps 0x400000").contains("nothing is mapped"), "a part is not kept");
    assert_eq!(run(&mut guest, "maps diff"), changed);
    assert_eq!(run(&mut guest, "maps diff"), "nothing has changed\n");
    assert!(run(&mut guest, "maps save").ends_with("ranges are saved; `maps diff` shows what changes\n"));
    assert_eq!(run(&mut guest, "tss"), "TR holds no task state segment (selector 0x0)\n");
}

#[test]
fn memory_is_searched_and_devices_are_shown() {
    let mut guest = long_mode();
    guest.memory.write(0x20_0100, b"needle").unwrap();
    for (line, wanted) in [
        ("find \"needle\"", "0x200100\n1 found in 2052 KiB\n"),
        ("find 6e 65 65 64", "0x200100\n1 found in 2052 KiB\n"),
        ("find 0x200000 0x100 \"needle\"", "not found in 0 KiB\n"),
        ("find $rip 0x106 6e656564", "0x200100\n1 found in 0 KiB\n"),
        ("find -p \"needle\"", "0x200100\n1 found in 4096 KiB\n"),
        ("find 0x1000 0", "error: the length is 0; use: find [-p] [ADDRESS LENGTH] BYTES|\"TEXT\""),
        (
            "find 0x1000 0x10",
            "error: what to search for is missing; use: find [-p] [ADDRESS LENGTH] BYTES|\"TEXT\"",
        ),
        (
            "find \"\"",
            "error: 1 to 256 bytes are searched for, and these are 0; use: find [-p] [ADDRESS LENGTH] BYTES|\"TEXT\"",
        ),
        ("device", "error: a device is missing; `devices` lists them; use: device [--json] NAME"),
        ("device nothing", "error: `nothing` is no device; `devices` lists them; use: device [--json] NAME"),
    ] {
        assert_eq!(run(&mut guest, line), wanted, "{line}");
    }
    let devices = run(&mut guest, "devices");
    assert!(
        devices.contains("\nserial1          ports 0x2f8-0x2ff, interrupt 3: 9600 baud (divisor 12), 8N1\n"),
        "{devices}"
    );
    assert!(run(&mut guest, "device com1").contains("\nstate:\ndivisor: 0xc\n"));
}

#[test]
fn callers_are_found_by_their_frame_pointers() {
    let mut guest = long_mode();
    for (at, value) in
        [(0x20_1000, 0x20_1020), (0x20_1008, 0x20_0123), (0x20_1020, 0), (0x20_1028, 0x20_0456)]
    {
        guest.memory.write_u64(at, value).unwrap();
    }
    guest.registers.general.rbp = 0x20_1000;
    assert_eq!(run(&mut guest, "bt"), "#0   0x200000\n#1   0x200123\n#2   0x200456\n");
    guest.registers.general.rbp = 0;
    assert!(run(&mut guest, "bt").contains("no caller is known"));
}

#[test]
fn commands_of_qemu_are_understood_or_say_what_is_missing() {
    let mut guest = real_mode();
    assert!(run(&mut guest, "savevm a").starts_with("snapshot `a` at 0x0"));
    assert!(run(&mut guest, "loadvm a").starts_with("restored snapshot `a`"));
    run(&mut guest, "system_reset");
    run(&mut guest, "q");
    assert_eq!((guest.resets, guest.ended), (1, true));
    assert_eq!(run(&mut guest, "h"), run(&mut guest, "help"));
    assert!(run(&mut guest, "info qtree").contains("ports 0x03f8-0x03ff\n    interrupt 4\n"));
    assert_eq!(run(&mut guest, "info cpus"), "* CPU #0: rip 0x0\n");
    let pci = run(&mut guest, "info pci");
    assert!(
        pci.contains("\n  Bus  0, device   1, function 1:\n    IDE controller: PCI device 8086:7010\n"),
        "{pci}"
    );
    assert!(run(&mut guest, "info pic").contains("vectors not set"), "{}", run(&mut guest, "info pic"));
    assert!(run(&mut guest, "info irq").contains("the timer (PIT) (line 0): not programmed to interrupt\n"));
    assert!(run(&mut guest, "info lapic").starts_with("CPU 0: xAPIC"), "{}", run(&mut guest, "info lapic"));
    assert!(run(&mut guest, "info timers").contains("PIT counter 0: "));
    run(&mut guest, "system_powerdown");
    run(&mut guest, "nmi");
    assert_eq!(guest.inputs.pushed(), [Input::PowerButton, Input::Nmi { cpu: 0 }]);
}

#[test]
fn commands_are_about_the_cpu_that_was_selected() {
    let mut guest = real_mode();
    guest.cpus = 2;
    let mut console = |line: &str| answer(&mut guest, CommandSource::Console, line);
    assert_eq!(console("cpu").unwrap(), "CPU 0\n");
    assert!(console("regs").unwrap().starts_with("CPU 0:\nPrivileged Registers"));
    assert_eq!(console("cpu 1").unwrap(), "commands are about CPU 1 now\n");
    assert!(console("regs").unwrap().starts_with("CPU 1:\nPrivileged Registers"));
    assert!(console("registers").unwrap().starts_with("CPU 1:\nRAX"));
    for wrong in ["cpu 2", "cpu 256", "cpu -1"] {
        let error = console(wrong).unwrap_err().to_string();
        assert!(error.contains("the machine has CPU 0 to 1"), "{error}");
    }
    assert_eq!(console("nmi").unwrap(), "a non-maskable interrupt of CPU 1 is requested\n");
    assert_eq!(guest.inputs.pushed(), [Input::Nmi { cpu: 1 }]);
    guest.cpus = 1;
    let error = answer(&mut guest, CommandSource::Console, "cpu 1").unwrap_err().to_string();
    assert!(error.contains("the machine has only CPU 0"), "{error}");
}

#[test]
fn a_dump_of_physical_memory_ends_where_ram_ends() {
    let mut guest = long_mode();
    guest.memory.write((4 << 20) - 20, b"Hello, \x7F\xFFworld....!").unwrap();
    assert_eq!(
        run(&mut guest, "xp (4 << 20) - 20"),
        "00003fffec  48 65 6c 6c 6f 2c 20 7f  ff 77 6f 72 6c 64 2e 2e  |Hello, ..world..|\n\
         00003ffffc  2e 2e 21 00                                       |..!.|\n\
         0000400000  RAM ends here\n"
    );
    assert_eq!(run(&mut guest, "xp $cr3 2"), format!("0000001000  27 20 {:43} |' |\n", ""));
    assert_eq!(
        run(&mut guest, "xp 0x400000"),
        "error: 0x400000 is not RAM; `info mtree` shows the memory map"
    );
    assert_eq!(
        run(&mut guest, "xp 0 4097"),
        "error: the count is 4097; it must be from 1 to 4096; use: xp [/FMT] ADDRESS [COUNT]"
    );
    assert_eq!(run(&mut guest, "xp 0 1 1"), "error: unexpected argument `1`; use: xp [/FMT] ADDRESS [COUNT]");
    assert_eq!(
        run(&mut guest, "xp u64(0x7000000)"),
        "error: `u64(0x7000000)` has no value now: 8 bytes at 0x7000000 cannot be read: no RAM is mapped \
         there"
    );
    let map = run(&mut guest, "info mtree");
    assert!(map.starts_with("0x000000000000..0x000000400000 RAM, 4 MiB\n"), "{map}");
    assert_eq!(map, run(&mut guest, "memory"));
}

#[test]
fn code_is_disassembled_in_the_current_mode() {
    let mut guest = long_mode();
    guest.memory.write(0x20_0000, &[0x48, 0x89, 0xE5, 0xE8, 0xF8, 0xFF, 0xFF, 0xFF, 0x06]).unwrap();
    assert_eq!(run(&mut guest, "dis"), run(&mut guest, "dis $rip 10"),);
    assert_eq!(
        run(&mut guest, "dis $rip 3"),
        "=> 0x200000: mov rbp, rsp\n   0x200003: call 0x200000\n   0x200008: (no instruction begins with 0x06)\n"
    );
    assert_eq!(
        run(&mut guest, "dis 0x800000"),
        "error: nothing is mapped at 0x800000; `walk 0x800000` shows where the translation fails"
    );

    let mut guest = real_mode();
    guest.memory.write(0x1_2340, &[0xB8, 0x34, 0x12, 0xEB, 0xFB]).unwrap();
    (guest.registers.system.cs.selector, guest.registers.system.cs.base) = (0x1234, 0x1_2340);
    assert_eq!(
        run(&mut guest, "dis 0x12340 2"),
        "16-bit code, CS 0x1234 with base 0x12340\n=> 0x12340: mov ax, 0x1234\n   0x12343: jmp short 0x0\n"
    );
    guest.registers.system.cs.db = 1;
    guest.registers.system.cr0 = 1;
    let text = run(&mut guest, "dis 0x12340 1");
    assert!(text.ends_with("=> 0x12340: mov eax, 0xfbeb1234\n"), "{text}");
}
