//! `kvm vscode`: what editors and gdb need to debug a guest, as files.
//!
//! docs/editors.md explains the contents. The format of launch.json: "Debug C++ in Visual Studio Code" for
//! `cppdbg`, and "Debugger Adapter Protocol" of *Debugging with gdb* for `gdb`.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The files, with their paths in the folder.
const FILES: [(&str, &str); 2] =
    [(".vscode/launch.json", include_str!("launch.json")), (".gdbinit", include_str!("gdbinit"))];

const NEXT: &str = "
Next:
  kvm guest.elf --gdb               starts the guest, which waits for a debugger
  code .                            in VS Code: Run and Debug, \"kvm guest (C/C++ extension)\"
  gdb -x .gdbinit guest.elf         or in gdb: `kvm` then connects
docs/editors.md has more, also for other editors.
";

/// Why the files could not be written.
#[derive(Debug, thiserror::Error)]
pub enum VscodeError {
    /// The user's files would be overwritten.
    #[error(
        "{} with other contents; nothing was written. Replace {} with --force, or name another folder: kvm vscode \
         DIR",
        names(files),
        if files.len() == 1 { "it" } else { "them" }
    )]
    Exists {
        /// The files.
        files: Vec<PathBuf>,
    },
    /// The folder does not exist, or is not a folder.
    #[error("{} is no folder; create it, or name another: kvm vscode DIR", folder.display())]
    NoFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// The host denies access.
    #[error("cannot write {}: {reason}; name a folder that you may write to: kvm vscode DIR", file.display())]
    Write {
        /// The file or folder.
        file: PathBuf,
        /// The host's error.
        reason: io::Error,
    },
}

fn names(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    format!("{} {}", names.join(" and "), if names.len() == 1 { "exists" } else { "exist" })
}

/// What was done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Written,
    Replaced,
    Unchanged,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Done::Written => "written",
            Done::Replaced => "replaced",
            Done::Unchanged => "unchanged",
        })
    }
}

/// Writes the files into `folder`, and returns a report for the user. Unless `force` is set, no file with
/// other contents is replaced; if there is one, none is written.
///
/// # Errors
///
/// [`VscodeError`]; its text is complete, with the remedy.
pub fn write(folder: &Path, force: bool) -> Result<String, VscodeError> {
    if !folder.is_dir() {
        return Err(VscodeError::NoFolder { folder: folder.to_owned() });
    }
    let mut plans = Vec::new();
    for (name, text) in FILES {
        let file = folder.join(name);
        let done = plan(&file, text)?;
        plans.push((file, text, done));
    }
    let others = plans.iter().filter(|(_, _, done)| *done == Done::Replaced);
    let files: Vec<PathBuf> = others.map(|(file, _, _)| file.clone()).collect();
    if !force && !files.is_empty() {
        return Err(VscodeError::Exists { files });
    }
    let mut report = String::new();
    for (file, text, done) in plans {
        put(&file, text, done).map_err(|reason| VscodeError::Write { file: file.clone(), reason })?;
        report += &format!("{}: {done}\n", file.display());
    }
    Ok(report + NEXT)
}

/// The action for `file`, which must contain `text`.
fn plan(file: &Path, text: &str) -> Result<Done, VscodeError> {
    match fs::read(file) {
        Ok(found) if found == text.as_bytes() => Ok(Done::Unchanged),
        Ok(_) => Ok(Done::Replaced),
        // Other obstacles are reported when the file is written.
        Err(_) if fs::symlink_metadata(file).is_err() => Ok(Done::Written),
        Err(reason) => Err(VscodeError::Write { file: file.to_owned(), reason }),
    }
}

fn put(file: &Path, text: &str, done: Done) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    match done {
        Done::Unchanged => Ok(()),
        Done::Replaced => fs::write(file, text),
        // Does not replace a file created meanwhile.
        Done::Written => fs::File::create_new(file)?.write_all(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_files_are_named_in_one_sentence() {
        let exists = |names: &[&str]| {
            VscodeError::Exists { files: names.iter().map(PathBuf::from).collect() }.to_string()
        };
        assert!(exists(&["a"]).starts_with("a exists with other contents; nothing"));
        assert!(exists(&["a", "b"]).contains("a and b exist with other contents"));
        assert!(exists(&["a", "b"]).contains("Replace them with --force"));
    }
}
