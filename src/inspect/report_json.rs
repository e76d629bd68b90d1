//! The crash report as a JSON document, for programs: `--report FILE` and the command `report`.
//!
//! docs/crash-report.md describes every field. Addresses and contents of registers are strings of hexadecimal digits
//! behind `0x`, because readers of JSON lose the lower bits of large numbers; vectors, counts and sizes are numbers.
//! A field is always there, and `null` where nothing is known.

use serde::{Serialize, Serializer};

use super::crash::{Cause, CrashReport, Frame, OperandValue, PageWalk, Place};
use super::events::EventLine;
use super::fault::RaisedException;
use super::waking;
use crate::arch::exceptions::short_name;
use crate::arch::{Registers, SegmentRegister};
use crate::boot::{SourcePlace, Symbol};

/// What the document begins with; [`is_report_start`] recognises it.
const FORMAT: &str = "kvm-crash-report";
/// Increased when a field changes its meaning or is removed, not when one is added.
const VERSION: u32 = 1;

/// What a report does not know itself.
#[derive(Clone, Copy, Debug)]
pub struct ReportContext<'a> {
    /// The guest file.
    pub guest: &'a str,
    /// The exit status of the run; `None` while it goes on.
    pub exit_status: Option<u8>,
}

/// True if `start`, the first bytes of a file, are those of a report.
pub fn is_report_start(start: &[u8]) -> bool {
    start.starts_with(format!("{{\n  \"format\": \"{FORMAT}\"").as_bytes())
}

/// The document, with a line break at its end.
pub fn to_json(report: &CrashReport, context: ReportContext<'_>) -> String {
    let document = Document::new(report, context);
    serde_json::to_string_pretty(&document).expect("keys are strings, and memory does not fail") + "\n"
}

/// A number as hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Hex(pub u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    version: u32,
    program: &'static str,
    guest: &'a str,
    cause: &'static str,
    exit_status: Option<u8>,
    message: String,
    cpu: u8,
    cpu_count: usize,
    other_cpus: &'a [String],
    place: Option<PlaceJson<'a>>,
    exception: Option<ExceptionJson>,
    not_delivered: Option<String>,
    code: Option<String>,
    stack: Option<String>,
    caller: Option<FrameJson<'a>>,
    frames: Vec<FrameJson<'a>>,
    page_walk: Option<WalkJson>,
    waits_for: Option<Vec<String>>,
    pending: Option<&'a str>,
    post_code: Option<Hex>,
    events: &'a [EventLine],
    registers: Option<RegistersJson>,
}

#[derive(Serialize)]
struct PlaceJson<'a> {
    address: Hex,
    symbol: Option<SymbolJson<'a>>,
    source: Option<&'a SourcePlace>,
    source_text: Option<&'a str>,
    bits: u32,
    bytes: String,
    instruction: Option<&'a str>,
    operands: Vec<OperandJson<'a>>,
}

#[derive(Serialize)]
struct SymbolJson<'a> {
    name: &'a str,
    offset: Hex,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum OperandJson<'a> {
    Register { name: &'a str, value: Option<Hex> },
    Memory { address: Option<Hex>, size: usize },
    Immediate { value: Hex },
    Target { address: Hex },
}

#[derive(Serialize)]
struct ExceptionJson {
    vector: u8,
    name: String,
    error_code: Option<Hex>,
    recorded: bool,
    description: String,
}

#[derive(Serialize)]
struct FrameJson<'a> {
    address: Hex,
    symbol: Option<SymbolJson<'a>>,
    source: Option<&'a SourcePlace>,
    inlined: Option<&'a str>,
    interrupted: bool,
}

#[derive(Serialize)]
struct WalkJson {
    address: Hex,
    physical: Option<Hex>,
    entries: Vec<EntryJson>,
}

#[derive(Serialize)]
struct EntryJson {
    level: u32,
    address: Hex,
    value: Option<Hex>,
}

/// Registers under their names in lower case, in the order of the log.
#[derive(Clone, Copy, Debug)]
pub struct RegistersJson(pub Registers);

#[derive(Serialize)]
struct SegmentJson {
    selector: Hex,
    base: Hex,
    limit: Hex,
    #[serde(rename = "type")]
    kind: u8,
    present: bool,
    dpl: u8,
    db: u8,
    s: u8,
    l: u8,
    g: u8,
    usable: bool,
}

#[derive(Serialize)]
struct TableJson {
    base: Hex,
    limit: Hex,
}

impl Serialize for RegistersJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(None)?;
        let values = self.0.named().into_iter().chain(self.0.control());
        for (name, value) in values {
            map.serialize_entry(&name.to_lowercase(), &Hex(value))?;
        }
        let system = &self.0.system;
        let others = [("TR", system.tr), ("LDTR", system.ldt)];
        for (name, segment) in self.0.segments().into_iter().chain(others) {
            map.serialize_entry(&name.to_lowercase(), &SegmentJson::from(segment))?;
        }
        for (name, table) in self.0.tables() {
            let table = TableJson { base: Hex(table.base), limit: Hex(table.limit.into()) };
            map.serialize_entry(&format!("{}r", name.to_lowercase()), &table)?;
        }
        map.end()
    }
}

impl From<SegmentRegister> for SegmentJson {
    fn from(segment: SegmentRegister) -> SegmentJson {
        SegmentJson {
            selector: Hex(segment.selector.into()),
            base: Hex(segment.base),
            limit: Hex(segment.limit.into()),
            kind: segment.type_,
            present: segment.present != 0,
            dpl: segment.dpl,
            db: segment.db,
            s: segment.s,
            l: segment.l,
            g: segment.g,
            usable: segment.unusable == 0,
        }
    }
}

impl<'a> From<&'a Symbol> for SymbolJson<'a> {
    fn from(symbol: &'a Symbol) -> SymbolJson<'a> {
        SymbolJson { name: &symbol.name, offset: Hex(symbol.offset) }
    }
}

impl<'a> From<&'a OperandValue> for OperandJson<'a> {
    fn from(operand: &'a OperandValue) -> OperandJson<'a> {
        match operand {
            OperandValue::Register { name, value } => OperandJson::Register { name, value: value.map(Hex) },
            OperandValue::Memory { address, size } => {
                OperandJson::Memory { address: address.map(Hex), size: *size }
            }
            OperandValue::Immediate(value) => OperandJson::Immediate { value: Hex(*value) },
            OperandValue::Target(address) => OperandJson::Target { address: Hex(*address) },
        }
    }
}

impl<'a> From<&'a Place> for PlaceJson<'a> {
    fn from(place: &'a Place) -> PlaceJson<'a> {
        PlaceJson {
            address: Hex(place.address),
            symbol: place.symbol.as_ref().map(SymbolJson::from),
            source: place.source.as_ref(),
            source_text: place.source_text.as_deref(),
            bits: place.bitness,
            bytes: const_hex::encode(&place.code),
            instruction: place.instruction.as_deref(),
            operands: place.operands.iter().map(OperandJson::from).collect(),
        }
    }
}

impl<'a> From<&'a Frame> for FrameJson<'a> {
    fn from(frame: &'a Frame) -> FrameJson<'a> {
        FrameJson {
            address: Hex(frame.address),
            symbol: frame.symbol.as_ref().map(SymbolJson::from),
            source: frame.source.as_ref(),
            inlined: frame.inlined.as_deref(),
            interrupted: frame.interrupted,
        }
    }
}

impl From<&PageWalk> for WalkJson {
    fn from(walk: &PageWalk) -> WalkJson {
        let entries = walk.entries.iter().map(|entry| EntryJson {
            level: entry.level,
            address: Hex(entry.address),
            value: entry.value.map(Hex),
        });
        WalkJson { address: Hex(walk.address), physical: walk.physical.map(Hex), entries: entries.collect() }
    }
}

impl<'a> Document<'a> {
    fn new(report: &'a CrashReport, context: ReportContext<'a>) -> Document<'a> {
        let ring = report.registers.map_or(0, |registers| registers.ring());
        let exception = report.exception.as_ref().map(|exception| ExceptionJson {
            vector: exception.vector,
            name: short_name(exception.vector),
            error_code: exception.error_code.map(|code| Hex(code.into())),
            recorded: report.rescued.is_some(),
            description: exception.sentence(ring),
        });
        let overflow = report.exception.as_ref().is_some_and(RaisedException::is_stack_overflow);
        let delivery = report.delivery.as_ref();
        Document {
            format: FORMAT,
            version: VERSION,
            program: concat!("kvm ", env!("CARGO_PKG_VERSION")),
            guest: context.guest,
            cause: cause(&report.cause),
            exit_status: context.exit_status,
            message: report.message(),
            cpu: report.cpu,
            cpu_count: report.cpu_count,
            other_cpus: &report.other_cpus,
            place: report.place.as_ref().map(PlaceJson::from),
            exception,
            not_delivered: delivery.map(|failure| failure.sentence(report.double_fault.as_ref())),
            code: report.code.as_ref().map(|finding| finding.sentence()),
            stack: report.stack.as_ref().map(|finding| finding.sentence(overflow)),
            caller: report.caller.as_ref().map(FrameJson::from),
            frames: report.frames.iter().map(FrameJson::from).collect(),
            page_walk: report.walk.as_ref().map(WalkJson::from),
            waits_for: report.waits_for.as_ref().map(|sources| sources.iter().map(waking::line).collect()),
            pending: report.pending.as_deref(),
            post_code: report.post_code.map(|code| Hex(code.into())),
            events: &report.events.lines,
            registers: report.registers.map(RegistersJson),
        }
    }
}

/// The cause in a word.
fn cause(cause: &Cause) -> &'static str {
    match cause {
        Cause::TripleFault => "triple-fault",
        Cause::Refused { .. } => "refused-instruction",
        Cause::EntryFailed { .. } => "entry-failed",
        Cause::Unexpected { .. } => "unexpected-exit",
        Cause::TimedOut => "timeout",
        Cause::Reset => "reset",
        Cause::Stopped => "stopped",
    }
}

#[cfg(test)]
#[path = "report_json_test.rs"]
mod tests;
