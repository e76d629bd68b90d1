//! Input for the coverage of guest files.

use super::{CoverageReport, CoveredCode, lcov, summary};
use crate::boot::BytesImage;

/// Reads any file for its coverage.
pub fn cover(file: &[u8]) {
    if let Ok(code) = CoveredCode::read(&BytesImage::new("fuzz", file)) {
        code.pretend_all_is_run();
        let report = CoverageReport::of(std::iter::once(&code));
        assert!(lcov::is_lcov_start(lcov::to_lcov(&report).as_bytes()));
        assert!(summary(&report, "lcov.info").contains(" 100.0%"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::FuzzDriver;

    #[test]
    fn any_guest_file_is_covered_or_refused() {
        FuzzDriver::new("coverage").with_inputs_from("tests/debug-info").run(cover);
    }
}
