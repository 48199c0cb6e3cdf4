//! Resource limits of what an agent runs, hard and soft.
#![forbid(unsafe_code)]

use crate::refusal::failed;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tether_hostlink::Refusal;

/// The largest file that a confined command may write: to a pipe or terminal there is no limit.
const FILE_BYTES: u64 = 16 << 20;
/// Its uid is the session's own, so this counts the session's confined commands only.
const PROCESSES: u64 = 256;

/// The same for one with a write rule.
const WRITTEN_BYTES: u64 = 1 << 30;
/// Descriptors, and memory that it may lock.
const DESCRIPTORS: u64 = 1024;
const LOCKED_BYTES: u64 = 64 << 10;

/// The same for the login account: what one session may have at a time, a fork bomb included.
const LOGIN_PROCESSES: u64 = 512;

/// For the login shell.
pub fn login(code: &str) -> Result<(), Refusal> {
    no_core(code)?;
    let hard = getrlimit(Resource::Nproc).maximum.unwrap_or(LOGIN_PROCESSES);
    set(code, Resource::Nproc, LOGIN_PROCESSES.min(hard))
}

/// For a confined command. Another account than the session's own has processes of its own, and its cgroup is what
/// limits the command's; and what a write rule writes is a real file.
pub fn confined(code: &str, reads_only: bool) -> Result<(), Refusal> {
    no_core(code)?;
    if reads_only {
        set(code, Resource::Nproc, PROCESSES)?;
    }
    set(code, Resource::Fsize, if reads_only { FILE_BYTES } else { WRITTEN_BYTES })?;
    set(code, Resource::Nofile, DESCRIPTORS)?;
    set(code, Resource::Memlock, LOCKED_BYTES)
}

/// No core dumps. Size 1, not 0: at 0 the kernel still runs a core handler that is a pipe, at 1 it refuses.
fn no_core(code: &str) -> Result<(), Refusal> {
    match setrlimit(Resource::Core, exactly(1)) {
        // The hard limit is 0 (sudo leaves it so) and raising it takes CAP_SYS_RESOURCE, which root in a
        // container may lack. The handler then belongs to the host's root, who may have the dump.
        Err(Errno::PERM) => set(code, Resource::Core, 0),
        result => result.map_err(|errno| failed(code, "limiting core dumps", errno)),
    }
}

fn set(code: &str, resource: Resource, most: u64) -> Result<(), Refusal> {
    setrlimit(resource, exactly(most)).map_err(|errno| failed(code, &format!("limiting {resource:?}"), errno))
}

fn exactly(most: u64) -> Rlimit {
    Rlimit { current: Some(most), maximum: Some(most) }
}
