//! The grant `proc-links`: which files, sockets and programs other processes have open, without the right to trace
//! them. The kernel shows those links to a tracer only, so root reads them before it stops being root, and lays over
//! each process's folder in /proc one with plain links. What else is in it leads to the real /proc, at another place,
//! where the kernel goes on refusing memory, maps and environment. Processes that start later are as ever.
#![forbid(unsafe_code)]

use super::REAL_PROC as REAL;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, RawDir, Uid, chownat, fstat, mkdirat, openat, readlinkat, symlinkat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

/// What everybody may read of a process; followed to the real file, so it is of now.
const OPEN: [&CStr; 7] = [c"stat", c"status", c"cmdline", c"comm", c"cgroup", c"statm", c"task"];
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Makes a folder for each process that has something open. Gives their numbers; what ends meanwhile is left out.
pub fn list(real: &OwnedFd, shown: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let own = std::process::id().to_string();
    let mut buffer = [MaybeUninit::uninit(); 16 << 10];
    let (mut target, mut listed) = (Vec::with_capacity(256), Vec::new());
    let mut names = RawDir::new(real, &mut buffer);
    while let Some(entry) = names.next() {
        let entry = entry?;
        let name = entry.file_name();
        let is_process = name.to_bytes().iter().all(u8::is_ascii_digit);
        // The command is to see itself as it is, not as the launcher was.
        if is_process && name.to_bytes() != own.as_bytes() && process(real, shown, name, &mut target)? {
            listed.push(name.to_owned());
        }
    }
    Ok(listed)
}

fn process(real: &OwnedFd, shown: &OwnedFd, pid: &CStr, target: &mut Vec<u8>) -> Result<bool, Errno> {
    let Ok(process) = openat(real, pid, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) else {
        return Ok(false);
    };
    // The kernel's own threads have no program and nothing open.
    let (Ok(about), Ok(program)) = (fstat(&process), readlinkat(&process, c"exe", Vec::new())) else {
        return Ok(false);
    };
    mkdirat(shown, pid, Mode::from_raw_mode(0o555))?;
    let folder = openat(shown, pid, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for name in OPEN {
        let parts = [REAL.as_bytes(), b"/", pid.to_bytes(), b"/", name.to_bytes()];
        symlinkat(path(target, &parts)?, &folder, name)?;
    }
    symlinkat(&program, &folder, c"exe")?;
    copy_link(&process, c"cwd", &folder)?;
    mkdirat(&folder, c"fd", Mode::from_raw_mode(0o555))?;
    descriptors(&process, &folder)?;
    // ps takes the owner of the folder for the owner of the process.
    let (user, group) = (Uid::from_raw(about.st_uid), Gid::from_raw(about.st_gid));
    chownat(shown, pid, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(true)
}

fn descriptors(process: &OwnedFd, folder: &OwnedFd) -> Result<(), Errno> {
    let Ok(open) = openat(process, c"fd", FOLDER, Mode::empty()) else { return Ok(()) };
    let shown = openat(folder, c"fd", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 4 << 10];
    let mut names = RawDir::new(&open, &mut buffer);
    while let Some(Ok(entry)) = names.next() {
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_link(&open, name, &shown)?;
        }
    }
    Ok(())
}

fn copy_link(from: &OwnedFd, name: &CStr, to: &OwnedFd) -> Result<(), Errno> {
    match readlinkat(from, name, Vec::new()) {
        Ok(target) => symlinkat(&target, to, name),
        Err(_) => Ok(()),
    }
}

/// The parts as one path, in a buffer that is used again.
fn path<'a>(buffer: &'a mut Vec<u8>, parts: &[&[u8]]) -> Result<&'a CStr, Errno> {
    buffer.clear();
    parts.iter().for_each(|part| buffer.extend_from_slice(part));
    buffer.push(0);
    CStr::from_bytes_with_nul(buffer).map_err(|_| Errno::INVAL)
}
