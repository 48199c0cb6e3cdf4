//! Recordings of a session's channels, as they lie on a host.

use crate::scene::Scene;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tether_recording::{Header, Kind, Reader, Stream};

/// One recording.
#[derive(Debug)]
pub struct Recorded {
    /// What it is of.
    pub header: Header,
    /// Its frames.
    pub frames: Vec<(Stream, Vec<u8>)>,
    /// The wait status at its end, if it has one.
    pub status: Option<i32>,
}

impl Recorded {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let (mut reader, mut frames, mut status) = (Reader::new(), Vec::new(), None);
        reader.take(bytes, |frame| {
            status = frame.status();
            frames.push((frame.stream, frame.data.to_vec()));
        })?;
        ensure!(reader.torn() == 0, "{} bytes at the end are no frame", reader.torn());
        Ok(Self { header: reader.header().context("no header")?.clone(), frames, status })
    }

    /// All bytes of one stream.
    pub fn of(&self, stream: Stream) -> Vec<u8> {
        self.frames.iter().filter(|(one, _)| *one == stream).flat_map(|(_, data)| data.clone()).collect()
    }

    /// What was shown, as text.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.of(Stream::Output)).into_owned()
    }
}

impl Scene {
    /// A session's recordings by name, once there are so many and none is being written.
    pub fn recordings(&self, session: &str, count: usize) -> Result<BTreeMap<String, Recorded>> {
        let folder = format!("/var/lib/tether/recordings/{session}");
        let start = Instant::now();
        loop {
            let names = self.host.sh(&format!("ls {folder} 2>/dev/null; true"))?;
            let whole: Vec<&str> = names.lines().filter_map(|name| name.strip_suffix(".rec")).collect();
            if whole.len() == count && !names.contains(".open") {
                let read = |name: &str| {
                    let bytes = self.host.read_file(format!("{folder}/{name}.rec"))?;
                    Ok((name.to_owned(), Recorded::parse(&bytes).context(name.to_owned())?))
                };
                return whole.into_iter().map(read).collect();
            }
            if start.elapsed() > Duration::from_secs(10) {
                bail!("waited 10 s for {count} recordings; there are:\n{names}{}", self.host.journal("tether-agentd")?);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The one recording of a session.
    pub fn recording(&self, session: &str) -> Result<Recorded> {
        let (_, only) = self.recordings(session, 1)?.pop_first().context("none")?;
        Ok(only)
    }
}

/// Of which kinds they are.
pub fn kinds(all: &BTreeMap<String, Recorded>) -> Vec<Kind> {
    all.values().map(|one| one.header.kind).collect()
}

/// Waits for something on a host. Polls: the other side is a process in another namespace.
pub fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is_so()? {
        ensure!(start.elapsed() < Duration::from_secs(20), "waited 20 s for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
