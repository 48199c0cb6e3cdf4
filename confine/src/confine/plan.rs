//! The plan: sealed, young, and about this very program.

use super::{Refused, Step};
use rustix::fs::{FileType, SealFlags, fcntl_get_seals, fstat};
use rustix::time::{ClockId, clock_gettime};
use std::os::fd::OwnedFd;
use tether_hostlink::{FRAME_MAX, Plan, paths::is_agent_uid};

/// Reads the plan, if nobody can change it any more.
pub fn read(memfd: &OwnedFd) -> Result<Plan, Refused> {
    let wanted = SealFlags::SEAL | SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK;
    // Only a memfd has seals at all.
    let seals = fcntl_get_seals(memfd).step("confine.plan", "the plan is not sealed")?;
    if !seals.contains(wanted) {
        return Err(Refused::new("confine.plan", "the plan is not sealed"));
    }
    let mut bytes = vec![0; FRAME_MAX];
    let length = rustix::io::pread(memfd, &mut bytes, 0).step("confine.plan", "the plan")?;
    let plan: Plan =
        serde_json::from_slice(bytes.get(..length).unwrap_or_default()).step("confine.plan", "the plan")?;
    if !is_agent_uid(plan.uid) {
        return Err(Refused::new("confine.plan", "the plan's uid is no agent's"));
    }
    if now_ms() > plan.deadline_boottime_ms {
        return Err(Refused::new("plan.void", "the plan is over"));
    }
    Ok(plan)
}

/// The program must be the file that agentd looked at, and nobody else than root may be able to change it.
pub fn check_program(plan: &Plan, program: &OwnedFd) -> Result<(), Refused> {
    let about = fstat(program).step("confine.program", &plan.program)?;
    let plain = FileType::from_raw_mode(about.st_mode) == FileType::RegularFile;
    let same = (about.st_dev, about.st_ino) == (plan.device, plan.inode);
    if !plain || !same || about.st_uid != 0 || about.st_mode & 0o022 != 0 {
        return Err(Refused::new("confine.program", format_args!("{} is not the file that was allowed", plan.program)));
    }
    Ok(())
}

fn now_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or_default() / 1_000_000)
}
