//! A proof of a key for somebody else's server: a provider that binds its tokens to it.

use crate::keygen::load;
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use tether_centrallink::random;
use tether_oauth::ProofRequest;

#[derive(Args)]
pub(crate) struct Proof {
    /// The key, from keygen
    #[arg(long)]
    key: PathBuf,
    /// Where the request goes, without query and fragment
    #[arg(long)]
    url: String,
    /// Its HTTP method
    #[arg(long, default_value = "POST")]
    method: String,
    /// The server's nonce, if it has given one (DPoP-Nonce)
    #[arg(long)]
    nonce: Option<String>,
}

/// Prints the value of the DPoP header (RFC 9449).
pub(crate) fn print(proof: &Proof) -> Result<()> {
    let request = ProofRequest { method: &proof.method, url: &proof.url, access_token: None };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    println!("{}", load(&proof.key)?.proof(request, proof.nonce.as_deref(), &random::name(26)?, now));
    Ok(())
}
