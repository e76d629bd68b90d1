//! Which model-specific registers are part of a guest's state: those that KVM lets this program read and
//! write.
//!
//! KVM lists more registers than it accepts. A vCPU that is never run tests them, once per process, when the
//! first guest is saved.
//!
//! Manual: KVM_GET_MSR_INDEX_LIST in api.rst; Intel SDM volume 4.

use std::sync::{Arc, OnceLock};

use super::{HostError, Kicker, Kvm};
use crate::memory::{GuestMemory, RAM_GRANULE};

/// Memory type range registers, which older kernels support but do not list (Intel SDM volume 3A, "Memory
/// Type Range Registers (MTRRs)").
const MTRRS: [std::ops::RangeInclusive<u32>; 5] =
    [0x200..=0x20F, 0x250..=0x250, 0x258..=0x259, 0x268..=0x26F, 0x2FF..=0x2FF];

/// The registers saved on this host, ascending.
///
/// # Errors
///
/// [`HostError::Refused`] if the host does not report them.
pub(super) fn of(kvm: &Kvm) -> Result<&'static [u32], HostError> {
    static SAVED: OnceLock<Vec<u32>> = OnceLock::new();
    if let Some(saved) = SAVED.get() {
        return Ok(saved);
    }
    let found = find(kvm)?;
    Ok(SAVED.get_or_init(|| found))
}

fn find(kvm: &Kvm) -> Result<Vec<u32>, HostError> {
    let memory = GuestMemory::new(RAM_GRANULE)
        .map_err(|e| HostError::because("try out its model-specific registers", e))?;
    let vcpu = kvm.create_vm(Arc::new(memory))?.create_vcpu(kvm, 0, 1, &Kicker::default())?;
    let mut saved = kvm.listed_msrs()?;
    saved.extend(MTRRS.into_iter().flatten());
    saved.sort_unstable();
    saved.dedup();
    let mut result = Vec::with_capacity(saved.len());
    for index in saved {
        if let Some(value) = vcpu.msr(index)?
            && vcpu.set_msr(index, value)?
        {
            result.push(index);
        }
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_sets_up_for_system_calls_and_paging_is_saved() {
        let Ok(kvm) = Kvm::open_default() else { return };
        let saved = of(&kvm).unwrap();
        // TSC, STAR, LSTAR, FMASK, kernel GS base, PAT.
        for index in [0x10, 0xC000_0081, 0xC000_0082, 0xC000_0084, 0xC000_0102, 0x277] {
            assert!(saved.contains(&index), "{index:#x} of {saved:x?}");
        }
        assert!(saved.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
