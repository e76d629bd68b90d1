//! What a host can tell of the guest's writes: dirty pages, read-only memory, collected port writes.
//!
//! Manual: KVM_GET_DIRTY_LOG, KVM_SET_USER_MEMORY_REGION and KVM_REGISTER_COALESCED_MMIO in api.rst.

use super::bench::{Bench, DATA, Fitting, Stop};
use super::code::guest_code;
use super::fact::Fact;
use super::layout::{CODE, Mode, PD, PDPT, PML4};
use crate::kvm::{HostError, Kvm, SlotUse, VmExit};

/// How the log of written pages comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirtyLog {
    /// Exactly the pages that the guest wrote to.
    Exact,
    /// Those, and the guest's page tables: a processor with two levels of paging takes its own looks at
    /// them for writes.
    WithPageTables,
    /// Those and others.
    Rough,
    /// Pages are missing: it cannot be used.
    Incomplete,
}

/// What a write to read-only memory does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOnlyMemory {
    /// It comes out with its address and value.
    Told,
    /// It changes the memory.
    Written,
    /// In a way that no known host shows.
    Unclear,
}

/// Whether KVM collects writes to a port instead of stopping the guest at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectedWrites {
    /// It does.
    Collected,
    /// It accepts the port, but stops at each write.
    OneByOne,
    /// This kernel cannot (Linux 5.0 can).
    NotOffered,
    /// Writes are missing: it cannot be used.
    Lost,
}

/// The log of written pages.
pub static DIRTY_LOG: Fact<DirtyLog> = Fact::new(dirty_log);

/// Read-only memory.
pub static READ_ONLY_MEMORY: Fact<ReadOnlyMemory> = Fact::new(read_only_memory);

/// Collected port writes.
pub static COLLECTED_WRITES: Fact<CollectedWrites> = Fact::new(collected_writes);

fn dirty_log(kvm: &Kvm) -> Result<DirtyLog, HostError> {
    let code = guest_code!(64:
        "5: movb $1, DATA",
        "movb $1, DATA + 0x3000",
        "movl $42, DONE",
        "jmp 5b",
    );
    let mut bench = Bench::new(kvm, Fitting::Ram(SlotUse::Logged), Mode::Long, code)?;
    // A page that the guest meets for the first time may be noted because it was made writable.
    bench.run()?;
    bench.vm.take_dirty_pages(bench.slot)?;
    bench.run()?;
    let pages = bench.vm.take_dirty_pages(bench.slot)?;
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
    // Without paging: there are processors that cannot have page tables in read-only memory.
    let code = guest_code!(32: "movl $0x12345678, DATA", "movl DATA, %eax", "movl %eax, DONE");
    let mut bench = Bench::new(kvm, Fitting::Ram(SlotUse::ReadOnly), Mode::Protected, code)?;
    Ok(match bench.run()? {
        Stop::Exit(VmExit::MmioWrite { address: DATA, size: 4, value: 0x1234_5678 }) => match bench.run()? {
            Stop::Done(0) => ReadOnlyMemory::Told,
            _ => ReadOnlyMemory::Unclear,
        },
        Stop::Done(0x1234_5678) => ReadOnlyMemory::Written,
        _ => ReadOnlyMemory::Unclear,
    })
}

/// A port that is collected.
const PORT: u16 = 0xE1;

/// Attempts to see writes collected: the watchdog may call the guest back between two of them.
const ATTEMPTS: usize = 4;

fn collected_writes(kvm: &Kvm) -> Result<CollectedWrites, HostError> {
    let mut found = CollectedWrites::NotOffered;
    for _ in 0..ATTEMPTS {
        found = three_writes(kvm)?;
        if found != CollectedWrites::OneByOne {
            break;
        }
    }
    Ok(found)
}

fn three_writes(kvm: &Kvm) -> Result<CollectedWrites, HostError> {
    let code = guest_code!(64:
        "movb $7, %al",
        "outb %al, $0xE1",
        "outb %al, $0xE1",
        "outb %al, $0xE1",
        "5: outb %al, $DONE_PORT",
    );
    let mut bench = Bench::new(kvm, Fitting::Plain, Mode::Long, code)?;
    if !bench.vcpu.can_batch() {
        return Ok(CollectedWrites::NotOffered);
    }
    bench.vm.batch_writes(PORT, true)?;
    let write = Stop::Exit(VmExit::PortOut { port: PORT, size: 1, value: 7 });
    let first = bench.run()?;
    // The guest is past all of them already, if they were collected.
    let past = bench.vcpu.registers()?.general.rip >= CODE + code.len() as u64 - 2;
    let rest = [bench.run()?, bench.run()?, bench.run()?];
    Ok(if first != write || rest != [write, write, Stop::Done(7)] {
        CollectedWrites::Lost
    } else if past {
        CollectedWrites::Collected
    } else {
        CollectedWrites::OneByOne
    })
}
