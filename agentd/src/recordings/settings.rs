//! `[recording]` of `host.toml`.

use serde::Deserialize;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// What is recorded, how much of it, and how long it is kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether anything is recorded.
    pub on: bool,
    /// Whether what cannot be recorded does not run.
    pub required: bool,
    /// The most that one recording may hold, in MiB. Beyond, what is recorded ends.
    pub command_mib: u64,
    /// The most that a session's recordings may hold together, in MiB. Beyond, the session ends.
    pub session_mib: u64,
    /// With that much on this host, in MiB, nothing more is begun.
    pub host_mib: u64,
    /// How much a channel may show in a second, in MiB: beyond, it waits. 0: any.
    pub rate_mib: u64,
    /// After so many days a recording is removed.
    pub keep_days: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            on: true,
            required: true,
            command_mib: 1024,
            session_mib: 4096,
            host_mib: 10_240,
            rate_mib: 0,
            keep_days: 30,
        }
    }
}

impl Settings {
    /// Whether they make sense.
    pub fn check(&self) -> Result<(), String> {
        let all = [self.command_mib, self.session_mib, self.host_mib, self.keep_days];
        if all.contains(&0) {
            return Err("[recording]: command_mib, session_mib, host_mib and keep_days must be above 0".to_owned());
        }
        Ok(())
    }

    /// Bytes a second; 0: any.
    pub const fn rate_bytes(&self) -> u64 {
        self.rate_mib.saturating_mul(MIB)
    }

    pub(super) const fn command_bytes(&self) -> u64 {
        self.command_mib.saturating_mul(MIB)
    }

    pub(super) const fn session_bytes(&self) -> u64 {
        self.session_mib.saturating_mul(MIB)
    }

    pub(super) const fn host_bytes(&self) -> u64 {
        self.host_mib.saturating_mul(MIB)
    }

    pub(super) const fn kept(&self) -> Duration {
        Duration::from_secs(self.keep_days.saturating_mul(86_400))
    }
}
