//! Asking agentd: connect, ask, read, close, all before one deadline. Nothing is kept between calls.

use crate::frame::{Deadline, HEADER, LinkError, body_length, decode, encode, recv_exact};
use crate::message::{Reply, Request};
use crate::rights::{receive_start, send_with};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt::socket_peercred,
};
use std::os::fd::{BorrowedFd, OwnedFd};

/// A reply and the descriptors that came with it. They are close-on-exec.
#[derive(Debug)]
pub struct Answer {
    /// The reply.
    pub reply: Reply,
    /// In the order that the reply's description gives.
    pub descriptors: Vec<OwnedFd>,
}

/// Asks at [`crate::paths::ROOT_SOCKET`].
pub fn ask(request: &Request, deadline: Deadline) -> Result<Answer, LinkError> {
    ask_at(crate::paths::ROOT_SOCKET, request, deadline)
}

/// Asks at a given socket.
pub fn ask_at(path: &str, request: &Request, deadline: Deadline) -> Result<Answer, LinkError> {
    Link::open_at(path)?.ask(request, deadline)
}

/// A connection on which the question has not been put yet.
///
/// The launcher opens it while it is root and asks after it has given root up: the kernel notes a peer's
/// credentials when it connects (unix(7), `SO_PEERCRED`).
#[derive(Debug)]
pub struct Link(OwnedFd);

impl Link {
    /// Connects to [`crate::paths::ROOT_SOCKET`].
    pub fn open() -> Result<Self, LinkError> {
        Self::open_at(crate::paths::ROOT_SOCKET)
    }

    /// Connects to a given socket and makes sure that root serves it.
    pub fn open_at(path: &str) -> Result<Self, LinkError> {
        let unreachable = |source| LinkError::Unreachable { path: path.to_owned(), source };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let link = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(unreachable)?;
        // Non-blocking: a listener whose queue is full says EAGAIN at once, and that is "no".
        connect(&link, &SocketAddrUnix::new(path).map_err(unreachable)?).map_err(unreachable)?;
        let peer = socket_peercred(&link).map_err(LinkError::Broken)?;
        if !peer.uid.is_root() {
            return Err(LinkError::NotRoot { path: path.to_owned(), uid: peer.uid.as_raw() });
        }
        Ok(Self(link))
    }

    /// Puts the question, and gives the connection back with the answer: it goes on as something else. It is
    /// non-blocking.
    pub fn ask_and_keep(self, request: &Request, deadline: Deadline) -> Result<(Reply, OwnedFd), LinkError> {
        send_with(&self.0, &encode(request)?, &[], deadline)?;
        let mut header = [0; HEADER];
        recv_exact(&self.0, &mut header, deadline)?;
        let mut body = vec![0; body_length(header)?];
        recv_exact(&self.0, &mut body, deadline)?;
        Ok((decode(&body)?, self.0))
    }

    /// Puts the question and waits for the answer.
    pub fn ask(self, request: &Request, deadline: Deadline) -> Result<Answer, LinkError> {
        self.ask_with(request, &[], deadline, deadline)
    }

    /// The same with descriptors that go with the question, and a deadline of its own for each way.
    pub fn ask_with(
        self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
        asked: Deadline,
        deadline: Deadline,
    ) -> Result<Answer, LinkError> {
        send_with(&self.0, &encode(request)?, descriptors, asked)?;
        let mut header = [0; HEADER];
        let descriptors = receive_start(&self.0, &mut header, deadline)?;
        let mut body = vec![0; body_length(header)?];
        recv_exact(&self.0, &mut body, deadline)?;
        Ok(Answer { reply: decode(&body)?, descriptors })
    }
}
