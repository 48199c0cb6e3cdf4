//! Where a walk stands: under which names a folder can be reached, and what is mounted below it.
//!
//! Landlock follows the path that was walked, across mounts, and its rules are about inodes. So a rule on a folder
//! reaches into whatever is mounted below it, also where the same folder is seen through another mount; and a
//! secret in it may have an innocent name here and its own name there. Both are looked up in the mount table
//! before a folder is granted whole.
#![forbid(unsafe_code)]

use crate::mounts::{self, Mount};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use tether_never::{List, Step, Steps, is_listed};

/// Folders that hold FIFOs and sockets of running services: only regular files of theirs are read, each for itself.
const LIVE: [&str; 2] = ["/run", "/var/spool"];
/// The package manager's lists of all files: public, large, and read by many.
const PACKAGES: &str = "/var/lib/dpkg";
/// Kernel file systems without secrets of names: folders are granted unseen, unless a pattern has begun.
const KERNEL: [&str; 3] = ["sysfs", "cgroup2", "cgroup"];
/// Never entered on the way down: interfaces of the kernel, and what another program or machine answers for, which
/// may take for ever. A tree that itself lies in such a place is looked at.
const SKIPPED: [&str; 24] = [
    "proc",
    "autofs",
    "debugfs",
    "tracefs",
    "securityfs",
    "bpf",
    "efivarfs",
    "pstore",
    "configfs",
    "fusectl",
    "binfmt_misc",
    "devtmpfs",
    "devpts",
    "mqueue",
    "hugetlbfs",
    "rpc_pipefs",
    "nfsd",
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "ceph",
    "9p",
    "afs",
];

/// The mount table, and the list.
#[derive(Debug)]
pub struct Names<'a> {
    /// The list.
    pub list: List,
    mounts: &'a [Mount],
    /// Whether some mount is an overlay.
    pub has_overlay: bool,
    /// For each mount: the file system, and the place in it, that it lies on.
    attached: Vec<Option<(&'a str, PathBuf)>>,
}

/// A folder, as far as a walk must know it.
#[derive(Debug, Default)]
pub struct Place {
    steps: Steps,
    /// Files that others cannot read are left out.
    pub is_listed: bool,
    /// Each regular file for itself.
    pub is_live: bool,
    /// Folders below are granted unseen.
    pub is_shallow: bool,
    /// Looked through already: what is not to be read is among the joints, so names here say nothing.
    pub is_known: bool,
    joints: Vec<Joint>,
}

/// Something below a folder that a walk must go down to.
#[derive(Debug)]
struct Joint {
    rest: PathBuf,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    /// A mount lies there, seen on this way.
    Mount(usize),
    /// A mount lies there on another way, or what is there has a name of the list's elsewhere.
    Closed,
    /// The package manager's lists lie there.
    Packages,
    /// What is there is more than its name on the way down says.
    Also { steps: Steps, is_listed: bool, is_live: bool },
}

/// What a name in a folder is.
#[derive(Debug)]
pub enum Child {
    /// Not to be read. The folder cannot be granted whole.
    Closed,
    /// To be looked at.
    Open(Place),
}

impl<'a> Names<'a> {
    /// Prepares the tables.
    pub fn new(mounts: &'a [Mount]) -> Self {
        let attached = mounts.iter().map(|mount| {
            let parent = mounts.iter().find(|other| other.id == mount.parent)?;
            Some((parent.device.as_str(), parent.inside(&mount.point)?))
        });
        let has_overlay = mounts.iter().any(|mount| mount.kind == "overlay");
        Self { list: List::new(), mounts, has_overlay, attached: attached.collect() }
    }

    /// Whether nothing is mounted at or below a path, and nothing there is seen elsewhere: then it has one name. Only
    /// for what lies on the root mount.
    pub fn is_quiet(&self, path: &Path) -> bool {
        let root = self.mounts.iter().find(|mount| mount.point == Path::new("/"));
        let Some(root) = root.filter(|root| root.root == Path::new("/")) else { return false };
        let meets = |mount: &Mount, attached: &Option<(&str, PathBuf)>| {
            let below = attached.as_ref().is_some_and(|(_, at)| at.starts_with(path));
            let around = mount.id != root.id && path.starts_with(&mount.point);
            below || around || mount.id != root.id && mount.device == root.device && mount.root.starts_with(path)
        };
        !self.mounts.iter().zip(&self.attached).any(|(mount, attached)| meets(mount, attached))
    }

    /// A folder or file by its real path. `None`: it is never read.
    pub fn at(&self, path: &Path) -> Option<Place> {
        let mount = mounts::of(self.mounts, path)?;
        self.place(mount, &mount.inside(path)?, path)
    }

    /// What a name in a folder is.
    pub fn child(&self, place: &Place, name: &[u8]) -> Child {
        let steps = match self.list.step(&place.steps, name) {
            Step::On(steps) => steps,
            Step::Never(_) if place.is_known => Steps::default(),
            Step::Never(_) => return Child::Closed,
        };
        let Place { is_listed, is_live, is_shallow, is_known, .. } = *place;
        let mut child = Place { steps, is_listed, is_live, is_shallow, is_known, joints: Vec::new() };
        for joint in &place.joints {
            let mut components = joint.rest.components();
            if components.next().map(|first| first.as_os_str().as_bytes()) != Some(name) {
                continue;
            }
            let rest = components.as_path();
            if !rest.as_os_str().is_empty() {
                child.joints.push(Joint { rest: rest.to_owned(), what: joint.what.clone() });
                continue;
            }
            match &joint.what {
                What::Closed => return Child::Closed,
                What::Also { steps, is_listed, is_live } => {
                    child.steps.merge(steps);
                    child.is_listed |= is_listed | std::mem::take(&mut child.is_known);
                    child.is_live |= is_live;
                }
                What::Packages => {
                    child.is_listed = false;
                    child.is_shallow = true;
                }
                What::Mount(index) => return self.mounted(*index, &child),
            }
        }
        Child::Open(child)
    }

    /// A mount's root, found where `below` was.
    fn mounted(&self, index: usize, below: &Place) -> Child {
        let Some(mount) = self.topmost(index) else { return Child::Closed };
        if SKIPPED.contains(&mount.kind.as_str()) || mount.kind.starts_with("fuse") {
            return Child::Closed;
        }
        match self.place(mount, &mount.root, &mount.point) {
            None => Child::Closed,
            Some(mut place) => {
                place.steps.merge(&below.steps);
                // Who looked through what is around it has not seen this.
                place.is_listed |= below.is_listed || below.is_known;
                place.is_live |= below.is_live;
                Child::Open(place)
            }
        }
    }

    /// Of mounts that lie on each other, the one that is seen.
    fn topmost(&self, index: usize) -> Option<&'a Mount> {
        let mut mount = self.mounts.get(index)?;
        for _ in self.mounts {
            let over = self.mounts.iter().find(|other| other.parent == mount.id && other.point == mount.point);
            match over {
                Some(over) => mount = over,
                None => break,
            }
        }
        Some(mount)
    }

    /// `inside` is the folder in its file system, `path` where it is seen.
    fn place(&self, mount: &Mount, inside: &Path, path: &Path) -> Option<Place> {
        let is_shallow = KERNEL.contains(&mount.kind.as_str());
        let mut place = Place { is_shallow, ..Place::default() };
        self.add_name(&mut place, path, Steps::root())?;
        if inside != path {
            // A file system of its own may be a root of its own, but `/dev` in it is no device folder.
            self.add_name(&mut place, inside, Steps::default())?;
        }
        for other in self.mounts.iter().filter(|other| other.device == mount.device && other.id != mount.id) {
            if let Some(seen) = other.seen(inside) {
                self.add_name(&mut place, &seen, Steps::root())?;
            } else if let Ok(rest) = other.root.strip_prefix(inside) {
                self.add_alias(&mut place, rest, &other.point);
            }
        }
        for (index, attached) in self.attached.iter().enumerate() {
            let Some((device, at)) = attached else { continue };
            let Some(rest) = at.strip_prefix(inside).ok().filter(|rest| !rest.as_os_str().is_empty()) else { continue };
            let Some(this) = self.mounts.get(index).filter(|_| *device == mount.device) else { continue };
            let what = if this.parent == mount.id { What::Mount(index) } else { What::Closed };
            place.joints.push(Joint { rest: rest.to_owned(), what });
        }
        Some(place)
    }

    fn add_name(&self, place: &mut Place, name: &Path, from: Steps) -> Option<()> {
        let steps = self.walked(name, from)?;
        place.steps.merge(&steps);
        place.is_listed |= is_listed(name);
        place.is_live |= is_live(name);
        let below = |folder: &&&str| Path::new(**folder) != name && Path::new(**folder).starts_with(name);
        for folder in tether_never::LISTED.iter().chain(&LIVE).filter(below) {
            let (folder, rest) = (Path::new(folder), Path::new(folder).strip_prefix(name).ok()?);
            let (is_listed, is_live) = (is_listed(folder), is_live(folder));
            let what = What::Also { steps: Steps::default(), is_listed, is_live };
            place.joints.push(Joint { rest: rest.to_owned(), what });
        }
        if let Some(rest) = Path::new(PACKAGES).strip_prefix(name).ok().filter(|rest| !rest.as_os_str().is_empty()) {
            place.joints.push(Joint { rest: rest.to_owned(), what: What::Packages });
        }
        Some(())
    }

    fn add_alias(&self, place: &mut Place, rest: &Path, name: &Path) {
        let what = match self.walked(name, Steps::root()) {
            None => What::Closed,
            // Nothing has begun there: one name is as good as the other.
            Some(steps) if steps.is_plain() && !is_listed(name) && !is_live(name) => return,
            Some(steps) => What::Also { steps, is_listed: is_listed(name), is_live: is_live(name) },
        };
        place.joints.push(Joint { rest: rest.to_owned(), what });
    }

    /// The list walked along a path. `None`: it is on it.
    fn walked(&self, path: &Path, from: Steps) -> Option<Steps> {
        let mut steps = from;
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            match self.list.step(&steps, name.as_bytes()) {
                Step::Never(_) => return None,
                Step::On(next) => steps = next,
            }
        }
        Some(steps)
    }

    /// Takes somebody's word for what is below a folder, but for what is mounted there: only these stay out. Unless it has
    /// other names, of which nobody spoke.
    pub fn look_no_further(&self, place: &mut Place, path: &Path, closed: &[String]) {
        if self.walked(path, Steps::root()).as_ref() == Some(&place.steps) {
            (place.is_known, place.is_listed) = (true, false);
            let closed = closed.iter().map(|rest| Joint { rest: PathBuf::from(rest), what: What::Closed });
            place.joints.extend(closed);
        }
    }

    /// Whether what a folder holds is to be granted one by one, whatever is in it now.
    pub fn is_in_parts(&self, place: &Place) -> bool {
        place.is_live || !place.is_known && self.list.ends_in(&place.steps)
    }
}

fn is_live(path: &Path) -> bool {
    LIVE.iter().any(|folder| path.starts_with(folder))
}

impl Place {
    /// Whether nothing at or below it is of the list's or mounted, as far as names above tell.
    pub fn is_plain(&self) -> bool {
        self.joints.is_empty() && self.steps.is_plain()
    }

    /// Whether it may be granted without a look.
    pub fn is_unseen(&self) -> bool {
        self.is_known && self.joints.is_empty() || self.is_shallow && self.is_plain()
    }
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
