//! Probes on the host that runs the tests; they pass immediately without `/dev/kvm`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::code::guest_code;
use super::guest::{GuestSetup, ProbeExit, ProbeGuest};
use super::*;
use crate::kvm::Kvm;

fn kvm() -> Option<Kvm> {
    Kvm::open_default().ok()
}

#[test]
fn a_guest_that_never_reports_is_classified_as_hanging() {
    let Some(kvm) = kvm() else { return };
    let endless = guest_code!(64: "5: jmp 5b");
    let begin = Instant::now();
    let mut guest = ProbeGuest::new(&kvm, GuestSetup::Plain, ProbeMode::Long, endless).unwrap();
    assert_eq!(guest.run().unwrap(), ProbeExit::Hangs);
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[test]
fn a_guest_reports_results_and_exceptions() {
    let Some(kvm) = kvm() else { return };
    let code = guest_code!(64: "movl $7, %eax", "movl %eax, DONE", "xorl %ecx, %ecx", "divl %ecx");
    let mut guest = ProbeGuest::new(&kvm, GuestSetup::Plain, ProbeMode::Long, code).unwrap();
    assert_eq!(guest.run().unwrap(), ProbeExit::Done(7));
    assert_eq!(guest.run().unwrap(), ProbeExit::Exception(0));
}

#[test]
fn a_fact_is_measured_once_and_only_when_asked_for() {
    static MEASURED: AtomicU32 = AtomicU32::new(0);
    static FACT: Fact<u32> = Fact::new(|_| Ok(MEASURED.fetch_add(1, Ordering::Relaxed) + 1));
    let Some(kvm) = kvm() else { return };
    assert_eq!(FACT.known(), None);
    assert_eq!(FACT.get(&kvm).unwrap(), 1);
    assert_eq!(FACT.get(&kvm).unwrap(), 1);
    assert_eq!(FACT.known(), Some(1));
}

#[test]
fn the_guests_cpuid_offers_bit_counts_only_where_they_count() {
    let Some(kvm) = kvm() else { return };
    let offered = KvmCapabilities::of(&kvm).bit_counts;
    assert!(!offered || BIT_COUNTS.get(&kvm).unwrap());
}
