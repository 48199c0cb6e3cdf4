//! Collecting what a command writes, without waiting for ever for those who inherited its pipes.

use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

/// Reads a pipe to its end on a thread of its own.
pub(super) struct Collector {
    chunks: Receiver<Vec<u8>>,
}

impl Collector {
    pub(super) fn start(pipe: Option<impl Read + Send + 'static>) -> Self {
        let (send, chunks) = channel();
        std::thread::spawn(move || {
            let Some(mut pipe) = pipe else { return };
            let mut buffer = [0; 16384];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Collector { chunks }
    }

    /// All that came until the pipe's end or the deadline, and whether it was the end.
    pub(super) fn finish(self, deadline: Instant) -> (Vec<u8>, bool) {
        let mut all = Vec::new();
        loop {
            match self.chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(chunk) => all.extend(chunk),
                Err(RecvTimeoutError::Disconnected) => return (all, true),
                Err(RecvTimeoutError::Timeout) => return (all, false),
            }
        }
    }
}
