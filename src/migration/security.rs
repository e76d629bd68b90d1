//! Authentication and encryption of migrations.
//!
//! Every transport except plain TCP is TLS 1.3 with mutual authentication.
//!
//! - With certificates (`--tls-cert`, `--tls-key`, `--tls-ca`) each peer has one from an authority that the
//!   other trusts. The destination's certificate must match the name or address that the source connects to.
//! - With a shared key (`--migr-key`) HKDF-SHA-256 derives two Ed25519 key pairs from the file, one per
//!   role. They are used as raw public keys (RFC 7250), and each peer accepts only the key of the opposite
//!   role. Without the file a peer can neither authenticate nor decrypt traffic. Recorded traffic stays
//!   secret even if the file is disclosed later, and a peer cannot be made to connect to itself. This needs
//!   no second encryption library.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::hkdf;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring as provider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName,
    RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
};

use super::transport::TlsTransport;
use super::wire::Transport;
use crate::settings::MigrationSecurity;

/// Minimum length of a shared key, in bytes, against exhaustive search.
const SHORTEST_KEY: usize = 32;

/// Maximum size of a file with a key or certificates, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// Domain separation of the derived keys.
const SALT: &[u8] = b"kvm migration, shared key, version 1";

/// PKCS #8 prefix of an Ed25519 private key (RFC 8410, "Private Key Format").
const PKCS8_ED25519: &[u8] =
    &[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Why the credentials are unusable.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("{}: {source}; {option} names {what}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The option that names it.
        option: &'static str,
        /// The expected content.
        what: &'static str,
        /// The error of the host, or what is wrong with the contents.
        source: std::io::Error,
    },
    /// A key file that other users can read is not secret.
    #[error("{}: others can read it (mode {mode:03o}), so it is no secret; chmod 600 it", file.display())]
    Readable {
        /// The file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A shared key that is too short.
    #[error(
        "{}: a shared key of {length} bytes could be guessed, and {SHORTEST_KEY} are needed; make one \
         with: head -c 32 /dev/urandom >{}",
        file.display(),
        file.display()
    )]
    Short {
        /// The file.
        file: PathBuf,
        /// Its length, in bytes.
        length: usize,
    },
    /// The files do not match each other.
    #[error("the certificates of --tls-cert, --tls-key and --tls-ca cannot be used: {0}")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
    /// The address is reachable from the network without authentication or encryption.
    #[error(
        "{address} can be reached from other hosts, and migration without encryption is for this host \
         only: give --tls-cert, --tls-key and --tls-ca, or --migr-key, on both sides"
    )]
    Unprotected {
        /// The address.
        address: IpAddr,
    },
}

/// Credentials of this host, and the peers it accepts.
#[derive(Clone, Debug)]
pub struct Credentials(Option<TlsConfigs>);

#[derive(Clone, Debug)]
struct TlsConfigs {
    source: Arc<ClientConfig>,
    destination: Arc<ServerConfig>,
}

impl Credentials {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`CredentialsError`], each with its remedy.
    pub fn load(security: &MigrationSecurity) -> Result<Credentials, CredentialsError> {
        match security {
            MigrationSecurity::Plain => Ok(Credentials(None)),
            MigrationSecurity::Tls { cert, key, ca } => {
                certificates(cert, key, ca).map(Some).map(Credentials)
            }
            MigrationSecurity::Key(file) => shared_key(file).map(Some).map(Credentials),
        }
    }

    /// Refuses an address that needs encryption when there is none.
    ///
    /// # Errors
    ///
    /// [`CredentialsError::Unprotected`].
    pub fn allow(&self, address: IpAddr) -> Result<(), CredentialsError> {
        match self.0 {
            None if !address.to_canonical().is_loopback() => Err(CredentialsError::Unprotected { address }),
            _ => Ok(()),
        }
    }

    /// True if peers must authenticate, and connections are encrypted.
    pub fn encrypts(&self) -> bool {
        self.0.is_some()
    }

    /// Authenticates the peer of a connection to `host`.
    ///
    /// # Errors
    ///
    /// The error of the host, or the reason why authentication failed.
    pub fn connected(&self, socket: TcpStream, host: &str) -> std::io::Result<Box<dyn Transport>> {
        let Some(both) = &self.0 else { return Ok(Box::new(socket)) };
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        let tls = ClientConnection::new(both.source.clone(), name).map_err(std::io::Error::other)?;
        Ok(Box::new(TlsTransport::new(tls.into(), socket)?))
    }

    /// Authenticates a peer that has connected.
    ///
    /// # Errors
    ///
    /// The error of the host, or the reason why authentication failed.
    pub fn accepted(&self, socket: TcpStream) -> std::io::Result<Box<dyn Transport>> {
        let Some(both) = &self.0 else { return Ok(Box::new(socket)) };
        let tls = ServerConnection::new(both.destination.clone()).map_err(std::io::Error::other)?;
        Ok(Box::new(TlsTransport::new(tls.into(), socket)?))
    }
}

fn read(
    file: &Path,
    option: &'static str,
    what: &'static str,
    secret: bool,
) -> Result<Vec<u8>, CredentialsError> {
    let wrong = |source| CredentialsError::File { file: file.to_owned(), option, what, source };
    let opened = File::open(file).map_err(wrong)?;
    let mode = opened.metadata().map_err(wrong)?.mode() & 0o777;
    if secret && mode & 0o077 != 0 {
        return Err(CredentialsError::Readable { file: file.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    opened.take(LONGEST_FILE + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(wrong(malformed(format!("it has more than {} KiB", LONGEST_FILE >> 10))));
    }
    Ok(bytes)
}

/// What is wrong with the contents of a file.
fn malformed(reason: String) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, reason)
}

fn chain(
    file: &Path,
    option: &'static str,
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let wrong = |reason: String| CredentialsError::File {
        file: file.to_owned(),
        option,
        what,
        source: malformed(reason),
    };
    let bytes = read(file, option, what, false)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong("there is no certificate in it (PEM)".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn certificates(cert: &Path, key: &Path, ca: &Path) -> Result<TlsConfigs, CredentialsError> {
    let own = chain(cert, "--tls-cert", "this host's certificate")?;
    const KEY: &str = "the private key of this host's certificate";
    let bytes = read(key, "--tls-key", KEY, true)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| CredentialsError::File {
        file: key.to_owned(),
        option: "--tls-key",
        what: KEY,
        source: malformed(format!("there is no private key in it ({error})")),
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in chain(ca, "--tls-ca", "the authority that signs certificates")? {
        roots.add(certificate).map_err(unusable)?;
    }
    let (roots, provider) = (Arc::new(roots), Arc::new(provider::default_provider()));
    let servers = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(unusable)?;
    let clients =
        WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build().map_err(unusable)?;
    let source = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(servers)
        .with_client_auth_cert(own.clone(), key.clone_key())
        .map_err(unusable)?;
    let destination = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .with_client_cert_verifier(clients)
        .with_single_cert(own, key)
        .map_err(unusable)?;
    Ok(both(source, destination))
}

/// The error for certificates or keys that TLS refuses.
fn unusable(error: impl Into<Box<dyn Error + Send + Sync>>) -> CredentialsError {
    CredentialsError::Tls(error.into())
}

/// Disables session resumption, so that each connection authenticates anew.
fn both(mut source: ClientConfig, mut destination: ServerConfig) -> TlsConfigs {
    source.resumption = Resumption::disabled();
    destination.send_tls13_tickets = 0;
    TlsConfigs { source: Arc::new(source), destination: Arc::new(destination) }
}

/// The role that a peer authenticates for with the shared key.
#[derive(Clone, Copy)]
enum Role {
    Source,
    Destination,
}

fn shared_key(file: &Path) -> Result<TlsConfigs, CredentialsError> {
    let secret = read(file, "--migr-key", "a key that both sides have", true)?;
    if secret.len() < SHORTEST_KEY {
        return Err(CredentialsError::Short { file: file.to_owned(), length: secret.len() });
    }
    let provider = Arc::new(provider::default_provider());
    let source = key_of(&secret, Role::Source)?;
    let destination = key_of(&secret, Role::Destination)?;
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedKeyVerifier::of(&destination, &provider)))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(source.clone())));
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .with_client_cert_verifier(Arc::new(PinnedKeyVerifier::of(&source, &provider)))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(destination)));
    Ok(both(client, server))
}

/// The key pair of a role.
fn key_of(secret: &[u8], role: Role) -> Result<Arc<CertifiedKey>, CredentialsError> {
    let label: &[u8] = match role {
        Role::Source => b"source",
        Role::Destination => b"destination",
    };
    let mut pkcs8 = PKCS8_ED25519.to_vec();
    let mut seed = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, SALT)
        .extract(secret)
        .expand(&[label], hkdf::HKDF_SHA256)
        .and_then(|derived| derived.fill(&mut seed))
        .map_err(|_| unusable("no key can be derived"))?;
    pkcs8.extend(seed);
    let key = provider::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8)).map_err(unusable)?;
    let public = key.public_key().ok_or_else(|| unusable("a key without a public half"))?;
    let public = CertificateDer::from(public.to_vec());
    Ok(Arc::new(CertifiedKey::new(vec![public], key)))
}

/// Accepts a peer that holds a specific key, and no other.
#[derive(Debug)]
struct PinnedKeyVerifier {
    public: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl PinnedKeyVerifier {
    fn of(key: &CertifiedKey, provider: &Arc<CryptoProvider>) -> PinnedKeyVerifier {
        PinnedKeyVerifier { public: key.cert[0].clone(), provider: provider.clone() }
    }

    fn check(&self, shown: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        // Both keys are public, so the comparison need not take constant time.
        if *shown == self.public {
            return Ok(());
        }
        Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn signed(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check(shown)?;
        let key = SubjectPublicKeyInfoDer::from(shown.as_ref());
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }
}

/// TLS 1.2 is not supported.
fn too_old() -> rustls::Error {
    rustls::Error::General("TLS 1.2".to_owned())
}

impl ServerCertVerifier for PinnedKeyVerifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(shown).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for PinnedKeyVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(shown).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
#[path = "security_test.rs"]
mod tests;
