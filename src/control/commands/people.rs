//! Commands for screen and keyboard.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::super::CommandError;
use super::super::table::wrong;
use crate::devices::keyboard::layouts::strokes_for;
use crate::devices::keyboard::names::{key_named, names};
use crate::devices::keyboard::{Key, KeyEvent};
use crate::inspect::screen::plain_text;
use crate::machine::inputs::{Input, Keystroke};
use crate::settings::closest::closest;
use crate::supervisor::stopped_machine::StoppedMachine;

/// Keys that can be held at the same time.
const MOST_KEYS: usize = 16;
/// Characters that may wait for the guest.
const MOST_WAITING: usize = 4096;

pub(in crate::control) fn screendump(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let shot = guest.screen();
    let content = match Path::new(arguments).extension().and_then(|kind| kind.to_str()) {
        Some("png") => shot.picture().to_png(),
        Some("txt") => plain_text(&shot.cells).into_bytes(),
        _ => return Err(wrong("screendump", "a file name that ends in .png or .txt is wanted")),
    };
    replace(Path::new(arguments), &content)
        .map_err(|reason| CommandError::File { file: arguments.to_owned(), reason })?;
    Ok(format!("the screen is in {arguments}, {} bytes\n", content.len()))
}

/// Puts `content` into `file`, which has the old content or all of the new one at any time. A pipe or a
/// device of that name is replaced, and so holds nobody up.
fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    let part = PathBuf::from(format!("{}.{}.part", file.display(), std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&part)
        .and_then(|mut new| new.write_all(content))
        .and_then(|()| std::fs::rename(&part, file));
    if written.is_err() {
        // It may not have come to be.
        let _ = std::fs::remove_file(&part);
    }
    written
}

pub(in crate::control) fn sendkey(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    if arguments.split('-').any(str::is_empty) {
        return Err(wrong("sendkey", "a key is missing"));
    }
    let keys: Vec<Key> = arguments.split('-').map(key).collect::<Result<_, _>>()?;
    if keys.len() > MOST_KEYS {
        return Err(wrong("sendkey", format!("these are {} keys, and {MOST_KEYS} can be held", keys.len())));
    }
    guest.inputs().push(Input::KeyEvents(KeyEvent::chord(&keys)));
    Ok(String::new())
}

fn key(name: &str) -> Result<Key, CommandError> {
    key_named(&name.to_ascii_lowercase()).ok_or_else(|| {
        let shown: String = name.chars().take(20).flat_map(char::escape_debug).collect();
        let meant = closest(name, names()).map_or_else(String::new, |name| format!(" (there is `{name}`)"));
        wrong("sendkey", format!("`{shown}` is no key{meant}"))
    })
}

pub(in crate::control) fn type_text(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let (layout, inputs) = (guest.layout(), guest.inputs());
    let mut strokes = Vec::new();
    for character in unescaped(arguments)? {
        let keys = match character {
            '\n' => vec![Key::Enter],
            '\t' => vec![Key::Tab],
            '\x1B' => vec![Key::Escape],
            _ => strokes_for(layout, character).map(|keys| keys.keys()).unwrap_or_default(),
        };
        // A terminal sends a return for Enter.
        let sent = if character == '\n' { '\r' } else { character };
        strokes.push(Keystroke { bytes: sent.to_string().into_bytes(), keys: KeyEvent::chord(&keys) });
    }
    let waiting = inputs.keystroke_backlog();
    if waiting + strokes.len() > MOST_WAITING {
        return Err(CommandError::TooMuchTyped { waiting });
    }
    strokes.into_iter().for_each(|stroke| inputs.push(Input::Keystroke(stroke)));
    Ok(String::new())
}

/// `text` with `\n`, `\t`, `\e` and `\\` as what they stand for.
fn unescaped(text: &str) -> Result<Vec<char>, CommandError> {
    let mut characters = Vec::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        characters.push(match character {
            '\\' => match rest.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('e') => '\x1B',
                Some('\\') => '\\',
                _ => return Err(wrong("type", "after a backslash stands n, t, e or another backslash")),
            },
            character => character,
        });
    }
    if characters.is_empty() {
        return Err(wrong("type", "the text is missing"));
    }
    Ok(characters)
}
