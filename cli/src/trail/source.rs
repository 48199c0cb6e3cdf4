//! Where a trail comes from: this host, files, an export of central's, or central itself.

use super::check::{Elsewhere, Seen, Summary, check};
use super::files::{Files, Place, Start, has_segments};
use super::keys::{Keys, in_export, roots_of_host};
use crate::central::{Link as CentralLink, query};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use tether_audit::{Line, Link, Reached, Verifier};

/// This host's chain.
const HERE: &str = "/var/lib/tether/audit";
/// The chain of central itself.
pub const CENTRAL: &str = "central";

/// What countersignatures are checked with.
#[derive(Args, Debug, Default, Clone)]
pub struct Trust {
    /// Central's key sets, as it publishes them (`keys.jws`); an export brings its own
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub keys: Vec<PathBuf>,
    /// A root's public key, or NAME=KEY, that signed the key sets; on a host, its settings have them
    #[arg(long, value_name = "KEY")]
    pub root: Vec<String>,
    /// Where the chain begins and with which key, from elsewhere than the host: as central was told at enrolment
    #[arg(long, value_name = "FILE")]
    pub start: Option<PathBuf>,
    /// Countersignatures from elsewhere, one a line
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub countersigned: Vec<PathBuf>,
}

/// Chains in files, and what to check them with.
pub struct Chains {
    /// The chains.
    pub all: Vec<Files>,
    /// Central's keys.
    pub keys: Keys,
    /// Marks that are not in the chains.
    pub elsewhere: Elsewhere,
    /// An export's folder, if it is one: it may have a log.
    pub export: Option<PathBuf>,
    /// Whether `--start` was used.
    given_start: bool,
}

impl Chains {
    /// This host's own chain.
    pub fn of_host(trust: &Trust) -> Result<Self> {
        ensure!(
            Path::new(HERE).exists(),
            "this machine has no audit chain ({HERE} is not here); name files, or central: --help says how"
        );
        let mut chains = Self::new(vec![Files::folder(Path::new(HERE), None)?], None, trust)?;
        if chains.keys.is_empty() && trust.root.is_empty() {
            chains.keys = Keys::of_host(&roots_of_host());
        }
        Ok(chains)
    }

    /// A folder of segments, an export, or one file.
    pub fn at(path: &Path, trust: &Trust) -> Result<Self> {
        if path.join("hosts").is_dir() || path.join(CENTRAL).is_dir() {
            return Self::of_export(path, trust);
        }
        let files = if path.is_dir() { Files::folder(path, None)? } else { Files::single(path)? };
        Self::new(vec![files], None, trust)
    }

    /// An export of central's.
    pub fn of_export(folder: &Path, trust: &Trust) -> Result<Self> {
        let mut all = Vec::new();
        if folder.join(CENTRAL).is_dir() {
            all.push(Files::folder(&folder.join(CENTRAL), Some(CENTRAL.to_owned()))?);
        }
        for host in folders(&folder.join("hosts"))? {
            let name =
                host.file_name().and_then(|name| name.to_str()).context("a host's folder has no name in UTF-8")?;
            // Central keeps the older chains of a host that was made anew as HOST@N.
            let (chain, generation) = match name.rsplit_once('@') {
                None => (name, u64::MAX),
                Some((chain, number)) => {
                    (chain, number.parse().with_context(|| format!("hosts/{name} is no older chain of a host"))?)
                }
            };
            if has_segments(&host)? {
                all.push(Files { generation, ..Files::folder(&host, Some(chain.to_owned()))? });
            }
        }
        ensure!(!all.is_empty(), "{} has neither hosts/ nor central/: it is no export", folder.display());
        Self::new(all, Some(folder.to_owned()), trust)
    }

    fn new(mut all: Vec<Files>, export: Option<PathBuf>, trust: &Trust) -> Result<Self> {
        let given_start = trust.start.is_some();
        if let Some(path) = &trust.start {
            let [one] = all.as_mut_slice() else { bail!("--start is for one chain; an export has one for each") };
            one.start = Some((Start::read(path)?, path.as_path().into()));
        }
        let mut sets = trust.keys.clone();
        let mut roots = trust.root.clone();
        if roots.is_empty() && export.is_none() {
            roots = roots_of_host();
        }
        if let Some(folder) = export.as_ref().filter(|_| sets.is_empty() && !roots.is_empty()) {
            sets = in_export(folder)?;
        }
        let keys = Keys::read(&sets, &roots)?;
        let elsewhere = countersigned(&trust.countersigned)?;
        Ok(Self { all, keys, elsewhere, export, given_start })
    }

    /// Where the chains of this name are in an export, the oldest first.
    pub fn generations(&self, chain: &str) -> Vec<usize> {
        let of_it = |(_, files): &(usize, &Files)| files.chain.as_deref() == Some(chain);
        let mut all: Vec<(u64, usize)> =
            self.all.iter().enumerate().filter(of_it).map(|(at, files)| (files.generation, at)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, at)| at).collect()
    }

    /// Reads all chains, checked.
    pub fn read(&self, each: &mut dyn FnMut(Seen<'_>)) -> Result<Vec<Summary>> {
        self.all.iter().map(|files| self.read_one(files, each)).collect()
    }

    /// Reads one of them.
    pub fn read_one(&self, files: &Files, each: &mut dyn FnMut(Seen<'_>)) -> Result<Summary> {
        let mut sum = check(files, &self.keys, &self.elsewhere, each)?;
        if self.given_start {
            sum.start = super::check::StartedBy::Given;
        }
        Ok(sum)
    }
}

fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = std::fs::read_dir(path) else { return Ok(Vec::new()) };
    let mut found = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    found.retain(|path| path.is_dir());
    found.sort();
    Ok(found)
}

/// Lines of a chain, or the signed texts alone.
fn countersigned(files: &[PathBuf]) -> Result<Elsewhere> {
    let mut found = Elsewhere::new();
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        for (line, text) in (1..).zip(text.lines()) {
            let compact = match Verifier::from(Reached::default()).take(text) {
                Ok(Line::Countersigned(compact)) => compact,
                _ => text.trim().to_owned(),
            };
            if !compact.is_empty() {
                found.push((compact, Some(Place { file: file.as_path().into(), line })));
            }
        }
    }
    Ok(found)
}

/// A line that came from central, with its chain.
#[derive(Deserialize)]
struct FarLine {
    chain: String,
    line: String,
}

#[derive(Deserialize)]
struct FarLines {
    lines: Vec<FarLine>,
    #[serde(default)]
    next: Option<serde_json::Value>,
}

/// Records from central, page by page. Each is checked on its own: that none is missing between them is central's word.
pub fn from_central(
    link: &CentralLink,
    path: &str,
    members: &[(&str, Option<&str>)],
    each: &mut dyn FnMut(Seen<'_>) -> bool,
) -> Result<()> {
    let mut after: Option<String> = None;
    loop {
        let mut all = members.to_vec();
        all.push(("after", after.as_deref()));
        let page: FarLines = link.get(&query(path, &all))?;
        for line in &page.lines {
            let Some((hash, record)) = alone(&line.line)
                .with_context(|| format!("central sent a line of {:?} that does not hold", line.chain))?
            else {
                continue;
            };
            ensure!(record.host == line.chain, "central sent a record of {:?} as one of {:?}", record.host, line.chain);
            if !each(Seen { chain: &line.chain, place: None, hash: &hash, link: &record }) {
                return Ok(());
            }
        }
        let next = page.next.and_then(|next| match next {
            serde_json::Value::String(next) => Some(next),
            serde_json::Value::Number(next) => Some(next.to_string()),
            _ => None,
        });
        if next.is_none() || next == after {
            return Ok(());
        }
        after = next;
    }
}

/// One line without those before it: its hash, and the record. None for a head.
pub fn alone(text: &str) -> Result<Option<(String, Box<Link>)>> {
    let value: serde_json::Value = serde_json::from_str(text).context("it is not JSON")?;
    if !value["record"].is_object() {
        return Ok(None);
    }
    let number = value["record"]["number"].as_u64().unwrap_or_default();
    let hash = value["record"]["previous"].as_str().unwrap_or_default().to_owned();
    let mut verifier = Verifier::from(Reached { number: number.saturating_sub(1), hash, ..Reached::default() });
    match verifier.take(text)? {
        Line::Record { hash, link } => Ok(Some((hash, link))),
        _ => Ok(None),
    }
}

/// The place of a line, as words.
pub fn place_words(place: &Place) -> String {
    format!("{}:{}", place.file.display(), place.line)
}
