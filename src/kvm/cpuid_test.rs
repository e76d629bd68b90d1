use super::*;

fn leaf(function: u32, [ebx, ecx, edx]: [u32; 3]) -> kvm_cpuid_entry2 {
    kvm_cpuid_entry2 { function, ebx, ecx, edx, ..Default::default() }
}

#[test]
fn a_guest_is_not_offered_what_its_host_gets_wrong() {
    let all = u32::MAX;
    let leaves = [1, 7, 0x8000_0001].map(|function| leaf(function, [all; 3]));
    let mut cpuid = CpuId::from_entries(&leaves).unwrap();
    assert!(offers_bit_counts(&cpuid));
    without_bit_counts(&mut cpuid);
    assert!(!offers_bit_counts(&cpuid));
    let left = cpuid.as_slice();
    assert_eq!((left[0].ebx, left[0].ecx, left[0].edx), (all, all, all));
    assert_eq!((left[1].ebx, left[1].ecx, left[1].edx), (all & !(1 << 3), all, all));
    assert_eq!((left[2].ebx, left[2].ecx, left[2].edx), (all, all & !(1 << 5), all));
}

#[test]
fn every_vcpu_reads_its_own_apic_id_in_each_leaf_that_has_one() {
    let all = u32::MAX;
    let leaves = [1, 7, 0xB, 0x1F, 0x8000_001E].map(|function| leaf(function, [all; 3]));
    let cpuid = CpuId::from_entries(&leaves).unwrap();
    for id in [0, 5, 255] {
        let given = with_apic_id(&cpuid, id);
        let given = given.as_slice();
        assert_eq!(given[0].ebx, u32::from(id) << 24 | 0x00FF_FFFF);
        assert_eq!((given[0].ecx, given[1]), (all, leaves[1]));
        assert_eq!([given[2].edx, given[3].edx, given[4].eax], [u32::from(id); 3]);
    }
}

#[test]
fn the_vendor_string_follows_the_register_order_of_the_manual() {
    let words = ["Auth", "cAMD", "enti"].map(|word| u32::from_le_bytes(word.as_bytes().try_into().unwrap()));
    let cpuid = CpuId::from_entries(&[leaf(0, words)]).unwrap();
    assert_eq!(vendor(&cpuid), "AuthenticAMD");
    assert_eq!(vendor(&CpuId::from_entries(&[]).unwrap()), "");
}
