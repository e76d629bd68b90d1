use super::*;

fn watched(watches: &[(u64, u64, bool, bool)]) -> WatchpointPages {
    let watch = |&(start, length, reads, writes)| WatchRange { start, length, reads, writes };
    WatchpointPages { watches: watches.iter().map(watch).collect(), ..WatchpointPages::default() }
}

#[test]
fn adjacent_pages_are_protected_together_and_removed_if_reads_are_watched() {
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
fn only_accesses_of_a_watched_kind_to_watched_bytes_are_recorded() {
    let mut watched = watched(&[(0x5002, 2, false, true), (0x6000, 4, true, false)]);
    watched.write(0x5000, 2);
    watched.write(0x5004, 4);
    watched.read(0x5002, 2);
    watched.write(0x6000, 4);
    assert!(!watched.has_accesses());
    watched.write(0x5001, 2);
    watched.read(0x6003, 1);
    assert_eq!(
        watched.take_accesses(),
        [
            WatchedAccess { physical: 0x5001, size: 2, write: true },
            WatchedAccess { physical: 0x6003, size: 1, write: false },
        ]
    );
    assert!(!watched.has_accesses());
}

#[test]
fn recorded_accesses_of_one_instruction_are_bounded() {
    let mut watched = watched(&[(0, 0x1000, false, true)]);
    for at in 0..0x1000 {
        watched.accessed(at, 1, true);
    }
    assert_eq!(watched.take_accesses().len(), MAX_ACCESSES);
}

#[test]
fn tables_that_the_processor_reads_stay_readable() {
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
