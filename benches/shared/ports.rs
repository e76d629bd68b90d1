//! TCP ports on this host.

use std::net::TcpListener;

use super::Failure;

/// TCP_LISTEN in /proc/net/tcp.
const LISTENS: &str = "0A";

/// A port that was free a moment ago and is unlikely to be taken since.
pub fn free() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// True if a program listens on the port of 127.0.0.1. The port is looked up and not connected to, because the
/// program would serve that connection. proc_net_tcp in the kernel's documentation.
pub fn listens(port: u16) -> Result<bool, Failure> {
    let address = format!("0100007F:{port:04X}");
    let sockets = std::fs::read_to_string("/proc/net/tcp")?;
    Ok(sockets.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some(&address) && fields.nth(1) == Some(LISTENS)
    }))
}
