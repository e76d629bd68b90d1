//! Whose page tables say where breakpoint bytes belong.

use super::*;

/// A CPU with paging and the page tables at `cr3`.
fn paging(cpu: u8, cr3: u64) -> (CpuId, Registers, u64) {
    let mut registers = Registers::default();
    (registers.system.cr0, registers.system.cr3) = (CR0_PG, cr3);
    (CpuId::new(cpu), registers, 0x10_0000)
}

fn real_mode(cpu: u8) -> (CpuId, Registers, u64) {
    (CpuId::new(cpu), Registers::default(), 0x8000)
}

fn roots(positions: &[(CpuId, Registers, u64)]) -> Vec<u64> {
    address_spaces(positions).iter().map(|registers| registers.system.cr3).collect()
}

#[test]
fn each_address_space_counts_once() {
    assert_eq!(roots(&[paging(0, 0x1000), paging(1, 0x1000), paging(2, 0x2000)]), [0x1000, 0x2000]);
}

#[test]
fn a_cpu_that_was_just_started_counts_only_among_its_like() {
    assert_eq!(roots(&[real_mode(1), paging(0, 0x1000)]), [0x1000]);
    assert_eq!(roots(&[real_mode(0), real_mode(1)]), [0]);
    assert_eq!(roots(&[]), [] as [u64; 0]);
}
