//! The host in one line, for the comparison of two tables.

use std::fs::read_to_string;

/// Kernel, processor and kind of `/dev/kvm`.
pub fn line() -> String {
    let cpuinfo = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let flags = field("flags").unwrap_or_default();
    let kvm = match flags.split(' ').find(|flag| ["vmx", "svm"].contains(flag)) {
        Some("vmx") => "/dev/kvm with VT-x",
        Some(_) => "/dev/kvm with AMD-V",
        None => "/dev/kvm without VT-x and AMD-V: the kernel emulates ring 0",
    };
    format!(
        "Linux {}, {} x {}, {kvm}",
        kernel.trim(),
        std::thread::available_parallelism().map_or(1, usize::from),
        field("model name").unwrap_or_else(|| "unknown processor".to_owned()),
    )
}
