//! Recognises peers that speak another protocol than the listener that they have connected to.
//!
//! A web page can have a browser send a request with an arbitrary body to any TCP port of this host. It cannot
//! choose the first bytes of the connection, so each listener checks these before it carries out the first command:
//!
//! | listener | before the first command |
//! |---|---|
//! | console | a line is short, printable, and neither a request line nor a header field ([`Self::in_line`]) |
//! | gdb | outside of packets there are only acknowledgements and Ctrl-C |
//! | debug server | four bytes are a length of at most 64, so that the first three are zero |
//! | migration | eight bytes are a frame header, and three of them are zero; with TLS, a TLS record |
//!
//! The last three refuse all other protocols by their format; [`ForeignProtocol::of_first_bytes`] names the protocol.
//! After such a peer is recognised, its connection ends. No listener searches for the next command.
//!
//! [`Self::in_line`]: ForeignProtocol::in_line
//!
//! Manual: RFC 9112, "Message Format"; RFC 8446, "Record Layer".

use std::fmt;

/// A protocol that no listener of this program speaks in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignProtocol {
    /// The protocol of web browsers.
    Http,
    /// TLS, or a protocol inside it.
    Tls,
    /// A protocol whose lines are not text.
    Binary,
}

impl fmt::Display for ForeignProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ForeignProtocol::Http => "HTTP",
            ForeignProtocol::Tls => "TLS",
            ForeignProtocol::Binary => "no text",
        })
    }
}

/// The methods that browsers send. All other ones, which a page can choose only for its own server, are recognised
/// by the end of the request line.
const METHODS: [&str; 11] =
    ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PROPFIND", "PRI"];

/// The start of a TLS record with a handshake message, in any version.
const TLS_HANDSHAKE: [u8; 2] = [0x16, 0x03];

impl ForeignProtocol {
    /// The protocol of a connection whose first bytes are `bytes`, of which at least three are needed.
    pub fn of_first_bytes(bytes: &[u8]) -> Option<ForeignProtocol> {
        if bytes.starts_with(&TLS_HANDSHAKE) {
            return Some(ForeignProtocol::Tls);
        }
        let begins = |method: &str| {
            let (start, rest) = bytes.split_at(bytes.len().min(method.len()));
            method.as_bytes().starts_with(start) && rest.first().is_none_or(|byte| *byte == b' ')
        };
        (bytes.len() >= 3 && METHODS.into_iter().any(begins)).then_some(ForeignProtocol::Http)
    }

    /// The protocol in which `line` is a request line or a header field; `Binary` if it is not UTF-8, whose invalid
    /// bytes are U+FFFD in `line`.
    pub fn in_line(line: &str) -> Option<ForeignProtocol> {
        if line.contains(char::REPLACEMENT_CHARACTER) {
            return Some(ForeignProtocol::Binary);
        }
        let line = line.trim_end();
        let first = line.split_whitespace().next().unwrap_or_default();
        let last = line.rsplit(' ').next().unwrap_or_default();
        let is_request = METHODS.contains(&first) || last.starts_with("HTTP/");
        (is_request || is_header(line)).then_some(ForeignProtocol::Http)
    }
}

/// True for `Name: value`, such as `Host:` and `Origin:`.
fn is_header(line: &str) -> bool {
    let is_token = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&byte))
    };
    line.split_once(':').is_some_and(|(name, _)| is_token(name))
}

/// True for bytes of text, and for the control codes that keys of a terminal send in a line.
pub fn is_terminal_byte(byte: u8) -> bool {
    const CTRL_C: u8 = 0x03;
    const CTRL_D: u8 = 0x04;
    const BACKSPACE: u8 = 0x08;
    const ESCAPE: u8 = 0x1B;
    const DELETE: u8 = 0x7F;
    matches!(byte, b'\t' | b'\n' | b'\r' | CTRL_C | CTRL_D | BACKSPACE | ESCAPE | DELETE | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_browsers_are_recognised_by_their_first_bytes() {
        for request in ["GET / HTTP/1.1\r\n", "POST /", "POST", "GET ", "GET", "OPTIONS *", "PRI * HTTP/2.0"]
        {
            assert_eq!(
                ForeignProtocol::of_first_bytes(request.as_bytes()),
                Some(ForeignProtocol::Http),
                "{request}"
            );
        }
        assert_eq!(ForeignProtocol::of_first_bytes(b"\x16\x03\x01\x02\x00"), Some(ForeignProtocol::Tls));
        for own in
            [&b""[..], b"GE", b"GETTING", b"$?#3f", b"+$qSupported", b"\0\0\0\x0C", b"\x01\0\0\0", b"POSTER"]
        {
            assert_eq!(ForeignProtocol::of_first_bytes(own), None, "{own:?}");
        }
    }

    #[test]
    fn lines_of_a_request_are_recognised_and_commands_are_not() {
        for line in [
            "POST / HTTP/1.1",
            "quit / HTTP/1.1\r",
            "status /x HTTP/2",
            "GET /",
            "POST",
            "Host: localhost:9000",
            "origin:http://example.org",
            "Sec-Fetch-Mode: no-cors",
            "X-Any_Name:",
        ] {
            assert_eq!(ForeignProtocol::in_line(line), Some(ForeignProtocol::Http), "{line}");
        }
        assert_eq!(ForeignProtocol::in_line("a\u{FFFD}"), Some(ForeignProtocol::Binary));
        for line in [
            "",
            "status",
            "trace 0x1000 \"a: %d\", rax",
            "delete 1",
            "migrate ::1 8000",
            "type Host: a",
            "screendump a:b.png",
            "get",
            "xp 0x1000",
        ] {
            assert_eq!(ForeignProtocol::in_line(line), None, "{line}");
        }
    }
}
