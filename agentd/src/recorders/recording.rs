//! One recording as it is written.

use crate::recordings::Sink;
use std::fs::File;
use std::io::{self, Write};
use std::time::Instant;
use tether_identity::SessionId;
use tether_recording::{Stream, frame_head};

/// A recording that is being written.
#[derive(Debug)]
pub struct Recording {
    /// Whose.
    pub session: SessionId,
    /// Its name.
    pub name: String,
    file: File,
    started: Instant,
    pending: Vec<u8>,
}

impl Recording {
    /// Into a file that was begun.
    pub fn new(session: SessionId, Sink { name, file }: Sink) -> Self {
        Self { session, name, file: file.into(), started: Instant::now(), pending: Vec::new() }
    }

    /// Takes a frame; it is written with the next [`Recording::write_out`].
    pub fn add(&mut self, stream: Stream, data: &[u8]) {
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        self.pending.extend_from_slice(&frame_head(micros, stream, length));
        self.pending.extend_from_slice(data);
    }

    /// Writes what was taken, in one piece.
    pub fn write_out(&mut self) -> io::Result<()> {
        // Given back, not kept: there may be many recordings, and most are idle.
        self.file.write_all(&std::mem::take(&mut self.pending))
    }
}
