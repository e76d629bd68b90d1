//! Files that are truncated while RAM maps them.

use std::fs::File;
use std::os::fd::AsFd;

use crate::memory::{GuestMemory, MemoryError};

/// RAM that maps 16 pages of a file at 0x20000, and the file.
fn mapped(name: &str) -> (GuestMemory, File) {
    let path = std::env::temp_dir().join(format!("kvm-faults-{name}-{}", std::process::id()));
    std::fs::write(&path, vec![7; 0x1_0000]).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let memory = GuestMemory::new(1 << 20).unwrap();
    memory.map_file(0x2_0000..0x3_0000, "a.kvmstate", file.as_fd(), 0).unwrap();
    (memory, file)
}

#[test]
fn memory_of_a_truncated_file_reads_as_zeros_and_is_reported() {
    let (memory, file) = mapped("read");
    assert_eq!(memory.read_u64(0x2_0000).unwrap(), 0x0707_0707_0707_0707);
    file.set_len(0x2000).unwrap();
    assert!(memory.file_failure().is_none());
    assert_eq!(memory.read_u64(0x2_8008).unwrap(), 0);
    let failure = memory.file_failure();
    assert!(
        matches!(&failure, Some(MemoryError::FileLost { file, address: Some(0x2_8008) }) if file == "a.kvmstate"),
        "{failure:?}"
    );
    // Writes succeed, too, and what is still in the file can be read.
    memory.write_u64(0x2_9000, 5).unwrap();
    assert_eq!(memory.read_u64(0x2_9000).unwrap(), 5);
    assert_eq!(memory.read_u64(0x2_1000).unwrap(), 0x0707_0707_0707_0707);
    // Memory that maps no file has no failure.
    assert_eq!(memory.mapped_file().as_deref(), Some("a.kvmstate"));
    memory.discard().unwrap();
    assert!(memory.mapped_file().is_none());
    assert!(memory.file_failure().is_none());
}

#[test]
fn a_file_that_is_shorter_explains_what_the_host_could_not_read() {
    let (memory, file) = mapped("suspicion");
    assert!(memory.suspected_file_failure().is_none());
    file.set_len(0xF000).unwrap();
    assert!(memory.suspected_file_failure().is_some());
    assert!(memory.file_failure().is_none());
}
