//! The plan and the program, as they come by descriptor: nothing is believed before it was checked.
#![forbid(unsafe_code)]

use crate::refusal::failed;
use rustix::fs::{FileType, OFlags, SealFlags, Stat, fcntl_get_seals, fstat};
use rustix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use tether_hostlink::{FRAME_MAX, Identity, Plan, Refusal, paths::is_agent_uid};

/// With these nobody, not even who made it, can change it any more.
const SEALS: SealFlags = SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

const CODE: &str = "confine.plan";

/// Reads the plan from its sealed memfd.
pub fn read(sealed: OwnedFd) -> Result<Plan, Refusal> {
    let wrong = |why: &str| failed(CODE, "reading the plan", why);
    let stat = fstat(&sealed).map_err(|errno| wrong(&errno.to_string()))?;
    // Only memfds have seals that can be set, so this says "memfd" too; another file's are none, or an error.
    let seals = fcntl_get_seals(&sealed).map_err(|_| wrong("it is not a memfd"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || !seals.contains(SEALS) || stat.st_uid != 0 {
        return Err(wrong("it is not a sealed memfd of root's"));
    }
    if stat.st_size > FRAME_MAX as i64 {
        return Err(wrong("it is too long"));
    }
    let mut bytes = vec![0; stat.st_size.unsigned_abs() as usize];
    // By offset: the descriptor is shared with sudo and agentd, and so is its position.
    File::from(sealed).read_exact_at(&mut bytes, 0).map_err(|error| wrong(&error.to_string()))?;
    let plan = serde_json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))?;
    check(&plan, boottime_ms())?;
    Ok(plan)
}

fn check(plan: &Plan, now: u64) -> Result<(), Refusal> {
    if !is_agent_uid(plan.uid) {
        return Err(failed(CODE, "reading the plan", format!("uid {} is not an agent's", plan.uid)));
    }
    if plan.argv.is_empty() {
        return Err(failed(CODE, "reading the plan", "it has no arguments"));
    }
    check_confinement(plan)?;
    if now > plan.deadline_boottime_ms {
        return Err(failed("confine.expired", "the plan is void", "more than two seconds passed since the decision")
            .hint("run the command again; if it happens often, the host is overloaded"));
    }
    Ok(())
}

/// Orders that contradict each other, or that this launcher cannot keep, are not followed in part.
fn check_confinement(plan: &Plan) -> Result<(), Refusal> {
    let wrong = |why: &str| Err(failed(CODE, "reading the plan", why));
    let orders = &plan.confinement;
    let reads_only = orders.identity == Identity::ReadOnly;
    if reads_only && !orders.writes.is_empty() {
        return wrong("it is read-only and names what may be written");
    }
    if !reads_only && orders.dbus {
        return wrong("it writes, and has a grant of Unix sockets");
    }
    let paths = orders.trees.iter().chain(&orders.named).chain(&orders.writes).chain([&orders.cwd]);
    if !paths
        .clone()
        .all(|path| path.starts_with('/') && !path.contains('\0') && !path.split('/').any(|part| part == ".."))
    {
        return wrong("it has a path that is not absolute");
    }
    if orders.net.iter().any(|one| one.port() == 0) {
        return wrong("it has a destination without a port");
    }
    Ok(())
}

/// What plans count in.
pub fn boottime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}

/// Checks that the program's descriptor is what the plan names, and nobody's but root's.
pub fn check_program(program: &OwnedFd, plan: &Plan) -> Result<(), Refusal> {
    let wrong = |why: &str| failed("confine.program", &format!("running {}", plan.program), why);
    let stat = fstat(program).map_err(|errno| wrong(&errno.to_string()))?;
    if !is_file_of_roots(&stat) {
        return Err(wrong("it is not a file of root's that only root may write"));
    }
    if (stat.st_dev, stat.st_ino) != (plan.device, plan.inode) {
        return Err(wrong("it is not the file that was decided about"));
    }
    Ok(())
}

fn is_file_of_roots(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_uid == 0 && stat.st_mode & 0o022 == 0
}

/// Whether the kernel will hand the program to an interpreter, which opens it again by descriptor.
pub fn is_script(program: &OwnedFd) -> Result<bool, Refusal> {
    let mut start = [0; 2];
    // It may be an O_PATH descriptor, which cannot be read itself.
    let path = format!("/proc/self/fd/{}", program.as_raw_fd());
    let mut options = std::fs::OpenOptions::new();
    let opened = options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path);
    let read = opened.and_then(|mut file| file.read(&mut start));
    let read = read.map_err(|error| failed("confine.program", "looking at the program's first bytes", error))?;
    Ok(read == 2 && start == *b"#!")
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
