//! audit export: everything that is needed to verify all chains and the log without central.
//!
//! ```text
//! hosts/HOST/start.json, NNN.jsonl      a host's chain; hosts/HOST@N the older ones of a host that was made anew
//! central/NNN.jsonl                     central's own
//! log/checkpoint, log/tile/…            the tree over all records (C2SP tlog-tiles)
//! log/vkey                              the key that checks the checkpoint, as the key set in force has it
//! keys/V.jws                            every key set that was ever in force
//! evidence/HOST-N.jsonl                 lines that a chain had no place for
//! recordings/index.jsonl                which recordings there are, how much of each, and our word about it
//! recordings/SESSION/NAME.rec           their bytes, if they were asked for
//! ```

use super::STORE;
use crate::app::{META_KEYS, META_LOG, is_name};
use crate::audit::HOST;
use crate::config::Settings;
use crate::shelf::{self, Shelf};
use crate::store::{self, Act, HostChain, Place, Sqlite, StoreError};
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tether_audit::log::{NoteKey, Resource, TileId, WIDTH, bundle};
use tether_statement::{Role, TrustedKeys};

/// How many lines are read at a time, and stand in one segment.
const PAGE: usize = 10_000;
/// How long the log may take to cover what was exported, and how often it is looked at.
const COVERED: Duration = Duration::from_secs(10);
const LOOKS: Duration = Duration::from_millis(100);

pub(super) fn run(folder: &Path, to: &Path, bytes: bool) -> Result<()> {
    ensure!(!to.exists(), "{} is there already", to.display());
    let store = Sqlite::open_to_read(&folder.join(STORE))?;
    // Everything that anybody did is in it.
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(to);
    made.with_context(|| format!("cannot make {}", to.display()))?;
    let look = |what: &str| format!("the store: {what}");
    let chains = store::look(&store, |act| -> Result<_, StoreError> { act.host_chains() }).context(look("chains"))?;
    let mut lines = 0;
    for (host, chain) in &chains {
        // It is about to be a folder's name, and the store may be somebody else's by now.
        ensure!(is_name(host), "{host}: a host of that name cannot be exported");
        for generation in 0..=chain.generation {
            let name = if generation == chain.generation { host.to_string() } else { format!("{host}@{generation}") };
            let place = to.join("hosts").join(name);
            std::fs::create_dir_all(&place).with_context(|| format!("{}", place.display()))?;
            lines += chain_of(&store, host.as_str(), generation, &place)?;
            if generation == chain.generation {
                start(chain, &place)?;
            }
        }
    }
    lines += chain_of(&store, HOST, 0, &to.join("central"))?;
    let size = log(&store, &to.join("log"))?;
    keys(folder, &store, to)?;
    evidence(&store, &to.join("evidence"))?;
    recordings(folder, &store, &to.join("recordings"), bytes)?;
    println!("{}: {} hosts, {lines} lines, a log of {size} records", to.display(), chains.len());
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    std::fs::write(path, bytes).with_context(|| format!("{}", path.display()))
}

fn start(chain: &HostChain, place: &Path) -> Result<()> {
    match &chain.start {
        Some(start) => write(&place.join("start.json"), &serde_json::to_vec(start)?),
        None => Ok(()),
    }
}

/// One chain in segments, each named by the first record in it.
fn chain_of(store: &Sqlite, chain: &str, generation: u64, place: &Path) -> Result<usize> {
    let (mut at, mut count) = (Place::default(), 0);
    std::fs::create_dir_all(place).with_context(|| format!("{}", place.display()))?;
    loop {
        let page = store::look(store, |act| -> Result<_, StoreError> { act.lines(chain, generation, at, PAGE) })?;
        if page.is_empty() {
            return Ok(count);
        }
        let first = page.iter().find_map(|(record, _)| *record).unwrap_or(at.number + 1);
        let path = place.join(format!("{first:020}.jsonl"));
        // A page of lines that are no records belongs to the segment before.
        let mut file = std::fs::File::options().append(true).create(true).open(&path)?;
        let mut text = String::new();
        for (record, line) in &page {
            at = match record {
                Some(number) => Place { number: *number, marks: 0 },
                None => Place { marks: at.marks + 1, ..at },
            };
            text.push_str(line);
            text.push('\n');
        }
        file.write_all(text.as_bytes()).with_context(|| format!("{}", path.display()))?;
        count += page.len();
    }
}

/// The newest checkpoint, once it covers what was written of chains just now: a central that runs makes one a second.
fn newest(store: &Sqlite, origin: &str) -> Result<Option<(u64, String)>> {
    let end = store::look(store, |act| -> Result<_, StoreError> { act.log_end() })?;
    let begun = Instant::now();
    loop {
        let found = store::look(store, |act| -> Result<_, StoreError> { act.checkpoint(origin) })?;
        if found.as_ref().is_some_and(|(size, _)| *size >= end) {
            return Ok(found);
        }
        if begun.elapsed() > COVERED {
            let size = found.as_ref().map_or(0, |(size, _)| *size);
            eprintln!(
                "the log has {size} of {end} records: central does not run, or is behind; what is not in it shows in `verify`"
            );
            return Ok(found);
        }
        std::thread::sleep(LOOKS);
    }
}

/// The tree of the newest checkpoint.
fn log(store: &Sqlite, place: &Path) -> Result<u64> {
    let origin: Option<String> = store::look(store, |act| act.meta(META_LOG))?;
    let origin = origin.context("the store has no log: start this version of central once")?;
    let Some((size, text)) = newest(store, &origin)? else { return Ok(0) };
    write(&place.join("checkpoint"), text.as_bytes())?;
    let mut all = size;
    for level in 0.. {
        for index in 0..all.div_ceil(WIDTH) {
            let width = (all - index * WIDTH).min(WIDTH);
            let tile = TileId::new(level, index, width).context("a tile")?;
            tiles(store, place, tile)?;
        }
        all /= WIDTH;
        if all == 0 {
            break;
        }
    }
    Ok(size)
}

fn tiles(store: &Sqlite, place: &Path, tile: TileId) -> Result<()> {
    let width = usize::try_from(tile.width())?;
    let hashes = store::look(store, |act| -> Result<_, StoreError> { act.tile(tile.level(), tile.index()) })?;
    let hashes = hashes.unwrap_or_default();
    let hashes = hashes.get(..32 * width).with_context(|| format!("the store has not all of {tile}"))?;
    write(&place.join(Resource::Tile(tile).to_string()), hashes)?;
    if tile.level() == 0 {
        let from = tile.index() * WIDTH;
        let entries = store::look(store, |act| -> Result<_, StoreError> { act.entries(from, width) })?;
        let bytes = bundle(entries.iter().map(|entry| entry.line.as_bytes())).context("an entry is too long")?;
        write(&place.join(Resource::Entries(tile).to_string()), &bytes)?;
    }
    Ok(())
}

fn keys(folder: &Path, store: &Sqlite, to: &Path) -> Result<()> {
    let (sets, newest, origin) = store::look(store, |act: &dyn Act| -> Result<_, StoreError> {
        Ok((act.key_sets()?, act.meta(META_KEYS)?, act.meta(META_LOG)?))
    })?;
    for (version, text) in sets {
        write(&to.join("keys").join(format!("{version}.jws")), text.as_bytes())?;
    }
    let roots = Settings::load(folder)?.roots;
    let trusted = newest.map(|text| TrustedKeys::verify(&text, &roots)).transpose().context("the key set")?;
    let audit = trusted.as_ref().and_then(|keys| keys.set().keys.iter().rfind(|key| key.role == Role::Audit));
    if let (Some(key), Some(origin)) = (audit, origin)
        && let Some(key) = NoteKey::new(&origin, *key.x.as_bytes())
    {
        write(&to.join("log/vkey"), format!("{key}\n").as_bytes())?;
    }
    Ok(())
}

/// Where they are is said by session and name: in central's folder, or beside the list.
fn recordings(folder: &Path, store: &Sqlite, place: &Path, bytes: bool) -> Result<()> {
    let shelf = Shelf::new(folder.join(shelf::FOLDER));
    let mut text = String::new();
    let mut last: Option<(String, String)> = None;
    loop {
        let page = store::look(store, |act| -> Result<_, StoreError> {
            act.all_recordings(last.as_ref().map(|(session, name)| (&**session, &**name)), PAGE)
        })?;
        let Some(end) = page.last() else { break };
        last = Some((end.session.to_string(), end.name.clone()));
        for one in &page {
            text.push_str(&serde_json::to_string(one)?);
            text.push('\n');
            if bytes {
                let from = shelf.path(&one.session, &one.name)?;
                let mut file =
                    std::fs::File::open(&from).with_context(|| format!("{}", from.display()))?.take(one.bytes);
                let to = place.join(one.session.as_str()).join(format!("{}.rec", one.name));
                write(&to, b"")?;
                let mut copy = std::fs::File::create(&to).with_context(|| format!("{}", to.display()))?;
                std::io::copy(&mut file, &mut copy).with_context(|| format!("{}", to.display()))?;
            }
        }
    }
    if text.is_empty() { Ok(()) } else { write(&place.join("index.jsonl"), text.as_bytes()) }
}

fn evidence(store: &Sqlite, place: &Path) -> Result<()> {
    let all = store::look(store, |act| -> Result<_, StoreError> { act.evidence() })?;
    for (number, (host, _, _, text)) in all.into_iter().enumerate() {
        write(&place.join(format!("{host}-{number}.jsonl")), text.as_bytes())?;
    }
    Ok(())
}
