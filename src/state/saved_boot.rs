//! The kind of a saved guest, and the options that it was loaded with.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::container::Section;
use super::saved_machine::section;
use crate::boot::{BootOptions, SymbolSource};
use crate::settings::{BootKind, EntryAddress};

/// Name and version of the section. Only in files of guests that are not started in long mode, or have an initial file
/// system: versions without it can read the others.
pub(super) const BOOT: (&str, u16) = ("boot", 1);

/// How the guest was loaded, besides what [`GuestFileInfo`](super::GuestFileInfo) has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedBoot {
    /// The name of the kind, as `--boot` takes it.
    kind: String,
    load: Option<u64>,
    entry: Option<SavedEntry>,
    /// Path of the initial file system.
    initrd: Option<Vec<u8>>,
}

/// An [`EntryAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum SavedEntry {
    Linear(u64),
    Far(u16, u16),
}

impl Default for SavedBoot {
    /// Files without the section.
    fn default() -> SavedBoot {
        SavedBoot { kind: BootKind::Elf64.name().to_owned(), load: None, entry: None, initrd: None }
    }
}

impl SavedBoot {
    /// What `options` say; `absolute` makes the path of a file absolute.
    pub(super) fn of(options: &BootOptions, absolute: fn(&Path) -> Vec<u8>) -> SavedBoot {
        SavedBoot {
            kind: options.kind.unwrap_or(BootKind::Elf64).name().to_owned(),
            load: options.load,
            entry: options.entry.map(|entry| match entry {
                EntryAddress::Linear(address) => SavedEntry::Linear(address),
                EntryAddress::Far { segment, offset } => SavedEntry::Far(segment, offset),
            }),
            initrd: options.initrd.as_deref().map(absolute),
        }
    }

    /// The section, if the guest needs one.
    pub(super) fn to_section(&self) -> Option<Section> {
        (*self != SavedBoot::default()).then(|| section(BOOT, self))
    }

    /// Refuses a kind that there is not, with what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        match BootKind::named(&self.kind) {
            Some(_) => Ok(()),
            None => Err(format!("its guest is of the kind {:?}, which there is not", self.kind)),
        }
    }

    fn kind(&self) -> Option<BootKind> {
        BootKind::named(&self.kind)
    }

    /// Where the symbols of the guest file come from, which was moved by `bias`.
    pub(super) fn symbols(&self, bias: u64) -> SymbolSource {
        match self.kind() {
            Some(BootKind::Flat | BootKind::Disk | BootKind::Cdrom | BootKind::Rom | BootKind::Linux16) => {
                SymbolSource::None
            }
            _ => SymbolSource::GuestFile { bias },
        }
    }

    /// The options that this says something about.
    pub(super) fn options(&self) -> BootOptions {
        BootOptions {
            kind: self.kind(),
            load: self.load,
            entry: self.entry.map(|entry| match entry {
                SavedEntry::Linear(address) => EntryAddress::Linear(address),
                SavedEntry::Far(segment, offset) => EntryAddress::Far { segment, offset },
            }),
            initrd: self.initrd.clone().map(|path| PathBuf::from(OsString::from_vec(path))),
            ..BootOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_read_back_and_only_those_of_an_ordinary_guest_need_no_section() {
        let options = BootOptions {
            kind: Some(BootKind::Flat),
            load: Some(0x7C00),
            entry: Some(EntryAddress::Far { segment: 0x7C0, offset: 3 }),
            initrd: Some(PathBuf::from("root.cpio")),
            ..BootOptions::default()
        };
        let path = |path: &Path| path.as_os_str().as_encoded_bytes().to_vec();
        let saved = SavedBoot::of(&options, path);
        assert_eq!(saved.options(), options);
        let section = saved.to_section().unwrap();
        assert_eq!(postcard::from_bytes::<SavedBoot>(&section.bytes).unwrap(), saved);
        let ordinary = BootOptions { kind: Some(BootKind::Elf64), ..BootOptions::default() };
        assert_eq!(SavedBoot::of(&ordinary, path).to_section(), None);
    }

    #[test]
    fn a_kind_of_a_later_version_is_refused() {
        let later = SavedBoot { kind: "later".to_owned(), ..SavedBoot::default() };
        assert!(later.check().unwrap_err().contains("\"later\""));
    }
}
