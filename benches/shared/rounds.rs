//! Taking turns: what is compared is measured side by side.

use super::Failure;
use super::samples::Samples;
use super::table::{Comparison, Table, Target, Unit};

/// A program that is measured.
pub trait Contender: Copy + PartialEq {
    /// What it is called in the table.
    fn name(self) -> &'static str;

    /// True if it may be missing on this host, or unable to do what is measured.
    fn is_optional(self) -> bool;
}

/// What was measured of each program, or why nothing was.
pub type Measured<C> = Vec<(C, Result<Samples, String>)>;

/// Measures `contenders` in turn, each for its number of rounds, in changing order: whatever disturbs
/// the host meanwhile disturbs them all.
///
/// # Errors
///
/// The first failure of a contender that is not optional.
pub fn side_by_side<C: Contender>(
    what: &str,
    contenders: &[C],
    rounds: impl Fn(C) -> usize,
    measure: impl Fn(C) -> Result<f64, Failure>,
) -> Result<Measured<C>, Failure> {
    eprintln!("{what} ...");
    let mut measured: Measured<C> = Vec::new();
    for contender in contenders {
        // The first run warms the host's caches and shows whether the program can run here.
        match measure(*contender) {
            Ok(_) => measured.push((*contender, Ok(Samples::default()))),
            Err(failure) if contender.is_optional() => measured.push((*contender, Err(failure.to_string()))),
            Err(failure) => return Err(failure),
        }
    }
    let most = contenders.iter().map(|contender| rounds(*contender)).max().unwrap_or(0);
    for round in 0..most {
        for (contender, values) in &mut measured {
            let Ok(samples) = values else { continue };
            if round >= rounds(*contender) {
                continue;
            }
            match measure(*contender) {
                Ok(value) => samples.0.push(value),
                Err(failure) if contender.is_optional() => *values = Err(failure.to_string()),
                Err(failure) => return Err(failure),
            }
        }
        measured.reverse();
    }
    // The order of the table.
    measured.sort_by_key(|(contender, _)| contenders.iter().position(|other| other == contender));
    Ok(measured)
}

/// Puts the first of `measured` into the table against each of the others.
pub fn compare<C: Contender>(
    table: &mut Table,
    what: &str,
    unit: Unit,
    measured: &Measured<C>,
    target: impl Fn(C) -> Option<Target>,
) {
    let Some(((_, ours), others)) = measured.split_first() else { return };
    for (against, theirs) in others {
        table.comparisons.push(Comparison {
            what: what.to_owned(),
            against: against.name().to_owned(),
            unit,
            ours: ours.clone(),
            theirs: theirs.clone(),
            target: target(*against),
        });
    }
}
