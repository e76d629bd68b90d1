//! Services of the operating system: sockets, connections, disk images, confinement, the memory footprint.

#[cfg(test)]
pub mod allocations;
pub mod connection;
pub mod disk_image;
mod footprint;
pub mod foreign_protocol;
pub mod host_identity;
mod image_lock;
pub mod received_image;
pub mod replacement_file;
pub mod sandbox;
pub mod shared_image;
pub mod socket;
pub mod written_clusters;

pub use footprint::release_startup_pages;
