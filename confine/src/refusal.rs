//! How both programs refuse.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use tether_hostlink::Refusal;

/// As env(1) and shells use it: "it could not be run".
const REFUSED: u8 = 126;

/// Says on stderr what, why and what to do, and gives the exit code.
pub fn refuse(refusal: &Refusal) -> ExitCode {
    let mut text = format!("tether: {refusal}\n");
    if let Some(hint) = &refusal.hint {
        text.push_str(&format!("tether: hint: {hint}\n"));
    }
    // A name that an agent chose may be in it: no control characters reach a terminal.
    let shown: String = text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect();
    // stderr may be closed; the exit code says it all the same.
    let _ = std::io::stderr().write_all(shown.as_bytes());
    ExitCode::from(REFUSED)
}

/// A step that the kernel refused.
pub(crate) fn failed(code: &str, step: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal::new(code, format!("{step}: {why}; nothing was run"))
}
