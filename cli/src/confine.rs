//! What this kernel gives to hold commands under sudo. The launcher itself says it, so it is what it would use.

use crate::Found;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::process::Command;
use tether_hostlink::paths;

/// What the launcher said.
pub struct Report(Value);

const EVERYTHING: &str = "every command";

impl Report {
    /// Asks it.
    pub fn ask() -> Result<Self> {
        let output = Command::new(paths::CONFINE).arg("--features").output();
        let output = output.with_context(|| format!("{} does not run", paths::CONFINE))?;
        ensure!(output.status.success(), "{} --features failed", paths::CONFINE);
        Ok(Self(serde_json::from_slice(&output.stdout).context("the launcher said something else")?))
    }

    /// Why nothing would run, if so.
    pub fn refuses_everything(&self) -> Option<&str> {
        self.pairs("refused").into_iter().find(|(what, _)| *what == EVERYTHING).map(|(_, why)| why)
    }

    fn pairs(&self, list: &str) -> Vec<(&str, &str)> {
        let all = self.0[list].as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter().filter_map(|one| Some((one["what"].as_str()?, one["why"].as_str()?))).collect()
    }

    fn layers(&self) -> Vec<String> {
        let yes = |value: &Value| if value.as_bool() == Some(true) { "yes" } else { "no" };
        let landlock = &self.0["landlock"];
        let files: Vec<&str> = landlock["files"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        vec![
            format!("read-only mounts (mount_setattr)   {}", yes(&self.0["mount_setattr"])),
            format!("filters of system calls (seccomp)  {}", yes(&self.0["seccomp"])),
            format!(
                "Landlock: files                    {}",
                if files.is_empty() { "no".to_owned() } else { files.join(" ") }
            ),
            format!("Landlock: signals                  {}", yes(&landlock["signals"])),
            format!("Landlock: abstract sockets         {}", yes(&landlock["abstract_sockets"])),
            format!("Landlock: sockets by path          {}", yes(&landlock["path_sockets"])),
            format!("Landlock: TCP                      {}", yes(&landlock["tcp"])),
        ]
    }
}

/// Prints it.
pub fn run(json: bool) -> Result<Found> {
    let report = Report::ask()?;
    if json {
        println!("{}", report.0);
    } else {
        report.layers().iter().for_each(|line| println!("{line}"));
        for (word, list) in [("refused", "refused"), ("held by less", "weaker")] {
            report.pairs(list).iter().for_each(|(what, why)| println!("{word}: {what}: {why}"));
        }
    }
    Ok(if report.refuses_everything().is_some() { Found::Something } else { Found::Fine })
}
