//! Cgroups that agentd makes: one folder per session, in it `login` and one `run-…` per command.
//!
//! Ending is `cgroup.kill` (cgroup v2): the kernel kills all at once, forks included. Only cgroups that
//! agentd made are ever killed.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tether_hostlink::paths::CGROUP;
use tether_identity::SessionId;

/// The most processes that one session may have, where the kernel's `pids` controller is at hand.
const PIDS_MAX: &str = "512";

/// What a command used of the host (cgroup-v2.rst, `cpu.stat` and `memory.peak`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    user_us: u64,
    system_us: u64,
    /// None where the kernel does not count memory for it.
    memory_peak: Option<u64>,
}

impl Used {
    fn of(folder: &Path) -> Option<Self> {
        let text = fs::read_to_string(folder.join("cpu.stat")).ok()?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        let peak = fs::read_to_string(folder.join("memory.peak")).ok().and_then(|text| text.trim().parse().ok());
        Some(Self { user_us: field("user_usec")?, system_us: field("system_usec")?, memory_peak: peak })
    }

    /// As records have it.
    pub fn details(self) -> serde_json::Value {
        serde_json::json!({"user_us": self.user_us, "system_us": self.system_us, "memory_peak": self.memory_peak})
    }
}

/// The folder of sessions in the cgroup v2 tree.
#[derive(Debug, Clone)]
pub struct Cgroups(PathBuf);

impl Cgroups {
    /// Finds the tree and makes the folder.
    pub fn open() -> io::Result<Self> {
        let mount = v2_mount()?.ok_or_else(|| io::Error::other("no cgroup v2 tree is mounted"))?;
        let folder = mount.join(CGROUP);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Without the controller there is no limit, and the session ends as surely.
        let _ = fs::write(folder.join("cgroup.subtree_control"), "+pids");
        Ok(Self(folder))
    }

    /// Makes a session's cgroup with the part for its login.
    pub fn make(&self, session: &SessionId) -> io::Result<()> {
        let folder = self.0.join(session.as_str());
        fs::create_dir_all(folder.join("login"))?;
        let _ = fs::write(folder.join("pids.max"), PIDS_MAX);
        Ok(())
    }

    /// Makes the part for one command.
    pub fn make_command(&self, session: &SessionId, plan: &str) -> io::Result<()> {
        fs::create_dir(self.command(session, plan))
    }

    /// A command's part, for what is attached to it.
    pub fn open_command(&self, session: &SessionId, plan: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(openat(CWD, self.command(session, plan), flags, Mode::empty())?)
    }

    /// Moves a process into the session's login part.
    pub fn enter_login(&self, session: &SessionId, pid: u32) -> io::Result<()> {
        fs::write(self.0.join(session.as_str()).join("login/cgroup.procs"), pid.to_string())
    }

    /// Moves a process into a command's part.
    pub fn enter_command(&self, session: &SessionId, plan: &str, pid: u32) -> io::Result<()> {
        fs::write(self.command(session, plan).join("cgroup.procs"), pid.to_string())
    }

    /// A session's folder, for its runner: agentd may be gone when a command must end.
    pub fn folder(&self, session: &SessionId) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(openat(CWD, self.0.join(session.as_str()), flags, Mode::empty())?)
    }

    /// Kills all that a command started and removes its part. What it used, if the kernel counted that.
    pub fn end_command(&self, session: &SessionId, plan: &str) -> io::Result<Option<Used>> {
        let mut used = None;
        end(&self.command(session, plan), |folder| used = Used::of(folder))?;
        Ok(used)
    }

    /// Whether anything of a command's part is left.
    pub fn command_lives(&self, session: &SessionId, plan: &str) -> bool {
        let events = fs::read_to_string(self.command(session, plan).join("cgroup.events"));
        events.is_ok_and(|text| text.lines().any(|line| line == "populated 1"))
    }

    /// Kills all of a session and removes its cgroups.
    pub fn end(&self, session: &SessionId) -> io::Result<()> {
        end(&self.0.join(session.as_str()), |_| ())
    }

    /// The processes that logged in to the session, and what they started.
    pub fn logins(&self, session: &SessionId) -> Vec<u32> {
        let text = fs::read_to_string(self.0.join(session.as_str()).join("login/cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// All sessions that have a cgroup.
    pub fn sessions(&self) -> io::Result<Vec<SessionId>> {
        let entries = fs::read_dir(&self.0)?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.parse().ok()).collect())
    }

    fn command(&self, session: &SessionId, plan: &str) -> PathBuf {
        self.0.join(session.as_str()).join(format!("run-{plan}"))
    }
}

/// The session that a cgroup path belongs to, if it is one of ours.
pub fn session_of(path: &str) -> Option<SessionId> {
    let mut parts = path.split('/').skip_while(|part| *part != CGROUP);
    parts.next()?;
    parts.next()?.parse().ok()
}

/// Whether a cgroup path lies in our folder at all.
pub fn is_agents(path: &str) -> bool {
    path.split('/').any(|part| part == CGROUP)
}

/// `dead` sees the folder when nobody is in it any more.
fn end(folder: &Path, dead: impl FnOnce(&Path)) -> io::Result<()> {
    match fs::write(folder.join("cgroup.kill"), "1") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    }
    // A command's part may be ended by its own end and by its session's at once: gone is gone.
    let ended = wait_until_empty(folder, Duration::from_secs(10)).and_then(|()| {
        dead(folder);
        remove(folder)
    });
    match ended {
        Err(error) if is_gone(&error) => Ok(()),
        other => other,
    }
}

/// ENOENT from a path, ENODEV from a file of a cgroup that was removed while it was open.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// `cgroup.events` becomes readable as exceptional when it changes (cgroup-v2.rst).
fn wait_until_empty(folder: &Path, most: Duration) -> io::Result<()> {
    let path = folder.join("cgroup.events");
    let start = Instant::now();
    let file = File::open(&path)?;
    loop {
        if fs::read_to_string(&path)?.lines().any(|line| line == "populated 0") {
            return Ok(());
        }
        let left = most.checked_sub(start.elapsed()).ok_or(io::ErrorKind::TimedOut)?;
        // A change between reading and polling would be missed: look again after 20 ms at the latest.
        let timeout = Timespec::try_from(left.min(Duration::from_millis(20))).map_err(io::Error::other)?;
        poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&timeout))?;
    }
}

/// Removes a cgroup and those below it; only empty ones can be.
fn remove(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            match remove(&entry.path()) {
                Err(error) if !is_gone(&error) => return Err(error),
                _ => {}
            }
        }
    }
    fs::remove_dir(folder)
}

fn v2_mount() -> io::Result<Option<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let found = text.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        after.starts_with("cgroup2 ").then(|| before.split(' ').nth(4).map(PathBuf::from))?
    });
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_session() {
        let session = "0123456789abcdef";
        assert_eq!(session_of(&format!("/{CGROUP}/{session}/login")).unwrap().as_str(), session);
        assert_eq!(session_of("/user.slice/user-1000.slice"), None);
        assert_eq!(session_of(&format!("/{CGROUP}")), None);
        assert!(is_agents(&format!("/x/{CGROUP}/y")));
        assert!(!is_agents("/tether.sessionsx/y"));
    }
}
