//! Small helpers: a thread that may change its namespaces, retries with a deadline, locks, clean-up, running a tool.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use crate::error::{Context, Error, Result};

/// Runs `work` on a thread of its own. Namespaces belong to threads, so the caller's stay as they are.
pub(crate) fn aside<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Repeats `attempt` every few milliseconds until it succeeds or the time is over; then its last error counts.
pub(crate) fn until<T, E>(
    limit: Duration,
    mut attempt: impl FnMut() -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            result => return result,
        }
    }
}

/// Takes the lock file at `path`; `waiting` is called once if another process holds it.
pub(crate) fn lock(path: &Path, waiting: impl FnOnce()) -> Result<Flock<File>> {
    let file = File::create(path).context("make the lock file", path)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((file, _)) => {
            waiting();
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).context("lock", path)
        }
    }
}

/// Removes a folder and all in it; one that is not there is no error.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.context("remove", folder),
    }
}

/// Runs a program of the machine with `input` on its stdin; another status than 0 is an error.
pub(crate) fn tool(command: &mut Command, package: &'static str, input: &str) -> Result<Output> {
    let what = format!("{command:?}");
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = match command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::MissingTool { tool: name, package });
        }
        child => child.context("run", &name)?,
    };
    if let Some(mut stdin) = child.stdin.take() {
        io::Write::write_all(&mut stdin, input.as_bytes()).context("write to", &name)?;
    }
    let output = child.wait_with_output().context("wait for", &name)?;
    if output.status.success() { Ok(output) } else { Err(Error::command(what, &output)) }
}
