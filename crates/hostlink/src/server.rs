//! The other end: one accepted connection, who is at it, its question, the answer.

use crate::client::DESCRIPTORS_MAX;
use crate::frame::{Deadline, HEADER, LinkError, body_length, decode, encode, recv_exact, send_all};
use crate::message::{Reply, Request};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, accept_with, sendmsg, sockopt::socket_peercred,
};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Who connected, as the kernel noted it then (unix(7), `SO_PEERCRED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its process. May have ended, and its number may be another's: open a pidfd and look again.
    pub pid: u32,
    /// Its effective uid.
    pub uid: u32,
}

/// An accepted connection.
#[derive(Debug)]
pub struct Connection {
    link: OwnedFd,
    /// Who connected.
    pub peer: Peer,
}

impl Connection {
    /// Takes the next connection from a listener.
    pub fn accept(listener: &impl AsFd) -> Result<Self, LinkError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let link = accept_with(listener, flags).map_err(LinkError::Broken)?;
        let credentials = socket_peercred(&link).map_err(LinkError::Broken)?;
        let pid = u32::try_from(credentials.pid.as_raw_nonzero().get()).map_err(|_| LinkError::Closed)?;
        Ok(Self { link, peer: Peer { pid, uid: credentials.uid.as_raw() } })
    }

    /// Reads the one question.
    pub fn question(&self, deadline: Deadline) -> Result<Request, LinkError> {
        let mut header = [0; HEADER];
        recv_exact(&self.link, &mut header, deadline)?;
        let mut body = vec![0; body_length(header)?];
        recv_exact(&self.link, &mut body, deadline)?;
        decode(&body)
    }

    /// Sends the one answer; the descriptors go with its first byte.
    pub fn answer(&self, reply: &Reply, descriptors: &[BorrowedFd<'_>], deadline: Deadline) -> Result<(), LinkError> {
        let frame = encode(reply)?;
        let sent = self.send_start(&frame, descriptors, deadline)?;
        send_all(&self.link, frame.get(sent..).unwrap_or_default(), deadline)
    }

    fn send_start(&self, frame: &[u8], fds: &[BorrowedFd<'_>], deadline: Deadline) -> Result<usize, LinkError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        loop {
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
                return Err(LinkError::TooLong(fds.len()));
            }
            match sendmsg(&self.link, &[IoSlice::new(frame)], &mut ancillary, SendFlags::NOSIGNAL) {
                Ok(sent) => return Ok(sent),
                Err(Errno::AGAIN) => deadline.wait(&self.link, PollFlags::OUT)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(LinkError::Broken(errno)),
            }
        }
    }
}
