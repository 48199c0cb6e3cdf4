//! Programs that run on the machine, not on hosts: central, the agent's tool, an admin's `tether`.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Where they are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `tether-central`.
    pub central: PathBuf,
    /// `tether-agent`.
    pub agent: PathBuf,
    /// `tether`.
    pub tether: PathBuf,
}

impl Programs {
    /// Those that are built with the tests, so that tests always run the current ones.
    pub fn of_tests() -> Result<Self> {
        Ok(Self { central: built("test-central")?, agent: built("test-agent")?, tether: built("test-tether")? })
    }

    /// Central from somewhere else: a bench measures the released one.
    pub fn with_central(self, path: &Path) -> Self {
        Self { central: path.to_owned(), ..self }
    }
}

/// A program that is built with the tests.
pub fn built(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.exists());
    found.with_context(|| format!("{name} is not built beside {}: cargo build -p tether-tests --bins", own.display()))
}
