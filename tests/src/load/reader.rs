//! What agentd does with an inbox, without a host under it: each statement is verified in its place, and the report
//! says how far the feed was read.

use super::courier::Place;
use super::monotonic;
use anyhow::{Context, Result};
use rustix::fs::inotify;
use std::collections::HashMap;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, PoisonError};
use tether_statement::{Body, FeedStatement};

/// When each host had verified its first revocation.
pub(super) type Ends = Arc<Mutex<HashMap<String, u64>>>;

/// Reads all inboxes until the process ends.
pub(super) fn run(mut places: Vec<Place>, ends: &Ends) -> Result<()> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).context("inotify")?;
    let mut known = HashMap::new();
    for (at, place) in places.iter().enumerate() {
        known.insert(inotify::add_watch(&watch, place.inbox(), inotify::WatchFlags::MOVED_TO)?, at);
    }
    let mut buffer = [MaybeUninit::uninit(); 64 * 1024];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    // What came before the watch stood.
    for place in &mut places {
        read(place, ends)?;
    }
    loop {
        let event = events.next()?;
        let statement = event.file_name().map(CStr::to_bytes).is_some_and(|name| name.starts_with(b"feed-"));
        let place = known.get(&event.wd()).and_then(|at| places.get_mut(*at));
        if let (true, Some(place)) = (statement, place) {
            read(place, ends)?;
        }
    }
}

fn read(place: &mut Place, ends: &Ends) -> Result<()> {
    let mut moved = false;
    loop {
        let next = place.report.position.number + 1;
        let path = place.inbox().join(format!("feed-{next}.jws"));
        let Ok(text) = std::fs::read_to_string(&path) else { break };
        let statement = FeedStatement::verify(&text, &place.keys, &place.host, &place.report.position)
            .with_context(|| format!("{}: statement {next}", place.host))?;
        if matches!(statement.body, Body::Revocation(_)) {
            let mut ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
            ends.entry(place.host.to_string()).or_insert_with(monotonic);
        }
        place.report.position = statement.position;
        std::fs::remove_file(&path)?;
        moved = true;
    }
    if moved { place.tell() } else { Ok(()) }
}
