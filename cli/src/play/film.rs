//! A recording's file, frame by frame, in bounded memory.

use anyhow::{Context, Result, ensure};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tether_recording::{Broken, Header, Reader, Stream};

/// So much is read at once.
const PART: usize = 64 * 1024;

/// A frame that was read.
#[derive(Debug)]
pub struct Step {
    /// Microseconds since the start.
    pub micros: u64,
    /// What it holds.
    pub stream: Stream,
    /// The data.
    pub data: Vec<u8>,
}

/// An open recording.
pub struct Film {
    file: File,
    reader: Reader,
    header: Header,
    ready: VecDeque<Step>,
    broken: Option<Broken>,
}

impl Film {
    /// Opens a file and reads what it is of.
    pub fn open(path: &Path) -> Result<Self> {
        let naming = || format!("cannot read {}", path.display());
        // A FIFO would wait for a writer.
        ensure!(std::fs::metadata(path).with_context(naming)?.is_file(), "{} is no file", path.display());
        let mut file = File::open(path).with_context(naming)?;
        let (mut reader, mut ready) = (Reader::new(), VecDeque::new());
        let (mut broken, mut more) = (None, true);
        while reader.header().is_none() && broken.is_none() && more {
            (more, broken) = advance(&mut file, &mut reader, &mut ready).with_context(naming)?;
        }
        let Some(header) = reader.header().cloned() else {
            let why = broken.map_or_else(|| "it ends within its header".to_owned(), |broken| broken.to_string());
            anyhow::bail!("{} is no recording: {why}", path.display());
        };
        Ok(Self { file, reader, header, ready, broken })
    }

    /// What the recording is of.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next frame; none at the end of what can be read.
    pub fn next(&mut self) -> Result<Option<Step>> {
        let mut more = true;
        while self.ready.is_empty() && self.broken.is_none() && more {
            (more, self.broken) = advance(&mut self.file, &mut self.reader, &mut self.ready)?;
        }
        Ok(self.ready.pop_front())
    }

    /// Makes a frame the next one again.
    pub fn put_back(&mut self, step: Step) {
        self.ready.push_front(step);
    }

    /// What is wrong with the end, once all was read.
    pub fn fault(&self) -> Option<String> {
        if let Some(broken) = &self.broken {
            return Some(format!("the recording is broken: {broken}"));
        }
        if self.reader.has_ended() {
            return None;
        }
        let torn = self.reader.torn();
        let torn = if torn > 0 { format!("; its last {torn} bytes are less than a frame") } else { String::new() };
        Some(format!("the recording has no end: it still goes on, or its recorder was killed{torn}"))
    }
}

/// Reads a part; gives whether there may be more, and what is broken.
fn advance(file: &mut File, reader: &mut Reader, ready: &mut VecDeque<Step>) -> Result<(bool, Option<Broken>)> {
    let mut part = vec![0; PART];
    let length = file.read(&mut part)?;
    let taken = reader.take(part.get(..length).unwrap_or_default(), |frame| {
        ready.push_back(Step { micros: frame.micros, stream: frame.stream, data: frame.data.to_vec() });
    });
    Ok((length > 0, taken.err()))
}
