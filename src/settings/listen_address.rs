//! The listen address of a server under construction, from its option and the keys of its section.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::ListenAddress;
use super::values::{self, ParseResult};

/// A listen address under construction.
#[derive(Debug)]
pub(super) struct ListenAddressDraft {
    /// Only addresses that other hosts cannot reach are allowed.
    here: bool,
    address: IpAddr,
    port: u16,
    /// A unix socket that replaces address and port.
    socket: Option<PathBuf>,
}

impl ListenAddressDraft {
    /// A placeholder for a server that other hosts may reach; the defaults of the table overwrite it.
    pub(super) fn anywhere() -> ListenAddressDraft {
        ListenAddressDraft { here: false, address: Ipv4Addr::LOCALHOST.into(), port: 0, socket: None }
    }

    /// A placeholder for a server that only this host may reach.
    pub(super) fn here() -> ListenAddressDraft {
        ListenAddressDraft { here: true, ..ListenAddressDraft::anywhere() }
    }

    /// Applies the value of a server's option: on, off, or an address that implies on. Returns whether it is
    /// on.
    pub(super) fn switch_or_set(&mut self, text: &str) -> ParseResult<bool> {
        match switch(text) {
            Some(on) => Ok(on),
            None => self.set(text).map(|()| true),
        }
    }

    /// Sets an address, a port, both, or a socket from the option's value.
    pub(super) fn set(&mut self, text: &str) -> ParseResult<()> {
        let socket = values::socket(text)?;
        if socket.is_none() {
            let (address, port) = values::address_and_port(text)?;
            self.address = self.checked(address.unwrap_or(self.address))?;
            self.port = port.unwrap_or(self.port);
        }
        self.socket = socket;
        Ok(())
    }

    /// Sets the address, or the socket.
    pub(super) fn set_address(&mut self, text: &str) -> ParseResult<()> {
        let socket = values::socket(text)?;
        if socket.is_none() {
            self.address = self.checked(values::address(text)?)?;
        }
        self.socket = socket;
        Ok(())
    }

    fn checked(&self, address: IpAddr) -> ParseResult<IpAddr> {
        if self.here { values::own_address(address) } else { Ok(address) }
    }

    /// Sets the port.
    pub(super) fn set_port(&mut self, text: &str) -> ParseResult<()> {
        self.port = values::port(text)?;
        Ok(())
    }

    /// Discards the socket in favour of address and port.
    pub(super) fn forget_socket(&mut self) {
        self.socket = None;
    }

    /// True for the default address and the port `usual`.
    pub(super) fn is_usual(&self, usual: u16) -> bool {
        self.socket.is_none() && self.port == usual && self.address == IpAddr::from(Ipv4Addr::LOCALHOST)
    }

    /// Returns the listen address.
    pub(super) fn finish(self) -> ListenAddress {
        match self.socket {
            Some(path) => ListenAddress::Unix(path),
            None => ListenAddress::Tcp(SocketAddr::new(self.address, self.port)),
        }
    }
}

/// Parses a value that only switches a server on or off. `1` and `0` are not accepted here, because they are
/// ports or their absence.
pub(super) fn switch(text: &str) -> Option<bool> {
    if text.parse::<u16>().is_ok() { None } else { values::boolean(text).ok() }
}
