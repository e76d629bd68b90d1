use super::*;
use crate::boot::OwnedImage;
use crate::coverage::CoverageReport;

/// Whether each of these has been run.
type Flags<T> = Vec<(T, bool)>;

/// The lines of a file of tests/debug-info, and its functions, if the blocks at these lines have been run.
fn report(name: &str, lines: &[u32]) -> (Flags<u32>, Flags<String>) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/debug-info").join(name);
    let code = CoveredCode::read(&OwnedImage::new(name.to_owned(), std::fs::read(path).unwrap())).unwrap();
    for (number, block) in code.wanted() {
        block.watch();
        let first = code.rows.iter().find(|row| row.address == block.address).unwrap();
        if lines.contains(&first.line) {
            code.stopped_at(number);
        }
    }
    assert_eq!(code.blocks_run().0 as u64, code.stops());
    let report = CoverageReport::of(std::iter::once(&code));
    let (_, file) = report.files.into_iter().next().unwrap();
    let functions = file.functions.into_iter().map(|((name, _), run)| (name, run)).collect();
    (file.lines.into_iter().collect(), functions)
}

#[test]
fn lines_and_functions_have_been_run_if_their_blocks_have() {
    for name in ["inlined.elf", "inlined-32.elf"] {
        let (lines, functions) = report(name, &[]);
        assert!(lines.iter().all(|(_, run)| !run) && functions.iter().all(|(_, run)| !run));
        let (lines, functions) = report(name, &[13]);
        // Functions that are inlined belong to the block; the call of it does not.
        for line in [(8, true), (13, true), (19, true), (24, false)] {
            assert!(lines.contains(&line), "{lines:?}");
        }
        assert_eq!(functions, [("_start".to_owned(), false), ("called".to_owned(), true)]);
    }
}

#[test]
fn files_that_the_user_has_not_written_do_not_count() {
    for path in [
        "/rustc/0123/library/core/src/fmt/mod.rs",
        "/home/a/.rustup/toolchains/stable/lib/rustlib/src/rust/library/core/src/mem/mod.rs",
        "/home/a/.cargo/registry/src/index/x86_64-0.15.1/src/lib.rs",
    ] {
        assert!(is_foreign(path), "{path}");
    }
    assert!(!is_foreign("src/main.rs") && !is_foreign("/build/cargo/registry.rs"));
}

#[test]
fn files_without_lines_are_refused() {
    let read = |bytes: &[u8]| CoveredCode::read(&OwnedImage::new("guest".to_owned(), bytes.to_vec())).err();
    assert_eq!(read(b"text"), Some(CoverageProblem::NotElf { file: "guest".to_owned() }));
    let bytes = crate::boot::test_guest::TestGuest::simple().build();
    assert_eq!(read(&bytes), Some(CoverageProblem::NoLines { file: "guest".to_owned() }));
}

#[test]
fn ranges_are_merged() {
    assert_eq!(merged(vec![5..7, 1..3, 3..4, 6..9, 20..21]), [1..4, 5..9, 20..21]);
}
