//! The measured guests, and the bare loop.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Failure;

/// The folder with the output of `benches/guests/build`. The measured programs run in it, so `kvm` writes its
/// log there.
pub struct Guests {
    folder: PathBuf,
}

impl Guests {
    /// Builds the guests that are missing; the long guests make `writes` port writes.
    pub fn build(writes: u32) -> Result<Guests, Failure> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = root.join(format!("target/bench-guests-{writes}"));
        let script = root.join("benches/guests/build");
        let status = Command::new(&script)
            .arg(&folder)
            .env("COUNT", writes.to_string())
            .stdout(Stdio::null())
            .status()
            .map_err(|e| format!("{}: {e}", script.display()))?;
        if !status.success() {
            return Err(format!("{} failed: there is nothing to measure", script.display()).into());
        }
        Ok(Guests { folder })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of the guest `name`.
    pub fn elf(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.elf"))
    }

    /// The bare loop.
    pub fn bare_loop(&self) -> PathBuf {
        self.folder.join("bare-loop")
    }
}
