//! Who attacks: plain root, which is the positive control, or an agent with sudo.

use crate::agent::Connection;
use anyhow::{Result, ensure};
use std::process::Child;
use std::time::Duration;
use tether_testhost::Host;

/// How long a whole run may take.
const LIMIT: Duration = Duration::from_secs(900);

/// Runs Python scripts that lie on the host.
pub trait Attacker {
    /// Starts a script as the attacked command, to run until it is ended.
    fn start(&self, script: &str) -> Result<Child>;
    /// Runs a script as the attacked command; what it printed.
    fn attack(&self, script: &str) -> Result<String>;
    /// Runs a script as whoever starts that command.
    fn before(&self, script: &str) -> Result<String>;
    /// What comes before a command to make it the attacked one.
    fn prefix(&self) -> &'static str;
}

/// Root itself.
pub struct PlainRoot<'h>(pub &'h Host);

impl Attacker for PlainRoot<'_> {
    fn start(&self, script: &str) -> Result<Child> {
        Ok(self.0.command("/bin/sh").args(&["-c", &format!("exec python3 -B {script}")]).spawn()?)
    }

    fn attack(&self, script: &str) -> Result<String> {
        self.before(script)
    }

    fn before(&self, script: &str) -> Result<String> {
        // Another status is no failure: an attack may hurt its own runner. What it leaves behind may hold its output.
        let line = format!("cd /var/tmp; python3 -B {script} > /var/tmp/report; cat /var/tmp/report");
        let output = self.0.command("/bin/sh").args(&["-c", &line]).timeout(LIMIT).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn prefix(&self) -> &'static str {
        ""
    }
}

/// An agent's command under sudo.
pub struct Confined<'c, 'a>(pub &'c Connection<'a>);

impl Attacker for Confined<'_, '_> {
    fn start(&self, script: &str) -> Result<Child> {
        self.0.start(&format!("sudo /usr/bin/python3 -B {script}"))
    }

    fn attack(&self, script: &str) -> Result<String> {
        let ran = self.0.run(&format!("sudo /usr/bin/python3 -B {script}"))?;
        ensure!(!ran.out.is_empty(), "nothing was tried: {ran:?}");
        Ok(ran.out)
    }

    fn before(&self, script: &str) -> Result<String> {
        Ok(self.0.run(&format!("/usr/bin/python3 -B {script}"))?.out)
    }

    fn prefix(&self) -> &'static str {
        "sudo"
    }
}
