//! Where things are on a host. Compiled in: what runs inside sshd and sudo reads no environment.

// They stand with the account files because the NSS module knows nothing of this protocol.
pub use tether_accountfile::{ACCOUNTS, UID_FIRST, UID_LAST, is_agent_uid};

/// Root's listener: PAM, sudo, the launcher, the command line. Mode 0600.
pub const ROOT_SOCKET: &str = "/run/tether/root.sock";
/// The listener of sshd's principals command, owned by [`PRINCIPALS_USER`]. Mode 0600.
pub const PRINCIPALS_SOCKET: &str = "/run/tether/principals.sock";
/// Each session's own listeners: found by name, not listed. See [`run_socket`] and [`record_socket`].
pub const RUN_FOLDER: &str = "/run/tether/run";
/// systemd's listener for agentd: each connection starts a `tether-runner`. Mode 0600.
pub const RUNNER_SOCKET: &str = "/run/tether/runner.sock";
/// The system user that sshd runs `tether-principals` as.
pub const PRINCIPALS_USER: &str = "tether-principals";
/// The home of every agent's account: in a session its own tmpfs, outside an empty folder.
pub const HOME: &str = "/run/tether/home";
/// CA keys that sshd trusts for agents' accounts only. agentd writes it from the `keys` statement.
pub const USER_CA_KEYS: &str = "/run/tether/user_ca_keys";
/// The cgroup (below the v2 mount) that holds one folder per session.
pub const CGROUP: &str = "tether.sessions";
/// The launcher that runs what agentd allowed under sudo.
pub const CONFINE: &str = "/usr/libexec/tether/tether-confine";
/// What starts the launcher under `tether run`.
pub const RUNNER: &str = "/usr/libexec/tether/tether-runner";
/// The login shell of agents' accounts.
pub const SHELL: &str = "/usr/libexec/tether/tether-shell";

/// Where a session's `tether run` asks: owned by its login uid, mode 0600.
#[must_use]
pub fn run_socket(uid: u32) -> String {
    format!("{RUN_FOLDER}/{uid}.sock")
}

/// Where the recorders of a session's channels ask: the same owner and mode.
#[must_use]
pub fn record_socket(uid: u32) -> String {
    format!("{RUN_FOLDER}/{uid}.record.sock")
}
