//! Identifies this host, to distinguish processes on the same host from processes on another one.
//!
//! Manual: proc(5), "/proc/sys/kernel/random"; network_namespaces(7).

/// Boot ID and network namespace. They are equal for two processes only if the same kernel, without a restart
/// in between, connects them: if it reports to one of them that a port has no listener, there is none. `None`
/// if the kernel does not provide them.
pub fn current() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let network = std::fs::read_link("/proc/self/ns/net").ok()?;
    Some(format!("{} {}", boot.trim(), network.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_the_same_every_time() {
        let here = current().unwrap();
        assert_eq!(Some(&here), super::current().as_ref());
        assert!(here.len() > 40 && here.contains("net:["), "{here}");
    }
}
