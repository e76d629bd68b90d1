//! The translation of a command line.

use std::ffi::{OsStr, OsString};
use std::fmt;

use super::super::command::has_dash;
use super::super::error::SettingsError;
use super::super::table::options;
use super::{Effect, Program, Spelling, ValueForm, spellings};

/// A line for the log about an option of another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The option as it was written.
    pub option: String,
    /// True if it has no effect, which the user should know.
    pub ignored: bool,
    text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A command line with options of `kvm` only, and what was replaced.
pub(in super::super) struct Translated {
    /// The first item is the program's name.
    pub(in super::super) args: Vec<OsString>,
    pub(in super::super) notes: Vec<Note>,
}

/// The option for a disk, as [`Translation::disk`] appends it.
const DISK: &str = "--disk=";

/// A translation in progress.
#[derive(Default)]
pub(super) struct Translation {
    args: Vec<OsString>,
    notes: Vec<Note>,
    /// KVM was asked for by name.
    pub(super) kvm: bool,
    /// The number of serial ports named in QEMU's way, which has no numbers.
    serial_ports: usize,
    /// One of them is on standard output.
    serial_on_stdio: bool,
    /// The index of `-display none` in `args`.
    display_none: Option<usize>,
    /// gdb was asked for in QEMU's way, in which the guest does not wait for it: the index of the note.
    gdb: Option<usize>,
    /// The guest waits for it nevertheless.
    wait_for_gdb: bool,
    /// What is written to disks is lost at the end.
    snapshot: bool,
}

/// Replaces the options of other programs in `args`, whose first item is the program's name.
///
/// # Errors
///
/// [`SettingsError::OtherProgram`] for the first option that has no equivalent.
pub(in super::super) fn translate(args: Vec<OsString>) -> Result<Translated, SettingsError> {
    let mut translation = Translation::default();
    let mut args = args.into_iter().peekable();
    translation.args.extend(args.next());
    while let Some(arg) = args.next() {
        if arg == "--" {
            translation.args.push(arg);
            translation.args.extend(args);
            break;
        }
        let Some((name, attached)) = split(&arg) else {
            translation.args.push(arg);
            continue;
        };
        let mut forms = spellings().filter(|spelling| spelling.name == name).peekable();
        if forms.peek().is_none() {
            translation.args.push(arg);
            continue;
        }
        let of_kvm = options().any(|option| option.long == name);
        let attached = attached.map(str::to_owned);
        let next =
            args.peek().filter(|next| attached.is_none() && !has_dash(next)).and_then(|next| next.to_str());
        let value = attached.as_deref().or(next);
        let found = forms.find(|form| form.value.matches(value) || matches!(form.value, ValueForm::Absent));
        match found {
            Some(spelling) => {
                let absent = matches!(spelling.value, ValueForm::Absent);
                if absent && attached.is_some() && !of_kvm {
                    return Err(refusal(spelling, arg.to_string_lossy(), "It takes no value."));
                }
                let value = value.filter(|_| !absent);
                let written = written(&arg, value.filter(|_| attached.is_none()));
                translation.apply(spelling, &arg, value, &written)?;
                if attached.is_none() && value.is_some() {
                    args.next();
                }
            }
            None if of_kvm => translation.args.push(arg),
            None => return Err(missing_value(name, &arg)),
        }
    }
    translation.finish()
}

/// The name of an option, without dashes, and the value attached to it with `=`; or that of a line of a bochsrc, with
/// its colon, and the rest of the line.
fn split(arg: &OsStr) -> Option<(&str, Option<&str>)> {
    let text = arg.to_str()?;
    let Some(name) = text.strip_prefix("--").or_else(|| text.strip_prefix('-')) else {
        let (name, value) = text.split_at(text.find(':')? + 1);
        return Some((name, Some(value.trim())));
    };
    match name.split_once('=') {
        Some((name, value)) => Some((name, Some(value))),
        None => Some((name, None)),
    }
}

fn written(arg: &OsStr, value: Option<&str>) -> String {
    let arg = arg.to_string_lossy();
    match value {
        Some(value) => format!("{arg} {value}"),
        None => arg.into_owned(),
    }
}

fn refusal(spelling: &Spelling, written: impl Into<String>, remedy: impl Into<String>) -> SettingsError {
    SettingsError::OtherProgram {
        option: written.into(),
        program: spelling.program.to_string(),
        remedy: remedy.into(),
    }
}

/// The error for an option without the value that all its forms take, or with one that is no text.
fn missing_value(name: &str, arg: &OsStr) -> SettingsError {
    let forms = || spellings().filter(|spelling| spelling.name == name);
    let shown: Vec<String> = forms().map(|form| form.value.shown()).collect();
    SettingsError::OtherProgram {
        option: arg.to_string_lossy().into_owned(),
        program: forms().next().map_or(Program::Qemu, |form| form.program).to_string(),
        remedy: format!("It needs a value: {}.", shown.join(" or ")),
    }
}

impl Translation {
    /// Applies `spelling`, which was written as `written`: the argument `arg`, possibly followed by its value.
    fn apply(
        &mut self,
        spelling: &Spelling,
        arg: &OsStr,
        value: Option<&str>,
        written: &str,
    ) -> Result<(), SettingsError> {
        let refuse = |remedy: String| refusal(spelling, written, remedy);
        let value_text = value.unwrap_or_default();
        let before = self.args.len();
        let text = match &spelling.effect {
            Effect::Same(apply) => {
                apply(self, value_text).map_err(refuse)?;
                self.args.push(arg.to_owned());
                if written != arg.to_string_lossy() {
                    self.args.push(value_text.into());
                }
                return Ok(());
            }
            Effect::Becomes(shown, apply) => {
                apply(self, value_text).map_err(refuse)?;
                let ours: Vec<_> = self.args[before..].iter().map(|arg| arg.to_string_lossy()).collect();
                if ours.is_empty() { (*shown).to_owned() } else { format!("`{}`", ours.join(" ")) }
            }
            Effect::Implied(text, apply) | Effect::Ignored(text, apply) => {
                apply(self, value_text).map_err(refuse)?;
                (*text).to_owned()
            }
            Effect::Refused(remedy) => return Err(refuse((*remedy).to_owned())),
            Effect::Later(remedy) => return Err(refuse(format!("It comes with a later version. {remedy}"))),
        };
        let ignored = matches!(spelling.effect, Effect::Ignored(..));
        let verb = match spelling.effect {
            Effect::Becomes(..) => "means",
            Effect::Ignored(..) => "is ignored:",
            _ => "is always so:",
        };
        let text = format!("`{written}` of {} {verb} {text}", spelling.program);
        self.notes.push(Note { option: written.to_owned(), ignored, text });
        Ok(())
    }

    /// Resolves the options that are combined with others.
    fn finish(mut self) -> Result<Translated, SettingsError> {
        let is_gdb = |arg: &OsString| {
            split(arg).is_some_and(|(name, value)| name == "gdb" && value != Some("no") && has_dash(arg))
        };
        if self.wait_for_gdb && !self.args.iter().any(is_gdb) {
            return Err(SettingsError::OtherProgram {
                option: "-S".to_owned(),
                program: Program::Qemu.to_string(),
                remedy: "A guest waits at its first instruction for gdb only: `--gdb`, or `-s -S`."
                    .to_owned(),
            });
        }
        if let Some(index) = self.display_none
            && self.serial_on_stdio
        {
            if self.args[index].to_str().is_some_and(|arg| !arg.contains('=')) {
                self.args.remove(index + 1);
            }
            self.args[index] = "--display=serial".into();
            let text =
                "`-display none` of QEMU means `--display=serial`, because `-serial stdio` is given, too";
            let option = "-display none".to_owned();
            self.notes.push(Note { option, ignored: false, text: text.to_owned() });
        }
        if let Some(note) = self.gdb
            && !self.wait_for_gdb
        {
            self.args.insert(1, "--gdb-nowait".into());
            self.notes[note].text += " and `--gdb-nowait`";
        }
        if self.snapshot {
            for arg in &mut self.args {
                let text = arg.to_string_lossy();
                let has_mode = text.split(',').skip(1).any(|word| matches!(word, "ro" | "snapshot"));
                if text.starts_with(DISK) && !has_mode {
                    arg.push(",snapshot");
                }
            }
        }
        Ok(Translated { args: self.args, notes: self.notes })
    }

    /// Appends an argument.
    pub(super) fn push(&mut self, arg: &str) -> Result<(), String> {
        self.args.push(arg.into());
        Ok(())
    }

    /// Appends the guest file.
    pub(super) fn guest(&mut self, file: &str) -> Result<(), String> {
        self.push(file)
    }

    /// Appends a disk.
    pub(super) fn disk(&mut self, image: &str) -> Result<(), String> {
        self.push(&format!("{DISK}{image}"))
    }

    /// Appends a CD.
    pub(super) fn cdrom(&mut self, image: &str) -> Result<(), String> {
        self.push(&format!("--cdrom={image}"))
    }

    /// Makes all disks lose what is written to them.
    pub(super) fn snapshot(&mut self) -> Result<(), String> {
        self.snapshot = true;
        Ok(())
    }

    /// Appends the size of memory, which may be the first of several properties.
    pub(super) fn memory(&mut self, text: &str) -> Result<(), String> {
        let size = text.split(',').next().unwrap_or_default();
        self.push(&format!("--memory={}", size.strip_prefix("size=").unwrap_or(size)))
    }

    /// Appends the number of processors, which may be the first of several properties.
    pub(super) fn cpus(&mut self, text: &str) -> Result<(), String> {
        let count = text.split(',').next().unwrap_or_default();
        self.push(&format!("--cpus={}", count.strip_prefix("cpus=").unwrap_or(count)))
    }

    /// Appends the backend of the next serial port.
    pub(super) fn serial(&mut self, backend: &str) -> Result<(), String> {
        self.serial_ports += 1;
        self.serial_on_stdio |= backend == "stdio";
        self.push(&format!("--serial={}={backend}", self.serial_ports))
    }

    /// Records `-display none`, which is appended next.
    pub(super) fn display_none(&mut self) -> Result<(), String> {
        self.display_none = Some(self.args.len());
        Ok(())
    }

    /// Appends the gdb server, with `=` and its address or nothing.
    pub(super) fn gdb(&mut self, address: &str) -> Result<(), String> {
        self.gdb = Some(self.notes.len());
        self.push(&format!("--gdb{address}"))
    }

    /// Makes the guest wait for gdb.
    pub(super) fn wait_for_gdb(&mut self) -> Result<(), String> {
        self.wait_for_gdb = true;
        Ok(())
    }
}
