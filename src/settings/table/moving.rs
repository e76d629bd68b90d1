//! Machines that are saved, continued, and moved to another host.

use super::super::draft::Draft;
use super::super::values;
use super::{Key, Opt, Takes, YES_NO};

/// Snapshots and migration.
pub(super) static MOVING: &[Opt] = &[
    Opt {
        long: "restore",
        takes: Takes::Value("FILE"),
        repeatable: false,
        default: None,
        allowed: "the path of a snapshot",
        help: "Continue the machine saved in FILE, instead of a guest file",
        set: |draft, text| values::file(text).map(|file| draft.settings.restore = Some(file)),
        keys: &[],
    },
    Opt {
        long: "migr",
        takes: Takes::Maybe("yes|no"),
        repeatable: false,
        default: Some("no"),
        allowed: YES_NO,
        help: "Receive a running guest from another kvm",
        set: |draft, text| values::boolean(text).map(|on| draft.receive = on),
        keys: &[],
    },
    Opt {
        long: "migrport",
        takes: Takes::Value("PORT"),
        repeatable: false,
        default: Some("8000"),
        allowed: "ADDRESS:PORT, ADDRESS, PORT; PORT from 1 to 65535, ADDRESS an IP address",
        help: "TCP port on which --migr waits (on 127.0.0.1)",
        set: Draft::set_receive_port,
        keys: &[],
    },
    Opt {
        long: "downtime",
        takes: Takes::Value("MS"),
        repeatable: false,
        default: Some("30"),
        allowed: "milliseconds from 1 to 60000",
        help: "For how long a guest that moves away is stopped, about",
        set: |draft, text| values::downtime(text).map(|time| draft.settings.downtime = time),
        keys: &[Key::same("migration", "downtime_ms")],
    },
    Opt {
        long: "tls-cert",
        takes: Takes::Value("FILE"),
        repeatable: false,
        default: None,
        allowed: "the path of a file in PEM",
        help: "This side's certificate, for moving guests over a network",
        set: |draft, text| values::file(text).map(|file| draft.tls[0] = Some(file)),
        keys: &[Key::same("migration", "tls-cert")],
    },
    Opt {
        long: "tls-key",
        takes: Takes::Value("FILE"),
        repeatable: false,
        default: None,
        allowed: "the path of a file in PEM that only its owner can read",
        help: "The private key of --tls-cert",
        set: |draft, text| values::file(text).map(|file| draft.tls[1] = Some(file)),
        keys: &[Key::same("migration", "tls-key")],
    },
    Opt {
        long: "tls-ca",
        takes: Takes::Value("FILE"),
        repeatable: false,
        default: None,
        allowed: "the path of a file in PEM",
        help: "The authority that the other side's certificate must be from",
        set: |draft, text| values::file(text).map(|file| draft.tls[2] = Some(file)),
        keys: &[Key::same("migration", "tls-ca")],
    },
    Opt {
        long: "migr-key",
        takes: Takes::Value("FILE"),
        repeatable: false,
        default: None,
        allowed: "the path of a file of at least 32 bytes that only its owner can read",
        help: "A key that both sides have, in place of certificates",
        set: |draft, text| values::file(text).map(|file| draft.shared_key = Some(file)),
        keys: &[Key::same("migration", "key")],
    },
];
