//! The other end: one accepted connection, who is at it, its question, the answer.

use crate::frame::{Deadline, HEADER, LinkError, body_length, decode, encode, recv_exact};
use crate::message::{Reply, Request};
use crate::rights::{receive_start, send_with};
use rustix::net::{SocketFlags, accept_with, sockopt::socket_peercred};
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

    /// Reads the one question. Descriptors that come with it are none of this side's: the kernel drops them.
    pub fn question(&self, deadline: Deadline) -> Result<Request, LinkError> {
        let mut header = [0; HEADER];
        recv_exact(&self.link, &mut header, deadline)?;
        self.body(header, deadline)
    }

    /// Reads the one question, and takes the descriptors that come with it. Closing one may wait for whoever made it
    /// (a file system of the sender's own), so they are never closed under a lock.
    pub fn question_with(&self, deadline: Deadline) -> Result<(Request, Vec<OwnedFd>), LinkError> {
        let mut header = [0; HEADER];
        let descriptors = receive_start(&self.link, &mut header, deadline)?;
        Ok((self.body(header, deadline)?, descriptors))
    }

    fn body(&self, header: [u8; HEADER], deadline: Deadline) -> Result<Request, LinkError> {
        let mut body = vec![0; body_length(header)?];
        recv_exact(&self.link, &mut body, deadline)?;
        decode(&body)
    }

    /// The connection without its protocol: after an answer that says so it goes on as something else.
    #[must_use]
    pub fn into_stream(self) -> OwnedFd {
        self.link
    }

    /// Sends the one answer; the descriptors go with its first byte.
    pub fn answer(&self, reply: &Reply, descriptors: &[BorrowedFd<'_>], deadline: Deadline) -> Result<(), LinkError> {
        send_with(&self.link, &encode(reply)?, descriptors, deadline)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}
