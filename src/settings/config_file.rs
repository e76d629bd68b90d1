//! The config file: an INI file with the sections and keys of the table.
//!
//! Each line is parsed separately by the INI reader. So an invalid line cannot affect the next one, and
//! every message can name its line.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use ini::{Ini, ParseOption};

use super::closest::closest;
use super::draft::Draft;
use super::error::{SettingsError, ValueOrigin};
use super::table::{self, Key, OptionSpec};

/// Size in bytes from which a file is not accepted as a config file.
const TOO_LARGE: u64 = 1 << 20;

/// Maximum number of characters shown of an invalid line.
const SHOWN: usize = 60;

/// A config file that has been read but not parsed.
pub(super) struct ConfigFile {
    file: PathBuf,
    text: String,
}

/// The content of one line.
enum Line {
    Nothing,
    Section(String),
    Value { key: String, value: String },
}

impl ConfigFile {
    /// Reads `file`.
    ///
    /// # Errors
    ///
    /// [`SettingsError::ConfigUnreadable`].
    pub(super) fn read(file: &Path) -> Result<ConfigFile, SettingsError> {
        match read_text(file) {
            Ok(text) => Ok(ConfigFile { file: file.to_owned(), text }),
            Err(source) => Err(SettingsError::ConfigUnreadable { file: file.to_owned(), source }),
        }
    }

    /// Reads `file` if it exists.
    ///
    /// # Errors
    ///
    /// [`SettingsError::ConfigUnreadable`] if it exists and cannot be read.
    pub(super) fn read_if_there(file: &Path) -> Result<Option<ConfigFile>, SettingsError> {
        match file.symlink_metadata() {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            _ => ConfigFile::read(file).map(Some),
        }
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.file
    }

    /// Applies all values of the file to the draft.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] for the first invalid line.
    pub(super) fn apply(&self, draft: &mut Draft) -> Result<(), SettingsError> {
        let mut section = None;
        let mut seen: Vec<(&'static Key, usize)> = Vec::new();
        for (number, text) in (1..).zip(self.text.lines()) {
            match self.parse(text, number)? {
                Line::Nothing => {}
                Line::Section(name) => section = Some(self.find_section(&name, number)?),
                Line::Value { key: name, value } => {
                    let (option, key) = self.find_key(section, &name, number)?;
                    if !option.repeats(key) {
                        if let Some((_, first)) = seen.iter().find(|(other, _)| std::ptr::eq(*other, key)) {
                            return Err(SettingsError::KeyTwice {
                                file: self.file.clone(),
                                line: number,
                                first: *first,
                                section: key.section,
                                key: key.name,
                            });
                        }
                        seen.push((key, number));
                    }
                    let meaning = option.meaning(key);
                    (meaning.set)(draft, &value).map_err(|reason| SettingsError::Value {
                        origin: Box::new(ValueOrigin::Key {
                            file: self.file.clone(),
                            line: number,
                            section: key.section,
                            key: key.name,
                        }),
                        value,
                        reason,
                        allowed: meaning.allowed,
                    })?;
                }
            }
        }
        Ok(())
    }

    fn parse(&self, text: &str, number: usize) -> Result<Line, SettingsError> {
        let text = text.trim();
        if text.is_empty() || text.starts_with([';', '#']) {
            return Ok(Line::Nothing);
        }
        let no_line = |reason| SettingsError::ConfigLine {
            file: self.file.clone(),
            line: number,
            text: text.chars().take(SHOWN).collect(),
            reason,
        };
        if text.contains('\0') {
            return Err(no_line("it contains a NUL character"));
        }
        if !text.starts_with('[') && !text.contains(['=', ':']) {
            return Err(no_line("`=` is missing"));
        }
        // Backslashes are literal: values are paths and command lines, without escape sequences.
        let options = ParseOption { enabled_escape: false, ..ParseOption::default() };
        let ini = Ini::load_from_str_opt(text, options).map_err(|_| {
            no_line(match text.as_bytes()[0] {
                b'[' => "`]` is missing",
                b'=' | b':' => "the key is missing",
                _ => "a quotation mark is not closed",
            })
        })?;
        let values: Vec<(&str, &str)> = ini.iter().flat_map(|(_, properties)| properties.iter()).collect();
        let section = ini.sections().flatten().next();
        match (section, values.as_slice()) {
            (Some(name), []) => Ok(Line::Section(name.to_owned())),
            (None, [(key, value)]) => {
                // The INI reader takes a comment right after the `=` for the value.
                let commented = text[key.len()..].trim_start_matches([' ', '\t', '=', ':']);
                let value = if commented.starts_with([';', '#']) { "" } else { value.trim() };
                Ok(Line::Value { key: (*key).to_owned(), value: value.to_owned() })
            }
            _ => Err(no_line("there is more on it")),
        }
    }

    fn find_section(&self, name: &str, line: usize) -> Result<&'static str, SettingsError> {
        let sections = table::sections();
        sections.iter().find(|section| section.eq_ignore_ascii_case(name)).copied().ok_or_else(|| {
            SettingsError::UnknownSection {
                file: self.file.clone(),
                line,
                section: name.to_owned(),
                meant: closest(name, sections.iter().copied()),
                sections,
            }
        })
    }

    fn find_key(
        &self,
        section: Option<&'static str>,
        name: &str,
        line: usize,
    ) -> Result<(&'static OptionSpec, &'static Key), SettingsError> {
        let in_section = || table::keys().filter(|(_, key)| section.is_none_or(|it| it == key.section));
        if section.is_some()
            && let Some(found) = in_section().find(|(_, key)| key.name.eq_ignore_ascii_case(name))
        {
            return Ok(found);
        }
        let in_other_section = table::keys().find(|(_, key)| key.name.eq_ignore_ascii_case(name));
        let meant = match in_other_section {
            Some((_, key)) => Some(format!("`{}` in [{}]", key.name, key.section)),
            None => closest(name, in_section().map(|(_, key)| key.name)).map(|name| format!("`{name}`")),
        };
        let keys = in_section().map(|(_, key)| match section {
            Some(_) => key.name.to_owned(),
            None => format!("[{}] {}", key.section, key.name),
        });
        Err(SettingsError::UnknownKey {
            file: self.file.clone(),
            line,
            section,
            key: name.to_owned(),
            meant,
            keys: keys.collect(),
        })
    }
}

fn read_text(file: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(file)?.take(TOO_LARGE).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == TOO_LARGE {
        return Err(io::Error::other("it is larger than 1 MiB, so it is not a config file"));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let line = 1 + e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        io::Error::other(format!("line {line} is not UTF-8 text"))
    })?;
    // Some editors write a byte order mark.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
