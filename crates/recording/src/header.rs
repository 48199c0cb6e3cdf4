//! What a recording is of.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The first line of every recording.
pub const MAGIC: &[u8] = b"tether-recording 1\n";
/// The most bytes that the header's line may have.
pub(crate) const HEADER_MAX: usize = 64 * 1024;

/// What was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A channel with a terminal.
    Tty,
    /// A channel with a command and no terminal.
    Exec,
    /// A file transfer.
    Sftp,
    /// A command under sudo.
    Sudo,
    /// A command under `tether run`.
    Run,
}

impl Kind {
    /// Its name in files and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tty => "tty",
            Self::Exec => "exec",
            Self::Sftp => "sftp",
            Self::Sudo => "sudo",
            Self::Run => "run",
        }
    }
}

/// The second line, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The recording's name, unique in its session.
    pub name: String,
    /// The session.
    pub session: String,
    /// The host.
    pub host: String,
    /// What was recorded.
    pub kind: Kind,
    /// The command: a list of arguments, a text, or null for a login.
    pub command: Value,
    /// When it began: microseconds since 1970 by the host's clock.
    pub started_us: u64,
    /// Width of the terminal, in characters; 0 without one.
    pub columns: u16,
    /// Its height.
    pub rows: u16,
}

impl Header {
    /// The beginning of the file: magic and header.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut out = MAGIC.to_vec();
        serde_json::to_writer(&mut out, self)?;
        out.push(b'\n');
        Ok(out)
    }
}
