//! The table: one line for each comparison.

use std::fmt;

use super::samples::Samples;

/// The unit of a value.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    /// A value with its unit.
    pub show: fn(f64) -> String,
    /// True for rates, false for times and sizes.
    pub more_is_better: bool,
}

/// Seconds, or milliseconds below one second.
pub fn seconds(value: f64) -> String {
    if value < 1.0 { format!("{:.2} ms", value * 1e3) } else { format!("{value:.2} s") }
}

/// The target of a comparison: a minimum where more is better, else a maximum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Of the ratio.
    Ratio(f64),
    /// Of the value of `kvm`, in the unit of the comparison.
    #[allow(dead_code, reason = "not every bench has such a target")]
    Value(f64),
    /// Of the value of `kvm` less that of the other program, in the unit of the comparison.
    #[allow(dead_code, reason = "not every bench has such a target")]
    Difference(f64),
}

/// `kvm` compared with another program.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What was measured.
    pub what: String,
    /// The other program.
    pub against: String,
    /// The unit of the values.
    pub unit: Unit,
    /// Values of `kvm`, or why there are none.
    pub ours: Result<Samples, String>,
    /// Values of the other program, or why there are none.
    pub theirs: Result<Samples, String>,
    /// The target.
    pub target: Option<Target>,
}

/// All comparisons on one host.
pub struct Table {
    host: String,
    /// The lines, in order.
    pub comparisons: Vec<Comparison>,
}

const HEADINGS: [&str; 5] = ["measured", "against", "ratio", "target", "kvm / other: median (middle half)"];

impl Table {
    /// No lines yet.
    pub fn new(host: String) -> Table {
        Table { host, comparisons: Vec::new() }
    }

    /// The comparisons that missed their target.
    pub fn missed(&self) -> Vec<&Comparison> {
        self.comparisons.iter().filter(|comparison| comparison.is_met() == Some(false)).collect()
    }

    /// For reading in a terminal.
    pub fn text(&self) -> String {
        let rows = self.rows();
        let widths: Vec<usize> = (0..HEADINGS.len())
            .map(|column| {
                let cells = rows.iter().map(|row| row[column].chars().count());
                cells.chain([HEADINGS[column].len()]).max().unwrap_or(0)
            })
            .collect();
        let line = |cells: &[String]| {
            let padded: Vec<String> =
                cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            format!("{}\n", padded.join("  ").trim_end())
        };
        let mut text = format!("{}\n\n{}", self.host, line(&HEADINGS.map(str::to_owned)));
        let mut before = "";
        for (row, comparison) in rows.iter().zip(&self.comparisons) {
            let mut row = row.clone();
            if comparison.what == before {
                row[0].clear();
            }
            before = &comparison.what;
            text.push_str(&line(&row));
        }
        text
    }

    /// For a document.
    pub fn markdown(&self) -> String {
        let mut text = format!("{}\n\n| {} |\n|---|---|---|---|---|\n", self.host, HEADINGS.join(" | "));
        for [what, against, ratio, target, values] in self.rows() {
            text.push_str(&format!(
                "| {what} | {against} | **{ratio}** | {target} | <sub>{values}</sub> |\n"
            ));
        }
        text
    }

    fn rows(&self) -> Vec<[String; 5]> {
        self.comparisons
            .iter()
            .map(|comparison| {
                let ours = spread(&comparison.ours, comparison.unit);
                let values = format!("{ours} / {}", spread(&comparison.theirs, comparison.unit));
                let ratio = match comparison.ratio() {
                    None => "-".to_owned(),
                    Some(ratio) if ratio < 0.01 => "< 0.01".to_owned(),
                    Some(ratio) => format!("{ratio:.2}"),
                };
                [comparison.what.clone(), comparison.against.clone(), ratio, comparison.target_text(), values]
            })
            .collect()
    }
}

impl Comparison {
    fn ratio(&self) -> Option<f64> {
        let (Ok(ours), Ok(theirs)) = (&self.ours, &self.theirs) else { return None };
        Some(ours.ratio_to(theirs).median())
    }

    /// Whether the target was met; `None` if there is none, or nothing to measure it against.
    fn is_met(&self) -> Option<bool> {
        let target = self.target?;
        // A measurement that `kvm` does not support misses every target.
        let Ok(ours) = &self.ours else { return Some(false) };
        let (value, limit) = match target {
            Target::Ratio(limit) => (self.ratio()?, limit),
            Target::Value(limit) => (ours.median(), limit),
            Target::Difference(limit) => (ours.median() - self.theirs.as_ref().ok()?.median(), limit),
        };
        Some(if self.unit.more_is_better { value >= limit } else { value <= limit })
    }

    fn target_text(&self) -> String {
        let limit = match self.target {
            None => return String::new(),
            Some(Target::Ratio(limit)) => format!("{limit:.2}"),
            Some(Target::Value(limit)) => (self.unit.show)(limit),
            Some(Target::Difference(limit)) => format!("{} more", (self.unit.show)(limit)),
        };
        let sign = if self.unit.more_is_better { ">=" } else { "<=" };
        let result = match self.is_met() {
            None => "not measured",
            Some(true) => "met",
            Some(false) => "MISSED",
        };
        format!("{sign} {limit}: {result}")
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison { what, against, ours, unit, .. } = self;
        write!(f, "{what}: kvm {}, ", spread(ours, *unit))?;
        if let Some(ratio) = self.ratio() {
            write!(f, "{ratio:.2} of {against}, ")?;
        }
        write!(f, "target {}", self.target_text())
    }
}

fn spread(values: &Result<Samples, String>, unit: Unit) -> String {
    match values {
        Ok(samples) => {
            let (low, high) = samples.middle_half();
            format!("{} ({} to {})", (unit.show)(samples.median()), (unit.show)(low), (unit.show)(high))
        }
        Err(reason) => format!("none: {reason}"),
    }
}
