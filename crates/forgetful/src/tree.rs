//! Files and folders, each as it is and as it was flushed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The root's number, as FUSE wants it.
pub const ROOT: u64 = 1;
/// What is written whole or not at all.
const SECTOR: usize = 512;

/// What fsync(2) covers beside the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub modified: SystemTime,
}

/// What something is.
#[derive(Debug, Clone)]
pub enum Kind {
    File(Bytes),
    Folder(BTreeMap<OsString, u64>),
    Link(PathBuf),
}

/// A file's bytes.
#[derive(Debug, Clone, Default)]
pub struct Bytes {
    pub now: Vec<u8>,
    kept: Vec<u8>,
    /// Sectors that may differ.
    dirty: BTreeSet<usize>,
}

#[derive(Debug, Clone)]
pub struct Node {
    pub kind: Kind,
    pub about: About,
    kept: About,
    pub names: u32,
}

/// One change of names: it survives whole or not at all.
#[derive(Debug, Clone)]
struct Renamed(Vec<(u64, OsString, Option<u64>)>);

/// How much of what was not flushed survives a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Survives {
    Nothing,
    Some,
    All,
}

#[derive(Debug)]
pub struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// Folders as they were flushed.
    kept: BTreeMap<u64, BTreeMap<OsString, u64>>,
    /// What happened to names since, in order.
    renamed: Vec<Renamed>,
    random: u64,
    pub lies: bool,
    pub dead: bool,
}

/// errno(3).
pub type Failed = i32;
const ENOENT: Failed = 2;
const EIO: Failed = 5;
const EEXIST: Failed = 17;
const ENOTDIR: Failed = 20;
const EISDIR: Failed = 21;
const EINVAL: Failed = 22;
const ENOTEMPTY: Failed = 39;

impl Tree {
    pub fn new(seed: u64) -> Self {
        let about = About { mode: 0o755, uid: 0, gid: 0, modified: SystemTime::now() };
        let root = Node { kind: Kind::Folder(BTreeMap::new()), about, kept: about, names: 2 };
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
            kept: BTreeMap::from([(ROOT, BTreeMap::new())]),
            renamed: Vec::new(),
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            lies: false,
            dead: false,
        }
    }

    /// The root's mode, with its kind.
    pub fn mode(&self) -> u32 {
        0o040_000 | self.nodes.get(&ROOT).map_or(0o755, |root| root.about.mode)
    }

    pub fn node(&self, number: u64) -> Result<&Node, Failed> {
        if self.dead {
            return Err(EIO);
        }
        self.nodes.get(&number).ok_or(ENOENT)
    }

    pub fn node_mut(&mut self, number: u64) -> Result<&mut Node, Failed> {
        if self.dead {
            return Err(EIO);
        }
        self.nodes.get_mut(&number).ok_or(ENOENT)
    }

    pub fn folder(&self, number: u64) -> Result<&BTreeMap<OsString, u64>, Failed> {
        match &self.node(number)?.kind {
            Kind::Folder(names) => Ok(names),
            _ => Err(ENOTDIR),
        }
    }

    pub fn bytes(&mut self, number: u64) -> Result<&mut Bytes, Failed> {
        let node = self.node_mut(number)?;
        match &mut node.kind {
            Kind::File(bytes) => Ok(bytes),
            Kind::Folder(_) => Err(EISDIR),
            Kind::Link(_) => Err(EINVAL),
        }
    }

    pub fn look_up(&self, folder: u64, name: &OsStr) -> Result<u64, Failed> {
        self.folder(folder)?.get(name).copied().ok_or(ENOENT)
    }

    /// Makes something that is not there.
    pub fn make(&mut self, folder: u64, name: &OsStr, kind: Kind, about: About) -> Result<u64, Failed> {
        if self.folder(folder)?.contains_key(name) {
            return Err(EEXIST);
        }
        let number = self.next;
        self.next += 1;
        if matches!(kind, Kind::Folder(_)) {
            self.kept.insert(number, BTreeMap::new());
        }
        self.nodes.insert(number, Node { kind, about, kept: about, names: 0 });
        self.change(Renamed(vec![(folder, name.to_owned(), Some(number))]));
        Ok(number)
    }

    /// Gives a file one more name.
    pub fn link(&mut self, number: u64, folder: u64, name: &OsStr) -> Result<(), Failed> {
        self.node(number)?;
        if self.folder(folder)?.contains_key(name) {
            return Err(EEXIST);
        }
        self.change(Renamed(vec![(folder, name.to_owned(), Some(number))]));
        Ok(())
    }

    pub fn remove(&mut self, folder: u64, name: &OsStr, is_folder: bool) -> Result<(), Failed> {
        let number = self.look_up(folder, name)?;
        match (&self.node(number)?.kind, is_folder) {
            (Kind::Folder(names), true) if !names.is_empty() => return Err(ENOTEMPTY),
            (Kind::Folder(_), false) => return Err(EISDIR),
            (Kind::File(_) | Kind::Link(_), true) => return Err(ENOTDIR),
            _ => {}
        }
        self.change(Renamed(vec![(folder, name.to_owned(), None)]));
        Ok(())
    }

    pub fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), replace: bool) -> Result<(), Failed> {
        let number = self.look_up(from.0, from.1)?;
        if let Ok(there) = self.look_up(to.0, to.1) {
            if !replace {
                return Err(EEXIST);
            }
            if there == number {
                return Ok(());
            }
            if matches!(&self.node(there)?.kind, Kind::Folder(names) if !names.is_empty()) {
                return Err(ENOTEMPTY);
            }
        }
        self.change(Renamed(vec![(from.0, from.1.to_owned(), None), (to.0, to.1.to_owned(), Some(number))]));
        Ok(())
    }

    fn change(&mut self, renamed: Renamed) {
        for (folder, name, number) in &renamed.0 {
            let Some(Node { kind: Kind::Folder(names), about, .. }) = self.nodes.get_mut(folder) else { continue };
            about.modified = SystemTime::now();
            let before = match number {
                Some(number) => names.insert(name.clone(), *number),
                None => names.remove(name),
            };
            for (number, by) in number.map(|number| (number, 1)).into_iter().chain(before.map(|number| (number, -1))) {
                if let Some(node) = self.nodes.get_mut(&number) {
                    node.names = node.names.saturating_add_signed(by);
                }
            }
        }
        self.renamed.push(renamed);
    }

    /// fsync(2) and fdatasync(2) of a file.
    pub fn flush(&mut self, number: u64, data_only: bool) -> Result<(), Failed> {
        let lies = self.lies;
        let node = self.node_mut(number)?;
        if lies {
            return Ok(());
        }
        if let Kind::File(bytes) = &mut node.kind {
            bytes.flush();
        }
        if !data_only {
            node.kept = node.about;
        }
        Ok(())
    }

    /// fsync(2) of a folder: its names. A rename from one to another is one change for both.
    pub fn flush_folder(&mut self, number: u64) -> Result<(), Failed> {
        let lies = self.lies;
        let node = self.node_mut(number)?;
        if lies {
            return Ok(());
        }
        node.kept = node.about;
        let mut folders = BTreeSet::from([number]);
        let mut stays = Vec::new();
        let mut kept = Vec::new();
        for renamed in std::mem::take(&mut self.renamed).into_iter().rev() {
            if renamed.0.iter().any(|(folder, ..)| folders.contains(folder)) {
                folders.extend(renamed.0.iter().map(|(folder, ..)| *folder));
                kept.push(renamed);
            } else {
                stays.push(renamed);
            }
        }
        stays.reverse();
        self.renamed = stays;
        for renamed in kept.into_iter().rev() {
            keep(&mut self.kept, renamed);
        }
        Ok(())
    }

    /// All of it, as an orderly halt does.
    pub fn settle(&mut self) {
        for node in self.nodes.values_mut() {
            if let Kind::File(bytes) = &mut node.kind {
                bytes.flush();
            }
            node.kept = node.about;
        }
        for renamed in std::mem::take(&mut self.renamed) {
            keep(&mut self.kept, renamed);
        }
    }

    /// What the next boot finds.
    pub fn after_cut(&mut self) -> Self {
        let survives = match self.next_random() % 4 {
            0 => Survives::Nothing,
            1 => Survives::All,
            _ => Survives::Some,
        };
        let mut names = self.kept.clone();
        for renamed in self.renamed.clone() {
            if self.chance(survives) {
                keep(&mut names, renamed);
            }
        }
        let mut nodes = BTreeMap::new();
        self.survive(ROOT, &names, survives, &mut nodes);
        let kept = names.into_iter().filter(|(number, _)| nodes.contains_key(number)).collect();
        Self { nodes, next: self.next, kept, renamed: Vec::new(), random: self.random, lies: self.lies, dead: false }
    }

    /// What can be reached, each once.
    fn survive(
        &mut self,
        number: u64,
        names: &BTreeMap<u64, BTreeMap<OsString, u64>>,
        survives: Survives,
        found: &mut BTreeMap<u64, Node>,
    ) {
        let Some(Node { kind, about, kept, .. }) = self.nodes.get(&number).cloned() else { return };
        let about = if self.chance(survives) { about } else { kept };
        let kind = match kind {
            Kind::Folder(_) => Kind::Folder(names.get(&number).cloned().unwrap_or_default()),
            Kind::File(bytes) => Kind::File(self.surviving(bytes, survives)),
            link @ Kind::Link(_) => link,
        };
        let below = match &kind {
            Kind::Folder(names) => names.values().copied().collect(),
            _ => Vec::new(),
        };
        let links = if matches!(kind, Kind::Folder(_)) { 2 } else { 0 };
        found.insert(number, Node { kind, about, kept: about, names: links });
        for number in below {
            if !found.contains_key(&number) {
                self.survive(number, names, survives, found);
            }
            if let Some(node) = found.get_mut(&number) {
                node.names += 1;
            }
        }
    }

    /// Each sector as it was flushed or as it was written, the length anywhere between, zeros where nothing came.
    fn surviving(&mut self, mut bytes: Bytes, survives: Survives) -> Bytes {
        let (least, most) = (bytes.now.len().min(bytes.kept.len()), bytes.now.len().max(bytes.kept.len()));
        let length = match survives {
            Survives::Nothing => bytes.kept.len(),
            Survives::All => bytes.now.len(),
            Survives::Some => least + usize::try_from(self.next_random()).unwrap_or(0) % (most - least + 1),
        };
        let mut found = std::mem::take(&mut bytes.kept);
        found.resize(length, 0);
        for sector in &bytes.dirty {
            if self.chance(survives) {
                copy_sector(&bytes.now, &mut found, *sector);
            }
        }
        Bytes { now: found.clone(), kept: found, dirty: BTreeSet::new() }
    }

    fn chance(&mut self, survives: Survives) -> bool {
        match survives {
            Survives::Nothing => false,
            Survives::All => true,
            Survives::Some => self.next_random() & 1 == 0,
        }
    }

    /// xorshift64.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 1
    }
}

fn keep(kept: &mut BTreeMap<u64, BTreeMap<OsString, u64>>, Renamed(changes): Renamed) {
    for (folder, name, number) in changes {
        let names = kept.entry(folder).or_default();
        match number {
            Some(number) => names.insert(name, number),
            None => names.remove(&name),
        };
    }
}

/// Copies what both have of a sector.
fn copy_sector(from: &[u8], to: &mut [u8], sector: usize) {
    let start = sector * SECTOR;
    let end = (start + SECTOR).min(from.len()).min(to.len());
    if let (Some(to), Some(from)) = (to.get_mut(start..end), from.get(start..end)) {
        to.copy_from_slice(from);
    }
}

impl Bytes {
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.now.len() < end {
            // A hole that is written over says nothing before it.
            self.soil(self.now.len(), end);
            self.now.resize(end, 0);
        }
        if let Some(place) = self.now.get_mut(offset..end) {
            place.copy_from_slice(bytes);
        }
        self.soil(offset, end);
    }

    pub fn set_length(&mut self, length: usize) {
        self.soil(length.min(self.now.len()), length.max(self.now.len()));
        self.now.resize(length, 0);
    }

    fn soil(&mut self, start: usize, end: usize) {
        self.dirty.extend(start / SECTOR..end.div_ceil(SECTOR));
    }

    fn flush(&mut self) {
        self.kept.resize(self.now.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            copy_sector(&self.now, &mut self.kept, sector);
        }
    }
}

/// A target, as a link has it.
pub fn link_to(target: &Path) -> Kind {
    Kind::Link(target.to_owned())
}
