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

#[test]
fn the_frequency_of_the_time_stamp_counter_is_exact_in_every_leaf_that_has_it() {
    const INTERFACE: u32 = 0x4000_0000;
    let before =
        CpuId::from_entries(&[leaf(0, [7, 8, 9]), leaf(1, [1, 2, 3]), leaf(INTERFACE, [4, 5, 6])]).unwrap();
    for khz in [1, 2_400_000, 2_399_998, 2_999_999, 4_500_000, u32::MAX] {
        let cpuid = with_tsc_frequency(&before, khz, [0; 4]).unwrap();
        let found = |function| *cpuid.as_slice().iter().find(|entry| entry.function == function).unwrap();
        let clock = found(0x15);
        let hertz = u64::from(clock.ecx) * u64::from(clock.ebx) / u64::from(clock.eax);
        assert_eq!(hertz, u64::from(khz) * 1000);
        assert_eq!((found(0x4000_0010).eax, found(0x4000_0010).ebx), (khz, 1_000_000));
        assert_eq!(tsc_frequency(&cpuid), Some(khz));
        assert_eq!((found(0).eax, found(INTERFACE).eax), (0x15, 0x4000_0010));
        assert_eq!((found(0).ebx, found(INTERFACE).ebx, found(1)), (7, 4, leaf(1, [1, 2, 3])));
        assert!(cpuid.as_slice().iter().all(|entry| entry.function != 0x16));
    }
}

#[test]
fn frequencies_of_the_host_and_leaves_above_them_stay() {
    let highest = kvm_cpuid_entry2 { eax: 0x1F, ..leaf(0, [0; 3]) };
    let before = CpuId::from_entries(&[highest, leaf(0x15, [9; 3]), leaf(0x16, [0; 3])]).unwrap();
    let cpuid = with_tsc_frequency(&before, 2_400_000, [2400, 3100, 100, 0]).unwrap();
    let entries: Vec<_> = cpuid.as_slice().iter().map(|e| (e.function, [e.eax, e.ebx, e.ecx])).collect();
    let expected = [(0, [0x1F, 0, 0]), (0x15, [1, 2400, 1_000_000]), (0x16, [2400, 3100, 100])];
    assert_eq!(entries, expected);
    assert_eq!(tsc_frequency(&before), None, "a leaf of the host's processor");
    assert_eq!(with_tsc_frequency(&before, 0, [1; 4]).unwrap().as_slice(), before.as_slice());
}

#[test]
fn several_processors_are_the_cores_of_one_package() {
    let entry = |function, index, [eax, ebx, ecx, edx]: [u32; 4]| kvm_cpuid_entry2 {
        function,
        index,
        eax,
        ebx,
        ecx,
        edx,
        ..Default::default()
    };
    let host = CpuId::from_entries(&[
        entry(0, 0, [7, 0, 0, 0]),
        entry(1, 0, [0, 0x0520_0800, 0, 0]),
        entry(4, 0, [0x1C00_4121, 0, 0, 0]),
        entry(4, 1, [0, 0, 0, 0]),
        entry(0xB, 0, [9, 9, 9, 9]),
        entry(0x8000_0001, 0, [0, 0, 0, 0]),
        entry(0x8000_0008, 0, [0x3030, 0, 0xF0FF, 0]),
    ])
    .unwrap();
    assert_eq!(with_processors(&host, 1).unwrap().as_slice(), host.as_slice());
    let six = with_apic_id(&with_processors(&host, 6).unwrap(), 5);
    let leaf = |function, index| {
        let found = six.as_slice().iter().find(|entry| (entry.function, entry.index) == (function, index));
        found.map(|entry| [entry.eax, entry.ebx, entry.ecx, entry.edx])
    };
    assert_eq!(leaf(0, 0), Some([0xB, 0, 0, 0]));
    assert_eq!(leaf(1, 0), Some([0, 0x0508_0800, 0, 1 << 28]));
    assert_eq!(leaf(4, 0), Some([7 << 26 | 0x121, 0, 0, 0]));
    assert_eq!(leaf(4, 1), Some([0, 0, 0, 0]), "the end of the list");
    assert_eq!(leaf(0xB, 0), Some([0, 1, 0x100, 5]), "one thread");
    assert_eq!(leaf(0xB, 1), Some([3, 6, 0x201, 5]), "six cores, whose numbers have three bits");
    assert_eq!(leaf(0xB, 2), Some([0, 0, 2, 5]));
    assert_eq!(leaf(0x8000_0001, 0), Some([0, 0, 2, 0]));
    assert_eq!(leaf(0x8000_0008, 0), Some([0x3030, 0, 0x3005, 0]));
}
