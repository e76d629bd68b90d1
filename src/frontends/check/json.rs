//! The report as one JSON object (RFC 8259).

use super::report::{Report, Value};

/// `{"usable": ..., GROUP: {KEY: VALUE, ...}, ...}`, with a line for each row.
pub(super) fn object(report: &Report) -> String {
    let mut text = format!("{{\n  \"usable\": {}", report.usable);
    for group in &report.groups {
        text += &format!(",\n  {}: {{", string(group.key));
        for (number, row) in group.rows.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            text += &format!("{comma}\n    {}: {}", string(row.key), value(&row.value));
        }
        text += "\n  }";
    }
    text + "\n}\n"
}

fn value(value: &Value) -> String {
    match value {
        Value::Word(word) => string(word),
        Value::Text(text) => string(text),
        Value::Count(count) => count.to_string(),
        Value::Time(Some(time)) => format!("{}.{:03}", time / 1000, time % 1000),
        Value::Time(None) => "null".to_owned(),
        Value::Flag(flag) => flag.to_string(),
    }
}

fn string(text: &str) -> String {
    let mut string = String::with_capacity(text.len() + 2);
    string.push('"');
    for c in text.chars() {
        match c {
            '"' => string += "\\\"",
            '\\' => string += "\\\\",
            c if c < ' ' => string += &format!("\\u{:04x}", u32::from(c)),
            c => string.push(c),
        }
    }
    string.push('"');
    string
}

#[cfg(test)]
mod tests {
    use super::super::report::{Group, Mark, Row};
    use super::*;

    #[test]
    fn programs_get_one_object_of_objects() {
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
    "text": "a \"b\" \\ \u000a",
    "count": -3,
    "measured": 0.500,
    "unknown": null,
    "flag": true
  },
  "two": {
  }
}
"#;
        assert_eq!(object(&report), expected);
    }
}
