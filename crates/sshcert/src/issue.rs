//! The issuing half: signing certificates. Central uses it, and so do demo and tests.

use crate::certificate::DELEGATION_EXTENSION;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::Ed25519Keypair;
use ssh_key::public::{EcdsaPublicKey, Ed25519PublicKey, KeyData};
use ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey};

/// What goes into a certificate. Every field may be set to nonsense: that is how forgeries are made.
#[derive(Debug, Clone)]
pub struct Request {
    /// The key id; the session.
    pub key_id: String,
    /// The serial.
    pub serial: u64,
    /// User certificates are what sessions have; a host certificate is a forgery.
    pub host_certificate: bool,
    /// Account and workload principal.
    pub principals: Vec<String>,
    /// From when, seconds since 1970.
    pub valid_after: u64,
    /// Until when.
    pub valid_before: u64,
    /// The delegation token, if any.
    pub delegation: Option<String>,
    /// Critical options.
    pub critical_options: Vec<(String, String)>,
    /// Extensions besides the delegation.
    pub extensions: Vec<(String, String)>,
}

/// A session's public key, Ed25519, from its 32 bytes.
pub fn ed25519_key(public: [u8; 32]) -> PublicKey {
    PublicKey::from(KeyData::Ed25519(Ed25519PublicKey(public)))
}

/// A session's public key, P-256, from its affine coordinates.
pub fn p256_key(x: &[u8; 32], y: &[u8; 32]) -> Result<PublicKey, ssh_key::Error> {
    let mut point = vec![4];
    point.extend_from_slice(x);
    point.extend_from_slice(y);
    Ok(PublicKey::from(KeyData::Ecdsa(EcdsaPublicKey::from_sec1_bytes(&point)?)))
}

/// A public key's fingerprint as ssh prints it.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// An Ed25519 key pair of OpenSSH: a CA's, or a session's.
#[derive(Debug, Clone)]
pub struct KeyPair(PrivateKey);

impl KeyPair {
    /// From 32 secret bytes, which the caller took from a secure source.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(PrivateKey::from(Ed25519Keypair::from_seed(&seed)))
    }

    /// The public half as in authorized_keys(5).
    pub fn public_line(&self) -> Result<String, ssh_key::Error> {
        self.0.public_key().to_openssh()
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        self.0.public_key()
    }

    /// Its fingerprint as ssh prints it.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// The private half in OpenSSH's file format.
    pub fn private_file(&self) -> Result<String, ssh_key::Error> {
        Ok(self.0.to_openssh(LineEnding::LF)?.as_str().to_owned())
    }

    /// Signs a certificate for `subject`; 16 random bytes make it unlike any other. Returns its one line.
    pub fn certify(&self, subject: &PublicKey, request: &Request, nonce: [u8; 16]) -> Result<String, ssh_key::Error> {
        let mut builder =
            Builder::new(nonce.to_vec(), subject.key_data().clone(), request.valid_after, request.valid_before)?;
        builder.serial(request.serial)?.key_id(&request.key_id)?;
        builder.cert_type(if request.host_certificate { CertType::Host } else { CertType::User })?;
        for principal in &request.principals {
            builder.valid_principal(principal)?;
        }
        if request.principals.is_empty() {
            builder.all_principals_valid()?;
        }
        for (name, value) in &request.critical_options {
            builder.critical_option(name, value)?;
        }
        if let Some(token) = &request.delegation {
            builder.extension(DELEGATION_EXTENSION, token)?;
        }
        for (name, value) in &request.extensions {
            builder.extension(name, value)?;
        }
        builder.sign(&self.0)?.to_openssh()
    }
}
