//! A source and a destination on this host, connected as over a network.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;

use super::*;
use crate::migration::frame::Message;
use crate::migration::wire::{Wire, WireError};

/// A file with a key, removed at the end of the test.
struct KeyFile(PathBuf);

impl KeyFile {
    fn new(name: &str, bytes: &[u8], mode: u32) -> KeyFile {
        let path = std::env::temp_dir().join(format!("kvm-migr-key-{}-{name}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        file.write_all(bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        KeyFile(path)
    }

    fn load(&self) -> Result<Credentials, CredentialsError> {
        Credentials::load(&MigrationSecurity::Key(self.0.clone()))
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Connects a source and a destination with these credentials. Returns the message that the destination
/// receives, and the source's error if it has one.
fn meet(source: Credentials, destination: Credentials) -> (std::io::Result<bool>, Result<(), WireError>) {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let there = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut wire = Wire::new(destination.accepted(socket)?).unwrap();
        let ready = wire.receive().is_ok_and(|message| message == Message::Ready);
        wire.abort("enough");
        Ok(ready)
    });
    let here = || {
        let socket = TcpStream::connect(address).unwrap();
        let mut wire = Wire::new(source.connected(socket, "127.0.0.1")?)?;
        wire.send(&Message::Ready)?;
        match wire.receive() {
            Err(WireError::Peer(text)) if text == "enough" => Ok(()),
            Err(error) => Err(error),
            Ok(message) => panic!("{message:?}"),
        }
    };
    let here = here();
    (there.join().unwrap(), here)
}

#[test]
fn two_sides_with_the_same_key_talk() {
    let key = KeyFile::new("same", &[7; 32], 0o600);
    let (there, here) = meet(key.load().unwrap(), key.load().unwrap());
    assert!(there.unwrap());
    here.unwrap();
}

#[test]
fn a_side_with_another_key_or_none_is_not_listened_to() {
    let (key, other) = (KeyFile::new("one", &[7; 32], 0o600), KeyFile::new("other", &[8; 32], 0o600));
    let plain = || Credentials::load(&MigrationSecurity::Plain).unwrap();
    for (source, destination) in [
        (key.load().unwrap(), other.load().unwrap()),
        (plain(), key.load().unwrap()),
        (key.load().unwrap(), plain()),
    ] {
        let (there, here) = meet(source, destination);
        assert!(!there.is_ok_and(|ready| ready));
        here.unwrap_err();
    }
}

/// A peer that only echoes data does not have the key.
#[test]
fn a_side_cannot_be_made_to_talk_to_itself() {
    let shown = |role| key_of(&[7; 32], role).unwrap().cert[0].clone();
    assert_ne!(shown(Role::Source), shown(Role::Destination));
    let provider = Arc::new(provider::default_provider());
    let holder = PinnedKeyVerifier::of(&key_of(&[7; 32], Role::Source).unwrap(), &provider);
    assert!(holder.check(&shown(Role::Source)).is_ok());
    assert!(holder.check(&shown(Role::Destination)).is_err());
}

#[test]
fn keys_that_are_no_secret_are_refused() {
    let error_of = |key: &KeyFile| key.load().err().unwrap().to_string();
    let text = error_of(&KeyFile::new("open", &[7; 32], 0o644));
    assert!(text.ends_with("others can read it (mode 644), so it is no secret; chmod 600 it"), "{text}");
    let text = error_of(&KeyFile::new("short", &[7; 31], 0o600));
    assert!(text.contains("a shared key of 31 bytes could be guessed, and 32 are needed"), "{text}");
    let missing =
        Credentials::load(&MigrationSecurity::Key("/nowhere/key".into())).err().unwrap().to_string();
    assert!(missing.contains("--migr-key names a key that both sides have"), "{missing}");
}

#[test]
fn without_encryption_only_this_host_is_trusted() {
    let plain = Credentials::load(&MigrationSecurity::Plain).unwrap();
    for (address, allowed) in [
        ("127.0.0.1", true),
        ("::1", true),
        ("::ffff:127.0.0.1", true),
        ("0.0.0.0", false),
        ("::", false),
        ("192.0.2.1", false),
        ("::ffff:192.0.2.1", false),
    ] {
        assert_eq!(plain.allow(address.parse().unwrap()).is_ok(), allowed, "{address}");
    }
    let key = KeyFile::new("network", &[7; 32], 0o600);
    assert!(key.load().unwrap().allow("192.0.2.1".parse().unwrap()).is_ok());
}
