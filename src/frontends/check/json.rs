//! The report as one JSON object (RFC 8259): `{"usable": ..., GROUP: {KEY: VALUE, ...}, ...}`.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::report::{Group, Report, Value};

/// The report as text, with a line for each row.
pub(super) fn object(report: &Report) -> String {
    serde_json::to_string_pretty(report).expect("keys are strings, and memory does not fail") + "\n"
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + self.groups.len()))?;
        map.serialize_entry("usable", &self.usable)?;
        for group in &self.groups {
            map.serialize_entry(group.key, group)?;
        }
        map.end()
    }
}

impl Serialize for Group {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.rows.iter().map(|row| (row.key, &row.value)))
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Word(word) => serializer.serialize_str(word),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Count(count) => serializer.serialize_i64(*count),
            // Nanoseconds.
            Value::Time(Some(picoseconds)) => serializer.serialize_f64(*picoseconds as f64 / 1000.0),
            Value::Time(None) => serializer.serialize_none(),
            Value::Flag(flag) => serializer.serialize_bool(*flag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::{Mark, Row};
    use super::*;

    #[test]
    fn the_report_is_one_object_of_objects() {
        let row = |key, value| Row::new(key, "", value, Mark::Plain, "".into());
        let rows = vec![
            row("text", Value::Text("a \"b\" \\ \n".to_owned())),
            row("count", Value::Count(-3)),
            row("measured", Value::Time(Some(500))),
            row("unknown", Value::Time(None)),
            row("flag", Value::Flag(true)),
        ];
        let groups =
            vec![Group { key: "one", title: "", rows }, Group { key: "two", title: "", rows: vec![] }];
        let report = Report { usable: false, groups, conclusion: String::new() };
        let expected = r#"{
  "usable": false,
  "one": {
    "text": "a \"b\" \\ \n",
    "count": -3,
    "measured": 0.5,
    "unknown": null,
    "flag": true
  },
  "two": {}
}
"#;
        assert_eq!(object(&report), expected);
    }
}
