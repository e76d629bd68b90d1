//! How a host reports the guest's writes: dirty pages, read-only memory, coalesced port writes.
//!
//! Manual: KVM_GET_DIRTY_LOG, KVM_SET_USER_MEMORY_REGION and KVM_REGISTER_COALESCED_MMIO in api.rst.

use super::code::guest_code;
use super::fact::Fact;
use super::guest::{DATA, GuestSetup, ProbeExit, ProbeGuest};
use super::layout::{CODE, PD, PDPT, PML4, ProbeMode};
use crate::kvm::{HostError, Kvm, SlotUse, VmExit};

/// Accuracy of the dirty log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirtyLog {
    /// Exactly the pages that the guest wrote to.
    Exact,
    /// Those, and the guest's page tables: a processor with two levels of paging counts its page walks as
    /// writes.
    WithPageTables,
    /// Those and others.
    Rough,
    /// Pages are missing: the log is unusable.
    Incomplete,
}

/// What a write to read-only memory does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOnlyMemory {
    /// It exits with its address and value.
    Exits,
    /// It changes the memory.
    Written,
    /// In a way that no known host shows.
    Unclear,
}

/// Whether KVM coalesces writes to a port instead of exiting on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoalescedWrites {
    /// It does.
    Coalesced,
    /// It accepts the port, but exits on each write.
    OneByOne,
    /// This kernel does not support it (Linux 5.0 does).
    NotOffered,
    /// Writes are missing: the feature is unusable.
    Lost,
}

/// The dirty log.
pub static DIRTY_LOG: Fact<DirtyLog> = Fact::new(dirty_log);

/// Read-only memory.
pub static READ_ONLY_MEMORY: Fact<ReadOnlyMemory> = Fact::new(read_only_memory);

/// Coalesced port writes.
pub static COALESCED_WRITES: Fact<CoalescedWrites> = Fact::new(collected_writes);

fn dirty_log(kvm: &Kvm) -> Result<DirtyLog, HostError> {
    let code = guest_code!(64:
        "5: movb $1, DATA",
        "movb $1, DATA + 0x3000",
        "movl $42, DONE",
        "jmp 5b",
    );
    let mut guest = ProbeGuest::new(kvm, GuestSetup::Ram(SlotUse::Logged), ProbeMode::Long, code)?;
    // A page that the guest accesses for the first time may be logged because it was made writable.
    guest.run()?;
    guest.vm.take_dirty_pages(guest.slot)?;
    guest.run()?;
    let pages = guest.vm.take_dirty_pages(guest.slot)?;
    let page = DATA / 4096;
    let bits = |numbers: &[u64]| {
        let mut bits = vec![0; pages.len()];
        for number in numbers {
            bits[*number as usize / 64] |= 1_u64 << (number % 64);
        }
        bits
    };
    let (data, tables) = ([page, page + 3], [PML4, PDPT, PD].map(|table| table / 4096));
    let written = bits(&data);
    Ok(if pages == written {
        DirtyLog::Exact
    } else if pages == bits(&[&data[..], &tables].concat()) {
        DirtyLog::WithPageTables
    } else if pages.iter().zip(&written).all(|(found, right)| found & right == *right) {
        DirtyLog::Rough
    } else {
        DirtyLog::Incomplete
    })
}

fn read_only_memory(kvm: &Kvm) -> Result<ReadOnlyMemory, HostError> {
    // Without paging: some processors cannot have page tables in read-only memory.
    let code = guest_code!(32: "movl $0x12345678, DATA", "movl DATA, %eax", "movl %eax, DONE");
    let mut guest = ProbeGuest::new(kvm, GuestSetup::Ram(SlotUse::ReadOnly), ProbeMode::Protected, code)?;
    Ok(match guest.run()? {
        ProbeExit::Exit(VmExit::MmioWrite { address: DATA, size: 4, value: 0x1234_5678 }) => {
            match guest.run()? {
                ProbeExit::Done(0) => ReadOnlyMemory::Exits,
                _ => ReadOnlyMemory::Unclear,
            }
        }
        ProbeExit::Done(0x1234_5678) => ReadOnlyMemory::Written,
        _ => ReadOnlyMemory::Unclear,
    })
}

/// The coalesced port.
const PORT: u16 = 0xE1;

/// Number of attempts to observe coalescing: the watchdog may interrupt the guest between two writes.
const ATTEMPTS: usize = 4;

fn collected_writes(kvm: &Kvm) -> Result<CoalescedWrites, HostError> {
    let mut found = CoalescedWrites::NotOffered;
    for _ in 0..ATTEMPTS {
        found = three_writes(kvm)?;
        if found != CoalescedWrites::OneByOne {
            break;
        }
    }
    Ok(found)
}

fn three_writes(kvm: &Kvm) -> Result<CoalescedWrites, HostError> {
    let code = guest_code!(64:
        "movb $7, %al",
        "outb %al, $0xE1",
        "outb %al, $0xE1",
        "outb %al, $0xE1",
        "5: outb %al, $DONE_PORT",
    );
    let mut guest = ProbeGuest::new(kvm, GuestSetup::Plain, ProbeMode::Long, code)?;
    if !guest.vcpu.can_coalesce_writes() {
        return Ok(CoalescedWrites::NotOffered);
    }
    guest.vm.coalesce_port_writes(PORT, 1, true)?;
    let write = ProbeExit::Exit(VmExit::PortOut { port: PORT, size: 1, value: 7 });
    let first = guest.run()?;
    // If the writes were coalesced, the guest is already past all of them.
    let past = guest.vcpu.registers()?.general.rip >= CODE + code.len() as u64 - 2;
    let rest = [guest.run()?, guest.run()?, guest.run()?];
    Ok(if first != write || rest != [write, write, ProbeExit::Done(7)] {
        CoalescedWrites::Lost
    } else if past {
        CoalescedWrites::Coalesced
    } else {
        CoalescedWrites::OneByOne
    })
}
