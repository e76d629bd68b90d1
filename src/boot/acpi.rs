//! The ACPI tables (ACPI specification 6.5, 5.2): RSDP, RSDT and XSDT, FADT with FACS and DSDT, MADT, HPET.
//!
//! Pure functions of a [`Platform`] and of the address at which the tables will be. The revisions are those of ACPI
//! 2.0, which every later system reads; the RSDT is for older ones.

#[cfg(test)]
mod aml;
#[cfg(test)]
mod dsdt;
mod fadt;
mod madt;

use super::platform::Platform;
use crate::devices::hpet;

/// The DSDT, which is the same for all machines: encoding it at each start would take as long as all else that is
/// written to memory. `dsdt.rs` encodes it, and a test there compares.
const DSDT: &[u8] = include_bytes!("acpi/dsdt.aml");

/// Size of the RSDP in bytes.
pub(super) const RSDP_SIZE: usize = 36;
/// Size of the RSDP of ACPI 1.0, which the first checksum covers.
const OLD_RSDP_SIZE: usize = 20;
/// Size of the header of a table.
const HEADER_SIZE: usize = 36;
/// Size and alignment of the FACS.
const FACS_SIZE: usize = 64;

const OEM_ID: &[u8; 6] = b"KVM   ";
const OEM_TABLE_ID: &[u8; 8] = b"KVM PC  ";
const CREATOR_ID: &[u8; 4] = b"KVM ";

/// Smallest period of the HPET in ticks: 10 microseconds.
const HPET_LEAST_TICKS: u16 = 1000;

/// Generic address structure: a port.
const PORT_SPACE: u8 = 1;
/// Generic address structure: memory.
const MEMORY_SPACE: u8 = 0;

/// The tables that are to be at `base`, a multiple of [`FACS_SIZE`] below 4 GiB, for an RSDP elsewhere.
pub(super) struct AcpiTables {
    /// What is to be written to `base`.
    pub bytes: Vec<u8>,
    rsdt: u32,
    xsdt: u32,
}

/// Builds all tables except the RSDP.
pub(super) fn build(base: u32, platform: &Platform) -> AcpiTables {
    let mut bytes = facs();
    let mut append = |table: &[u8]| {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let address = base + bytes.len() as u32;
        bytes.extend_from_slice(table);
        address
    };
    let dsdt = append(DSDT);
    let tables = [append(&fadt::build(base, dsdt)), append(&madt::build(platform)), append(&hpet_table())];
    let rsdt = append(&table(b"RSDT", 1, &tables.map(u32::to_le_bytes).concat()));
    let xsdt = append(&table(b"XSDT", 1, &tables.map(|at| u64::from(at).to_le_bytes()).concat()));
    AcpiTables { bytes, rsdt, xsdt }
}

impl AcpiTables {
    /// The RSDP, which leads to the tables.
    pub(super) fn rsdp(&self) -> [u8; RSDP_SIZE] {
        let mut rsdp = [0; RSDP_SIZE];
        rsdp[..8].copy_from_slice(b"RSD PTR ");
        rsdp[9..15].copy_from_slice(OEM_ID);
        rsdp[15] = 2; // ACPI 2.0 and later
        rsdp[16..20].copy_from_slice(&self.rsdt.to_le_bytes());
        rsdp[20..24].copy_from_slice(&(RSDP_SIZE as u32).to_le_bytes());
        rsdp[24..32].copy_from_slice(&u64::from(self.xsdt).to_le_bytes());
        rsdp[8] = checksum(&rsdp[..OLD_RSDP_SIZE]);
        rsdp[32] = checksum(&rsdp);
        rsdp
    }
}

/// The byte that makes the sum of all bytes 0, where it now is 0.
pub(super) fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_sub(*byte))
}

/// A table: header and body.
fn table(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut table = Vec::with_capacity(HEADER_SIZE + body.len());
    table.extend(signature);
    table.extend(((HEADER_SIZE + body.len()) as u32).to_le_bytes());
    table.extend([revision, 0]);
    table.extend(OEM_ID);
    table.extend(OEM_TABLE_ID);
    table.extend(1u32.to_le_bytes()); // OEM revision
    table.extend(CREATOR_ID);
    table.extend(1u32.to_le_bytes()); // creator revision
    table.extend(body);
    table[9] = checksum(&table);
    table
}

/// The firmware ACPI control structure (ACPI specification, 5.2.10). The machine does not sleep: only the global
/// lock in it is of use.
fn facs() -> Vec<u8> {
    let mut facs = vec![0; FACS_SIZE];
    facs[..4].copy_from_slice(b"FACS");
    facs[4..8].copy_from_slice(&(FACS_SIZE as u32).to_le_bytes());
    facs[32] = 1; // version
    facs
}

/// IA-PC HPET specification 1.0a, 3.2.4.
fn hpet_table() -> Vec<u8> {
    let mut body = Vec::with_capacity(20);
    body.extend(hpet::IDENTIFICATION.to_le_bytes());
    body.extend(generic_address(MEMORY_SPACE, 64, 0, hpet::BASE));
    body.push(0); // number
    body.extend(HPET_LEAST_TICKS.to_le_bytes());
    body.push(0); // no guarantee about accesses to the rest of the page
    table(b"HPET", 1, &body)
}

/// A generic address structure (ACPI specification, 5.2.3.2). `access` is 1 for bytes, 2 for words, 3 for
/// doublewords, and 0 if it does not matter.
fn generic_address(space: u8, bits: u8, access: u8, address: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&[space, bits, 0, access]);
    bytes[4..].copy_from_slice(&address.to_le_bytes());
    bytes
}

#[cfg(test)]
#[path = "acpi_test.rs"]
mod tests;
