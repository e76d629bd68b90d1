// SPDX-License-Identifier: MIT OR GPL-2.0
//! How fast devices are: the same measurements by turns, and the ratios of the medians.

use std::path::{Path, PathBuf};
use std::time::Instant;

use kvm_bindings::{
    KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_MEM_LOG_DIRTY_PAGES, kvm_dirty_log, kvm_guest_debug,
};

use crate::guest::{Machine, code, map};
use crate::kvm::{CREATE_VM, Exit, File, GET_DIRTY_LOG, Memory, SET_GUEST_DEBUG};

/// Rounds of each measurement.
const ROUNDS: usize = 5;
/// Exits and steps of a round.
const EXITS: u32 = 3000;

/// What is measured.
struct Measurement {
    name: &'static str,
    unit: &'static str,
    /// More is better.
    is_rate: bool,
    /// The value with this unit that the last device must reach, whatever the reference does; 0: any.
    limit: Option<f64>,
    measure: fn(&Path) -> Result<f64, String>,
}

const MEASUREMENTS: &[Measurement] = &[
    Measurement { name: "port writes", unit: "/s", is_rate: true, limit: None, measure: exits },
    Measurement { name: "single steps", unit: "/s", is_rate: true, limit: None, measure: steps },
    Measurement { name: "writes to no memory", unit: "/s", is_rate: true, limit: Some(0.0), measure: writes },
    Measurement { name: "reads from no memory", unit: "/s", is_rate: true, limit: Some(0.0), measure: reads },
    Measurement { name: "KVM_CREATE_VM", unit: "ms", is_rate: false, limit: Some(5.0), measure: create },
    Measurement {
        name: "KVM_GET_DIRTY_LOG, 8 MiB, clean",
        unit: "us",
        is_rate: false,
        limit: Some(5.0),
        measure: log,
    },
];

fn exits(device: &Path) -> Result<f64, String> {
    rate(Machine::long(device, code!(64: "1: out %al, $0xE0", "jmp 1b"))?)
}

fn writes(device: &Path) -> Result<f64, String> {
    rate(Machine::long(device, code!(64: "mov $MMIO, %ebx", "1: mov %eax, 8(%rbx)", "jmp 1b"))?)
}

fn reads(device: &Path) -> Result<f64, String> {
    rate(Machine::long(device, code!(64: "mov $MMIO, %ebx", "1: mov 8(%rbx), %eax", "jmp 1b"))?)
}

/// Exits in a second of a guest that does nothing else.
fn rate(mut machine: Machine) -> Result<f64, String> {
    machine.vcpu.run()?;
    let began = Instant::now();
    for _ in 0..EXITS {
        machine.vcpu.run()?;
    }
    Ok(f64::from(EXITS) / began.elapsed().as_secs_f64())
}

fn steps(device: &Path) -> Result<f64, String> {
    let mut machine = Machine::long(device, code!(64: "1: inc %eax", "jmp 1b"))?;
    let control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
    machine.vcpu.file.set(SET_GUEST_DEBUG, &kvm_guest_debug { control, ..Default::default() })?;
    machine.vcpu.run()?;
    let began = Instant::now();
    for _ in 0..EXITS {
        if !matches!(machine.vcpu.run()?, Exit::Debug { .. }) {
            return Err("no step".to_owned());
        }
    }
    Ok(f64::from(EXITS) / began.elapsed().as_secs_f64())
}

fn create(device: &Path) -> Result<f64, String> {
    let device = File::open(device)?;
    let began = Instant::now();
    let vm = device.create(CREATE_VM, 0)?;
    let time = began.elapsed().as_secs_f64() * 1e3;
    drop(vm);
    Ok(time)
}

fn log(device: &Path) -> Result<f64, String> {
    const SIZE: u64 = 8 << 20;
    const TIMES: u32 = 200;
    let machine = Machine::long(device, code!(64: "hlt"))?;
    let memory = Memory::new(SIZE as usize);
    map(&machine.vm, 1, 1 << 28, &memory, 0, SIZE, KVM_MEM_LOG_DIRTY_PAGES)?;
    let mut bits = vec![0_u64; (SIZE / 4096 / 64) as usize];
    let mut log = kvm_dirty_log { slot: 1, ..Default::default() };
    log.__bindgen_anon_1.dirty_bitmap = bits.as_mut_ptr().cast();
    machine.vm.with(GET_DIRTY_LOG, &mut log)?;
    let began = Instant::now();
    for _ in 0..TIMES {
        machine.vm.with(GET_DIRTY_LOG, &mut log)?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Prints the medians; true if the last device is as fast as the reference where rates count, and within the limits.
pub fn compare(devices: &[PathBuf]) -> bool {
    let mut good = true;
    for it in MEASUREMENTS {
        let mut values = vec![Vec::new(); devices.len()];
        for _ in 0..ROUNDS {
            for (device, values) in devices.iter().zip(&mut values) {
                match (it.measure)(device) {
                    Ok(value) => values.push(value),
                    Err(reason) => {
                        println!("{}: {}: {reason}", device.display(), it.name);
                        return false;
                    }
                }
            }
        }
        let medians: Vec<f64> = values.iter().map(|values| median(values)).collect();
        let shown: Vec<String> = devices
            .iter()
            .zip(&medians)
            .map(|(device, median)| format!("{} {median:.1} {}", device.display(), it.unit))
            .collect();
        let (Some(first), Some(last)) = (medians.first(), medians.last()) else { return false };
        let ratio = if it.is_rate { last / first } else { first / last };
        let is_good = match it.limit {
            Some(limit) => limit == 0.0 || *last <= limit,
            None => ratio >= 1.0,
        };
        // Without a reference there is nothing to reach.
        good &= is_good || devices.len() == 1;
        let verdict = if it.limit == Some(0.0) {
            format!(", {ratio:.2} times as fast")
        } else if devices.len() == 1 {
            String::new()
        } else {
            let limit = it.limit.map_or("1.0 times".to_owned(), |limit| format!("{limit} {}", it.unit));
            format!(
                ", {ratio:.2} times as fast ({}: {limit})",
                if is_good { "reached" } else { "NOT reached" }
            )
        };
        println!("{:34}{}{verdict}", it.name, shown.join(", "));
    }
    good
}
