//! What the security team writes: TOML.
//!
//! ```toml
//! name = "logs"
//! version = 3
//! about = "Look at logs"
//!
//! [read]
//! trees = ["/var/log"]
//!
//! [[rule]]
//! id = "last-lines"
//! program = "/usr/bin/tail"
//! arguments = ["-n", { integer = [1, 1000] }, { path = "/var/log" }]
//!
//! [[test]]
//! allow = "/usr/bin/tail -n 50 /var/log/syslog"
//! ```
//! `docs/bundles.md` has every construct.

mod place;
mod print;
mod read;
mod rule;
mod units;
mod value;

pub use place::{Place, Problem};
pub use print::print;
pub use units::{duration, size};

use crate::model::Bundle;

/// The most bytes that a source may have.
pub const SOURCE_MAX: usize = 8 << 20;

/// A source that compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The bundle.
    pub bundle: Bundle,
    /// Where each of its rules stands.
    pub places: Vec<Place>,
    /// The cases that it is to be tried with. They are not part of the bundle.
    pub cases: Vec<Case>,
}

/// A command, and what the bundle must say to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Where it stands.
    pub place: Place,
    /// Whether it must be allowed.
    pub allow: bool,
    /// The command as a person would type it.
    pub line: String,
    /// Its words; the first is the program's resolved path.
    pub words: Vec<String>,
    /// Where it is typed.
    pub cwd: String,
    /// The digest of the program's file.
    pub sha256: Option<String>,
    /// The rule that must decide.
    pub rule: Option<String>,
    /// The code that a refusal must have.
    pub code: Option<String>,
}

/// Compiles a source. If it cannot, all that is wrong with it.
pub fn compile(text: &str) -> Result<Bundle, Vec<Problem>> {
    read(text).map(|source| source.bundle)
}

/// Compiles a source, and keeps what does not go into the bundle.
pub fn read(text: &str) -> Result<Source, Vec<Problem>> {
    read::read(text)
}
