//! Writing a recording: one frame, one write.

use rustix::io::{Errno, writev};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use tether_recording::{DATA_MAX, FRAME_HEAD, Stream, frame_head, resize};

/// A recording that is written to. The file was made by agentd, with its header, and is open to append only.
#[derive(Debug)]
pub struct Sink {
    file: OwnedFd,
    start: Timespec,
}

impl Sink {
    /// The recording begins now.
    pub fn new(file: OwnedFd) -> Self {
        Self { file, start: clock_gettime(ClockId::Monotonic) }
    }

    /// Writes down what is shown. Call it before it is shown: then whatever was seen is in the recording.
    pub fn shown(&self, stream: Stream, bytes: &[u8]) -> Result<(), Errno> {
        bytes.chunks(DATA_MAX).try_for_each(|chunk| self.frame(stream, chunk))
    }

    /// The terminal has another size.
    pub fn resized(&self, columns: u16, rows: u16) -> Result<(), Errno> {
        self.frame(Stream::Resize, &resize(columns, rows))
    }

    /// Something was not written down.
    pub fn gap(&self, what: &str) -> Result<(), Errno> {
        self.frame(Stream::Gap, what.as_bytes())
    }

    /// The end, with the wait status if it is known. Nothing may be written after it.
    pub fn end(self, status: Option<i32>) -> Result<(), Errno> {
        let status = status.map(i32::to_le_bytes);
        self.frame(Stream::End, status.as_ref().map_or(&[], |bytes| bytes))
    }

    fn frame(&self, stream: Stream, data: &[u8]) -> Result<(), Errno> {
        let head = frame_head(self.micros(), stream, u32::try_from(data.len()).map_err(|_| Errno::MSGSIZE)?);
        loop {
            return match writev(&self.file, &[IoSlice::new(&head), IoSlice::new(data)]) {
                Err(Errno::INTR) => continue,
                Err(errno) => Err(errno),
                Ok(count) if count == FRAME_HEAD + data.len() => Ok(()),
                // Half a frame: there is no more room. What follows it could not be read.
                Ok(_) => Err(Errno::NOSPC),
            };
        }
    }

    fn micros(&self) -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        let (seconds, nanos) = (now.tv_sec - self.start.tv_sec, now.tv_nsec - self.start.tv_nsec);
        u64::try_from(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tether_recording::{Header, Kind, Reader};

    #[test]
    fn what_is_written_is_read_again() {
        let path = std::env::temp_dir().join(format!("tether-sink-{}", std::process::id()));
        let header = Header {
            name: "sudo-1".into(),
            session: "s".into(),
            host: "h".into(),
            kind: Kind::Sudo,
            command: serde_json::Value::Null,
            started_us: 0,
            columns: 0,
            rows: 0,
        };
        std::fs::write(&path, header.encode().unwrap()).unwrap();
        let sink = Sink::new(std::fs::File::options().append(true).open(&path).unwrap().into());
        let long = vec![0xff; DATA_MAX + 1];
        sink.shown(Stream::Output, &long).unwrap();
        sink.shown(Stream::Error, b"").unwrap();
        sink.shown(Stream::Error, b"e").unwrap();
        sink.resized(132, 50).unwrap();
        sink.end(Some(256)).unwrap();
        let mut read = Reader::new();
        let mut seen = Vec::new();
        let whole = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        read.take(&whole, |frame| seen.push((frame.stream, frame.data.len(), frame.size(), frame.status()))).unwrap();
        let data = |stream, length| (stream, length, None, None);
        assert_eq!(
            seen,
            [
                data(Stream::Output, DATA_MAX),
                data(Stream::Output, 1),
                data(Stream::Error, 1),
                (Stream::Resize, 4, Some((132, 50)), None),
                (Stream::End, 4, None, Some(256)),
            ]
        );
        assert!(read.has_ended());
    }

    #[test]
    fn no_room_is_an_error() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(Sink::new(full.into()).shown(Stream::Output, b"x"), Err(Errno::NOSPC));
    }
}
