//! Test programs: what cargo built, and one run of one.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run::{cargo, target};

/// Where real hosts are booted: their tests wait for other machines' sake, and may fail for it.
const ON_HOSTS: [&str; 2] = ["tether-tests", "tether-testhost"];

/// A program of tests that is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// `package: target`, as people know it.
    pub name: String,
    /// The target alone.
    pub target: String,
    /// Whether it boots hosts.
    pub on_hosts: bool,
    executable: PathBuf,
    /// The package's folder: tests run in it.
    folder: PathBuf,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Exit status 0.
    Passed,
    /// Another.
    Failed(String),
}

impl End {
    pub(super) fn of(status: ExitStatus) -> Self {
        if status.success() { Self::Passed } else { Self::Failed(status.to_string()) }
    }
}

/// One run of a program.
#[derive(Debug)]
pub(super) struct Run {
    /// Its stdout and stderr, as they came.
    pub said: String,
    /// How it ended.
    pub end: End,
    /// How long it took.
    pub took: Duration,
}

/// Builds all tests; gives their programs.
pub(super) fn build() -> Result<Vec<Program>> {
    let mut build = cargo(&["test", "--workspace", "--locked", "--no-run"]);
    build.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = build.spawn().context("cannot run cargo test --no-run")?;
    let stdout = child.stdout.take().context("cargo test has no stdout")?;
    let mut programs = Vec::new();
    for line in BufReader::new(stdout).lines() {
        programs.extend(program_of(&line.context("cannot read what cargo test says")?));
    }
    let status = child.wait().context("cannot wait for cargo test --no-run")?;
    if !status.success() {
        bail!("the tests do not build: {status}");
    }
    Ok(programs)
}

/// The test program that one of cargo's messages is about, if it is about one.
fn program_of(line: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let executable = PathBuf::from(message["executable"].as_str()?);
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
    let target = message["target"]["name"].as_str()?.to_owned();
    let kind = message["target"]["kind"][0].as_str()?;
    let package = package_of(message["package_id"].as_str()?)?;
    let name = format!("{package}: {target}");
    let on_hosts = kind == "test" && ON_HOSTS.contains(&package.as_str());
    Some(Program { name, target, on_hosts, executable, folder })
}

/// From `path+file:///…/tests#tether-tests@0.1.0`, or without the name where the folder has it.
fn package_of(id: &str) -> Option<String> {
    let (source, rest) = id.rsplit_once('#')?;
    let name = match rest.split_once('@') {
        Some((name, _)) => name,
        None => source.rsplit('/').next()?,
    };
    Some(name.to_owned())
}

impl Program {
    /// Runs it with these arguments. What it says goes to a file, which no child that stays can hold open.
    pub(super) fn run(&self, arguments: &[&str], environment: &[(&str, std::ffi::OsString)], limit: Duration) -> Run {
        let start = Instant::now();
        let folder = target().join("test-output");
        let log = folder.join(format!("{}.txt", self.name.replace(": ", "-")));
        let ran = std::fs::create_dir_all(&folder)
            .and_then(|()| self.start(&log, arguments, environment))
            .and_then(|mut child| wait(&mut child, limit));
        let end = ran.unwrap_or_else(|error| End::Failed(format!("{}: {error}", self.executable.display())));
        let said = std::fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        Run { said, end, took: start.elapsed() }
    }

    fn start(
        &self,
        log: &Path,
        arguments: &[&str],
        environment: &[(&str, std::ffi::OsString)],
    ) -> std::io::Result<std::process::Child> {
        let out = File::create(log)?;
        let mut command = Command::new(&self.executable);
        command.args(arguments).current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn()
    }
}

/// Waits for its end; one that takes too long is ended. Polls: std has no wait with a limit.
fn wait(child: &mut std::process::Child, limit: Duration) -> std::io::Result<End> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(End::of(status));
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(End::Failed(format!("it was ended after {} s", limit.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
pub(super) fn example(target: &str, on_hosts: bool) -> Program {
    let name = format!("package: {target}");
    Program { name, target: target.to_owned(), on_hosts, executable: "/bin/sh".into(), folder: "/".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(package: &str, kind: &str, target: &str, test: bool) -> String {
        serde_json::json!({
            "reason": "compiler-artifact", "package_id": package, "manifest_path": "/r/tests/Cargo.toml",
            "target": {"name": target, "kind": [kind]}, "profile": {"test": test}, "executable": "/t/end-1",
        })
        .to_string()
    }

    #[test]
    fn cargos_messages_name_the_programs() {
        let program = program_of(&message("path+file:///r/tests#tether-tests@0.1.0", "test", "end", true)).unwrap();
        assert_eq!((program.name.as_str(), program.on_hosts), ("tether-tests: end", true));
        assert_eq!(program.folder, Path::new("/r/tests"));
        let unit = program_of(&message("path+file:///r/tests#tether-tests@0.1.0", "lib", "tether_tests", true));
        assert!(!unit.unwrap().on_hosts, "a unit test boots nothing");
        let short = program_of(&message("path+file:///r/xtask#0.1.0", "bin", "xtask", true)).unwrap();
        assert_eq!(short.name, "xtask: xtask");
        assert_eq!(program_of(&message("path+file:///r/xtask#0.1.0", "bin", "xtask", false)), None);
        assert_eq!(program_of("   Compiling x"), None);
    }

    #[test]
    fn a_run_keeps_its_words_in_order_and_says_how_it_ended() {
        let limit = Duration::from_secs(60);
        let run = example("words", false).run(
            &["-c", "echo one; echo two >&2; echo $WORD; exit 3"],
            &[("WORD", "three".into())],
            limit,
        );
        assert_eq!(run.said, "one\ntwo\nthree\n");
        assert_eq!(run.end, End::Failed("exit status: 3".to_owned()));
        let run = example("hangs", false).run(&["-c", "echo in; exec sleep 1000"], &[], Duration::from_millis(300));
        assert_eq!(run.said, "in\n");
        assert!(matches!(run.end, End::Failed(why) if why.contains("ended after")));
    }
}
