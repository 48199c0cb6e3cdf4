//! SSH certificates that carry a delegation: reading them, and checking what a library does not.
//!
//! `ssh-key` checks the CA's signature and the times. It does not check that the certificate is a user's,
//! that it has principals, or that its critical options are known (tried: a host certificate, one without
//! principals and one with an unknown critical option all validate). Those checks are here.
#![forbid(unsafe_code)]

mod certificate;
#[cfg(feature = "issue")]
pub mod issue;

#[cfg(feature = "verify")]
pub use certificate::ca_fingerprint;
pub use certificate::{CertificateError, DELEGATION_EXTENSION, SessionCertificate};
