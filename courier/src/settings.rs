//! What enrolment wrote down for the courier.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tether_centrallink::Central;
use tether_oauth::issue::PrivateKey;

/// Whom to ask: root's.
pub const SETTINGS_FILE: &str = "/etc/tether/courier.toml";
/// The authority that signed central's TLS certificate: root's.
pub const AUTHORITY_FILE: &str = "/etc/tether/central-authority.pem";
/// The courier's own key: its user's.
pub const KEY_FILE: &str = "/var/lib/tether-courier/key";
/// What agentd reports.
pub const REPORT_FILE: &str = "/run/tether/resume-request.json";
/// Where agentd looks.
pub const INBOX: &str = "/var/spool/tether/inbox";

/// `courier.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Central's URL.
    pub central: String,
}

/// Central, and the key that it knows this host by.
pub fn load() -> Result<(Central, PrivateKey)> {
    let read = |path: &str| std::fs::read(path).with_context(|| format!("cannot read {path}; enrol first"));
    let settings = String::from_utf8(read(SETTINGS_FILE)?).with_context(|| SETTINGS_FILE.to_owned())?;
    let settings: Settings = toml::from_str(&settings).with_context(|| SETTINGS_FILE.to_owned())?;
    let central = Central::new(&settings.central, &read(AUTHORITY_FILE)?).with_context(|| AUTHORITY_FILE.to_owned())?;
    let seed = read(KEY_FILE)?;
    ensure!(seed.len() == 32, "{KEY_FILE} has not 32 bytes");
    let seed = seed.try_into().map_err(|_| anyhow::anyhow!("{KEY_FILE} has not 32 bytes"))?;
    Ok((central, PrivateKey::from_seed(&seed)?))
}
