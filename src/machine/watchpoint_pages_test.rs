use super::*;

fn watched(watches: &[(u64, u64, bool, bool)]) -> WatchpointPages {
    let watch = |&(start, length, reads, writes)| PhysicalWatch { start, length, reads, writes };
    WatchpointPages { watches: watches.iter().map(watch).collect(), ..WatchpointPages::default() }
}

#[test]
fn pages_side_by_side_are_protected_together_and_reads_take_them_away() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let watched = watched(&[
        (0x2FFF, 2, false, true),
        (0x5000, 8, false, true),
        (0x5800, 1, true, false),
        (0x6000, 1, true, true),
        // A device.
        (0xFEE0_0080, 4, true, true),
    ]);
    assert_eq!(
        watched.protected(&memory),
        [
            ProtectedPages { pages: 0x2000..0x4000, how: Protection::ReadOnly },
            ProtectedPages { pages: 0x5000..0x7000, how: Protection::Removed },
        ]
    );
}

#[test]
fn only_what_touches_the_watched_bytes_in_the_watched_way_is_noted() {
    let mut watched = watched(&[(0x5002, 2, false, true), (0x6000, 4, true, false)]);
    watched.write(0x5000, 2);
    watched.write(0x5004, 4);
    watched.read(0x5002, 2);
    watched.write(0x6000, 4);
    assert!(!watched.is_touched());
    watched.write(0x5001, 2);
    watched.read(0x6003, 1);
    assert_eq!(
        watched.take_touches(),
        [Touch { physical: 0x5001, size: 2, write: true }, Touch { physical: 0x6003, size: 1, write: false },]
    );
    assert!(!watched.is_touched());
}

#[test]
fn an_instruction_that_touches_much_is_told_in_part() {
    let mut watched = watched(&[(0, 0x1000, false, true)]);
    for at in 0..0x1000 {
        watched.accessed(at, 1, true);
    }
    assert_eq!(watched.take_touches().len(), MOST_TOUCHES);
}

#[test]
fn tables_the_processor_reads_are_not_taken_away() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let mut registers = Registers::default();
    (registers.system.gdt.base, registers.system.gdt.limit) = (0x8FF8, 0x17);
    registers.general.rip = 0xAFFC;
    let mut watched = watched(&[(0x7000, 0x5000, true, true)]);
    watched.find_readable(&memory, &[registers]);
    let found: Vec<_> = watched.readable.iter().map(|(page, why)| (*page, *why)).collect();
    assert_eq!(
        found,
        [
            (0x8000, "descriptor tables"),
            (0x9000, "descriptor tables"),
            (0xA000, "code that runs"),
            (0xB000, "code that runs"),
        ]
    );
    assert_eq!(
        watched.protected(&memory),
        [
            ProtectedPages { pages: 0x7000..0x8000, how: Protection::Removed },
            ProtectedPages { pages: 0x8000..0xC000, how: Protection::ReadOnly },
        ]
    );
}
