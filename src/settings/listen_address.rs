//! Where a server listens, in the making: from its option and from the keys of its section.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::ListenAddress;
use super::values::{self, ParseResult};

/// A place in the making.
#[derive(Debug)]
pub(super) struct ListenAddressDraft {
    /// Other hosts are not to reach it.
    here: bool,
    address: IpAddr,
    port: u16,
    /// Instead of both.
    socket: Option<PathBuf>,
}

impl ListenAddressDraft {
    /// A place of a server that may be reached from other hosts; what the defaults of the table are written
    /// over.
    pub(super) fn anywhere() -> ListenAddressDraft {
        ListenAddressDraft { here: false, address: Ipv4Addr::LOCALHOST.into(), port: 0, socket: None }
    }

    /// The same for a server that only this host may reach.
    pub(super) fn here() -> ListenAddressDraft {
        ListenAddressDraft { here: true, ..ListenAddressDraft::anywhere() }
    }

    /// OptionArgument what the value of a server's option says: that it is on or off, or on at a place. Whether it is on.
    pub(super) fn switch_or_set(&mut self, text: &str) -> ParseResult<bool> {
        match switch(text) {
            Some(on) => Ok(on),
            None => self.set(text).map(|()| true),
        }
    }

    /// Sets what the value of the option says: an address, a port, both, or a socket.
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

    /// It is the address and the port after all.
    pub(super) fn forget_socket(&mut self) {
        self.socket = None;
    }

    /// True for the usual address and the port `usual`.
    pub(super) fn is_usual(&self, usual: u16) -> bool {
        self.socket.is_none() && self.port == usual && self.address == IpAddr::from(Ipv4Addr::LOCALHOST)
    }

    /// The place.
    pub(super) fn finish(self) -> ListenAddress {
        match self.socket {
            Some(path) => ListenAddress::Unix(path),
            None => ListenAddress::Tcp(SocketAddr::new(self.address, self.port)),
        }
    }
}

/// Whether the value of a server's option only switches it on or off; `1` and `0` are left to be a port,
/// and no port.
pub(super) fn switch(text: &str) -> Option<bool> {
    if text.parse::<u16>().is_ok() { None } else { values::boolean(text).ok() }
}
