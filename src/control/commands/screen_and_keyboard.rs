//! Commands for screen, keyboard and mouse.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::super::command::invalid;
use super::super::error::CommandError;
use super::super::overwrite;
use crate::devices::keyboard::layouts::strokes_for;
use crate::devices::keyboard::names::{key_named, names};
use crate::devices::keyboard::{Key, KeyEvent};
use crate::devices::mouse::BUTTONS;
use crate::inspect::screen::plain_text;
use crate::machine::inputs::{Input, Keystroke};
use crate::settings::closest::closest;
use crate::supervisor::stopped_machine::StoppedMachine;

/// Maximum number of keys in one combination.
const MOST_KEYS: usize = 16;
/// Largest movement of the mouse in one command.
const MOST_COUNTS: i16 = 10_000;
/// Maximum number of characters pending for the guest.
const MOST_WAITING: usize = 4096;

pub(in crate::control) fn screendump(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let (force, name) = overwrite::split_force(arguments);
    let shot = guest.screen();
    let file = Path::new(name);
    let is_text = file.extension().is_some_and(|kind| kind == "txt");
    let content = match file.extension().and_then(|kind| kind.to_str()) {
        Some("png") => shot.picture().to_png(),
        Some("ppm") => shot.picture().to_ppm(),
        Some("txt") => plain_text(&shot.cells).into_bytes(),
        _ => return Err(invalid("the file name must end in .png, .ppm or .txt")),
    };
    overwrite::check("screendump", file, force)?;
    replace(file, &content).map_err(|reason| CommandError::File { file: name.to_owned(), reason })?;
    if is_text {
        overwrite::mark_screen(file, &content);
    }
    Ok(format!("the screen is saved in {name}, {} bytes\n", content.len()))
}

/// Writes `content` to `file` atomically: `file` has either its old or its new contents. With `-f` a pipe or a device
/// of that name is replaced, so that writing cannot block.
fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    let part = PathBuf::from(format!("{}.{}.part", file.display(), std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&part)
        .and_then(|mut new| new.write_all(content))
        .and_then(|()| std::fs::rename(&part, file));
    if written.is_err() {
        // Fails if the file was not created.
        let _ = std::fs::remove_file(&part);
    }
    written
}

pub(in crate::control) fn sendkey(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    if arguments.split('-').any(str::is_empty) {
        return Err(invalid("a key is missing"));
    }
    let keys: Vec<Key> = arguments.split('-').map(key).collect::<Result<_, _>>()?;
    if keys.len() > MOST_KEYS {
        return Err(invalid(format!("{} keys; at most {MOST_KEYS} can be pressed together", keys.len())));
    }
    guest.inputs().push(Input::KeyEvents(KeyEvent::chord(&keys)));
    Ok(String::new())
}

fn key(name: &str) -> Result<Key, CommandError> {
    key_named(&name.to_ascii_lowercase()).ok_or_else(|| {
        let shown: String = name.chars().take(20).flat_map(char::escape_debug).collect();
        let meant = closest(name, names()).map_or_else(String::new, |name| format!(" (there is `{name}`)"));
        invalid(format!("`{shown}` is no key{meant}"))
    })
}

pub(in crate::control) fn mouse_move(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let counts: Vec<i16> = arguments.split_whitespace().map(counts).collect::<Result<_, _>>()?;
    let (dx, dy, up) = match counts[..] {
        [dx, dy] => (dx, dy, 0),
        [dx, dy, up] => (dx, dy, up),
        _ => return Err(invalid("two or three numbers are needed")),
    };
    guest.inputs().push(Input::Mouse { dx, dy, wheel: -up, buttons: None });
    Ok(String::new())
}

fn counts(text: &str) -> Result<i16, CommandError> {
    let limits = -MOST_COUNTS..=MOST_COUNTS;
    text.parse().ok().filter(|counts| limits.contains(counts)).ok_or_else(|| {
        let shown: String = text.chars().take(20).flat_map(char::escape_debug).collect();
        invalid(format!("`{shown}` is no number from -{MOST_COUNTS} to {MOST_COUNTS}"))
    })
}

pub(in crate::control) fn mouse_button(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let state = arguments.trim().parse().ok().filter(|state| state & !BUTTONS == 0);
    let state = state.ok_or_else(|| invalid(format!("the buttons are a number from 0 to {BUTTONS}")))?;
    guest.inputs().push(Input::Mouse { dx: 0, dy: 0, wheel: 0, buttons: Some(state) });
    Ok(String::new())
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

/// Replaces the escape sequences `\n`, `\t`, `\e` and `\\` in `text`.
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
                _ => return Err(invalid("a backslash must be followed by n, t, e or a backslash")),
            },
            character => character,
        });
    }
    if characters.is_empty() {
        return Err(invalid("the text is missing"));
    }
    Ok(characters)
}
