//! Descriptors that travel with a frame's first byte (`SCM_RIGHTS`).

use crate::frame::{Deadline, HEADER, LinkError, recv_exact, send_all};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The most descriptors that a frame may carry; the kernel drops what is more.
pub const DESCRIPTORS_MAX: usize = 64;

/// Reads the header; descriptors come with its first byte. They are close-on-exec.
pub(crate) fn receive_start(
    link: &impl AsFd,
    header: &mut [u8; HEADER],
    deadline: Deadline,
) -> Result<Vec<OwnedFd>, LinkError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let bytes = loop {
        let mut parts = [IoSliceMut::new(header.as_mut_slice())];
        match recvmsg(link, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => break message.bytes,
            Err(Errno::AGAIN) => deadline.wait(link, PollFlags::IN)?,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(LinkError::Broken(errno)),
        }
    };
    let mut descriptors = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            descriptors.extend(received);
        }
    }
    if bytes == 0 {
        return Err(LinkError::Closed);
    }
    recv_exact(link, header.get_mut(bytes..).unwrap_or_default(), deadline)?;
    Ok(descriptors)
}

/// Sends a frame; the descriptors go with its first byte.
pub(crate) fn send_with(
    link: &impl AsFd,
    frame: &[u8],
    descriptors: &[BorrowedFd<'_>],
    deadline: Deadline,
) -> Result<(), LinkError> {
    let sent = if descriptors.is_empty() { 0 } else { send_start(link, frame, descriptors, deadline)? };
    send_all(link, frame.get(sent..).unwrap_or_default(), deadline)
}

fn send_start(
    link: &impl AsFd,
    frame: &[u8],
    descriptors: &[BorrowedFd<'_>],
    deadline: Deadline,
) -> Result<usize, LinkError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    loop {
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(LinkError::TooLong(descriptors.len()));
        }
        match sendmsg(link, &[IoSlice::new(frame)], &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(sent) => return Ok(sent),
            Err(Errno::AGAIN) => deadline.wait(link, PollFlags::OUT)?,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(LinkError::Broken(errno)),
        }
    }
}
