//! The grant `proc-links`: which files, sockets and programs other processes have open, without the right to trace
//! them. The kernel shows those links to a tracer only, so root reads them before it stops being root, and lays over
//! each process's folder in /proc one with plain links. What else is in it leads to the real /proc, at another place,
//! where the kernel goes on refusing memory, maps and environment. Processes that start later are as ever.
#![forbid(unsafe_code)]

use super::REAL_PROC as REAL;
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RawDir, Uid, chownat, fstat, linkat, mkdirat, openat, readlinkat, symlinkat,
};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

/// What everybody may read of a process; followed to the real file, so it is of now. Each folder has a link to the real
/// one, and these lead through it: so they are the same for all, and a second name is cheaper than a second link.
const OPEN: [(&CStr, &CStr); 7] = [
    (c"stat", c".real/stat"),
    (c"status", c".real/status"),
    (c"cmdline", c".real/cmdline"),
    (c"comm", c".real/comm"),
    (c"cgroup", c".real/cgroup"),
    (c"statm", c".real/statm"),
    (c"task", c".real/task"),
];
const REAL_LINK: &CStr = c".real";
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Makes a folder for each process that has something open, in `shown`; what they have in common lies in `common`.
/// Gives their numbers; what ends meanwhile is left out.
pub fn list(real: &OwnedFd, shown: &OwnedFd, common: &OwnedFd) -> Result<Vec<CString>, Errno> {
    for (name, target) in OPEN {
        symlinkat(target, common, name)?;
    }
    let own = std::process::id().to_string();
    let mut buffer = [MaybeUninit::uninit(); 16 << 10];
    let mut lister = Lister { real, shown, common, text: Vec::with_capacity(256), target: Vec::with_capacity(256) };
    let mut listed = Vec::new();
    let mut names = RawDir::new(real, &mut buffer);
    while let Some(entry) = names.next() {
        let entry = entry?;
        let name = entry.file_name();
        let is_process = name.to_bytes().iter().all(u8::is_ascii_digit);
        // The command is to see itself as it is, not as the launcher was.
        if is_process && name.to_bytes() != own.as_bytes() && lister.process(name)? {
            listed.push(name.to_owned());
        }
    }
    Ok(listed)
}

struct Lister<'a> {
    real: &'a OwnedFd,
    shown: &'a OwnedFd,
    common: &'a OwnedFd,
    text: Vec<u8>,
    target: Vec<u8>,
}

impl Lister<'_> {
    fn process(&mut self, pid: &CStr) -> Result<bool, Errno> {
        // The kernel's own threads have no program and nothing open.
        let program = path(&mut self.text, &[pid.to_bytes(), b"/exe"])?;
        let Ok(program) = readlinkat(self.real, program, Vec::with_capacity(128)) else { return Ok(false) };
        let Ok(process) = openat(self.real, pid, PLACE, Mode::empty()) else { return Ok(false) };
        let Ok(about) = fstat(&process) else { return Ok(false) };
        mkdirat(self.shown, pid, Mode::from_raw_mode(0o555))?;
        let folder = openat(self.shown, pid, PLACE, Mode::empty())?;
        symlinkat(path(&mut self.text, &[REAL.as_bytes(), b"/", pid.to_bytes()])?, &folder, REAL_LINK)?;
        for (name, _) in OPEN {
            linkat(self.common, name, &folder, name, AtFlags::empty())?;
        }
        symlinkat(&program, &folder, c"exe")?;
        self.copy_link(&process, c"cwd", &folder)?;
        mkdirat(&folder, c"fd", Mode::from_raw_mode(0o555))?;
        self.descriptors(&process, &folder)?;
        // ps takes the owner of the folder for the owner of the process.
        if (about.st_uid, about.st_gid) != (0, 0) {
            let (user, group) = (Uid::from_raw(about.st_uid), Gid::from_raw(about.st_gid));
            chownat(self.shown, pid, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(true)
    }

    fn descriptors(&mut self, process: &OwnedFd, folder: &OwnedFd) -> Result<(), Errno> {
        let Ok(open) = openat(process, c"fd", FOLDER, Mode::empty()) else { return Ok(()) };
        let shown = openat(folder, c"fd", PLACE, Mode::empty())?;
        let mut buffer = [MaybeUninit::uninit(); 4 << 10];
        let mut names = RawDir::new(&open, &mut buffer);
        while let Some(Ok(entry)) = names.next() {
            let name = entry.file_name();
            if name != c"." && name != c".." {
                self.copy_link(&open, name, &shown)?;
            }
        }
        Ok(())
    }

    fn copy_link(&mut self, from: &OwnedFd, name: &CStr, to: &OwnedFd) -> Result<(), Errno> {
        match readlinkat(from, name, std::mem::take(&mut self.target)) {
            Ok(target) => {
                symlinkat(&target, to, name)?;
                self.target = target.into_bytes();
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }
}

/// The parts as one path, in a buffer that is used again.
fn path<'a>(buffer: &'a mut Vec<u8>, parts: &[&[u8]]) -> Result<&'a CStr, Errno> {
    buffer.clear();
    parts.iter().for_each(|part| buffer.extend_from_slice(part));
    buffer.push(0);
    CStr::from_bytes_with_nul(buffer).map_err(|_| Errno::INVAL)
}
