//! Nonces for proofs (RFC 9449, 8), and which proofs were used.
//!
//! A nonce is a time of this process and its mark, so nothing is kept for those that were given out. Proofs that
//! were used are remembered for as long as their nonce is good. A restart makes all nonces void, and with them all
//! proofs.

use aws_lc_rs::hmac;
use base64ct::{Base64UrlUnpadded, Encoding};
use std::collections::BTreeMap;
use std::sync::Mutex;
use tether_oauth::{Proof, Refusal, Standard};

/// How long a nonce is good, in seconds.
pub const NONCE_SECONDS: u64 = 300;
/// The most proofs that are remembered.
const USED_MAX: usize = 200_000;

/// Makes and checks nonces.
pub struct Nonces {
    key: hmac::Key,
    used: Mutex<BTreeMap<(u64, String), ()>>,
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Nonces")
    }
}

impl Nonces {
    /// With a new secret.
    pub fn new(secret: [u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &secret), used: Mutex::new(BTreeMap::new()) }
    }

    /// A nonce of now.
    pub fn make(&self, now: u64) -> String {
        let mark = hmac::sign(&self.key, now.to_string().as_bytes());
        format!("{now}.{}", Base64UrlUnpadded::encode_string(mark.as_ref()))
    }

    /// Whether a proof carries a good nonce: the nonce's time.
    pub fn check(&self, proof: &Proof, now: u64) -> Result<u64, Refusal> {
        let time = self.time_of(&proof.nonce).filter(|time| *time <= now && now - time <= NONCE_SECONDS);
        time.ok_or_else(|| {
            let why = "the proof's nonce is too old; use that of the DPoP-Nonce header";
            Refusal::new(Standard::UseDpopNonce, "proof.nonce", why)
        })
    }

    /// Whether a proof carries a good nonce and is used for the first time.
    pub fn take(&self, proof: &Proof, now: u64) -> Result<(), Refusal> {
        let time = self.check(proof, now)?;
        let busy = || Refusal::new(Standard::TemporarilyUnavailable, "proof.busy", "too many proofs; try again later");
        let mut used = self.used.lock().map_err(|_| busy())?;
        let old = used.range(..(now.saturating_sub(NONCE_SECONDS), String::new())).map(|(key, ())| key.clone());
        for key in old.collect::<Vec<_>>() {
            used.remove(&key);
        }
        if used.len() >= USED_MAX {
            return Err(busy());
        }
        if used.insert((time, format!("{} {}", proof.jkt, proof.jti)), ()).is_some() {
            return Err(Refusal::new(Standard::InvalidDpopProof, "proof.replayed", "the proof was used before"));
        }
        Ok(())
    }

    /// How many proofs are remembered.
    #[cfg(test)]
    pub fn remembered(&self) -> usize {
        self.used.lock().unwrap().len()
    }

    fn time_of(&self, nonce: &str) -> Option<u64> {
        let (time, mark) = nonce.split_once('.')?;
        let mark = Base64UrlUnpadded::decode_vec(mark).ok()?;
        hmac::verify(&self.key, time.as_bytes(), &mark).ok()?;
        time.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tether_oauth::ProofRequest;
    use tether_oauth::issue::PrivateKey;

    fn proof(nonce: &str, jti: &str) -> Proof {
        let request = ProofRequest { method: "POST", url: "https://c", access_token: None };
        let text = PrivateKey::from_seed(&[7; 32]).unwrap().proof(request, Some(nonce), jti, 0);
        Proof::verify(&text, request).unwrap()
    }

    #[test]
    fn a_proof_is_used_once_while_its_nonce_is_good() {
        let nonces = Nonces::new([1; 32]);
        let nonce = nonces.make(1000);
        assert_eq!(nonces.take(&proof(&nonce, "a"), 1010), Ok(()));
        assert_eq!(nonces.take(&proof(&nonce, "a"), 1010).unwrap_err().code, "proof.replayed");
        assert_eq!(nonces.take(&proof(&nonce, "b"), 1300), Ok(()));
        assert_eq!(nonces.take(&proof(&nonce, "c"), 1301).unwrap_err().code, "proof.nonce");
        assert_eq!(nonces.take(&proof(&nonces.make(2000), "d"), 1301).unwrap_err().code, "proof.nonce");
    }

    #[test]
    fn a_nonce_of_another_process_is_none() {
        let nonce = Nonces::new([2; 32]).make(1000);
        for bad in [nonce.as_str(), "1000", "1000.", "", "."] {
            if bad.is_empty() {
                continue;
            }
            assert_eq!(Nonces::new([1; 32]).take(&proof(bad, "a"), 1000).unwrap_err().error, Standard::UseDpopNonce);
        }
    }
}
