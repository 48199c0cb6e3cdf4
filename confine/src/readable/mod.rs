//! What a command may read: rules for Landlock, made anew for each command from the mounts and files that are there
//! now.
//!
//! By omission: nothing is covered up. A mask over a file goes when the host renames another file over it
//! (mount_namespaces(7)); a rule that was never made stays away.
#![forbid(unsafe_code)]

mod place;
mod walk;

use crate::landlock::{Ruleset, right};
use crate::mounts::Mount;
use crate::refusal::failed;
use crate::world::{BUS, SCRATCH, World};
use place::Names;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, open, openat, readlinkat, statat};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use tether_hostlink::{Confinement, Ground, Refusal};
use tether_never::{PROGRAMS, others_enter};
use walk::Walk;

/// What programs look at when they start, or to give numbers names. Everybody may read each.
const COMMON: [&str; 35] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/locale.conf",
    "/etc/locale.alias",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/networks",
    "/etc/rpc",
    "/etc/ethertypes",
    "/etc/machine-id",
    "/etc/os-release",
    "/etc/debian_version",
    "/etc/magic",
    "/etc/magic.mime",
    "/etc/mime.types",
    "/etc/terminfo",
    "/etc/inputrc",
    "/etc/bash.bashrc",
    "/etc/profile",
    "/etc/profile.d",
    "/etc/iproute2",
    "/etc/ssl/openssl.cnf",
    "/run/utmp",
];
/// The same, large and public: not looked through.
const PUBLIC: [&str; 2] = ["/sys/devices/system", "/var/lib/dpkg"];
/// Names of agents' accounts, for libnss_tether.
const ACCOUNTS: &str = tether_hostlink::paths::ACCOUNTS;
/// Trees whose files may be run too.
const RUNNABLE: [&str; 2] = ["/usr", "/opt"];

const READ: u64 = right::READ_FILE;
const RUN: u64 = right::READ_FILE | right::EXECUTE;
const DEVICES: u64 = READ | right::WRITE_FILE | right::IOCTL_DEV;
const CHANGE: u64 = right::WRITE_FILE
    | right::TRUNCATE
    | right::REFER
    | right::MAKE_DIR
    | right::MAKE_REG
    | right::MAKE_SYM
    | right::REMOVE_DIR
    | right::REMOVE_FILE;
const SCRATCHED: u64 = READ | CHANGE | right::MAKE_FIFO;
const CODE: &str = "confine.landlock";

/// How often a walk may begin anew because it met secrets with further names.
const WALKS_MAX: usize = 3;

/// The rules of a confinement. `arguments` are what path arguments mean.
pub fn rules(
    mounts: &[Mount],
    world: &World,
    confinement: &Confinement,
    program: &OwnedFd,
    arguments: &[OwnedFd],
) -> Result<Ruleset, Refusal> {
    let mut linked = linked();
    for _ in 0..WALKS_MAX {
        let mut ruleset = Ruleset::new()?;
        let met = grant(&mut ruleset, mounts, world, confinement, program, arguments, &linked)?;
        if met.is_empty() {
            return Ok(ruleset);
        }
        linked.extend(met);
    }
    let why = "files that must not be read get new names all the while";
    Err(failed(CODE, "looking at what may be read", why).hint("run it again"))
}

/// Adds the rules. Gives the secrets with further names that were not known before.
fn grant(
    ruleset: &mut Ruleset,
    mounts: &[Mount],
    world: &World,
    confinement: &Confinement,
    program: &OwnedFd,
    arguments: &[OwnedFd],
    linked: &[(u64, u64)],
) -> Result<Vec<(u64, u64)>, Refusal> {
    let run = ruleset.allow(program, RUN);
    run.map_err(|errno| failed(CODE, "adding the rule for the program", errno))?;

    let names = Names::new(mounts);
    let groups = groups()?;
    let mut all =
        All { ruleset, names: &names, linked, groups: &groups, done: Vec::new(), entries: 0, met: Vec::new() };
    all.everywhere(world.proc)?;
    if confinement.dbus {
        all.rule(BUS, right::RESOLVE_UNIX)?;
    }
    confinement.writes.iter().try_for_each(|path| all.written(path))?;
    PROGRAMS.iter().try_for_each(|path| all.programs(path, &confinement.ground))?;
    let is_covered = |path: &&str| confinement.trees.iter().any(|tree| Path::new(path).starts_with(tree));
    let mut common = COMMON.into_iter().chain([ACCOUNTS]).filter(|path| !is_covered(path));
    common.try_for_each(|path| all.common(path, How::Tree))?;
    PUBLIC.into_iter().filter(|path| !is_covered(path)).try_for_each(|path| all.common(path, How::Public))?;
    for path in &confinement.trees {
        all.path(path, rights_of(path), How::Tree)?;
    }
    for path in &confinement.named {
        all.path(path, rights_of(path), How::Named)?;
    }
    arguments.iter().try_for_each(|argument| all.object(argument, READ, How::Named))?;
    Ok(all.met)
}

/// Secrets of one place that have a second name somewhere.
fn linked() -> Vec<(u64, u64)> {
    let stats = tether_never::FILES.iter().filter_map(|path| statat(CWD, *path, AtFlags::SYMLINK_NOFOLLOW).ok());
    let linked =
        stats.filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink > 1);
    linked.map(|stat| (stat.st_dev, stat.st_ino)).collect()
}

/// Groups that mark secrets. Without /etc/group there is none; one that cannot be read may have some.
fn groups() -> Result<Vec<u32>, Refusal> {
    match std::fs::read("/etc/group") {
        Ok(text) => Ok(tether_never::group_numbers(&String::from_utf8_lossy(&text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(CODE, "reading /etc/group", error)),
    }
}

fn rights_of(path: &str) -> u64 {
    if RUNNABLE.iter().any(|tree| Path::new(path).starts_with(tree)) { RUN } else { READ }
}

/// How a tree came to be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// By us, to everybody: folders of programs, where what others cannot read stays out.
    Programs,
    /// By us, to everybody, and not looked through.
    Public,
    /// By the bundle, or by us: files that others cannot read stay out of the listed folders.
    Tree,
    /// By the bundle, name by name.
    Named,
}

struct All<'a> {
    ruleset: &'a mut Ruleset,
    names: &'a Names<'a>,
    linked: &'a [(u64, u64)],
    groups: &'a [u32],
    /// Folders of programs that have their rules: a tree around them need not look at them again.
    done: Vec<(u64, u64)>,
    entries: usize,
    met: Vec<(u64, u64)>,
}

impl All<'_> {
    /// Names and metadata of everything; the contents of /proc, where the kernel itself refuses the memory of others
    /// to whoever is in a Landlock domain; our own /dev and scratch.
    fn everywhere(&mut self, proc: &str) -> Result<(), Refusal> {
        let all = [("/", right::READ_DIR), (proc, READ), ("/dev", DEVICES), (SCRATCH, SCRATCHED)];
        all.into_iter().try_for_each(|(path, rights)| self.rule(path, rights))
    }

    fn rule(&mut self, path: &str, rights: u64) -> Result<(), Refusal> {
        let object = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let added = object.and_then(|object| self.ruleset.allow(object, rights));
        added.map_err(|errno| failed(CODE, &format!("adding a rule for {path}"), errno))
    }

    /// What a write rule names. What is in such a folder is read as in any tree: the never-list holds.
    fn written(&mut self, path: &str) -> Result<(), Refusal> {
        let is_folder = Path::new(path).is_dir();
        self.rule(path, if is_folder { CHANGE } else { right::WRITE_FILE | right::TRUNCATE })?;
        self.path(path, READ, How::Tree)
    }

    /// A folder of programs. Where it is a link, what it leads to is one itself.
    fn programs(&mut self, path: &str, ground: &[Ground]) -> Result<(), Refusal> {
        let Some((object, about)) = self.found(path)? else { return Ok(()) };
        if FileType::from_raw_mode(about.st_mode) != FileType::Directory || !others_enter(about.st_mode) {
            return Ok(());
        }
        let is_it = |one: &&Ground| (one.path.as_str(), one.device, one.inode) == (path, about.st_dev, about.st_ino);
        let known = ground.iter().find(is_it);
        if known.is_some_and(|known| known.closed.is_empty()) && self.has_one_name(path) {
            self.whole(&object, RUN)?;
        } else {
            self.looked(&object, RUN, How::Programs, known)?;
        }
        self.done.push((about.st_dev, about.st_ino));
        Ok(())
    }

    /// What a program looks at when it starts.
    fn common(&mut self, path: &str, how: How) -> Result<(), Refusal> {
        let Some((object, about)) = self.found(path)? else { return Ok(()) };
        let is_unseen = match FileType::from_raw_mode(about.st_mode) {
            FileType::RegularFile => true,
            FileType::Directory => how == How::Public,
            _ => false,
        };
        if is_unseen && self.has_one_name(path) {
            return self.whole(&object, READ);
        }
        self.path(path, READ, how)
    }

    /// The object at a path, itself if it is a link.
    fn found(&self, path: &str) -> Result<Option<(OwnedFd, Stat)>, Refusal> {
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let Ok(object) = open(path, flags, Mode::empty()) else { return Ok(None) };
        let about = fstat(&object).map_err(|errno| failed(CODE, "looking at what may be read", errno))?;
        Ok(Some((object, about)))
    }

    fn has_one_name(&self, path: &str) -> bool {
        self.linked.is_empty() && self.names.is_quiet(Path::new(path))
    }

    fn whole(&mut self, object: &OwnedFd, rights: u64) -> Result<(), Refusal> {
        self.ruleset.allow(object, rights).map_err(|errno| failed(CODE, "adding a rule", errno))
    }

    /// What is not there is the command's own business to say.
    fn path(&mut self, path: &str, rights: u64, how: How) -> Result<(), Refusal> {
        let Ok(object) = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else { return Ok(()) };
        self.object(&object, rights, how)
    }

    fn object(&mut self, object: &OwnedFd, rights: u64, how: How) -> Result<(), Refusal> {
        self.looked(object, rights, how, None)
    }

    fn looked(&mut self, object: &OwnedFd, rights: u64, how: How, known: Option<&Ground>) -> Result<(), Refusal> {
        let failing = |errno| failed(CODE, "looking at what may be read", errno);
        let about = fstat(object).map_err(failing)?;
        let path = real_path(object).map_err(failing)?;
        // All of it is granted, and what is closed in it is closed by the kernel.
        if path.starts_with("/proc") {
            return Ok(());
        }
        let Some(mut place) = self.names.at(&path) else { return Ok(()) };
        // The kernel's own file systems have no links to files.
        let linked = if place.is_shallow { &[] } else { self.linked };
        match how {
            How::Tree => {}
            How::Named => place.is_listed = false,
            How::Public => (place.is_listed, place.is_shallow) = (false, true),
            How::Programs => place.is_listed = true,
        }
        if let Some(known) = known {
            self.names.look_no_further(&mut place, &path, &known.closed);
        }
        // A name that a bundle gives may lift what stayed out there.
        let done: &[(u64, u64)] = if how == How::Tree { &self.done } else { &[] };
        if done.contains(&(about.st_dev, about.st_ino)) {
            return Ok(());
        }
        let (names, groups, entries) = (self.names, self.groups, self.entries);
        let mut walk = Walk { names, ruleset: self.ruleset, linked, groups, done, rights, entries, met: Vec::new() };
        match FileType::from_raw_mode(about.st_mode) {
            FileType::RegularFile => walk.file(object, &about, place.is_listed).map(drop).map_err(failing)?,
            FileType::Directory => {
                let folder = openat(object, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
                walk.folder(&folder.map_err(failing)?, &place)?;
            }
            _ => {}
        }
        self.entries = walk.entries;
        let met = std::mem::take(&mut walk.met);
        self.met.extend(met);
        Ok(())
    }
}

fn real_path(object: &OwnedFd) -> Result<PathBuf, rustix::io::Errno> {
    let link = format!("/proc/self/fd/{}", object.as_raw_fd());
    let text = readlinkat(CWD, link, Vec::new())?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(text.into_bytes())))
}
