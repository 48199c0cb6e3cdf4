//! The agent's own key.

use anyhow::{Context, Result};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tether_centrallink::random;
use tether_oauth::issue::PrivateKey;

/// Makes a key in a new file and prints its public half.
pub(crate) fn make(path: &Path) -> Result<()> {
    let seed = random::seed()?;
    let key = PrivateKey::from_seed(&seed)?;
    write_private(path, &seed)?;
    println!("{}", key.jwk());
    Ok(())
}

/// Reads a key.
pub(crate) fn load(path: &Path) -> Result<PrivateKey> {
    Ok(PrivateKey::from_seed(&seed(path)?)?)
}

/// Reads a key's secret bytes.
pub(crate) fn seed(path: &Path) -> Result<[u8; 32]> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    bytes.try_into().map_err(|_| anyhow::anyhow!("{} has not 32 bytes: is it from keygen?", path.display()))
}

/// A new file that only its owner may read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    file.write_all(bytes).with_context(|| format!("cannot write {}", path.display()))
}
