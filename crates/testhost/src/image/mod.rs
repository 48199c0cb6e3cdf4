//! Images: a Debian root file system made once and cached, and layers with packages on top of it.
//!
//! The cache is `/var/cache/tether-testhost`, or what `TETHER_TESTHOST_CACHE` names. A finished entry is never changed:
//! it is built beside its place and renamed, under a lock.

mod idle;
mod layer;
mod mirror;
mod recipe;

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Context, Error, Result};
use crate::scratch;

pub(crate) use layer::PATH;

/// The Debian release of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// Debian 12.
    Bookworm,
    /// Debian 13.
    Trixie,
}

impl Suite {
    /// All of them.
    pub const ALL: [Suite; 2] = [Suite::Bookworm, Suite::Trixie];

    /// Its name in the archive.
    pub fn name(self) -> &'static str {
        match self {
            Suite::Bookworm => "bookworm",
            Suite::Trixie => "trixie",
        }
    }
}

impl std::str::FromStr for Suite {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Suite::ALL
            .into_iter()
            .find(|suite| suite.name() == name)
            .ok_or_else(|| Error::Request(format!("no image for {name:?}: there are bookworm and trixie")))
    }
}

/// What hosts boot from: read-only folders, one over the other.
#[derive(Clone, Debug)]
pub struct Image {
    suite: Suite,
    /// Names the content; part of the name of every layer on top.
    key: String,
    /// The topmost first.
    lower: Vec<PathBuf>,
}

impl Image {
    /// The suite's image, made now if the cache has none (about half a minute and 350 MB). `progress` gets a line now
    /// and then.
    pub fn ensure(suite: Suite, progress: &mut dyn FnMut(&str)) -> Result<Image> {
        Self::ensure_with(suite, "", progress)
    }

    /// The same with more packages, separated by commas: another image, cached beside the plain one.
    pub fn ensure_with(suite: Suite, more: &str, progress: &mut dyn FnMut(&str)) -> Result<Image> {
        let cache = cache_folder()?;
        let key = format!("{}-{}", suite.name(), recipe::fingerprint(more));
        let folder =
            cached(&cache, &key, progress, |building, progress| recipe::build(suite, more, building, progress))?;
        Ok(Image { suite, key, lower: vec![folder] })
    }

    /// The same for very many packages: none of their services starts by itself.
    pub fn ensure_idle(suite: Suite, more: &str, progress: &mut dyn FnMut(&str)) -> Result<Image> {
        let key = format!("{}-{}-idle", suite.name(), recipe::fingerprint(more));
        let folder = cached(&cache_folder()?, &key, progress, |building, progress| {
            recipe::build(suite, more, building, progress)?;
            idle::quiet(&building.join("root"))
        })?;
        Ok(Image { suite, key, lower: vec![folder] })
    }

    /// This image with a Debian package installed, cached by the package's content. Its dependencies must be in the
    /// image or in an earlier layer; its services do not start before a host boots.
    pub fn with_deb(&self, deb: &Path) -> Result<Image> {
        let content = fs::read(deb).context("read", deb)?;
        let key = short_hash(&[self.key.as_bytes(), &content]);
        let layers = cache_folder()?.join("layers");
        fs::create_dir_all(&layers).context("make", &layers)?;
        let folder = cached(&layers, &key, &mut |_| {}, |building, _| layer::install(self, deb, building))?;
        let lower = std::iter::once(folder).chain(self.lower.iter().cloned()).collect();
        Ok(Image { suite: self.suite, key, lower })
    }

    /// The release it is made from.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The folders a host's overlay reads from, the topmost first.
    pub fn lower(&self) -> &[PathBuf] {
        &self.lower
    }
}

/// The cache folder; made if it is not there.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let folder = std::env::var_os("TETHER_TESTHOST_CACHE").unwrap_or_else(|| "/var/cache/tether-testhost".into());
    let folder = PathBuf::from(folder);
    fs::create_dir_all(&folder).context("make the cache", &folder)?;
    fs::canonicalize(&folder).context("find", &folder)
}

/// The cache's entry `key`, built by `build` in an empty folder if it is missing.
fn cached(
    cache: &Path,
    key: &str,
    progress: &mut dyn FnMut(&str),
    build: impl FnOnce(&Path, &mut dyn FnMut(&str)) -> Result<()>,
) -> Result<PathBuf> {
    let place = cache.join(key);
    if place.is_dir() {
        return Ok(place);
    }
    let _lock =
        scratch::lock(&cache.join(format!("{key}.lock")), || progress("another process is building it: waiting"))?;
    if place.is_dir() {
        return Ok(place);
    }
    let building = cache.join(format!("{key}.building"));
    scratch::remove(&building)?;
    fs::create_dir(&building).context("make", &building)?;
    build(&building, progress)?;
    fs::rename(building.join("root"), &place).context("finish", &place)?;
    scratch::remove(&building)?;
    Ok(place)
}

fn short_hash(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
