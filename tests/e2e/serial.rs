//! The far ends of the serial ports, and what real programs can do there.

use libtest_mimic::Trial;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![]
}
