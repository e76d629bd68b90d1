use crate::inspect::dump::dump_crash;
use std::path::Path;

use super::*;
use crate::arch::flags::CR0_PE;
use crate::inspect::dump;
use crate::inspect::events::EventLine;
use crate::inspect::fault::delivery::DeliveryProblem;
use crate::inspect::fault::{AccessKind, AddressMeaning, PageState};
use crate::inspect::report as sentences;
use crate::inspect::testing::long_mode;

fn symbol(name: &str, offset: u64) -> Option<Symbol> {
    Some(Symbol { name: name.to_owned(), offset })
}

/// A report as [`CrashReport::capture`] makes one.
fn report(cause: Cause) -> CrashReport {
    let mut registers = Registers::default();
    registers.system.cr0 = CR0_PE;
    CrashReport {
        cause,
        cpu: 0,
        cpu_count: 1,
        other_cpus: Vec::new(),
        registers: Some(registers),
        place: Some(Place {
            address: 0x10_0004,
            symbol: symbol("main", 4),
            source: None,
            source_text: None,
            bitness: 64,
            code: vec![0x0F, 0x01, 0xC8],
            instruction: Some("monitor".to_owned()),
            operands: Vec::new(),
        }),
        walk: None,
        rescued: None,
        exception: None,
        delivery: None,
        double_fault: None,
        caller: None,
        code: None,
        stack: None,
        syscall_stays_in_ring_3: false,
        waits_for: None,
        fault_loop: None,
        frames: Vec::new(),
        pending: None,
        post_code: None,
        events: EventList::default(),
    }
}

#[test]
fn a_triple_fault_is_reported_with_its_place_and_cr2() {
    let mut crash = report(Cause::TripleFault);
    assert_eq!(crash.message(), "triple fault at 0x100004 (main+0x4), instruction `monitor`.");
    crash.registers.as_mut().unwrap().system.cr2 = 8;
    crash.delivery = Some(DeliveryFailure { vector: 8, problem: DeliveryProblem::NoTable });
    crash.post_code = Some(7);
    let text = "triple fault at 0x100004 (main+0x4), instruction `monitor`. The last page fault was at 0x8 (CR2), \
                where nothing is mapped: a null pointer, by the looks of it. No usable IDT is loaded, so the first \
                exception ends the machine. Last POST code: 0x07.";
    assert_eq!(crash.message(), text);
    assert_eq!(
        sentences::message(&Outcome::TripleFault(None), Some(&crash), Some(Path::new("run.log"))),
        format!("{text} The log run.log has all registers.")
    );
    crash.walk = Some(PageWalk { address: 8, entries: Vec::new(), physical: Some(8) });
    assert!(crash.message().contains("at 0x8 (CR2), whose page forbids the access"), "{}", crash.message());
}

#[test]
fn one_of_several_cpus_is_named() {
    let mut crash = report(Cause::TripleFault);
    (crash.cpu, crash.cpu_count) = (3, 4);
    crash.other_cpus = vec!["CPU 0 waits in hlt at 0x10 (idle)".to_owned()];
    assert_eq!(crash.message(), "triple fault on CPU 3 at 0x100004 (main+0x4), instruction `monitor`.");
    let dump = dump_crash(&crash).unwrap();
    assert!(dump.starts_with("CPU 3: Target program dump:\n"), "{dump}");
    assert!(dump.contains("\n  CPU 0 waits in hlt at 0x10 (idle)\n"), "{dump}");
    crash.cause = Cause::TimedOut;
    assert_eq!(
        crash.message(),
        "the run took longer than --timeout allows; CPU 3 was at 0x100004 (main+0x4), instruction `monitor`."
    );
    crash.waits_for = Some(Vec::new());
    assert!(
        crash
            .message()
            .contains("the guest waits in `hlt` on CPU 3 for an interrupt; the next instruction is 0x")
    );
    (crash.cause, crash.waits_for) = (Cause::TripleFault, None);
    let registers = crash.registers.as_mut().unwrap();
    (registers.general.rip, registers.system.cr0) = (0xFFF0, 0);
    assert!(crash.message().starts_with("triple fault on CPU 3; this host has already reset the registers"));
    let line =
        |number: u64| EventLine { number, event: 2, cpu: 3, times: 1, text: format!("event {number}") };
    crash.events = EventList { lines: (1..=8).map(line).collect(), cpus: 4, notes: Vec::new() };
    assert!(
        crash.message().ends_with(" is not known. The last events: event 5; event 6; event 7; event 8."),
        "{}",
        crash.message()
    );
    let dump = dump_crash(&crash).unwrap();
    assert!(
        dump.contains("last events (number @ event of the journal):\n          1 @2  CPU 3: event 1\n"),
        "{dump}"
    );
}

#[test]
fn an_exception_is_reported_with_its_vector_ring_cause_and_caller() {
    let mut crash = report(Cause::TripleFault);
    crash.registers.as_mut().unwrap().system.cr2 = 8;
    crash.registers.as_mut().unwrap().system.ss.dpl = 3;
    crash.exception = Some(RaisedException {
        vector: vector::PAGE_FAULT,
        error_code: Some(0x14),
        diagnosis: Diagnosis::Page {
            address: 8,
            access: AccessKind::Fetch,
            page: PageState::Unmapped,
            meaning: AddressMeaning::NullPointer,
        },
    });
    crash.caller = Some(Frame { address: 0x10_0100, symbol: symbol("caller", 0x10), ..Frame::default() });
    crash.syscall_stays_in_ring_3 = true;
    let not_present = |vector| Some(DeliveryFailure { vector, problem: DeliveryProblem::NotPresent });
    (crash.delivery, crash.double_fault) = (not_present(14), not_present(8));
    assert_eq!(
        crash.message(),
        "triple fault at 0x100004 (main+0x4), instruction `monitor`: page fault, #PF (vector 14, error code 0x14: \
         not present, fetch, user) in ring 3: a jump to 0x8, where nothing is mapped: a null pointer. The return address on the stack is \
         0x100100 (caller+0x10). `syscall` stays in ring 3 on this host (`kvm check`, calls.syscall): run the guest \
         on a host with VT-x or AMD-V. The IDT is loaded, but the gate for #PF is not present; the same \
         holds for the double fault, #DF."
    );
}

#[test]
fn a_guest_that_waits_at_the_timeout_is_reported_as_waiting() {
    let waiting = CrashReport { waits_for: Some(Vec::new()), ..report(Cause::TimedOut) };
    assert!(
        waiting.message().starts_with(
            "the run took longer than --timeout allows: the guest waits in `hlt` for an interrupt; the next \
             instruction is 0x100004 (main+0x4), instruction `monitor`. Nothing is set up that could wake it:"
        ),
        "{}",
        waiting.message()
    );
}

#[test]
fn registers_that_say_nothing_are_not_reported_as_a_place() {
    let lost = CrashReport { registers: None, place: None, ..report(Cause::TripleFault) };
    assert_eq!(lost.message(), "triple fault; the host gives no registers.");
    let mut reset = CrashReport { place: None, ..report(Cause::TripleFault) };
    reset.registers = Some(Registers::default());
    reset.registers.as_mut().unwrap().general.rip = 0xFFF0;
    assert!(reset.message().contains("already reset the registers"), "{}", reset.message());
    let refused = Cause::Refused { suberror: 1, obstacle: None };
    let lost = CrashReport { registers: None, place: None, ..report(refused) };
    assert_eq!(lost.message(), "the host cannot continue the guest and returns no registers.");
}

#[test]
fn each_cause_has_its_message() {
    let place = " at 0x100004 (main+0x4), instruction `monitor`.";
    for (cause, start) in [
        (
            Cause::EntryFailed { reason: 0x21 },
            "the processor did not accept the state the guest put it in (hardware reason 0x21)",
        ),
        (
            Cause::Unexpected { reason: 99 },
            "KVM stopped the guest for a reason this program does not know (99)",
        ),
        (Cause::TimedOut, "the run took longer than --timeout allows"),
        (Cause::Reset, "the guest reset the machine (--no-reboot)"),
        (
            Cause::Refused { suberror: 1, obstacle: Some(Obstacle::NotAllowed) },
            "this host's KVM cannot execute what the guest wants (internal error 1)",
        ),
    ] {
        let text = report(cause).message();
        assert!(text.starts_with(&format!("{start}{place}")), "{text}");
    }
}

#[test]
fn a_place_without_code_is_named_so() {
    let mut crash = report(Cause::TimedOut);
    let place = crash.place.as_mut().unwrap();
    (place.symbol, place.instruction) = (None, None);
    assert_eq!(crash.message(), "the run took longer than --timeout allows at 0x100004.");
    crash.place.as_mut().unwrap().code.clear();
    assert!(crash.message().ends_with("at 0x100004, where no code is mapped."), "{}", crash.message());
}

#[test]
fn the_dump_has_the_frames_and_the_page_walk() {
    let mut crash = report(Cause::TripleFault);
    crash.frames = vec![Frame { address: 0x10_0100, symbol: symbol("caller", 0x10), ..Frame::default() }];
    let entry = WalkedEntry { level: 4, address: 0x1000, value: None };
    crash.walk = Some(PageWalk { address: 8, entries: vec![entry], physical: None });
    let text = dump::dump_crash(&crash).unwrap();
    assert!(text.contains("  #0   0x100100 (caller+0x10)\n"), "{text}");
    assert!(text.contains("page walk of 0x8: level 4 entry at 0x1000 outside of RAM, not mapped"), "{text}");
    assert!(text.ends_with("pending: nothing"), "{text}");
}

#[test]
fn operands_have_values_and_addresses() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let mut registers = long_mode(&memory);
    registers.general.rbx = 0x1000;
    registers.general.rax = 0x1234_5678_9ABC_DEF0;
    registers.system.fs.base = 0x10_0000;
    // mov fs:[rbx + 8], ah
    assert_eq!(
        operands(&[0x64, 0x88, 0x63, 0x08], &registers),
        [
            OperandValue::Memory { address: Some(0x10_1008), size: 1 },
            OperandValue::Register { name: "ah".to_owned(), value: Some(0xDE) }
        ]
    );
    // add eax, 5
    assert_eq!(
        operands(&[0x83, 0xC0, 0x05], &registers),
        [
            OperandValue::Register { name: "eax".to_owned(), value: Some(0x9ABC_DEF0) },
            OperandValue::Immediate(5)
        ]
    );
    assert_eq!(operands(&[0xEB, 0xFE], &registers), [OperandValue::Target(0)]);
    assert_eq!(operands(&[0x0F, 0xFF], &registers), []);
}

#[test]
fn a_page_walk_names_the_entry_that_is_missing() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let registers = long_mode(&memory);
    let found = walk(&memory, &registers, 0x1234);
    assert_eq!((found.physical, found.entries.len()), (Some(0x1234), 3));
    let missing = walk(&memory, &registers, 1 << 30);
    assert_eq!(missing.physical, None);
    assert_eq!(missing.entries.last(), Some(&WalkedEntry { level: 3, address: 0x2008, value: Some(0) }));
}

#[test]
fn the_source_line_follows_the_message_with_its_text() {
    let mut crash = report(Cause::TripleFault);
    let source = Some(SourcePlace { file: "kernel.c".to_owned(), line: 41 });
    crash.frames = vec![Frame { address: 0x1000, source, ..Frame::default() }];
    assert_eq!(sentences::callers(&crash).unwrap(), "  #0   0x1000 at kernel.c:41");
    crash.place.as_mut().unwrap().source_text = Some("wait();".to_owned());
    assert_eq!(sentences::callers(&crash).unwrap(), "  #0   0x1000 at kernel.c:41: wait();");
}

#[test]
fn the_callers_follow_the_message() {
    let mut crash = report(Cause::TripleFault);
    let frame = |address| Frame { address, ..Frame::default() };
    crash.frames = vec![frame(0x1000)];
    assert_eq!(sentences::callers(&crash), None, "nothing but the place itself");
    crash.frames.push(frame(0x2000));
    assert_eq!(sentences::callers(&crash).unwrap(), "  #0   0x1000\n  #1   0x2000");
    crash.frames = (0..60).map(frame).collect();
    let text = sentences::callers(&crash).unwrap();
    assert_eq!((text.lines().count(), text.lines().last()), (13, Some("  (48 more)")));
}
