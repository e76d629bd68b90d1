//! The guided reading of driver/README.md points at the lines that it quotes.
//!
//! Each step has a place and the text there: `` `run.c:12` `text` ``. `KVM_BLESS=1 cargo test --test driver_reading`
//! renews the numbers; the text has to be unique in its file then.

use std::fs;
use std::path::{Path, PathBuf};

/// A place that the text names: the position of its line number in the text, and what is to be there.
struct Place {
    start: usize,
    file: String,
    number: String,
    quoted: String,
}

fn driver() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("driver")
}

/// The places, in the order of the text.
fn places(text: &str) -> Vec<Place> {
    let parts: Vec<&str> = text.split('`').collect();
    let mut position = 0;
    let mut found = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        // What is in quotation marks has an odd number.
        if let (1, Some((file, number))) = (index % 2, part.split_once(':'))
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && let Some(quoted) = parts.get(index + 2)
        {
            let (file, number, quoted) = (file.to_owned(), number.to_owned(), (*quoted).to_owned());
            found.push(Place { start: position + file.len() + 1, file, number, quoted });
        }
        position += part.len() + 1;
    }
    found
}

/// A line without what sets it apart by white space.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The number of the line with this text.
fn line_of(place: &Place) -> String {
    let source = fs::read_to_string(driver().join(&place.file)).unwrap();
    let lines: Vec<usize> =
        source.lines().zip(1..).filter(|(line, _)| words(line) == place.quoted).map(|(_, n)| n).collect();
    assert_eq!(lines.len(), 1, "`{}` in driver/{} is on the lines {lines:?}", place.quoted, place.file);
    lines[0].to_string()
}

#[test]
fn the_guided_reading_of_the_driver_quotes_the_lines_it_points_at() {
    let readme = driver().join("README.md");
    let mut text = fs::read_to_string(&readme).unwrap();
    let places = places(&text);
    assert_eq!(places.len(), 10, "the life of one VMRUN has ten steps");
    if std::env::var_os("KVM_BLESS").is_some() {
        for place in places.iter().rev() {
            text.replace_range(place.start..place.start + place.number.len(), &line_of(place));
        }
        return fs::write(&readme, text).unwrap();
    }
    for place in places {
        let source = fs::read_to_string(driver().join(&place.file)).unwrap();
        let line =
            source.lines().nth(place.number.parse::<usize>().unwrap().wrapping_sub(1)).unwrap_or_default();
        assert_eq!(
            words(line),
            place.quoted,
            "driver/{}:{}; KVM_BLESS=1 cargo test --test driver_reading renews the numbers",
            place.file,
            place.number
        );
    }
}
