use super::*;
use crate::machine::CpuId;
use crate::machine::flight_recorder::InterruptController;

/// The lines for `occurrences` of CPU 0.
fn lines(occurrences: &[Occurrence]) -> Vec<String> {
    let mut recorder = FlightRecorder::default();
    for what in occurrences {
        recorder.record(7, CpuId::BOOT, *what);
    }
    let symbol = |address| (address == 0x20_0010).then(|| Symbol { name: "kernel".to_owned(), offset: 0x10 });
    let list = EventList::read(&recorder, 7, usize::MAX, 1, &symbol);
    list.lines.into_iter().map(|line| line.text).collect()
}

fn read(port: u16, value: u32) -> Occurrence {
    Occurrence::PortRead { port, size: 1, value }
}

fn write(port: u16, value: u8) -> Occurrence {
    Occurrence::PortWrite { port, size: 1, value: value.into() }
}

#[test]
fn a_text_that_is_printed_is_one_line() {
    let mut all = Vec::new();
    for byte in *b"Hello\n" {
        all.extend([read(0x3FD, 0x60), write(0x3F8, byte)]);
    }
    all.push(read(0x60, 0x1E));
    assert_eq!(
        lines(&all),
        [
            "serial 0: 0x03fd read 6 times, the last 0x60; 0x03f8 written: \"Hello\\n\"",
            "in 0x0060: 0x1e (i8042 0)"
        ]
    );
}

#[test]
fn bytes_that_are_no_text_and_long_texts_are_counted() {
    assert_eq!(
        lines(&[write(0x20, 0x11), write(0x21, 0x20), write(0x21, 0x04)]),
        ["pic 0: 0x0020 written: 0x11; 0x0021 written 2 times, the last 0x4"]
    );
    let long = [write(0xE9, b'x'); 100];
    assert_eq!(lines(&long), ["debug-console 0: 0x00e9 written 100 times, the last 0x78"]);
    let unassigned = [read(0x1234, 0xFF), read(0x1234, 0xFE)];
    assert_eq!(lines(&unassigned), ["unassigned port: 0x1234 read 2 times, the last 0xfe"]);
}

#[test]
fn the_place_of_an_exception_has_its_symbol() {
    let exception = Occurrence::Exception { vector: 13, error_code: Some(0), rip: 0x20_0010 };
    assert_eq!(lines(&[exception]), ["#GP (error code 0x0) at 0x200010 (kernel+0x10)"]);
}

#[test]
fn interrupts_and_halts_are_lines_of_their_own() {
    let interrupt = Occurrence::Interrupt { vector: 0x20, from: InterruptController::Pic };
    let halt = Occurrence::Halt { interruptible: true };
    let all = [interrupt, halt, interrupt, halt].map(|it| it.to_string());
    assert_eq!(lines(&[interrupt, halt, interrupt, halt]), all);
}

#[test]
fn the_list_has_the_latest_line_last_and_the_cpu_if_there_are_several() {
    let mut recorder = FlightRecorder::default();
    for port in 0x1000..0x1010 {
        recorder.record(3, CpuId::new(1), read(port, 0xFF));
    }
    recorder.record(4, CpuId::new(1), Occurrence::TripleFault);
    let list = EventList::read(&recorder, 4, 3, 2, &|_| None);
    assert_eq!(
        list.to_string(),
        "       15 @3  CPU 1: in 0x100e: 0xff\n       16 @3  CPU 1: in 0x100f: 0xff\n       17 @4  CPU 1: triple fault\n"
    );
    let before = list.before_the_end(1);
    assert_eq!(before.lines.iter().map(|line| line.number).collect::<Vec<_>>(), [16]);
}
