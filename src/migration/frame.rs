//! Frames: the byte format of the migration protocol.
//!
//! A frame is a header of eight bytes and a payload. The header holds the kind of the frame (one byte),
//! three zero bytes, and the length of the payload (32 bits, little-endian). A payload has at most
//! [`MAX_PAYLOAD`] bytes, so a receiver knows the largest buffer it needs before it reads.

use serde::{Deserialize, Serialize};

use crate::devices::ide::DiskGeometry;
use crate::os::foreign_protocol::ForeignProtocol;

/// Size of a frame's header, in bytes.
pub const HEADER: usize = 8;

/// Maximum payload size, in bytes: 256 pages, each in a run of its own, with their run headers.
pub const MAX_PAYLOAD: usize = (1 << 20) + (16 << 10);

/// Longest text of an error, in bytes.
pub const MAX_TEXT: usize = 4 << 10;

/// Version of the protocol: the content and the order of frames. Version 1 had no disks.
pub const VERSION: u16 = 2;

/// First bytes of a [`FrameKind::Hello`]; they distinguish this protocol from others on the same port.
const MAGIC: &[u8; 8] = b"kvm-migr";

/// The kind of a frame. The source sends requests, the destination answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// First frame of a source: protocol version and description of the guest.
    Hello = 1,
    /// Answer to Hello: continue. Carries the site of the destination ([`crate::os::host_identity`]).
    Welcome = 2,
    /// Pages of memory; `pages` defines the payload.
    Pages = 3,
    /// Number of pages in the next round.
    RoundBegin = 16,
    /// The disk that the next pages belong to, and their number.
    DiskBegin = 17,
    /// Pages of a disk's image; `pages` defines the payload.
    DiskPages = 18,
    /// All pages of a round have been sent.
    RoundEnd = 4,
    /// Answer to RoundEnd: all pages of that round are in memory.
    RoundDone = 5,
    /// Size of the machine state without memory, in bytes.
    StateBegin = 6,
    /// Part of the machine state.
    State = 7,
    /// Answer to the last State: the machine is built and can run.
    Ready = 8,
    /// The source hands the guest over to the destination.
    Commit = 9,
    /// Answer to Commit: the guest runs on the destination.
    Confirm = 10,
    /// Last frame of a source.
    Bye = 11,
    /// First frame of a source that lost its connection: asks whether the guest runs on the destination.
    Query = 12,
    /// Answer to Query: the guest does not run on the destination, and never will.
    NotRunning = 13,
    /// Reason why the sender aborts; the last frame in either direction.
    Error = 14,
    /// No content; the sender is still busy.
    KeepAlive = 15,
}

impl FrameKind {
    const ALL: [FrameKind; 18] = [
        FrameKind::Hello,
        FrameKind::Welcome,
        FrameKind::Pages,
        FrameKind::RoundBegin,
        FrameKind::DiskBegin,
        FrameKind::DiskPages,
        FrameKind::RoundEnd,
        FrameKind::RoundDone,
        FrameKind::StateBegin,
        FrameKind::State,
        FrameKind::Ready,
        FrameKind::Commit,
        FrameKind::Confirm,
        FrameKind::Bye,
        FrameKind::Query,
        FrameKind::NotRunning,
        FrameKind::Error,
        FrameKind::KeepAlive,
    ];

    fn of(byte: u8) -> Option<FrameKind> {
        FrameKind::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Why bytes are not a valid or not the expected frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header is invalid.
    #[error(
        "{0:02x?} begins no frame: the peer does not speak the migration protocol, or only \
         encrypted (--migr-key, or --tls-cert, --tls-key and --tls-ca, on both sides)"
    )]
    Header([u8; HEADER]),
    /// The peer encrypts the connection.
    #[error(
        "the peer encrypts the migration and this host does not; give --migr-key, or --tls-cert, --tls-key and \
         --tls-ca, on both hosts or on none"
    )]
    Encrypted,
    /// The peer speaks another protocol.
    #[error("the peer does not speak the migration protocol but {0}")]
    Foreign(ForeignProtocol),
    /// The payload is longer than [`MAX_PAYLOAD`].
    #[error("a frame of {length} bytes; at most {MAX_PAYLOAD} are allowed")]
    TooLong {
        /// Its length.
        length: u32,
    },
    /// The peer uses another protocol version.
    #[error(
        "the source speaks version {found} of the migration protocol, and this program version \
         {VERSION}: use the same kvm on both sides"
    )]
    Version {
        /// The peer's version.
        found: u16,
    },
    /// The payload is invalid for this kind of frame.
    #[error("a {kind:?} frame that is damaged: {reason}")]
    Damaged {
        /// The kind.
        kind: FrameKind,
        /// What is wrong with it.
        reason: String,
    },
    /// A frame that is not allowed at this point.
    #[error("a {found:?} frame where {expected} was expected")]
    Unexpected {
        /// Its kind.
        found: FrameKind,
        /// What was expected.
        expected: &'static str,
    },
}

/// A random number that identifies one migration. It cannot be guessed, so a peer that knows it is the
/// source.
pub type MigrationToken = [u8; 16];

/// The source's description of the migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Identifies this migration.
    pub token: MigrationToken,
    /// Size of the guest's RAM in bytes.
    pub memory: u64,
    /// Name of the guest file, for messages.
    pub guest: String,
    /// Host properties that both hosts must share, encoded as in the machine state.
    pub facts: Vec<u8>,
    /// The disks of the guest, in the order of their numbers.
    pub disks: Vec<DiskOffer>,
}

/// A disk of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskOffer {
    /// Its number.
    pub unit: u8,
    /// What the guest knows of it.
    pub geometry: DiskGeometry,
    /// Its contents are sent; otherwise both hosts have the same image.
    pub copied: bool,
}

/// A round of pages of one disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRound {
    /// Its number, from 1, which the end of the round repeats.
    pub number: u32,
    /// The number of the disk.
    pub unit: u8,
    /// Pages in it.
    pub pages: u64,
}

/// A round: each of its pages is sent once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Its number, from 1.
    pub number: u32,
    /// Pages in it.
    pub pages: u64,
}

/// The content of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// [`FrameKind::Hello`].
    Hello(Hello),
    /// [`FrameKind::Welcome`], with the site of the destination; empty if it is unknown.
    Welcome(&'a [u8]),
    /// [`FrameKind::Pages`], to be read with `pages`.
    Pages(&'a [u8]),
    /// [`FrameKind::RoundBegin`].
    RoundBegin(Round),
    /// [`FrameKind::DiskBegin`].
    DiskBegin(DiskRound),
    /// [`FrameKind::DiskPages`], to be read with `pages`.
    DiskPages(&'a [u8]),
    /// [`FrameKind::RoundEnd`], with the number of the round.
    RoundEnd(u32),
    /// [`FrameKind::RoundDone`], with the number of the round.
    RoundDone(u32),
    /// [`FrameKind::StateBegin`], with a number of bytes.
    StateBegin(u64),
    /// [`FrameKind::State`].
    State(&'a [u8]),
    /// [`FrameKind::Ready`].
    Ready,
    /// [`FrameKind::Commit`].
    Commit(MigrationToken),
    /// [`FrameKind::Confirm`].
    Confirm,
    /// [`FrameKind::Bye`].
    Bye,
    /// [`FrameKind::Query`].
    Query(MigrationToken),
    /// [`FrameKind::NotRunning`].
    NotRunning,
    /// [`FrameKind::Error`], shortened to [`MAX_TEXT`] bytes, without control characters.
    Error(String),
    /// [`FrameKind::KeepAlive`].
    KeepAlive,
}

impl<'a> Message<'a> {
    /// Its kind.
    pub fn kind(&self) -> FrameKind {
        match self {
            Message::Hello(_) => FrameKind::Hello,
            Message::Welcome(_) => FrameKind::Welcome,
            Message::Pages(_) => FrameKind::Pages,
            Message::RoundBegin(_) => FrameKind::RoundBegin,
            Message::DiskBegin(_) => FrameKind::DiskBegin,
            Message::DiskPages(_) => FrameKind::DiskPages,
            Message::RoundEnd(_) => FrameKind::RoundEnd,
            Message::RoundDone(_) => FrameKind::RoundDone,
            Message::StateBegin(_) => FrameKind::StateBegin,
            Message::State(_) => FrameKind::State,
            Message::Ready => FrameKind::Ready,
            Message::Commit(_) => FrameKind::Commit,
            Message::Confirm => FrameKind::Confirm,
            Message::Bye => FrameKind::Bye,
            Message::Query(_) => FrameKind::Query,
            Message::NotRunning => FrameKind::NotRunning,
            Message::Error(_) => FrameKind::Error,
            Message::KeepAlive => FrameKind::KeepAlive,
        }
    }

    /// The whole frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = vec![0; HEADER];
        match self {
            Message::Hello(hello) => {
                frame.extend(MAGIC);
                frame.extend(VERSION.to_le_bytes());
                add(&mut frame, hello);
            }
            Message::Pages(bytes)
            | Message::DiskPages(bytes)
            | Message::State(bytes)
            | Message::Welcome(bytes) => frame.extend_from_slice(bytes),
            Message::RoundBegin(round) => add(&mut frame, round),
            Message::DiskBegin(round) => add(&mut frame, round),
            Message::RoundEnd(number) | Message::RoundDone(number) => add(&mut frame, number),
            Message::StateBegin(length) => add(&mut frame, length),
            Message::Commit(token) | Message::Query(token) => frame.extend(token),
            Message::Error(text) => frame.extend_from_slice(shortened(text).as_bytes()),
            Message::Ready | Message::Confirm | Message::Bye | Message::NotRunning | Message::KeepAlive => {}
        }
        finish(&mut frame, self.kind());
        frame
    }

    /// Decodes the payload of a frame.
    ///
    /// # Errors
    ///
    /// [`FrameError::Damaged`], [`FrameError::Version`].
    pub fn read(kind: FrameKind, payload: &'a [u8]) -> Result<Message<'a>, FrameError> {
        let nothing = |message| match payload {
            [] => Ok(message),
            _ => Err(FrameError::Damaged { kind, reason: "it has a payload".to_owned() }),
        };
        match kind {
            FrameKind::Hello => hello(payload).map(Message::Hello),
            FrameKind::Welcome => Ok(Message::Welcome(payload)),
            FrameKind::Pages => Ok(Message::Pages(payload)),
            FrameKind::RoundBegin => decode(kind, payload).map(Message::RoundBegin),
            FrameKind::DiskBegin => decode(kind, payload).map(Message::DiskBegin),
            FrameKind::DiskPages => Ok(Message::DiskPages(payload)),
            FrameKind::RoundEnd => decode(kind, payload).map(Message::RoundEnd),
            FrameKind::RoundDone => decode(kind, payload).map(Message::RoundDone),
            FrameKind::StateBegin => decode(kind, payload).map(Message::StateBegin),
            FrameKind::State => Ok(Message::State(payload)),
            FrameKind::Ready => nothing(Message::Ready),
            FrameKind::Commit => token(kind, payload).map(Message::Commit),
            FrameKind::Confirm => nothing(Message::Confirm),
            FrameKind::Bye => nothing(Message::Bye),
            FrameKind::Query => token(kind, payload).map(Message::Query),
            FrameKind::NotRunning => nothing(Message::NotRunning),
            FrameKind::Error => Ok(Message::Error(printable(payload))),
            FrameKind::KeepAlive => nothing(Message::KeepAlive),
        }
    }
}

/// Writes the header of a frame of `kind` into the first [`HEADER`] bytes of `frame`. The payload, of at
/// most [`MAX_PAYLOAD`] bytes, already follows it.
pub fn finish(frame: &mut [u8], kind: FrameKind) {
    let length = (frame.len() - HEADER) as u32;
    frame[..HEADER].fill(0);
    frame[0] = kind as u8;
    frame[4..HEADER].copy_from_slice(&length.to_le_bytes());
}

/// Decodes a header: the kind of the frame and the length of its payload in bytes.
///
/// # Errors
///
/// [`FrameError::Header`], [`FrameError::TooLong`], [`FrameError::Encrypted`], [`FrameError::Foreign`].
pub fn header(bytes: [u8; HEADER]) -> Result<(FrameKind, usize), FrameError> {
    match ForeignProtocol::of_first_bytes(&bytes) {
        Some(ForeignProtocol::Tls) => return Err(FrameError::Encrypted),
        Some(protocol) => return Err(FrameError::Foreign(protocol)),
        None => {}
    }
    let [kind, 0, 0, 0, length @ ..] = bytes else { return Err(FrameError::Header(bytes)) };
    let kind = FrameKind::of(kind).ok_or(FrameError::Header(bytes))?;
    let length = u32::from_le_bytes(length);
    if length as usize > MAX_PAYLOAD {
        return Err(FrameError::TooLong { length });
    }
    Ok((kind, length as usize))
}

fn add(frame: &mut Vec<u8>, value: &impl Serialize) {
    frame.extend(postcard::to_stdvec(value).expect("encoding into memory cannot fail"));
}

fn decode<'a, T: Deserialize<'a>>(kind: FrameKind, payload: &'a [u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(FrameError::Damaged { kind, reason: "it is too long".to_owned() }),
        Err(error) => Err(FrameError::Damaged { kind, reason: error.to_string() }),
    }
}

fn hello(payload: &[u8]) -> Result<Hello, FrameError> {
    let damaged = || FrameError::Damaged { kind: FrameKind::Hello, reason: "it begins wrong".to_owned() };
    let rest = payload.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let (version, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
    // The bytes after the version are undefined in another version.
    match u16::from_le_bytes(*version) {
        VERSION => decode(FrameKind::Hello, rest),
        found => Err(FrameError::Version { found }),
    }
}

fn token(kind: FrameKind, payload: &[u8]) -> Result<MigrationToken, FrameError> {
    payload
        .try_into()
        .map_err(|_| FrameError::Damaged { kind, reason: format!("a token of {} bytes", payload.len()) })
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Removes control characters, because the peer's text is printed on a terminal and must not control it.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_TEXT)]);
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

#[cfg(test)]
#[path = "frame_test.rs"]
mod tests;
