use super::super::int1a_time::tick;
use super::super::int15_memory_map::ranges;
use super::super::testing::TestPlatform;
use super::*;

fn called(ax: u16, platform: &mut TestPlatform) -> BiosCall {
    let mut call = BiosCall { eax: ax.into(), flags: 1, ..BiosCall::default() };
    assert_eq!(serve(&mut call, platform), Served::Done);
    call
}

#[test]
fn the_memory_map_is_read_entry_by_entry() {
    let mut platform = TestPlatform::default();
    let mut call = BiosCall { edx: 0x534D_4150, es: 0x50, edi: 0x10, ..BiosCall::default() };
    let mut entries = Vec::new();
    loop {
        (call.eax, call.ecx) = (0xE820, 24);
        assert_eq!(serve(&mut call, &mut platform), Served::Done);
        assert_eq!((call.eax, call.ecx, call.flags & 1), (0x534D_4150, 20, 0));
        let memory = platform.dynamic();
        let long = |at: u64| u64::from(memory.double_word(at)) | u64::from(memory.double_word(at + 4)) << 32;
        entries.push((long(0x510), long(0x518), memory.double_word(0x520)));
        if call.ebx == 0 {
            break;
        }
    }
    let expected = [(0, 0x9FC00, 1), (0x9FC00, 0x400, 2), (0xF0000, 0x10000, 2), (0x10_0000, 63 << 20, 1)];
    assert_eq!(entries, expected);
    assert_eq!(ranges(&platform).len(), 4);
    for (edx, ecx, ebx) in [(0, 24, 0), (0x534D_4150, 19, 0), (0x534D_4150, 24, 4)] {
        let mut wrong = BiosCall { eax: 0xE820, ebx, ecx, edx, ..BiosCall::default() };
        assert_eq!(serve(&mut wrong, &mut platform), Served::Done);
        assert_eq!((wrong.ah(), wrong.flags & 1), (0x86, 1));
    }
}

#[test]
fn older_functions_report_the_same_memory() {
    let mut platform = TestPlatform::default();
    let e801 = called(0xE801, &mut platform);
    assert_eq!((e801.ax(), e801.bx(), e801.flags & 1), (0x3C00, 768, 0));
    assert_eq!((e801.cx(), e801.dx()), (0x3C00, 768));
    assert_eq!((called(0x8800, &mut platform).ax(), called(0x8800, &mut platform).flags & 1), (63 << 10, 0));
    platform.size = 2 << 20;
    assert_eq!((called(0x8800, &mut platform).ax(), called(0xE801, &mut platform).bx()), (1024, 0));
    platform.size = 3 << 30;
    assert_eq!((called(0x8800, &mut platform).ax(), called(0xE801, &mut platform).bx()), (63 << 10, 0xBF00));
}

#[test]
fn the_a20_gate_is_switched_at_port_92() {
    let mut platform = TestPlatform::default();
    platform.ports.push((0x92, 2));
    assert_eq!(called(0x2402, &mut platform).ax(), 1);
    assert_eq!(called(0x2400, &mut platform).ah(), 0);
    assert_eq!(called(0x2402, &mut platform).ax(), 0);
    assert_eq!((called(0x2401, &mut platform).flags & 1, platform.written_to(0x92)), (0, vec![0, 2]));
    assert_eq!(called(0x2403, &mut platform).bx(), 3);
    assert_eq!(called(0x2404, &mut platform).flags & 1, 1);
}

#[test]
fn words_are_copied_to_extended_memory() {
    let mut platform = TestPlatform::default();
    platform.write(0x7C00, b"four");
    let mut table = [0; 0x30];
    table[0x12..0x15].copy_from_slice(&[0x00, 0x7C, 0x00]);
    table[0x1A..0x20].copy_from_slice(&[0x34, 0x12, 0x10, 0x93, 0, 0]);
    platform.write(0x600, &table);
    let mut call = BiosCall { eax: 0x8700, ecx: 2, es: 0x60, ..BiosCall::default() };
    assert_eq!(serve(&mut call, &mut platform), Served::Done);
    assert_eq!((call.ah(), call.flags & 1, &platform.memory[0x10_1234..][..4]), (0, 0, &b"four"[..]));
    call.set_ax(0x8700);
    call.set_cx(0x8001);
    assert_eq!((serve(&mut call, &mut platform), call.ah(), call.flags & 1), (Served::Done, 2, 1));
}

#[test]
fn a_wait_ends_after_as_many_ticks_as_it_takes() {
    let mut platform = TestPlatform::default();
    platform.dynamic().set_double_word(bda::TICKS, TICKS_A_DAY - 2);
    // 100,000 microseconds are two ticks.
    let mut call = BiosCall { eax: 0x8600, ecx: 1, edx: 0x86A0, flags: 1, ..BiosCall::default() };
    for _ in 0..3 {
        assert_eq!(serve(&mut call, &mut platform), Served::Wait);
        let _ = tick(&mut platform);
    }
    assert_eq!((serve(&mut call, &mut platform), call.ah(), call.flags & 1), (Served::Done, 0, 0));
    assert_eq!(serve(&mut call, &mut platform), Served::Done, "AH is 0 now: an unknown function");
}

#[test]
fn the_configuration_is_in_the_rom_and_the_data_area_at_the_top_of_memory() {
    let mut platform = TestPlatform::default();
    let configuration = called(0xC000, &mut platform);
    assert_eq!((configuration.es, configuration.bx(), configuration.ah()), (0xF000, 0xE6F5, 0));
    assert_eq!((called(0xC100, &mut platform).es, called(0x4F1E, &mut platform).ax()), (0x9FC0, 0x4F1E));
    assert_eq!(called(0x4F1E, &mut platform).flags & 1, 1);
    for unknown in [0x5300, 0x8900, 0xC200, 0xE881] {
        let answer = called(unknown, &mut platform);
        assert_eq!((answer.ah(), answer.flags & 1), (0x86, 1), "{unknown:#x}");
    }
}
