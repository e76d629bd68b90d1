//! The two formats of a log line: text for the user, and one JSON object per line for programs.
//!
//! [`EventFormat`] formats events, as text by `tracing-subscriber`. [`LogEntry`] is a line that
//! the log writes itself, without an event: its text looks like that of an event.

use std::fmt::{self, Debug, Write};
use std::time::Instant;

use serde::ser::{SerializeMap, Serializer};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{self, Format, FormatEvent, FormatFields, Full, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::registry::LookupSpan;

use super::super::messages::escaped;
use crate::settings::LogFormat;

/// The target of lines that the log writes itself.
pub(super) const TARGET: &str = "kvm::log";

/// A line that the log writes itself: a message, and fields with their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEntry {
    /// The message.
    pub message: &'static str,
    /// Names and values, in this order.
    pub fields: Vec<(&'static str, String)>,
}

impl LogEntry {
    /// The line, which stands for the start of the log.
    pub(super) fn line(&self, format: LogFormat, level: Level) -> String {
        let mut line = String::new();
        // Writing to a String cannot fail.
        let _ = match format {
            LogFormat::Text => {
                let mut text = format!("   0.000000 {level:>5} {TARGET}: {}", self.message);
                for (name, value) in &self.fields {
                    let _ = write!(text, " {name}={}", quoted(value));
                }
                writeln!(line, "{text}")
            }
            LogFormat::Json => writeln!(
                line,
                "{}",
                json(0.0, level, TARGET, |map| {
                    map.serialize_entry("message", self.message)?;
                    self.fields.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))
                })
            ),
        };
        line
    }
}

/// `value` for a line of text: in quotes if it is not one word.
fn quoted(value: &str) -> String {
    let value = escaped(value, &[]);
    match value.is_empty() || value.contains([' ', '"']) {
        true => format!("{value:?}"),
        false => value,
    }
}

type Map<'a> = <&'a mut serde_json::Serializer<Vec<u8>> as Serializer>::SerializeMap;

/// An object with time, level and target, and what `rest` adds.
fn json(
    time: f64,
    level: Level,
    target: &str,
    rest: impl FnOnce(&mut Map<'_>) -> Result<(), serde_json::Error>,
) -> String {
    let mut serializer = serde_json::Serializer::new(Vec::new());
    let result = (|| {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &time)?;
        map.serialize_entry("level", level.as_str())?;
        map.serialize_entry("target", target)?;
        rest(&mut map)?;
        map.end()
    })();
    // Numbers and texts are always serialisable.
    debug_assert!(result.is_ok());
    String::from_utf8(serializer.into_inner()).unwrap_or_default()
}

/// Formats events; times count from the start that it is given.
pub(super) enum EventFormat {
    /// As text.
    Text(Format<Full, SinceStart>),
    /// As JSON.
    Json(Instant),
}

impl EventFormat {
    /// The formatter of a log that starts now.
    pub(super) fn new(format: LogFormat) -> EventFormat {
        let start = Instant::now();
        match format {
            LogFormat::Text => {
                EventFormat::Text(format::format().with_ansi(false).with_timer(SinceStart(start)))
            }
            LogFormat::Json => EventFormat::Json(start),
        }
    }
}

/// Seconds since the start, with microseconds.
pub(super) struct SinceStart(Instant);

impl FormatTime for SinceStart {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let time = self.0.elapsed();
        write!(writer, "{:>4}.{:06}", time.as_secs(), time.subsec_micros())
    }
}

impl<S, N> FormatEvent<S, N> for EventFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let start = match self {
            EventFormat::Text(text) => return text.format_event(context, writer, event),
            EventFormat::Json(start) => start,
        };
        let time = start.elapsed().as_micros() as f64 / 1e6;
        let metadata = event.metadata();
        let line = json(time, *metadata.level(), metadata.target(), |map| {
            let mut fields = Fields { map, result: Ok(()) };
            event.record(&mut fields);
            fields.result
        });
        writeln!(writer, "{line}")
    }
}

/// Adds the fields of an event to an object; the message is one of them.
struct Fields<'a, 'b: 'a> {
    map: &'a mut Map<'b>,
    result: Result<(), serde_json::Error>,
}

impl Fields<'_, '_> {
    fn add(&mut self, field: &Field, value: &(impl serde::Serialize + ?Sized)) {
        if self.result.is_ok() {
            self.result = self.map.serialize_entry(field.name(), value);
        }
    }
}

impl Visit for Fields<'_, '_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, &format!("{value:?}"));
    }
}
