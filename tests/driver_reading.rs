//! The guided reading of driver/README.md points at the lines that it quotes, and its table counts the lines of code.
//!
//! Each step has a place and the text there: `` `run.c:12` `text` ``. `KVM_BLESS=1 cargo test --test driver_reading -- --test-threads=1`
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

/// Lines that are neither empty nor a comment.
fn lines_of_code(path: &Path) -> usize {
    let source = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let comment = |line: &str| line.starts_with("//") || line.starts_with("/*") || line.starts_with('*');
    source.lines().map(str::trim_start).filter(|line| !line.is_empty() && !comment(line)).count()
}

/// The files that a cell of the table names.
fn files(cell: &str) -> Vec<PathBuf> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .flat_map(|name| match name {
            "core/" => {
                fs::read_dir(driver().join("core/src")).unwrap().map(|entry| entry.unwrap().path()).collect()
            }
            name => vec![driver().join(name)],
        })
        .collect()
}

#[test]
fn the_table_of_the_driver_has_each_file_and_its_lines_of_code() {
    let readme = driver().join("README.md");
    let text = fs::read_to_string(&readme).unwrap();
    let (mut counted, mut all, mut seen) = (text.clone(), 0, Vec::new());
    let (_, table) = text.split_once("| lines of code |").unwrap();
    for row in
        table.lines().take_while(|line| !line.starts_with("`gate`")).filter(|row| row.starts_with("| "))
    {
        let cells: Vec<&str> = row.split('|').collect();
        let named = files(cells[1]);
        let count: usize = named.iter().map(|file| lines_of_code(file)).sum();
        all += count;
        let lines = if named.is_empty() { all } else { count };
        seen.extend(named);
        let number = format!(" {lines} ");
        let cells = [&cells[..2], &[&*number], &cells[3..]].concat();
        counted = counted.replace(row, &cells.join("|"));
    }
    let sources: Vec<PathBuf> = fs::read_dir(driver())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension().is_some_and(|ending| ["c", "h", "S"].iter().any(|one| ending == *one))
        })
        .collect();
    for source in sources {
        assert!(seen.contains(&source), "{} is not in the table", source.display());
    }
    if std::env::var_os("KVM_BLESS").is_some() {
        return fs::write(&readme, counted).unwrap();
    }
    assert!(
        text == counted,
        "KVM_BLESS=1 cargo test --test driver_reading -- --test-threads=1 renews the table"
    );
}
