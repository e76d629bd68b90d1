//! How much memory a process has of its own, beside the guest's RAM.

use crate::shared::Failure;

/// Memory of a process without the guest's RAM, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Everything that is mapped and present; of what other processes have mapped too, this process
    /// counts its share (`Pss`).
    pub all: u64,
    /// What belongs to no file (`Anonymous`): the rest is the program file's own pages, which the
    /// host can drop and which all runs of the program share.
    pub anonymous: u64,
}

/// Own memory of the process `process` whose guest has `ram` bytes of RAM.
pub fn own(process: u32, ram: u64) -> Result<Own, Failure> {
    let path = format!("/proc/{process}/smaps");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    count(&text, ram).ok_or_else(|| format!("{path}: no mapping holds {ram} bytes of guest RAM").into())
}

/// Adds up the mappings in `smaps`, but for the smallest that can be the guest's RAM; `None` if none
/// can be.
fn count(smaps: &str, ram: u64) -> Option<Own> {
    let mappings = mappings(smaps);
    let guest = mappings
        .iter()
        .enumerate()
        .filter(|(_, mapping)| mapping.size >= ram)
        .min_by_key(|(_, mapping)| mapping.size)?
        .0;
    let mut sum = Own::default();
    for (_, mapping) in mappings.iter().enumerate().filter(|(number, _)| *number != guest) {
        sum.all += mapping.own.all;
        sum.anonymous += mapping.own.anonymous;
    }
    Some(sum)
}

#[derive(Default)]
struct Mapping {
    size: u64,
    own: Own,
}

/// The mappings in `smaps` (proc(5)): `Size:` is the first line after a mapping's address range.
fn mappings(smaps: &str) -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        let Some((name, rest)) = line.split_once(':') else { continue };
        let Some(bytes) = rest.trim().strip_suffix(" kB").and_then(|kib| kib.parse::<u64>().ok()) else {
            continue;
        };
        let bytes = bytes << 10;
        match (name, mappings.last_mut()) {
            ("Size", _) => mappings.push(Mapping { size: bytes, ..Mapping::default() }),
            ("Pss", Some(mapping)) => mapping.own.all = bytes,
            ("Anonymous", Some(mapping)) => mapping.own.anonymous = bytes,
            _ => {}
        }
    }
    mappings
}
