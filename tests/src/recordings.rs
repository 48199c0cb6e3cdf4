//! Recordings as they lie on a host, beside what its chain says of them.

use crate::Scene;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::time::{Duration, Instant};
use tether_audit::Link;
use tether_recording::{Pieces, Reader, Stream};

/// How long a recording's end may take to be on record.
const ENDED: Duration = Duration::from_secs(20);

/// A recording whose end is on record.
pub struct Recording {
    /// Its name.
    pub name: String,
    /// The file.
    pub bytes: Vec<u8>,
    /// `recording.ended`.
    pub ended: Link,
    /// The pieces that the chain has.
    pub pieces: Vec<(u64, u64, String)>,
}

/// What a recording shows.
#[derive(Debug, Default)]
pub struct Shown {
    /// Of the output.
    pub out: Vec<u8>,
    /// Of the error output.
    pub err: Vec<u8>,
    /// Both, in their order.
    pub all: Vec<u8>,
    /// Sizes of the terminal.
    pub sizes: Vec<(u16, u16)>,
    /// What was not recorded.
    pub gaps: Vec<String>,
    /// Whether it has its end, and the status in it.
    pub end: Option<Option<i32>>,
}

impl Recording {
    /// The recording of the session's last command, once its end is on record.
    pub fn last(scene: &Scene, session: &str) -> Result<Self> {
        let trail = scene.trail()?;
        let started = trail.of(session).filter(|link| link.event.event == "recording.started");
        let name = started.last().context("nothing is recorded")?.event.details["recording"].clone();
        Self::named(scene, session, name.as_str().context("no name")?)
    }

    /// That recording, once its end is on record.
    pub fn named(scene: &Scene, session: &str, name: &str) -> Result<Self> {
        let begun = Instant::now();
        loop {
            let trail = scene.trail()?;
            let of_it = |link: &&Link| link.event.details.get("recording").and_then(Value::as_str) == Some(name);
            let all: Vec<&Link> = trail.of(session).filter(of_it).collect();
            if let Some(ended) = all.iter().find(|link| link.event.event == "recording.ended") {
                let chunks = all.iter().filter(|link| link.event.event == "recording.chunk");
                let pieces = chunks.flat_map(|link| pieces(&link.event.details["pieces"])).collect();
                let bytes = scene.host.read_file(path(session, name))?;
                return Ok(Self { name: name.to_owned(), bytes, ended: (*ended).clone(), pieces });
            }
            ensure!(begun.elapsed() < ENDED, "recording {name} has no end on record: {all:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Compares the file with the chain, as somebody does who has both.
    pub fn check(&self) -> Result<()> {
        let about = &self.ended.event.details;
        let (mut pieces, mut own) = (Pieces::new(), Vec::new());
        pieces.take(&self.bytes, |piece| own.push((piece.offset, piece.length, piece.sha256)));
        own.extend(pieces.flush().map(|piece| (piece.offset, piece.length, piece.sha256)));
        if let [] | [_] = own.as_slice() {
            own.clear();
        }
        for piece in &own {
            ensure!(self.pieces.contains(piece), "{}: piece at {} is not what was recorded", self.name, piece.0);
        }
        ensure!(
            own == self.pieces,
            "{}: the chain has {} pieces, the file {}",
            self.name,
            self.pieces.len(),
            own.len()
        );
        ensure!(about["bytes"] == pieces.total(), "{}: it has another length", self.name);
        ensure!(about["sha256"] == pieces.digest().as_str(), "{}: it has another digest", self.name);
        Ok(())
    }

    /// What it shows.
    pub fn shown(&self) -> Result<Shown> {
        let (mut reader, mut shown) = (Reader::new(), Shown::default());
        reader.take(&self.bytes, |frame| match frame.stream {
            Stream::Output | Stream::Error => {
                let one = if frame.stream == Stream::Output { &mut shown.out } else { &mut shown.err };
                one.extend_from_slice(frame.data);
                shown.all.extend_from_slice(frame.data);
            }
            Stream::Resize => shown.sizes.extend(frame.size()),
            Stream::Gap => shown.gaps.push(String::from_utf8_lossy(frame.data).into_owned()),
            Stream::End => shown.end = Some(frame.status()),
        })?;
        Ok(shown)
    }
}

/// Where a recording lies.
pub fn path(session: &str, name: &str) -> String {
    format!("/var/lib/tether/recordings/{session}/{name}.rec")
}

fn pieces(value: &Value) -> Vec<(u64, u64, String)> {
    let each = |one: &Value| {
        let number = |name: &str| one[name].as_u64();
        Some((number("offset")?, number("length")?, one["sha256"].as_str()?.to_owned()))
    };
    value.as_array().into_iter().flatten().filter_map(each).collect()
}

/// Waits until it holds.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !holds()? {
        if begun.elapsed() > ENDED {
            bail!("waited in vain: {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
