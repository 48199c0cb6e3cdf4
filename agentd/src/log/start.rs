//! Taking the chain up: what is on disk is checked, and the key is brought to where the chain is.

use super::disk::{Access, Disk, replace};
use super::key::{Committed, Found, KEY_FILE, KeyFile, START_FILE, make_key};
use super::read::{Checked, Damage, check};
use super::segments::{Segments, first_of};
use super::writer::{Shared, Writer};
use super::{Closed, LogError, Standing, warn};
use crate::config::Audit;
use std::sync::Arc;
use std::time::Instant;
use tether_audit::{Chain, Reached, SignedHead, Verified, Verifier};

/// Where what a crash cut short is kept.
const TORN_FILE: &str = "torn";

/// The chain, and who writes it; nobody, if it must not grow.
pub fn open(
    disk: Arc<dyn Disk>,
    settings: Audit,
    host: &str,
    boot: &str,
) -> Result<(Arc<Shared>, Option<Writer>), LogError> {
    let ready = begin(disk.as_ref()).and_then(|found| {
        let checked = checked(disk.as_ref())?;
        Ok((bring_together(found, &checked.reached)?, checked))
    });
    let ((mut key, reached, owed), checked) = match ready {
        Ok(ready) => ready,
        Err(Damage::Log(error)) => return Err(error),
        Err(Damage::Closed(closed)) => {
            warn(format_args!("no agent is let in [{}]: {}", closed.code, closed.why));
            return Ok((Arc::new(Shared::closed(disk, closed)), None));
        }
    };
    let index = reached.key.as_ref().map_or(0, |(index, _)| *index);
    key.evolve_to(index).map_err(|source| LogError::disk(disk.path(KEY_FILE), source))?;
    if !checked.torn.is_empty() {
        let kept = replace(disk.as_ref(), TORN_FILE, Access::Root, &checked.torn);
        kept.map_err(|source| LogError::disk(disk.path(TORN_FILE), source))?;
    }
    let segments = Segments::take_up(Arc::clone(&disk), checked.lengths, settings.segment_kib << 10)?;
    let standing = Standing {
        records: reached.number,
        signed: reached.signed,
        countersigned: checked.countersigned,
        bytes: segments.bytes(),
    };
    let chain = Chain::after(host, boot, Verified { records: reached.number, head: reached.hash.clone() });
    let mut shared = Shared::new(disk, chain.clone(), standing, checked.marks, checked.torn.len());
    shared.left = checked.left;
    let shared = Arc::new(shared);
    let writer = Writer {
        shared: Arc::clone(&shared),
        segments,
        key,
        host: host.to_owned(),
        boot: boot.to_owned(),
        settings,
        durable: chain,
        head: reached.head,
        owed,
        signed: reached.signed,
        unsigned_since: (reached.signed < reached.number).then(Instant::now),
        last_head: Instant::now(),
    };
    Ok((shared, Some(writer)))
}

/// The key; made, where nothing of a chain is here yet.
fn begin(disk: &dyn Disk) -> Result<Found, Damage> {
    let names = disk.list().map_err(|source| LogError::disk(disk.path(""), source))?;
    if let Some(found) = KeyFile::open(disk)? {
        make_key(disk)?;
        return Ok(found);
    }
    if names.iter().any(|name| name == KEY_FILE || name == START_FILE || first_of(name).is_some()) {
        let why = format!("{} is gone or damaged, and its chain is here", disk.path(KEY_FILE).display());
        return Err(Damage::Closed(cut(&why)));
    }
    make_key(disk)?;
    KeyFile::open(disk)?.ok_or_else(|| Damage::Closed(cut("the key that was just made cannot be read")))
}

fn checked(disk: &dyn Disk) -> Result<Checked, Damage> {
    let start = disk.read(START_FILE).ok().and_then(|bytes| serde_json::from_slice::<Committed>(&bytes).ok());
    check(disk, start.filter(|start| start.number == 0))
}

/// Adds the head that was kept and is not in the chain, if a crash came between; and finds the chain cut, if the key
/// is ahead of it.
fn bring_together(found: Found, reached: &Reached) -> Result<(KeyFile, Reached, String), Damage> {
    let Found { key, head } = found;
    let (mut reached, mut owed) = (reached.clone(), String::new());
    if let Some(head) = head {
        if head.head.number > reached.number {
            return Err(Damage::Closed(cut(&format!(
                "a head was signed over record {}, and the last one here is {}",
                head.head.number, reached.number
            ))));
        }
        if let Some((next, line)) = followed_by(&reached, &head) {
            (reached, owed) = (next, line);
        }
    }
    let (wanted, public) = reached.key.clone().map_or((0, None), |(index, public)| (index, Some(public)));
    let mine = key.signer().index();
    if mine > wanted {
        return Err(Damage::Closed(cut(&format!("its key is number {mine}, and by the chain it would be {wanted}"))));
    }
    let mut then = tether_audit::HeadSigner::new(mine, *key.signer().seed());
    while then.index() < wanted {
        then = then.next();
    }
    if public.is_some_and(|public| public != then.public()) {
        return Err(Damage::Closed(cut("its key is that of another chain")));
    }
    Ok((key, reached, owed))
}

/// Where the chain is with that head, if it is the next.
fn followed_by(reached: &Reached, head: &SignedHead) -> Option<(Reached, String)> {
    let line = head.line().ok()?;
    let mut verifier = Verifier::from(reached.clone());
    verifier.take(&line).ok()?;
    Some((verifier.reached().clone(), line + "\n"))
}

fn cut(why: &str) -> Closed {
    let hint = "the audit chain was cut, or an older one was put back; keep /var/lib/tether/audit as evidence, move it \
                away and enrol the host anew";
    Closed { code: "audit.cut", why: format!("{why}: {hint}") }
}
