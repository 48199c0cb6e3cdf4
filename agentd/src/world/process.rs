//! What the kernel says about a process: the ground on which "who is asking?" is answered.
//!
//! A process may end at any time and its number come back, so each look takes the start time with it, and
//! [`Process::pin`] makes sure that the descriptor is of the process that was looked at.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};
use tether_hostlink::Word;

/// One look at a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
    /// Its path in the cgroup v2 tree.
    pub cgroup: String,
    /// Who logged in, if anybody did (audit's loginuid).
    pub loginuid: Option<u32>,
    /// Whether it is in the same user namespace as agentd.
    pub initial_user_namespace: bool,
}

impl Process {
    /// Looks at a process.
    pub fn look(pid: u32) -> io::Result<Self> {
        let (parent, start) = stat(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
            .ok_or_else(|| io::Error::other("its stat has not the form of proc(5)"))?;
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let cgroup = cgroups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned();
        let loginuid = fs::read_to_string(format!("/proc/{pid}/loginuid")).ok();
        let loginuid = loginuid.and_then(|text| text.trim().parse().ok()).filter(|uid| *uid != u32::MAX);
        let namespace = fs::read_link(format!("/proc/{pid}/ns/user"))?;
        let initial_user_namespace = namespace == fs::read_link("/proc/self/ns/user")?;
        Ok(Self { pid, parent, start, cgroup, loginuid, initial_user_namespace })
    }

    /// A descriptor of this very process (pidfd_open(2)); an error if it ended since.
    pub fn pin(&self) -> io::Result<OwnedFd> {
        let descriptor = pin_pid(self.pid)?;
        if start_of(self.pid) == Some(self.start) { Ok(descriptor) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

/// The folder that a process is in, as its own mounts have it. `/` where that cannot be said.
pub fn folder_of(pid: u32) -> Word {
    let folder = fs::read_link(format!("/proc/{pid}/cwd")).map(|path| path.into_os_string().into_vec());
    Word::from(folder.ok().filter(|path| path.starts_with(b"/")).unwrap_or_else(|| b"/".to_vec()))
}

/// A process's parent, that one's, and so on; not for ever, should they change meanwhile.
pub fn ancestors(pid: u32) -> impl Iterator<Item = u32> {
    let parent = |pid: &u32| Some(stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?.0);
    std::iter::successors(Some(pid), parent).take(64)
}

/// The terminal of a process, if it has one.
pub fn terminal_of(pid: u32) -> Option<String> {
    terminal(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// From `tty_nr` of proc(5): the minor number in bits 31 to 20 and 7 to 0, the major one in 15 to 8. Pseudo-terminals
/// have 136 to 143 (devices.txt).
fn terminal(text: &str) -> Option<String> {
    let number: u32 = text.rsplit_once(')')?.1.split_ascii_whitespace().nth(4)?.parse().ok()?;
    let (major, minor) = ((number >> 8) & 0xff, (number >> 12 & 0xf_ff00) | (number & 0xff));
    (136..=143).contains(&major).then(|| format!("/dev/pts/{}", (major - 136) << 20 | minor))
}

/// When a process started; `None` if there is none.
pub fn start_of(pid: u32) -> Option<u64> {
    stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?).map(|(_, start)| start)
}

/// A descriptor of whatever process has this number now.
pub fn pin_pid(pid: u32) -> io::Result<OwnedFd> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(number, PidfdFlags::empty())?)
}

/// Kills a pinned process. Its having ended is no error.
pub fn kill(process: &OwnedFd) {
    let _ = pidfd_send_signal(process, Signal::KILL);
}

/// Waits for a pinned process to end. `true` if it did.
pub fn has_ended_within(process: &OwnedFd, most: Duration) -> bool {
    let start = Instant::now();
    loop {
        let Some(left) = most.checked_sub(start.elapsed()) else { return false };
        let Ok(timeout) = Timespec::try_from(left) else { return false };
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Parent and start time. The command's name may hold blanks and ')': fields count from the last ')'.
fn stat(text: &str) -> Option<(u32, u64)> {
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let start = fields.nth(17)?.parse().ok()?;
    Some((parent, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_fields() {
        let rest = " S 42 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
        assert_eq!(stat(&format!("7 (sh){rest}")), Some((42, 777)));
        assert_eq!(stat(&format!("7 (x) R 1 (y){rest}")), Some((42, 777)));
        assert_eq!(stat("7 (sh"), None);
    }

    #[test]
    fn a_terminal_is_known_by_its_number() {
        let of = |number: u32| terminal(&format!("7 (sh) x) S 42 1 1 {number} -1 0"));
        assert_eq!(of(0), None);
        assert_eq!(of(0x0401), None, "the console");
        assert_eq!(of(136 << 8 | 3), Some("/dev/pts/3".to_owned()));
        assert_eq!(of(1 << 20 | 136 << 8 | 2), Some("/dev/pts/258".to_owned()));
        let here = std::env::current_dir().unwrap().display().to_string();
        assert_eq!(folder_of(std::process::id()).text(), Some(here.as_str()));
    }

    #[test]
    fn it_sees_itself() {
        let me = Process::look(std::process::id()).unwrap();
        assert!(me.initial_user_namespace);
        assert_eq!(start_of(me.pid), Some(me.start));
        assert!(me.pin().is_ok());
        assert!(Process { start: me.start + 1, ..me }.pin().is_err());
    }
}
