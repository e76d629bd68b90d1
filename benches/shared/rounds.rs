//! Rounds: compared programs are measured in turn.

use super::Failure;
use super::samples::Samples;
use super::table::{Comparison, Table, Target, Unit};

/// A program that is measured.
pub trait Contender: Copy + PartialEq {
    /// Its name in the table.
    fn name(self) -> &'static str;

    /// True if it may be missing on this host, or may not support a measurement.
    fn is_optional(self) -> bool;
}

/// The values of each program, or why there are none.
pub type Measured<C> = Vec<(C, Result<Samples, String>)>;

/// Measures `contenders` in turn, each for its number of rounds, in changing order, so that a disturbance of the
/// host affects all of them.
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
    let [measured] = several_side_by_side(what, contenders, rounds, |contender| Ok([measure(contender)?]))?;
    Ok(measured)
}

/// The same for measurements with several values.
///
/// # Errors
///
/// The first failure of a contender that is not optional.
pub fn several_side_by_side<C: Contender, const N: usize>(
    what: &str,
    contenders: &[C],
    rounds: impl Fn(C) -> usize,
    measure: impl Fn(C) -> Result<[f64; N], Failure>,
) -> Result<[Measured<C>; N], Failure> {
    eprintln!("{what} ...");
    let mut measured: Vec<(C, Result<[Samples; N], String>)> = Vec::new();
    for contender in contenders {
        // The first run warms the host's caches and shows whether the program can run here.
        match measure(*contender) {
            Ok(_) => measured.push((*contender, Ok(std::array::from_fn(|_| Samples::default())))),
            Err(failure) if contender.is_optional() => measured.push((*contender, Err(failure.to_string()))),
            Err(failure) => return Err(failure),
        }
    }
    let most = contenders.iter().map(|contender| rounds(*contender)).max().unwrap_or(0);
    for round in 0..most {
        for (contender, samples) in &mut measured {
            let Ok(known) = samples else { continue };
            if round >= rounds(*contender) {
                continue;
            }
            match measure(*contender) {
                Ok(values) => known.iter_mut().zip(values).for_each(|(known, value)| known.0.push(value)),
                Err(failure) if contender.is_optional() => *samples = Err(failure.to_string()),
                Err(failure) => return Err(failure),
            }
        }
        measured.reverse();
    }
    // The order of the table.
    measured.sort_by_key(|(contender, _)| contenders.iter().position(|other| other == contender));
    Ok(std::array::from_fn(|which| {
        let one = |samples: &Result<[Samples; N], String>| match samples {
            Ok(samples) => Ok(samples[which].clone()),
            Err(why) => Err(why.clone()),
        };
        measured.iter().map(|(contender, samples)| (*contender, one(samples))).collect()
    }))
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
