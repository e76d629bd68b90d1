use super::*;

/// A write of `value` to a port.
fn write(value: u32) -> Occurrence {
    Occurrence::PortWrite { port: 0x3F8, size: 1, value }
}

#[test]
fn the_last_occurrences_are_kept_in_order() {
    let mut recorder = FlightRecorder::default();
    assert_eq!(recorder.last(10, 0), []);
    for value in 0..1000 {
        recorder.record(u64::from(value) / 10, CpuId::BOOT, write(value));
    }
    let last = recorder.last(3, 99);
    let values: Vec<_> = last.iter().map(|it| (it.number, it.event, it.what)).collect();
    assert_eq!(values, [(998, 99, write(997)), (999, 99, write(998)), (1000, 99, write(999))]);
    let all = recorder.last(usize::MAX, 99);
    assert_eq!((all.len(), all[0].number, recorder.count()), (CAPACITY, 1000 - CAPACITY as u64 + 1, 1000));
    recorder.clear();
    assert_eq!((recorder.last(10, 99), recorder.count()), (Vec::new(), 0));
}

#[test]
fn the_number_of_a_journal_event_is_whole_although_half_of_it_is_stored() {
    let mut recorder = FlightRecorder::default();
    let before = u64::from(u32::MAX) - 1;
    for event in before..before + 4 {
        recorder.record(event, CpuId::new(3), Occurrence::Nmi);
    }
    let last = recorder.last(4, before + 5);
    assert_eq!(last.iter().map(|it| it.event).collect::<Vec<_>>(), Vec::from_iter(before..before + 4));
    assert!(last.iter().all(|it| it.cpu == 3));
}

#[test]
fn the_busiest_ports_come_first() {
    let mut recorder = FlightRecorder::default();
    for (port, times) in [(0x60_u16, 2), (0xFFFF, 5), (0x80, 2), (0, 1)] {
        for _ in 0..times {
            recorder.record_port(0, CpuId::BOOT, port, Occurrence::PortRead { port, size: 1, value: 0 });
        }
    }
    recorder.count_port(0x80, 7);
    assert_eq!(recorder.busiest_ports(3), [(0x80, 9), (0xFFFF, 5), (0x60, 2)]);
    assert_eq!(recorder.busiest_ports(99).len(), 4);
    assert_eq!(recorder.count(), 10);
}

#[test]
fn an_exception_takes_the_place_of_the_hlt_that_reports_it() {
    let (hlt, exception) = (
        Occurrence::Halt { interruptible: false },
        Occurrence::WithoutIdt { vector: 14, error_code: Some(2), rip: 0x20_0010 },
    );
    let (mut recorder, other) = (FlightRecorder::default(), CpuId::new(1));
    let all = |recorder: &FlightRecorder| recorder.last(9, 0).iter().map(|it| it.what).collect::<Vec<_>>();
    recorder.record_in_place_of_halt(0, CpuId::BOOT, exception);
    recorder.record(0, CpuId::BOOT, hlt);
    recorder.record_in_place_of_halt(0, other, exception);
    assert_eq!(all(&recorder), [exception, hlt, exception], "the `hlt` of another CPU stays");
    recorder.record(0, other, hlt);
    recorder.record_in_place_of_halt(0, other, exception);
    assert_eq!(all(&recorder), [exception, hlt, exception, exception]);
}
