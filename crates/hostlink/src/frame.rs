//! Frames, deadlines and what can go wrong with them.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The first byte of every frame.
pub const VERSION: u8 = 1;
/// The most JSON that a frame may carry, in bytes.
pub const FRAME_MAX: usize = 64 * 1024;
pub(crate) const HEADER: usize = 5;

/// Why a question got no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nothing listens there, or it may not be reached.
    #[error("agentd cannot be reached at {path}: {source}; see `systemctl status tether-agentd`")]
    Unreachable {
        /// The socket's path.
        path: String,
        /// What connect(2) said.
        source: Errno,
    },
    /// Another uid than root listens there: it is not agentd.
    #[error("{path} is served by uid {uid}, not by root: not asked")]
    NotRoot {
        /// The socket's path.
        path: String,
        /// The uid that answered.
        uid: u32,
    },
    /// The one deadline passed.
    #[error("agentd did not answer in time")]
    TimedOut,
    /// The other side closed or broke the connection.
    #[error("the connection broke: {0}")]
    Broken(Errno),
    /// The other side closed before a whole frame had come.
    #[error("the other side closed before its answer was whole")]
    Closed,
    /// The frame's version byte is not [`VERSION`].
    #[error("the frame has version {0}, this side speaks {VERSION}")]
    Version(u8),
    /// The frame says that it is longer than [`FRAME_MAX`].
    #[error("the frame has {0} bytes, more than {FRAME_MAX} are not read")]
    TooLong(usize),
    /// The JSON is not a message of the protocol.
    #[error("the message is malformed: {0}")]
    Malformed(String),
}

/// One point in time (CLOCK_MONOTONIC) for a whole exchange, however many reads it takes.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// That far from now.
    pub fn after(span: Duration) -> Self {
        Self(Some(Instant::now() + span))
    }

    /// None: for the end of a command, which takes as long as the command.
    pub const fn never() -> Self {
        Self(None)
    }

    /// Waits until the descriptor is ready for `events`, or the deadline passes.
    pub(crate) fn wait(self, fd: &impl AsFd, events: PollFlags) -> Result<(), LinkError> {
        loop {
            let left = self.0.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(LinkError::TimedOut);
            }
            let timeout = left.map(Timespec::try_from).transpose().map_err(|_| LinkError::TimedOut)?;
            match poll(&mut [PollFd::new(fd, events)], timeout.as_ref()) {
                Ok(0) => return Err(LinkError::TimedOut),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(LinkError::Broken(errno)),
            }
        }
    }
}

/// A message as bytes, header first.
pub(crate) fn encode(message: &impl serde::Serialize) -> Result<Vec<u8>, LinkError> {
    let body = serde_json::to_vec(message).map_err(|error| LinkError::Malformed(error.to_string()))?;
    if body.len() > FRAME_MAX {
        return Err(LinkError::TooLong(body.len()));
    }
    let length = u32::try_from(body.len()).map_err(|_| LinkError::TooLong(body.len()))?;
    let mut frame = Vec::with_capacity(HEADER + body.len());
    frame.push(VERSION);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// How long the body is that follows a header.
pub(crate) fn body_length(header: [u8; HEADER]) -> Result<usize, LinkError> {
    let [version, a, b, c, d] = header;
    if version != VERSION {
        return Err(LinkError::Version(version));
    }
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > FRAME_MAX {
        return Err(LinkError::TooLong(length));
    }
    Ok(length)
}

pub(crate) fn decode<M: serde::de::DeserializeOwned>(body: &[u8]) -> Result<M, LinkError> {
    serde_json::from_slice(body).map_err(|error| LinkError::Malformed(error.to_string()))
}

/// Sends all of `bytes` on a non-blocking socket. A reader that went away is an error, never SIGPIPE.
pub(crate) fn send_all(link: &impl AsFd, mut bytes: &[u8], deadline: Deadline) -> Result<(), LinkError> {
    while !bytes.is_empty() {
        match send(link, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(Errno::AGAIN) => deadline.wait(link, PollFlags::OUT)?,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(LinkError::Broken(errno)),
        }
    }
    Ok(())
}

/// Fills `buffer` from a non-blocking socket.
pub(crate) fn recv_exact(link: &impl AsFd, buffer: &mut [u8], deadline: Deadline) -> Result<(), LinkError> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match recv(link, rest, RecvFlags::empty()) {
            Ok((_, 0)) => return Err(LinkError::Closed),
            Ok((_, read)) => filled += read,
            Err(Errno::AGAIN) => deadline.wait(link, PollFlags::IN)?,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(LinkError::Broken(errno)),
        }
    }
    Ok(())
}
