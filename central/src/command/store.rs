//! audit, backup, restore.

use super::{STORE, give};
use crate::app::{META_LOG, META_RESTORED};
use crate::clock;
use crate::shelf;
use crate::store::{self, Sqlite, Store, StoreError};
use anyhow::{Context, Result, bail, ensure};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How many records are read at a time.
const PAGE: usize = 10_000;

pub(super) fn audit(folder: &Path) -> Result<()> {
    let store = Sqlite::open_to_read(&folder.join(STORE))?;
    let mut lines: Vec<String> = Vec::new();
    loop {
        let after = lines.len() as u64;
        let page: Vec<String> = store::look(&store, |act| act.audit(after, PAGE))?;
        if page.is_empty() {
            break;
        }
        lines.extend(page);
    }
    for line in &lines {
        println!("{line}");
    }
    let verified = tether_audit::verify(lines.iter().map(String::as_str), |_| {}).context("the chain does NOT hold")?;
    eprintln!("{} records, the chain holds; its end is {}", verified.records, verified.head);
    Ok(())
}

pub(super) fn back_up(folder: &Path, file: &Path) -> Result<()> {
    ensure!(!file.exists(), "{} is there already", file.display());
    let store = Sqlite::open(&folder.join(STORE))?;
    // Everything that anybody did is in it.
    private(file)?;
    store.back_up(file)?;
    let found = Sqlite::open_to_read(file)?.check()?;
    ensure!(found == "ok", "the copy is damaged: {found}");
    println!("{} holds the store", file.display());
    if folder.join(shelf::FOLDER).is_dir() {
        println!("the bytes of recordings are no part of it: copy {} after it", folder.join(shelf::FOLDER).display());
    }
    Ok(())
}

pub(super) fn restore(folder: &Path, file: &Path) -> Result<()> {
    let place = folder.join(STORE);
    let copy = Sqlite::open_to_read(file)?;
    let found = copy.check()?;
    ensure!(found == "ok", "{} is damaged: {found}", file.display());
    let count: Result<(u64, String), StoreError> = store::look(&copy, |act| act.audit_end());
    let (records, _) = count.with_context(|| format!("{} is not a central's store", file.display()))?;
    for end in ["-wal", "-shm"] {
        if folder.join(format!("{STORE}{end}")).exists() {
            bail!("{}{end} is there: central runs, or did not end well; stop it first", place.display());
        }
    }
    let beside = folder.join("central.db.restored");
    copy_to(file, &beside).with_context(|| format!("cannot copy {}", file.display()))?;
    begin_anew(&beside)?;
    std::fs::File::open(&beside)?.sync_all()?;
    give(folder, &beside)?;
    std::fs::rename(&beside, &place).with_context(|| format!("cannot replace {}", place.display()))?;
    println!("restored, with {records} audit records");
    println!(
        "sign-ins, tokens and enrolments of before are void; what the copy does not know is to be done again: agents,"
    );
    println!("humans and hosts that were deactivated since, directories' tokens that were revoked");
    println!("hosts that have read more than this store knows will refuse it (report.fork): enrol those anew");
    Ok(())
}

/// A new file that only its owner may read.
fn private(path: &Path) -> Result<std::fs::File> {
    let made = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path);
    made.with_context(|| format!("cannot make {}", path.display()))
}

/// The folder is the user's that central runs as, and root copies: what lies in wait there under the name is removed,
/// never followed.
fn copy_to(file: &Path, beside: &Path) -> Result<()> {
    match std::fs::remove_file(beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    std::io::copy(&mut std::fs::File::open(file)?, &mut private(beside)?)?;
    Ok(())
}

/// A copy has less than what was signed after it was made: its tree goes on under another name, so that no name ever
/// has two trees of one size. Nor does it know what was taken back since.
fn begin_anew(file: &Path) -> Result<()> {
    let store = Sqlite::open(file)?;
    let random = tether_centrallink::random::name(8)?;
    Ok(store::act(&store, |act| -> Result<(), StoreError> {
        act.set_meta(META_RESTORED, &clock::now().to_string())?;
        let Some(origin) = act.meta(META_LOG)? else { return Ok(()) };
        let name = origin.rsplit_once('/').map_or(origin.as_str(), |(name, _)| name);
        act.set_meta(META_LOG, &format!("{name}/{random}"))
    })?)
}
