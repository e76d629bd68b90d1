//! Saved state of devices: each saves and restores itself as a versioned payload.

use serde::{Serialize, de::DeserializeOwned};

/// The saved state of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Payload {
    /// Which kind of device this is, for example `"i8042"`.
    pub kind: String,
    /// Version of the layout of `bytes`; each kind counts its own.
    pub version: u16,
    /// The state, encoded with postcard.
    pub bytes: Vec<u8>,
}

impl Payload {
    /// Checks that this is the state of a device of `kind`.
    ///
    /// # Errors
    ///
    /// [`StateError::Kind`] if it is not.
    pub fn expect_kind(&self, kind: &'static str) -> Result<(), StateError> {
        if self.kind == kind {
            return Ok(());
        }
        Err(StateError::Kind { found: self.kind.clone(), expected: kind })
    }

    /// The state of a device of `kind`.
    ///
    /// # Errors
    ///
    /// [`StateError::Damaged`] if the bytes are no `T`.
    pub fn decode<T: DeserializeOwned>(&self, kind: &'static str) -> Result<T, StateError> {
        postcard::from_bytes(&self.bytes).map_err(|e| StateError::Damaged { kind, reason: e.to_string() })
    }
}

/// Why a saved state was not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The payload belongs to another device.
    #[error("saved state of a `{found}` cannot be given to a `{expected}`")]
    Kind {
        /// The kind the payload names.
        found: String,
        /// The kind of the device it was given to.
        expected: &'static str,
    },
    /// The payload was written by a version this program does not read.
    #[error("saved state of `{kind}` has version {found}; this program reads version {expected}")]
    Version {
        /// The kind of device.
        kind: &'static str,
        /// The version the payload names.
        found: u16,
        /// The version that can be read.
        expected: u16,
    },
    /// A device of the machine has no saved state.
    #[error("there is no saved state of `{kind}` number {number}")]
    Missing {
        /// The kind of device.
        kind: &'static str,
        /// Its number among those of its kind.
        number: u16,
    },
    /// The machine has no such device.
    #[error("there is saved state of `{kind}` number {number}, which this machine does not have")]
    Unknown {
        /// The kind of device.
        kind: String,
        /// Its number among those of its kind.
        number: u16,
    },
    /// The bytes do not decode, or decode to a state the device can never be in.
    #[error("saved state of `{kind}` is damaged: {reason}")]
    Damaged {
        /// The kind of device.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// A device that can be saved and restored.
pub trait Snapshot {
    /// Name of this kind of device in a [`Payload`].
    const KIND: &'static str;
    /// Version of [`Snapshot::State`]; raised whenever its layout changes.
    const VERSION: u16;
    /// Everything the guest can observe of the device, as plain data.
    type State: Serialize + DeserializeOwned;
    /// False for a device without state (`State = ()`): it has no payload.
    const HAS_STATE: bool = size_of::<Self::State>() > 0;

    /// The state as it is now.
    fn state(&self) -> Self::State;

    /// Replaces the state by `state`, leaving the device as it was if the state is one it can never be in.
    ///
    /// # Errors
    ///
    /// [`StateError::Damaged`] names the impossible part.
    fn set_state(&mut self, state: Self::State) -> Result<(), StateError>;

    /// The state as a payload that [`Snapshot::restore`] accepts.
    fn save(&self) -> Payload {
        Payload {
            kind: Self::KIND.to_owned(),
            version: Self::VERSION,
            bytes: postcard::to_stdvec(&self.state()).expect("encoding into memory cannot fail"),
        }
    }

    /// Restores a saved payload, leaving the device as it was on an error. A device whose earlier versions
    /// are read has its own implementation.
    ///
    /// # Errors
    ///
    /// A payload of another kind or version, or one that does not decode.
    fn restore(&mut self, payload: &Payload) -> Result<(), StateError> {
        payload.expect_kind(Self::KIND)?;
        if payload.version != Self::VERSION {
            return Err(StateError::Version {
                kind: Self::KIND,
                found: payload.version,
                expected: Self::VERSION,
            });
        }
        self.set_state(payload.decode(Self::KIND)?)
    }
}

/// A device without state. It implements [`Snapshot`] by this.
pub trait Stateless {
    /// Name of this kind of device.
    const NAME: &'static str;
}

impl<D: Stateless> Snapshot for D {
    const KIND: &'static str = D::NAME;
    const VERSION: u16 = 1;
    type State = ();

    fn state(&self) {}

    fn set_state(&mut self, (): ()) -> Result<(), StateError> {
        Ok(())
    }
}
