//! `/etc/tether/host.toml` and `/etc/tether/ceiling.toml`: what the host's admin wrote down.
//!
//! Both are read once, at start, and strictly: an unknown setting, a wrong type or a value out of bounds
//! stops agentd with words that name file, setting and mend. Without agentd no agent logs in.

use crate::redaction::{self, Redaction};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tether_identity::{HostId, Prefix, Scheme};
use tether_statement::{Grant, PublicKey};

/// Where the host's own settings are.
pub const HOST_FILE: &str = "/etc/tether/host.toml";
/// Where the admin's limits are.
pub const CEILING_FILE: &str = "/etc/tether/ceiling.toml";

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}; /usr/share/doc/tether/examples shows what it must hold")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: {why}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which line and setting, and what is wrong.
        why: String,
    },
}

/// `host.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// This host's id, as central knows it.
    pub host: HostId,
    /// Scheme of workload principals.
    #[serde(default)]
    pub scheme: Scheme,
    /// How agents' login names begin. Fixed at `ag-` in this version.
    #[serde(default)]
    pub prefix: Prefix,
    /// The root's public keys by `kid`: they sign key sets, nothing else.
    pub roots: BTreeMap<String, PublicKey>,
    /// Times.
    #[serde(default)]
    pub times: Times,
    /// What is recorded.
    #[serde(default)]
    pub recording: crate::recordings::Settings,
    /// The audit chain.
    #[serde(default)]
    pub audit: Audit,
}

/// `[audit]` of `host.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// How many days the segments that central has countersigned are kept.
    pub keep_days: u64,
    /// How many MiB the chain may have. With more of them that central has not countersigned, agents are refused.
    pub max_mib: u64,
    /// How long a segment becomes before the next is begun, in KiB.
    pub segment_kib: u64,
    /// How many records one session may cause; then it ends.
    pub session_records: u64,
    /// Patterns (regex) of arguments that no record shows; the usual names of secrets if left out.
    pub redact: Vec<String>,
    /// Whether each record is copied into the journal. An agent that may read the journal then reads what others did.
    pub journal: bool,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            keep_days: 30,
            max_mib: 1024,
            segment_kib: 8192,
            session_records: 100_000,
            redact: redaction::USUAL.map(str::to_owned).to_vec(),
            journal: false,
        }
    }
}

impl Audit {
    fn check(&self) -> Result<(), String> {
        if self.max_mib == 0 || self.max_mib > 1 << 30 || self.segment_kib == 0 || self.segment_kib > 1 << 20 {
            return Err("[audit]: max_mib and segment_kib must be above 0, and segment_kib at most 1048576".to_owned());
        }
        Redaction::check(&self.redact).map_err(|why| format!("[audit] redact: {why}"))?;
        if self.session_records < 16 {
            return Err("[audit]: session_records must be at least 16: a login and its end are some of them".to_owned());
        }
        Ok(())
    }
}

/// `[times]` of `host.toml`, all in seconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Times {
    /// Without a head this young there is no new login and no new privileged command.
    pub max_silence: u64,
    /// Without a head this young sessions end.
    pub max_silence_live: u64,
    /// A connection that passed the account gate and is not bound by then is killed.
    pub login_grace: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { max_silence: 60, max_silence_live: 900, login_grace: 30 }
    }
}

impl Times {
    /// [`Times::max_silence`].
    pub fn silence(&self) -> Duration {
        Duration::from_secs(self.max_silence)
    }

    /// [`Times::max_silence_live`].
    pub fn silence_live(&self) -> Duration {
        Duration::from_secs(self.max_silence_live)
    }
}

/// `ceiling.toml`: no statement may give more, whoever signed it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ceiling {
    /// The longest that a session may live, in seconds.
    pub session_seconds: u64,
    /// The longest span of a certificate, in seconds.
    pub certificate_seconds: u64,
    /// The longest span of a delegation token, in seconds.
    pub delegation_seconds: u64,
    /// The most connections that one session may have.
    pub connections: u32,
    /// The most sessions at a time.
    pub sessions: usize,
    /// The issuers whose tokens are taken; any that the key set names if this is left out.
    pub issuers: Option<Vec<String>>,
    /// The teams whose agents may come; any if this is left out.
    pub teams: Option<Vec<String>>,
    /// The bundles that may be used; any if this is left out.
    pub bundles: Option<Vec<String>>,
    /// Size of a session's own files, in MiB.
    pub scratch_mib: u64,
    /// Whether rules that write may be used.
    pub write_rules: bool,
    /// The grants that rules may have: `proc-links`, `dbus`, `net`.
    pub grants: Vec<String>,
    /// The trees that bundles may have read; any if this is left out.
    pub read: Option<Vec<String>>,
    /// The longest that a command may run, in seconds.
    pub command_seconds: u64,
    /// The most that a command may print, in MiB.
    pub command_output_mib: u64,
}

impl Default for Ceiling {
    fn default() -> Self {
        Self {
            session_seconds: 8 * 3600,
            certificate_seconds: 8 * 3600,
            delegation_seconds: 8 * 3600,
            connections: 4,
            sessions: 1000,
            issuers: None,
            teams: None,
            bundles: None,
            scratch_mib: 64,
            write_rules: false,
            grants: ["proc-links", "dbus", "net"].map(str::to_owned).to_vec(),
            read: None,
            command_seconds: 3600,
            command_output_mib: 256,
        }
    }
}

impl Ceiling {
    /// Whether its own settings make sense.
    fn check(&self) -> Result<(), String> {
        if let Some(unknown) = self.grants.iter().find(|grant| !["proc-links", "dbus", "net"].contains(&grant.as_str()))
        {
            return Err(format!("grants: {unknown:?} is none of \"proc-links\", \"dbus\", \"net\""));
        }
        let plain = |path: &String| path.starts_with('/') && !path.split('/').any(|part| part == ".." || part == ".");
        if let Some(wrong) = self.read.iter().flatten().find(|path| !plain(path)) {
            return Err(format!("read: {wrong:?} is not an absolute path without '.' and '..'"));
        }
        if self.command_seconds == 0 || self.command_output_mib == 0 {
            return Err("command_seconds and command_output_mib must be above 0".to_owned());
        }
        Ok(())
    }

    /// The first limit that a grant exceeds, as a code and in words.
    pub fn excess(&self, grant: &Grant) -> Option<(&'static str, String)> {
        let span = grant.expires_at.saturating_sub(grant.not_before);
        if span > self.session_seconds {
            let words = format!("the session may live {span} s, the ceiling is {} s", self.session_seconds);
            return Some(("ceiling.session_seconds", words));
        }
        if grant.connections > self.connections {
            let words = format!("{} connections, the ceiling is {}", grant.connections, self.connections);
            return Some(("ceiling.connections", words));
        }
        let listed = |list: &Option<Vec<String>>, text: &str| list.as_ref().is_none_or(|l| l.iter().any(|x| x == text));
        if !listed(&self.issuers, &grant.issuer) {
            return Some(("ceiling.issuers", format!("the ceiling does not list the issuer {}", grant.issuer)));
        }
        if !listed(&self.teams, grant.principal.team.as_str()) {
            return Some(("ceiling.teams", format!("the ceiling does not list the team {}", grant.principal.team)));
        }
        if !listed(&self.bundles, grant.bundle.as_str()) {
            return Some(("ceiling.bundles", format!("the ceiling does not list the bundle {}", grant.bundle)));
        }
        None
    }
}

/// Everything that is configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host.toml`.
    pub host: Host,
    /// `ceiling.toml`, or its defaults if there is none.
    pub ceiling: Ceiling,
}

impl Config {
    /// Reads both files.
    pub fn load() -> Result<Self, ConfigError> {
        let host: Host = read(Path::new(HOST_FILE))?;
        host.check().map_err(|why| ConfigError::Malformed { path: HOST_FILE.into(), why })?;
        let ceiling: Ceiling =
            if Path::new(CEILING_FILE).exists() { read(Path::new(CEILING_FILE))? } else { Ceiling::default() };
        ceiling.check().map_err(|why| ConfigError::Malformed { path: CEILING_FILE.into(), why })?;
        Ok(Self { host, ceiling })
    }
}

impl Host {
    fn check(&self) -> Result<(), String> {
        if self.roots.is_empty() {
            return Err("[roots] names no key: no statement could ever be believed".to_owned());
        }
        if self.prefix != Prefix::default() {
            return Err("prefix: the NSS module of this version answers for \"ag-\" only".to_owned());
        }
        let Times { max_silence, max_silence_live, login_grace } = self.times;
        if max_silence == 0 || max_silence_live < max_silence || login_grace == 0 {
            return Err("[times]: max_silence and login_grace must be above 0, max_silence_live not below max_silence"
                .to_owned());
        }
        self.audit.check()?;
        self.recording.check()
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|error| ConfigError::Malformed { path: path.to_owned(), why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "host = \"web-01\"\n[roots]\nr = \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"\n";

    fn read_host(text: &str) -> Result<Host, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = folder.path().join("host.toml");
        std::fs::write(&path, text).map_err(|error| error.to_string())?;
        let host: Host = read(&path).map_err(|error| error.to_string())?;
        host.check().map(|()| host)
    }

    #[test]
    fn what_is_left_out_has_the_documented_value() {
        let host = read_host(GOOD).unwrap();
        let Times { max_silence, max_silence_live, login_grace } = host.times;
        assert_eq!((max_silence, max_silence_live, login_grace), (60, 900, 30));
        assert_eq!(host.prefix.as_str(), "ag-");
    }

    #[test]
    fn a_mistake_stops_it_and_is_named() {
        for (text, words) in [
            ("", "missing field `host`"),
            ("host = 7", "invalid type"),
            ("host = \"a b\"", "host id"),
            ("host = \"web-01\"\n[roots]\n", "[roots] names no key"),
            ("host = \"web-01\"\n[roots]\nr = \"AAAA\"\n", "32 bytes"),
            (&format!("{GOOD}[times]\nmax_silense = 5\n"), "max_silense"),
            (&format!("{GOOD}[times]\nmax_silence = 0\n"), "above 0"),
            (&format!("{GOOD}[times]\nmax_silence = 60\nmax_silence_live = 5\n"), "not below max_silence"),
            (&format!("{GOOD}[times]\nmax_silence = -1\n"), "invalid value"),
            (&format!("{GOOD}[recording]\nkeep_days = 0\n"), "keep_days must be above 0"),
            (&format!("{GOOD}[recording]\nkeep_dayz = 1\n"), "keep_dayz"),
            (&format!("prefix = \"bot-\"\n{GOOD}"), "\"ag-\" only"),
            (&format!("prefix = \"a:b-\"\n{GOOD}"), "account prefix"),
            (&format!("scheme = \"x/y\"\n{GOOD}"), "scheme"),
            ("host = \"web-01\n", "host.toml"),
        ] {
            let error = read_host(text).map(|_| ()).unwrap_err();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_ceiling_holds_whoever_signed() {
        let text =
            "session_seconds = 60\nconnections = 1\nteams = [\"secops\"]\nissuers = []\nbundles = [\"triage\"]\n";
        let ceiling: Ceiling = toml::from_str(text).unwrap();
        let grant = |span: u64, connections: u32, team: &str, bundle: &str| -> Grant {
            serde_json::from_value(serde_json::json!({
                "session": "0123456789abcdef", "principal": format!("tether://{team}/a/h@example.org"), "instance": "i",
                "account": "ag-a", "delegation": "j", "issuer": "https://idp", "jkt": "A".repeat(43), "key": "k",
                "serial": 1, "ca": "c", "not_before": 100, "expires_at": 100 + span, "connections": connections,
                "source_addresses": [], "bundle": bundle, "auth_time": 0, "amr": []
            }))
            .unwrap()
        };
        let code = |grant: Grant| ceiling.excess(&grant).map(|(code, _)| code);
        assert_eq!(code(grant(61, 1, "secops", "triage")), Some("ceiling.session_seconds"));
        assert_eq!(code(grant(60, 2, "secops", "triage")), Some("ceiling.connections"));
        assert_eq!(code(grant(60, 1, "secops", "triage")), Some("ceiling.issuers"));
        let ceiling = Ceiling { issuers: None, ..ceiling.clone() };
        let code = |grant: Grant| ceiling.excess(&grant).map(|(code, _)| code);
        assert_eq!(code(grant(60, 1, "other", "triage")), Some("ceiling.teams"));
        assert_eq!(code(grant(60, 1, "secops", "dba")), Some("ceiling.bundles"));
        assert_eq!(code(grant(60, 1, "secops", "triage")), None);
        assert!(toml::from_str::<Ceiling>("session_second = 1").is_err());
    }
}
