//! Commands for a stopped guest.
pub mod expression;
pub mod format;
pub mod points;
