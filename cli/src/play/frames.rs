//! A recording's file, frame by frame, in bounded memory.

use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tether_recording::{Frame, Header, Reader, Stream};

const STEP: usize = 64 * 1024;

/// A frame with its own bytes.
pub struct Owned {
    pub micros: u64,
    pub stream: Stream,
    pub data: Vec<u8>,
}

impl Owned {
    pub fn borrowed(&self) -> Frame<'_> {
        Frame { micros: self.micros, stream: self.stream, data: &self.data }
    }
}

pub struct Frames {
    file: File,
    reader: Reader,
    header: Header,
    ready: VecDeque<Owned>,
    broken: Option<String>,
    over: bool,
}

impl Frames {
    /// Opens it; an error if it is none.
    pub fn open(path: &Path) -> Result<Self> {
        let name = || path.display().to_string();
        let mut file = File::open(path).with_context(name)?;
        let (mut reader, mut ready, mut bytes) = (Reader::new(), VecDeque::new(), vec![0; STEP]);
        let mut broken = None;
        while reader.header().is_none() {
            let count = file.read(&mut bytes).with_context(name)?;
            if count == 0 {
                break;
            }
            let taken = take(&mut reader, bytes.get(..count).unwrap_or_default(), &mut ready);
            match (taken, reader.header()) {
                (Err(error), None) => return Err(anyhow::Error::from(error).context(name())),
                (Err(error), Some(_)) => broken = Some(error.to_string()),
                _ => {}
            }
        }
        let header = reader.header().cloned().with_context(|| format!("{}: its header is not whole", name()))?;
        Ok(Self { file, reader, header, ready, broken, over: false })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next frame, if there is one.
    pub fn next(&mut self) -> Result<Option<Owned>> {
        let mut bytes = vec![0; STEP];
        while self.ready.is_empty() && self.broken.is_none() && !self.over {
            let count = self.file.read(&mut bytes)?;
            self.over = count == 0;
            if let Err(error) = take(&mut self.reader, bytes.get(..count).unwrap_or_default(), &mut self.ready) {
                self.broken = Some(error.to_string());
            }
        }
        Ok(self.ready.pop_front())
    }

    /// What is missing, once there is no next frame.
    pub fn missing(&self) -> Option<String> {
        if let Some(broken) = &self.broken {
            return Some(broken.clone());
        }
        let torn = self.reader.torn();
        (!self.reader.has_ended()).then(|| {
            if torn > 0 {
                format!("its last {torn} bytes are half a frame: its recorder was stopped in the midst of it")
            } else {
                "it has no end: its recorder was stopped, or it goes on".to_owned()
            }
        })
    }
}

fn take(reader: &mut Reader, bytes: &[u8], ready: &mut VecDeque<Owned>) -> Result<(), tether_recording::Broken> {
    reader.take(bytes, |frame| {
        ready.push_back(Owned { micros: frame.micros, stream: frame.stream, data: frame.data.to_vec() });
    })
}
