//! Input that nobody has thought of, for everything that reads what others write.
//!
//! Each target is a function that takes any bytes and panics if they do harm. A test of each tries the known
//! inputs in `fuzz/seeds` and made-up relatives of them for two seconds (`KVM_FUZZ_SECONDS` for longer), with
//! nothing but a stable compiler; `scripts/fuzz` starts from the same files and is guided by coverage.
//!
//! | file | what it does |
//! |---|---|
//! | `hunt` | tries inputs on a target for some time, and keeps what does harm |
//! | `mutate` | makes an input from known ones |
//! | `random` | choices that are the same for the same seed |
//! | `seeds` | known inputs that the code they are for makes |

#[cfg(test)]
mod driver;
#[cfg(test)]
mod mutate;
mod random;
#[cfg(test)]
mod seeds;

#[cfg(test)]
pub(crate) use driver::FuzzDriver;
pub(crate) use random::Random;
#[cfg(test)]
pub(crate) use seeds::Seeds;
