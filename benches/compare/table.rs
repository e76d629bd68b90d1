//! The table: one line for each comparison.

use std::fmt;

use crate::samples::Samples;

/// What a value is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// What is expected of a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// The ratio is this at most.
    Ratio(f64),
    /// Our own value is this at most, in the unit of the comparison.
    Most(f64),
}

/// `kvm` against something else.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What was measured.
    pub what: String,
    /// What else it was measured of.
    pub against: String,
    /// The unit of the values.
    pub unit: Unit,
    /// Values of `kvm`.
    pub ours: Samples,
    /// Values of the other program, or why there are none.
    pub theirs: Result<Samples, String>,
    /// What is expected.
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
        self.comparisons.iter().filter(|comparison| comparison.held() == Some(false)).collect()
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
                let values = match &comparison.theirs {
                    Ok(theirs) => format!("{ours} / {}", spread(theirs, comparison.unit)),
                    Err(reason) => format!("{ours} / did not run: {reason}"),
                };
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
        self.theirs.as_ref().ok().map(|theirs| self.ours.ratio_to(theirs).median())
    }

    /// Whether the target was met; `None` if there is none.
    fn held(&self) -> Option<bool> {
        match self.target? {
            Target::Ratio(most) => self.ratio().map(|ratio| ratio <= most),
            Target::Most(most) => Some(self.ours.median() <= most),
        }
    }

    fn target_text(&self) -> String {
        let limit = match self.target {
            None => return String::new(),
            Some(Target::Ratio(most)) => format!("{most:.2}"),
            Some(Target::Most(most)) => amount(most, self.unit),
        };
        format!("<= {limit}: {}", if self.held() == Some(false) { "MISSED" } else { "met" })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ratio = self.ratio().unwrap_or(f64::NAN);
        let Comparison { what, against, ours, unit, .. } = self;
        let median = amount(ours.median(), *unit);
        write!(f, "{what}: kvm {median}, {ratio:.2} of {against}; target {}", self.target_text())
    }
}

fn spread(samples: &Samples, unit: Unit) -> String {
    let (low, high) = samples.middle_half();
    format!("{} ({} to {})", amount(samples.median(), unit), amount(low, unit), amount(high, unit))
}

fn amount(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => format!("{:.0} KiB", value / 1024.0),
        Unit::Seconds if value < 1.0 => format!("{:.2} ms", value * 1e3),
        Unit::Seconds => format!("{value:.2} s"),
    }
}
