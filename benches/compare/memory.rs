//! The memory of a process without the guest's RAM.

use crate::shared::Failure;

/// Memory of a process without the guest's RAM, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessMemory {
    /// All mapped and present memory; of shared pages, the share of this process (`Pss`).
    pub all: u64,
    /// Memory that belongs to no file (`Anonymous`). The rest is pages of the program file, which the host can
    /// drop and which all runs share.
    pub anonymous: u64,
}

/// Memory of the process `process` whose guest has `ram` bytes of RAM.
pub fn measure(process: u32, ram: u64) -> Result<ProcessMemory, Failure> {
    let path = format!("/proc/{process}/smaps");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    count(&text, ram).ok_or_else(|| format!("{path}: no mapping holds {ram} bytes of guest RAM").into())
}

/// The sum of the mappings in `smaps` without the smallest one that can be the guest's RAM; `None` if there is
/// no such mapping.
fn count(smaps: &str, ram: u64) -> Option<ProcessMemory> {
    let mappings = mappings(smaps);
    let guest = mappings
        .iter()
        .enumerate()
        .filter(|(_, mapping)| mapping.size >= ram)
        .min_by_key(|(_, mapping)| mapping.size)?
        .0;
    let mut sum = ProcessMemory::default();
    for (_, mapping) in mappings.iter().enumerate().filter(|(number, _)| *number != guest) {
        sum.all += mapping.memory.all;
        sum.anonymous += mapping.memory.anonymous;
    }
    Some(sum)
}

#[derive(Default)]
struct Mapping {
    size: u64,
    memory: ProcessMemory,
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
            ("Pss", Some(mapping)) => mapping.memory.all = bytes,
            ("Anonymous", Some(mapping)) => mapping.memory.anonymous = bytes,
            _ => {}
        }
    }
    mappings
}
