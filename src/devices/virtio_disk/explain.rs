//! A virtio disk in words.
//!
//! Virtual I/O Device (VIRTIO) Version 1.2, sections 2.1 and 2.7.

use super::VirtioDisk;
use crate::devices::explain::names_of;

/// Bits of the device status register (2.1).
const STATUS: [(u64, &str); 6] = [
    (1, "ACKNOWLEDGE"),
    (2, "DRIVER"),
    (8, "FEATURES_OK"),
    (4, "DRIVER_OK"),
    (64, "DEVICE_NEEDS_RESET"),
    (128, "FAILED"),
];

/// The state in words, a line each.
pub(super) fn lines(disk: &VirtioDisk) -> Vec<String> {
    let Some(geometry) = disk.geometry else { return vec!["no disk is connected".to_owned()] };
    let queue = &disk.queue;
    let state = match queue.enabled {
        true => format!(
            "enabled, {} descriptors at {:#x}, available ring at {:#x}, used ring at {:#x}, next {} and {}",
            queue.size, queue.descriptors, queue.available, queue.used, queue.next_available, queue.next_used
        ),
        false => "not enabled".to_owned(),
    };
    let request = disk.request.map_or("none".to_owned(), |request| {
        format!("descriptor {}, {} bytes done", request.head, request.done)
    });
    vec![
        format!(
            "{} sectors, status {:#04x}: {}",
            geometry.sectors,
            disk.status,
            names_of(disk.status.into(), &STATUS)
        ),
        format!("features accepted {:#x}, interrupt status {:#x}", disk.features, disk.interrupt_status),
        format!("queue: {state}"),
        format!("request under way: {request}"),
    ]
}
