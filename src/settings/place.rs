//! Where a server listens, in the making: from its option and from the keys of its section.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::Place;
use super::values::{self, Read};

/// A place in the making.
#[derive(Debug)]
pub(super) struct PlaceDraft {
    address: IpAddr,
    port: u16,
    /// Instead of both.
    socket: Option<PathBuf>,
}

impl PlaceDraft {
    /// What the defaults of the table are written over.
    pub(super) fn blank() -> PlaceDraft {
        PlaceDraft { address: Ipv4Addr::UNSPECIFIED.into(), port: 0, socket: None }
    }

    /// Sets what the value of the option says: an address, a port, both, or a socket.
    pub(super) fn set(&mut self, text: &str) -> Read<()> {
        self.socket = values::socket(text)?;
        if self.socket.is_none() {
            let (address, port) = values::address_and_port(text)?;
            self.address = address.unwrap_or(self.address);
            self.port = port.unwrap_or(self.port);
        }
        Ok(())
    }

    /// Sets the address, or the socket.
    pub(super) fn set_address(&mut self, text: &str) -> Read<()> {
        self.socket = values::socket(text)?;
        if self.socket.is_none() {
            self.address = values::address(text)?;
        }
        Ok(())
    }

    /// Sets the port.
    pub(super) fn set_port(&mut self, text: &str) -> Read<()> {
        self.port = values::port(text)?;
        Ok(())
    }

    /// Refuses an address that other computers may reach.
    pub(super) fn check_is_here(&self) -> Read<()> {
        if self.socket.is_some() || self.address.is_loopback() {
            return Ok(());
        }
        Err("can be reached from other computers, and whoever asks is told everything; `ssh -L` leads to a \
             loopback address from elsewhere"
            .to_owned())
    }

    /// The place.
    pub(super) fn finish(self) -> Place {
        match self.socket {
            Some(path) => Place::Unix(path),
            None => Place::Tcp(SocketAddr::new(self.address, self.port)),
        }
    }
}

/// Whether the value of a server's option only switches it on or off; `1` and `0` are left to be a port,
/// and no port.
pub(super) fn switch(text: &str) -> Option<bool> {
    if text.parse::<u16>().is_ok() { None } else { values::boolean(text).ok() }
}
