//! One certificate, read whole.

use ssh_key::certificate::CertType;
use ssh_key::public::{EcdsaPublicKey, KeyData};
use ssh_key::{Certificate, HashAlg};
use tether_identity::{Malformed, SessionId, Thumbprint};

/// The extension that holds the delegation token.
pub const DELEGATION_EXTENSION: &str = "delegation@tether";

/// The only critical option that a session's certificate may have (PROTOCOL.certkeys).
const SOURCE_ADDRESS: &str = "source-address";

/// The longest certificate that is read, in characters of its one line.
const LINE_MAX: usize = 48 * 1024;

/// Why a certificate is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Malformed(String),
    /// It is a host's.
    #[error("it is a host certificate")]
    NotAUser,
    /// It names no principals, which sshd would take as "any" in other tools.
    #[error("it has no principals")]
    NoPrincipals,
    /// A critical option that this version does not know.
    #[error("it has the critical option {0:?}, which is not known here")]
    UnknownCriticalOption(String),
    /// It carries no delegation.
    #[error("it carries no {DELEGATION_EXTENSION}")]
    NoDelegation,
    /// Its key id is no session.
    #[error("its key id is not a session: {0}")]
    KeyId(#[from] Malformed),
    /// Its key is neither Ed25519 nor P-256.
    #[error("its key is neither Ed25519 nor P-256")]
    KeyType,
    /// The CA is not one of those trusted.
    #[error("its CA {0} is not trusted for agents")]
    UnknownCa(String),
    /// The CA's signature does not fit.
    #[error("the CA's signature does not fit")]
    Signature,
    /// Over, or not begun.
    #[error("it is valid from {after} to {before}, now is {now}")]
    Time {
        /// Its start.
        after: u64,
        /// Its end.
        before: u64,
        /// When it was looked at.
        now: u64,
    },
    /// Lives longer than the host allows.
    #[error("it lives for {found} s, this host allows {most} s")]
    TooLong {
        /// Its span in seconds.
        found: u64,
        /// The most.
        most: u64,
    },
}

impl CertificateError {
    /// The stable code of the refusal.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "certificate.malformed",
            Self::NotAUser => "certificate.not_a_user",
            Self::NoPrincipals => "certificate.no_principals",
            Self::UnknownCriticalOption(_) => "certificate.critical_option",
            Self::NoDelegation => "certificate.no_delegation",
            Self::KeyId(_) => "certificate.key_id",
            Self::KeyType => "certificate.key_type",
            Self::UnknownCa(_) => "certificate.unknown_ca",
            Self::Signature => "certificate.signature",
            Self::Time { .. } => "certificate.time",
            Self::TooLong { .. } => "certificate.too_long",
        }
    }
}

/// A certificate whose form is a session's. [`SessionCertificate::read`] does not check its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCertificate {
    inner: Certificate,
    /// The key id.
    pub session: SessionId,
    /// The token.
    pub delegation: String,
    /// RFC 7638 thumbprint of the session key.
    pub jkt: Thumbprint,
}

impl SessionCertificate {
    /// Reads `TYPE BASE64 [COMMENT]`, as sshd puts it into `SSH_AUTH_INFO_0` after the method's name.
    pub fn read(line: &str) -> Result<Self, CertificateError> {
        if line.len() > LINE_MAX {
            return Err(CertificateError::Malformed("it is longer than 48 KiB".to_owned()));
        }
        let inner = Certificate::from_openssh(line.trim_end())
            .map_err(|error| CertificateError::Malformed(error.to_string()))?;
        check_spelling(&inner, line)?;
        check_form(&inner)?;
        let delegation = inner.extensions().get(DELEGATION_EXTENSION).filter(|token| !token.is_empty());
        let delegation = delegation.ok_or(CertificateError::NoDelegation)?.clone();
        let session = inner.key_id().parse()?;
        let jkt = thumbprint(inner.public_key())?;
        Ok(Self { inner, session, delegation, jkt })
    }

    /// The principals.
    pub fn principals(&self) -> &[String] {
        self.inner.valid_principals()
    }

    /// The serial.
    pub fn serial(&self) -> u64 {
        self.inner.serial()
    }

    /// Fingerprint of the session key as ssh prints it.
    pub fn key(&self) -> String {
        self.inner.public_key().fingerprint(HashAlg::Sha256).to_string()
    }

    /// Fingerprint of the CA's key as ssh prints it.
    pub fn ca(&self) -> String {
        self.inner.signature_key().fingerprint(HashAlg::Sha256).to_string()
    }

    /// The addresses of `source-address`, if it has that option.
    pub fn source_addresses(&self) -> Vec<String> {
        let list = self.inner.critical_options().get(SOURCE_ADDRESS);
        list.map(|list| list.split(',').map(str::to_owned).collect()).unwrap_or_default()
    }

    /// Checks CA, signature, times and span.
    #[cfg(feature = "verify")]
    pub fn verify(&self, trusted_ca: &[String], now: u64, most_seconds: u64) -> Result<(), CertificateError> {
        let ca = self.ca();
        if !trusted_ca.contains(&ca) {
            return Err(CertificateError::UnknownCa(ca));
        }
        self.inner.verify_signature().map_err(|_| CertificateError::Signature)?;
        let (after, before) = (self.inner.valid_after(), self.inner.valid_before());
        if now < after || now >= before {
            return Err(CertificateError::Time { after, before, now });
        }
        let found = before.saturating_sub(after);
        if found > most_seconds {
            return Err(CertificateError::TooLong { found, most: most_seconds });
        }
        Ok(())
    }
}

/// Fingerprint of a CA key given as in authorized_keys(5), `SHA256:…`.
#[cfg(feature = "verify")]
pub fn ca_fingerprint(line: &str) -> Result<String, CertificateError> {
    let key: ssh_key::PublicKey =
        line.parse().map_err(|error: ssh_key::Error| CertificateError::Malformed(error.to_string()))?;
    Ok(key.fingerprint(HashAlg::Sha256).to_string())
}

/// `ssh-key` passes over some length fields and checks the signature over what it would have written. sshd
/// checks it over what came: both must be the same bytes.
fn check_spelling(certificate: &Certificate, line: &str) -> Result<(), CertificateError> {
    let malformed = |why: String| CertificateError::Malformed(why);
    let canonical = certificate.to_openssh().map_err(|error| malformed(error.to_string()))?;
    let same = canonical.split(' ').take(2).eq(line.trim_end().split(' ').take(2));
    if same { Ok(()) } else { Err(malformed("its bytes are not those that its content is written with".to_owned())) }
}

fn check_form(certificate: &Certificate) -> Result<(), CertificateError> {
    if certificate.cert_type() != CertType::User {
        return Err(CertificateError::NotAUser);
    }
    if certificate.valid_principals().is_empty() {
        return Err(CertificateError::NoPrincipals);
    }
    match certificate.critical_options().keys().find(|name| *name != SOURCE_ADDRESS) {
        Some(name) => Err(CertificateError::UnknownCriticalOption(name.clone())),
        None => Ok(()),
    }
}

fn thumbprint(key: &KeyData) -> Result<Thumbprint, CertificateError> {
    match key {
        KeyData::Ed25519(key) => Ok(Thumbprint::of_ed25519(&key.0)),
        KeyData::Ecdsa(EcdsaPublicKey::NistP256(point)) => {
            let coordinate = |bytes: Option<&[u8]>| bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            let x = coordinate(point.x().map(AsRef::as_ref)).ok_or(CertificateError::KeyType)?;
            let y = coordinate(point.y().map(AsRef::as_ref)).ok_or(CertificateError::KeyType)?;
            Ok(Thumbprint::of_p256(&x, &y))
        }
        _ => Err(CertificateError::KeyType),
    }
}
