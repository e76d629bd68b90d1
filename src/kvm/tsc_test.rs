//! Restored guests keep the frequency that CPUID tells them, or the log says that they cannot.

use std::sync::Arc;

use super::*;
use crate::kvm::{CpuFeatures, Kicker, Kvm};
use crate::memory::{GuestMemory, RAM_GRANULE};

/// The vCPU of a new machine; one that was saved with `features`, if they are given.
fn vcpu(kvm: &Kvm, features: Option<&CpuFeatures>) -> Vcpu {
    let vm = kvm.create_vm(Arc::new(GuestMemory::new(RAM_GRANULE).unwrap())).unwrap();
    match features {
        None => vm.create_vcpu(kvm, 0, 1, &Kicker::default()).unwrap(),
        Some(features) => vm.create_vcpu_with_features(kvm, 0, &Kicker::default(), features).unwrap(),
    }
}

/// `features` as a host has them whose time stamp counter has this frequency.
fn at(features: &CpuFeatures, khz: u32) -> CpuFeatures {
    CpuFeatures::of(&cpuid::with_tsc_frequency(&features.to_kvm().unwrap(), khz, [0; 4]).unwrap())
}

#[test]
fn a_guest_from_a_host_with_another_frequency_is_not_refused_and_keeps_its_leaves() {
    let Ok(kvm) = Kvm::open_default() else { return };
    let here = vcpu(&kvm, None);
    let khz = here.tsc_khz();
    assert_eq!(cpuid::tsc_frequency(&here.cpuid), (khz != 0).then_some(khz));
    for other in [1_000_000, 2_399_998, 5_100_000] {
        let features = at(&here.features(), other);
        assert_eq!(features.missing_in(&here.features()), Vec::<String>::new());
        let restored = vcpu(&kvm, Some(&features));
        assert_eq!(cpuid::tsc_frequency(&restored.cpuid), Some(other), "the guest reads the same leaves");
        match restored.set_tsc_frequency(other) {
            None => assert_eq!(restored.fd.get_tsc_khz().unwrap(), restored.tsc_khz()),
            Some(mismatch) => {
                assert_eq!(mismatch, TscMismatch { known: other, here: khz });
                assert_eq!(restored.tsc_khz(), khz);
            }
        }
        assert_eq!(restored.set_tsc_frequency(other), None, "a difference is reported once");
    }
}

/// A guest that was saved again on a host which could not scale its counter.
#[test]
fn the_frequency_that_the_guest_was_told_counts_and_not_the_one_it_last_had() {
    let Ok(kvm) = Kvm::open_default() else { return };
    let here = vcpu(&kvm, None);
    let khz = here.tsc_khz();
    let restored = vcpu(&kvm, Some(&at(&here.features(), 5_100_000)));
    let mismatch = restored.set_tsc_frequency(khz);
    assert!(mismatch.is_some() || restored.tsc_khz() == 5_100_000, "{}", restored.tsc_khz());
}

#[test]
fn a_guest_on_the_host_it_was_saved_on_has_the_same_frequency() {
    let Ok(kvm) = Kvm::open_default() else { return };
    let here = vcpu(&kvm, None);
    let restored = vcpu(&kvm, Some(&here.features()));
    assert_eq!(restored.set_tsc_frequency(here.tsc_khz()), None);
    assert_eq!(restored.features(), here.features());
}

#[test]
fn a_difference_names_both_frequencies() {
    let text = |known, here| TscMismatch { known, here }.to_string();
    assert!(
        text(2_399_998, 3_000_000).starts_with(
            "the guest's time stamp counter now runs at 3000.000 MHz, but the guest was told 2399.998 MHz"
        ),
        "{}",
        text(2_399_998, 3_000_000)
    );
    assert!(text(2_000_000, 0).ends_with("does not report; the guest was told 2000.000 MHz"));
}
