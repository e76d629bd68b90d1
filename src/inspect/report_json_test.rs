use serde_json::Value;

use super::*;
use crate::boot::Symbol;
use crate::inspect::events::EventList;
use crate::inspect::fault::delivery::{DeliveryFailure, DeliveryProblem};
use crate::inspect::fault::{AccessKind, AddressMeaning, Diagnosis, PageState, RaisedException};

/// A write through a null pointer.
fn null_write() -> CrashReport {
    let mut registers = Registers::default();
    registers.general.rax = u64::MAX;
    registers.system.cs.selector = 8;
    let symbol = Some(Symbol { name: "clear \"it\"".to_owned(), offset: 2 });
    CrashReport {
        cause: Cause::TripleFault,
        cpu: 1,
        cpu_count: 2,
        other_cpus: vec!["CPU 0 waits in hlt".to_owned()],
        registers: Some(registers),
        place: Some(Place {
            address: 0x20_0002,
            symbol: symbol.clone(),
            source: Some(SourcePlace { file: "clear.c".to_owned(), line: 41 }),
            source_text: None,
            bitness: 64,
            code: vec![0x48, 0x89, 0x03],
            instruction: Some("mov [rbx], rax".to_owned()),
            operands: vec![
                OperandValue::Memory { address: Some(0), size: 8 },
                OperandValue::Register { name: "rax".to_owned(), value: Some(u64::MAX) },
            ],
        }),
        walk: None,
        rescued: None,
        exception: Some(RaisedException {
            vector: 14,
            error_code: Some(2),
            diagnosis: Diagnosis::Page {
                address: 0,
                access: AccessKind::Write,
                page: PageState::Unmapped,
                meaning: AddressMeaning::NullPointer,
            },
        }),
        delivery: Some(DeliveryFailure { vector: 14, problem: DeliveryProblem::NoTable }),
        double_fault: None,
        caller: None,
        code: None,
        stack: None,
        syscall_stays_in_ring_3: false,
        waits_for: None,
        fault_loop: None,
        frames: vec![Frame { address: 0x20_0100, symbol, ..Frame::default() }],
        pending: None,
        post_code: Some(0x42),
        events: EventList {
            lines: vec![EventLine { number: 7, event: 2, cpu: 1, times: 1, text: "hlt".to_owned() }],
            cpus: 2,
            notes: Vec::new(),
        },
    }
}

#[test]
fn a_report_has_the_fields_that_are_documented() {
    let report = null_write();
    let text = to_json(&report, ReportContext { guest: "a.elf", exit_status: Some(8) });
    assert!(is_report_start(text.as_bytes()), "{text}");
    let value: Value = serde_json::from_str(&text).unwrap();
    for (pointer, expected) in [
        ("/version", Value::from(1)),
        ("/guest", "a.elf".into()),
        ("/cause", "triple-fault".into()),
        ("/exit_status", 8.into()),
        ("/message", report.message().into()),
        ("/cpu", 1.into()),
        ("/other_cpus/0", "CPU 0 waits in hlt".into()),
        ("/place/address", "0x200002".into()),
        ("/place/symbol/name", "clear \"it\"".into()),
        ("/place/symbol/offset", "0x2".into()),
        ("/place/source/file", "clear.c".into()),
        ("/place/source/line", 41.into()),
        ("/place/bytes", "488903".into()),
        ("/place/operands/0/kind", "memory".into()),
        ("/place/operands/1/value", "0xffffffffffffffff".into()),
        ("/exception/name", "#PF".into()),
        ("/exception/error_code", "0x2".into()),
        ("/exception/recorded", false.into()),
        ("/frames/0/address", "0x200100".into()),
        ("/frames/0/interrupted", false.into()),
        ("/page_walk", Value::Null),
        ("/post_code", "0x42".into()),
        ("/events/0/number", 7.into()),
        ("/events/0/text", "hlt".into()),
        ("/registers/rax", "0xffffffffffffffff".into()),
        ("/registers/cr3", "0x0".into()),
        ("/registers/cs/selector", "0x8".into()),
        ("/registers/idtr/limit", "0x0".into()),
    ] {
        assert_eq!(value.pointer(pointer), Some(&expected), "{pointer} in {text}");
    }
    let documented = include_str!("../../docs/crash-report.md");
    for key in value.as_object().unwrap().keys() {
        assert!(documented.contains(&format!("| `{key}` |")), "docs/crash-report.md lacks {key}");
    }
}
