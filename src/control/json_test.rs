//! Views as JSON.

use serde_json::Value;

use super::*;
use crate::machine::flight_recorder::Occurrence;

/// The answer to `line`, which is one JSON value.
fn json(guest: &mut FakeMachine, line: &str) -> Value {
    let answer = run(guest, line);
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{line}: {error} in\n{answer}"))
}

#[test]
fn every_view_is_json_on_request() {
    let mut guest = long_mode();
    guest.recorder.record(0, CpuId::BOOT, Occurrence::Halt { interruptible: true });
    for (line, pointer, expected) in [
        ("maps --json", "/mode", Value::from("4-level paging")),
        ("maps --json", "/ranges/0/start", "0x0".into()),
        ("maps --json", "/ranges/0/page_size", 4096.into()),
        ("maps --json 0x200000", "/ranges/0/start", "0x200000".into()),
        ("maps diff --json", "/changes", Value::Array(Vec::new())),
        ("gdt --json", "/base", "0x0".into()),
        ("info idt --json", "/entries", Value::Array(Vec::new())),
        ("tss --json", "/width", 0.into()),
        ("registers --json", "/registers/cr3", "0x1000".into()),
        ("registers --json", "/registers/cs/selector", "0x8".into()),
        ("registers --json", "/mode", "64-bit mode, ring 0, 4-level paging".into()),
        ("registers --json", "/extended/xmm15", "0x0".into()),
        ("devices --json", "/0/name", "serial0".into()),
        ("device --json hpet", "/name", "hpet".into()),
        ("device hpet --json", "/state/now", 0.into()),
        ("events --json", "/lines/0/text", "hlt".into()),
        ("events 1 --json", "/lines/0/number", 1.into()),
        ("exits --json", "/total", 0.into()),
        ("lint --json", "/findings/0/address", "0x0".into()),
        ("walk 0x200123 --json", "/physical", "0x200123".into()),
        ("walk --json 0x1000", "/problem", "is not mapped: that entry is not present".into()),
        ("walk --json 0x1000", "/entries/3/name", "PTE".into()),
        ("walk --json 0x1000", "/physical", Value::Null),
    ] {
        let value = json(&mut guest, line);
        assert_eq!(value.pointer(pointer), Some(&expected), "{line}: {value:#}");
    }
    for line in ["gdt json", "lint --json --json"] {
        assert!(run(&mut guest, line).contains("unexpected argument"), "{line}");
    }
}
