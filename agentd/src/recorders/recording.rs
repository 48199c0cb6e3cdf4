//! One recording's file.

use crate::host::RecordingEnd;
use crate::server::{Shared, lock};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tether_identity::SessionId;
use tether_recording::{Header, Piece, Pieces, Stream, frame_head};

/// A recording that is being written.
#[derive(Debug)]
pub struct Recording {
    /// Whose.
    pub session: SessionId,
    /// Its name.
    pub name: String,
    file: File,
    started: Instant,
    pieces: Pieces,
    pending: Vec<u8>,
    status: Option<i32>,
}

/// What a recording came to.
#[derive(Debug)]
pub struct Summary {
    /// The length of its file.
    pub bytes: u64,
    /// SHA-256 of all of it, base64url.
    pub sha256: String,
    /// The wait status of what it recorded, if that is known.
    pub status: Option<i32>,
    /// Why it is not whole on disk, if it is not.
    pub trouble: Option<String>,
}

impl Recording {
    /// Makes the file, with its header. It must not be there.
    pub fn create(folder: &Path, session: SessionId, header: &Header) -> io::Result<Self> {
        let name = header.name.clone();
        let mut file = File::options().create_new(true).append(true).mode(0o600).open(path_of(folder, &name))?;
        let first = header.encode()?;
        file.write_all(&first)?;
        let mut pieces = Pieces::new();
        // A header is far shorter than a piece.
        pieces.take(&first, |_| {});
        Ok(Self { session, name, file, started: Instant::now(), pieces, pending: Vec::new(), status: None })
    }

    /// One that an earlier agentd wrote, as far as it came.
    pub fn reopen(folder: &Path, session: SessionId, name: &str) -> io::Result<Self> {
        let file = File::options().read(true).append(true).open(path_of(folder, name))?;
        let (pieces, pending) = (Pieces::new(), Vec::new());
        Ok(Self { session, name: name.to_owned(), file, started: Instant::now(), pieces, pending, status: None })
    }

    /// Takes a frame; it is written with the next [`Recording::write_out`].
    pub fn add(&mut self, stream: Stream, data: &[u8]) {
        if stream == Stream::End {
            self.status = <[u8; 4]>::try_from(data).ok().map(i32::from_le_bytes);
        }
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        self.pending.extend_from_slice(&frame_head(micros, stream, length));
        self.pending.extend_from_slice(data);
    }

    /// Writes what was taken, in one piece; the digest of each piece of the file that is full now goes on record.
    pub fn write_out(&mut self, host: &Shared) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.file.write_all(&pending)?;
        let mut full = Vec::new();
        self.pieces.take(&pending, |piece| full.push(piece));
        full.iter().try_for_each(|piece| self.record(host, piece))
    }

    /// Flushes it, and records the digest of what is left.
    pub fn finish(mut self, host: &Shared, end: RecordingEnd) -> Summary {
        let trouble = self.finish_file(host, end).err().map(|error| error.to_string());
        Summary { bytes: self.pieces.total(), sha256: self.pieces.digest(), status: self.status, trouble }
    }

    fn finish_file(&mut self, host: &Shared, end: RecordingEnd) -> io::Result<()> {
        if end == RecordingEnd::LeftOpen {
            self.read_again()?;
        } else if end == RecordingEnd::Lost {
            self.add(Stream::Gap, b"the recorder is gone: what came after this was shown to nobody");
        }
        self.write_out(host)?;
        if let Some(rest) = self.pieces.flush() {
            self.record(host, &rest)?;
        }
        self.file.sync_all()
    }

    /// What an earlier agentd wrote; it recorded digests of whole pieces of it, and those are recorded again.
    fn read_again(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.file.read(&mut buffer)? {
                0 => return Ok(()),
                count => self.pieces.take(buffer.get(..count).unwrap_or_default(), |_| {}),
            }
        }
    }

    fn record(&self, host: &Shared, piece: &Piece) -> io::Result<()> {
        lock(host).recording_piece(&self.session, &self.name, piece).map_err(io::Error::other)
    }
}

fn path_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.rec"))
}
