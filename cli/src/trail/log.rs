//! Central's log of all records: whether its checkpoint is signed, its tiles and entries are the tree that it signs, and
//! whether each chain's records are in it, all of them and in their order.

use super::check::Summary;
use super::copy::Copy;
use super::finding::{Finding, What};
use super::source::{Chains, alone};
use super::tree::{Look, well, wrapped};
use crate::render::{RED, painted, printable};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tether_audit::log::{Checkpoint, Edge, NoteKey, Resource, SignedNote, TileId, WIDTH, bundle_entries};

/// What the log proves.
#[derive(Debug, Clone, Default)]
pub struct Proven {
    /// Its name.
    pub origin: String,
    /// How many entries the checkpoint speaks of.
    pub size: u64,
    /// Whether a key of central's has signed it; none if there were no keys to check with.
    pub signed: Option<bool>,
    /// The last record of each chain that is in it.
    pub last: BTreeMap<String, u64>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Proven {
    /// For a program.
    pub fn json(&self) -> Value {
        let findings: Vec<Value> = self.findings.iter().map(Finding::json).collect();
        json!({"origin": self.origin, "size": self.size, "signed": self.signed, "last": self.last, "findings": findings})
    }

    /// For a person.
    pub fn words(&self, look: Look) -> String {
        let mut out = String::new();
        for finding in &self.findings {
            for line in finding.words().lines() {
                out.push_str(&painted(&format!("✗ {line}\n"), RED, look.colour));
            }
        }
        let last: Vec<String> =
            self.last.iter().map(|(chain, last)| format!("{} up to {last}", printable(chain))).collect();
        let signed = match self.signed {
            None => "its signature was not checked: that takes a root's key (--root KEY)",
            Some(true) => "signed by central",
            Some(false) => "NOT signed by central",
        };
        let name = printable(&self.origin);
        let words = format!("the log {name}: {} records, {signed}; it has {}", self.size, last.join(", "));
        let mark = if self.findings.is_empty() { well("✓", look) } else { painted("✗", RED, look.colour) };
        for (at, line) in wrapped(&words, look.width.saturating_sub(2)).iter().enumerate() {
            out.push_str(&if at == 0 { format!("{mark} {line}\n") } else { format!("  {line}\n") });
        }
        out
    }

    fn find(&mut self, chain: &str, number: Option<u64>, why: String) {
        self.findings.push(Finding { what: What::Log, chain: chain.to_owned(), number, place: None, why });
    }
}

/// Checks an export's log; none if it has none.
pub fn check(chains: &Chains, sums: &[Summary]) -> Result<Option<Proven>> {
    let Some(folder) = chains.export.as_ref().map(|folder| folder.join("log")) else { return Ok(None) };
    let path = folder.join("checkpoint");
    if !path.is_file() {
        return Ok(None);
    }
    let note = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut proven = Proven::default();
    let Some(checkpoint) = believed(&note, chains, &mut proven) else { return Ok(Some(proven)) };
    (proven.origin, proven.size) = (checkpoint.origin.clone(), checkpoint.size);
    let last = entries(&folder, chains, &checkpoint, &mut proven)?;
    if proven.findings.is_empty() {
        unlogged(chains, sums, &last, &mut proven);
    }
    Ok(Some(proven))
}

fn believed(note: &str, chains: &Chains, proven: &mut Proven) -> Option<Checkpoint> {
    let text = note.rsplit_once("\n\n").map(|(text, _)| format!("{text}\n"));
    let checkpoint = text.and_then(|text| Checkpoint::parse(&text).ok());
    let (Some(checkpoint), Ok(_)) = (checkpoint, SignedNote::parse(note)) else {
        proven.find("log", None, "its checkpoint has not the form of one".to_owned());
        return None;
    };
    if chains.keys.is_empty() {
        return Some(checkpoint);
    }
    let keys = chains.keys.audit();
    let signed = keys.iter().filter_map(|(_, key)| NoteKey::new(&checkpoint.origin, *key.as_bytes()));
    let is_signed = signed.into_iter().any(|key| Checkpoint::verify(note, &key).is_ok());
    proven.signed = Some(is_signed);
    if !is_signed {
        proven.find("log", None, "no audit key of central's has signed its checkpoint".to_owned());
    }
    Some(checkpoint)
}

/// All entries, from the first: the tree over them, and each against its chain. The last record of each chain that is
/// in it.
fn entries(
    folder: &Path,
    chains: &Chains,
    checkpoint: &Checkpoint,
    proven: &mut Proven,
) -> Result<BTreeMap<usize, u64>> {
    let mut edge = Edge::default();
    let mut beside = Beside::of(chains);
    for index in 0..checkpoint.size.div_ceil(WIDTH) {
        let width = (checkpoint.size - index * WIDTH).min(WIDTH);
        let Some(tile) = TileId::new(0, index, width) else { break };
        let path = folder.join(Resource::Entries(tile).to_string());
        let Ok(bytes) = std::fs::read(&path) else {
            proven.find("log", None, format!("{} is missing", path.display()));
            return Ok(beside.last);
        };
        let found = bundle_entries(&bytes).ok().filter(|all| all.len() as u64 == width);
        let Some(found) = found else {
            proven.find("log", None, format!("{} does not hold {width} entries", path.display()));
            return Ok(beside.last);
        };
        for entry in &found {
            beside.entry(entry, proven)?;
            if proven.findings.len() > 8 {
                return Ok(beside.last);
            }
        }
        edge.append(found);
    }
    if edge.root() != checkpoint.root {
        proven.find("log", None, "its entries are not the ones that the checkpoint has signed".to_owned());
    }
    Ok(beside.last)
}

/// The chains, read beside the log.
struct Beside<'c> {
    chains: &'c Chains,
    /// Of each chain: where its generations are, which of them is read, and how far.
    at: BTreeMap<String, Reading<'c>>,
    /// The last record of each generation that is in the log.
    last: BTreeMap<usize, u64>,
}

/// A host's chains, one after another.
struct Reading<'c> {
    chains: &'c Chains,
    generations: Vec<usize>,
    turn: usize,
    copy: Copy<'c>,
}

impl<'c> Beside<'c> {
    fn of(chains: &'c Chains) -> Self {
        Self { chains, at: BTreeMap::new(), last: BTreeMap::new() }
    }

    fn entry(&mut self, entry: &[u8], proven: &mut Proven) -> Result<()> {
        let Some((hash, link)) = std::str::from_utf8(entry).ok().and_then(|text| alone(text).ok().flatten()) else {
            proven.find("log", None, "an entry is no record".to_owned());
            return Ok(());
        };
        let (chain, number) = (link.host.as_str(), link.number);
        let Some(reading) = self.reading(chain) else {
            proven.find(chain, Some(number), "the log has a record of a chain that is not here".to_owned());
            return Ok(());
        };
        let found = reading.hash_of(number, &hash)?;
        let generation = reading.generations.get(reading.turn).copied().unwrap_or_default();
        // What was retired before its start is not here.
        let last = self.last.insert(generation, number);
        if last.is_some_and(|last| number != last + 1) {
            let why = format!("after record {} of this chain the log has {number}", last.unwrap_or_default());
            proven.find(chain, Some(number), why);
        }
        proven.last.insert(chain.to_owned(), number);
        match found {
            Some(found) if found == hash => {}
            Some(_) => proven.find(chain, Some(number), "the log has another record of this number".to_owned()),
            None => proven.find(chain, Some(number), "the log has this record, and the chain has not".to_owned()),
        }
        Ok(())
    }

    fn reading(&mut self, chain: &str) -> Option<&mut Reading<'c>> {
        if !self.at.contains_key(chain) {
            let generations = self.chains.generations(chain);
            let copy = Copy::of(self.chains.all.get(*generations.first()?)?);
            self.at.insert(chain.to_owned(), Reading { chains: self.chains, generations, turn: 0, copy });
        }
        self.at.get_mut(chain)
    }
}

impl Reading<'_> {
    /// The hash that the chain has for this record. A host that was made anew, or goes on after damage, has another
    /// chain: there the record stands that the older one has not.
    fn hash_of(&mut self, number: u64, wanted: &str) -> Result<Option<String>> {
        let found = self.copy.hash_of(number)?;
        if found.as_deref() == Some(wanted) {
            return Ok(found);
        }
        for turn in self.turn + 1..self.generations.len() {
            let Some(files) = self.generations.get(turn).and_then(|at| self.chains.all.get(*at)) else { break };
            let mut copy = Copy::of(files);
            if copy.hash_of(number)?.as_deref() == Some(wanted) {
                (self.turn, self.copy) = (turn, copy);
                return Ok(Some(wanted.to_owned()));
            }
        }
        Ok(found)
    }
}

/// A chain that holds and is not in the log at all, though the log has others; or more of which is countersigned than the
/// log has.
fn unlogged(chains: &Chains, sums: &[Summary], last: &BTreeMap<usize, u64>, proven: &mut Proven) {
    for (at, sum) in sums.iter().enumerate().take(chains.all.len()) {
        let Some(countersigned) = sum.countersigned.as_ref().map(|mark| mark.number) else { continue };
        let logged = last.get(&at).copied().unwrap_or_default();
        if logged == 0 && sum.first > 0 {
            let why = "central has countersigned this chain, and the log has nothing of it".to_owned();
            proven.find(&sum.chain, None, why);
        } else if logged > 0 && countersigned > logged {
            let why = format!("central has countersigned up to {countersigned}, and the log has up to {logged}");
            proven.find(&sum.chain, Some(logged + 1), why);
        }
    }
}
