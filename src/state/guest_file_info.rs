//! What a saved machine says about its guest's file.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::guest_file::GuestFileCopy;
use super::saved_boot::SavedBoot;
use crate::boot::{BootOptions, GuestFile, Platform, SymbolSource, is_elf};

/// Description of the guest's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestFileInfo {
    /// Its absolute path, or the name it was given.
    pub path: Vec<u8>,
    /// Its length in bytes.
    pub length: u64,
    /// The offset added to every address in it.
    pub bias: u64,
    pub(super) strict: bool,
    /// In a section of its own: older guests were loaded with page 0 mapped, and are loaded so again.
    #[serde(skip)]
    pub(super) guards: bool,
    /// In a section of its own, which files of older versions lack.
    #[serde(skip)]
    pub(super) boot: SavedBoot,
    pub(super) command_line: String,
    /// Paths and command lines of the modules of the guest.
    pub(super) modules: Vec<(Vec<u8>, String)>,
}

impl GuestFileInfo {
    /// Its path.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(self.path.clone()))
    }

    /// The file with the bytes of `copy`.
    pub(super) fn file(&self, copy: GuestFileCopy) -> GuestFile {
        let image = copy.into_image(self);
        // Linux kernels and Multiboot kernels may be no ELF files.
        let symbols = match self.boot.symbols(self.bias) {
            SymbolSource::GuestFile { .. } if !is_elf(image.as_ref()) => SymbolSource::None,
            symbols => symbols,
        };
        GuestFile { image, symbols }
    }

    /// How it was loaded into a machine with `cpus` processors.
    pub(super) fn options(&self, cpus: usize) -> BootOptions {
        let module = |(path, line): &(Vec<u8>, String)| {
            (PathBuf::from(OsString::from_vec(path.clone())), line.clone())
        };
        BootOptions {
            strict: self.strict,
            no_guards: !self.guards,
            command_line: self.command_line.clone(),
            modules: self.modules.iter().map(module).collect(),
            vga_bios: None,
            platform: Platform { cpus: cpus as u8, ..Platform::default() },
            ..self.boot.options()
        }
    }
}

/// The absolute path, so that it refers to the same file from every directory. A path that is not a file is
/// returned unchanged.
pub(super) fn absolute(path: &Path) -> Vec<u8> {
    let file = if path.exists() { std::path::absolute(path).ok() } else { None };
    file.as_deref().unwrap_or(path).as_os_str().as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::BootKind;

    #[test]
    fn a_saved_kernel_has_symbols_in_its_file_only_if_that_is_an_elf_file() {
        let options = BootOptions { kind: Some(BootKind::Linux), ..BootOptions::default() };
        let info = GuestFileInfo {
            path: b"kernel".to_vec(),
            length: 8,
            bias: 0x10,
            strict: false,
            guards: true,
            boot: SavedBoot::of(&options, absolute),
            command_line: String::new(),
            modules: Vec::new(),
        };
        let symbols = |bytes: &[u8]| info.file(GuestFileCopy::Bytes(bytes.to_vec())).symbols;
        assert_eq!(symbols(b"MZ\0\0\0\0\0\0"), SymbolSource::None);
        assert_eq!(symbols(b"\x7FELF\x02\0\0\0"), SymbolSource::GuestFile { bias: 0x10 });
    }
}
