//! Where the recording goes: agentd, over the session's own socket. What agentd has not acknowledged is not shown.
#![forbid(unsafe_code)]

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tether_hostlink::{Continued, Deadline, Link, LinkError, RecordRequest, Refusal, Reply, Request, paths};
use tether_recording::{FRAME_HEAD, Stream, frame_head};

/// How long agentd may take to say yes.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a lost or silent agentd is waited for before the channel ends. It restarts in a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon it is tried again.
const AGAIN: Duration = Duration::from_millis(100);
/// How many bytes may be under way.
const WINDOW: usize = 256 * 1024;

/// A frame, and how much of it the reader was shown.
struct Chunk {
    frame: Vec<u8>,
    lane: Option<usize>,
    shown: usize,
}

/// agentd can no longer be recorded with: nothing more may run.
#[derive(Debug)]
pub struct Lost;

/// The connection, and what is under way on it: first what is acknowledged and not shown yet, then what was sent, then
/// what was not.
pub struct Sink {
    path: String,
    request: RecordRequest,
    link: Option<OwnedFd>,
    name: String,
    queue: VecDeque<Chunk>,
    bytes: usize,
    acknowledged: usize,
    sending: usize,
    offset: usize,
    /// Output that was acknowledged in this recording: where the next one goes on.
    recorded: u64,
    /// Frames that were acknowledged on this connection.
    counted: u64,
    partial: Vec<u8>,
    next_try: Instant,
    /// Since when agentd owes something.
    owed: Option<Instant>,
    /// Whether nothing is recorded any more: all of it is, or this host records nothing, as its admin wants.
    idle: bool,
    /// Whether the end is on its way.
    ending: bool,
}

impl Sink {
    /// Asks agentd to record. Nothing may run before it said yes.
    pub fn open(uid: u32, request: RecordRequest) -> Result<Self, Refusal> {
        let path = paths::record_socket(uid);
        let (name, link) = ask(&path, &request).map_err(refused)?;
        Ok(Self {
            path,
            request,
            idle: link.is_none(),
            link,
            name,
            queue: VecDeque::new(),
            bytes: 0,
            acknowledged: 0,
            sending: 0,
            offset: 0,
            recorded: 0,
            counted: 0,
            partial: Vec::new(),
            next_try: Instant::now(),
            owed: None,
            ending: false,
        })
    }

    /// Records data of a lane, or something about the channel.
    pub fn push(&mut self, stream: Stream, lane: Option<usize>, data: &[u8]) {
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let frame = [frame_head(0, stream, length).as_slice(), data].concat();
        self.bytes += frame.len();
        self.ending |= stream == Stream::End;
        self.queue.push_back(Chunk { frame, lane, shown: 0 });
        if self.idle {
            (self.acknowledged, self.sending) = (self.queue.len(), self.queue.len());
            return;
        }
        self.owed.get_or_insert_with(Instant::now);
        self.send_some();
    }

    /// Whether more may be read.
    pub fn has_room(&self) -> bool {
        self.bytes < WINDOW
    }

    /// Whether everything is recorded and shown.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether agentd is to be looked for.
    pub fn is_away(&self) -> bool {
        self.link.is_none() && !self.idle
    }

    /// The connection and whether there is something to send.
    pub fn link(&self) -> Option<(&OwnedFd, bool)> {
        self.link.as_ref().map(|link| (link, self.sending < self.queue.len()))
    }

    /// What is to be shown next: of which lane, and the bytes.
    pub fn front(&self) -> Option<(Option<usize>, &[u8])> {
        let chunk = self.queue.front().filter(|_| self.acknowledged > 0)?;
        Some((chunk.lane, chunk.frame.get(FRAME_HEAD + chunk.shown..).unwrap_or_default()))
    }

    /// So much of it was shown.
    pub fn shown(&mut self, count: usize) {
        let Some(chunk) = self.queue.front_mut() else { return };
        chunk.shown += count;
        if FRAME_HEAD + chunk.shown >= chunk.frame.len() {
            self.drop_front();
        }
    }

    /// It is nothing to show, or nobody is there to see it.
    pub fn drop_front(&mut self) {
        let Some(chunk) = self.queue.pop_front() else { return };
        self.bytes -= chunk.frame.len();
        self.acknowledged = self.acknowledged.saturating_sub(1);
        self.sending = self.sending.saturating_sub(1);
    }

    /// The connection is ready for something.
    pub fn exchange(&mut self) {
        self.receive();
        self.send_some();
    }

    /// How long to wait for it at most; none if it owes nothing.
    pub fn patience(&self) -> Option<Duration> {
        let now = Instant::now();
        let until_lost = (self.owed? + PATIENCE).saturating_duration_since(now);
        let until_try = self.next_try.saturating_duration_since(now);
        Some(if self.link.is_some() { until_lost } else { until_lost.min(until_try) })
    }

    /// Tries again, if agentd went away. An error if there is no more waiting for it.
    pub fn keep_up(&mut self) -> Result<(), Lost> {
        if self.owed.is_some_and(|since| since.elapsed() > PATIENCE) {
            return Err(Lost);
        }
        if self.idle || self.link.is_some() || Instant::now() < self.next_try {
            return Ok(());
        }
        let continues = Some(Continued { name: self.name.clone(), bytes: self.recorded });
        match ask(&self.path, &RecordRequest { continues, ..self.request.clone() }) {
            Ok((name, link)) => {
                (self.idle, self.name, self.link, self.recorded) = (link.is_none(), name, link, 0);
                if self.idle {
                    (self.acknowledged, self.sending) = (self.queue.len(), self.queue.len());
                }
                self.owed = (self.acknowledged < self.queue.len()).then(Instant::now);
                self.send_some();
                Ok(())
            }
            Err(Failed::Refused(_)) => Err(Lost),
            Err(Failed::Link(_)) => {
                self.next_try = Instant::now() + AGAIN;
                Ok(())
            }
        }
    }

    /// A terminal has a new size: what a later recording begins with.
    pub fn note_size(&mut self, columns: u16, rows: u16) {
        (self.request.columns, self.request.rows) = (columns, rows);
    }

    fn send_some(&mut self) {
        let Some(link) = &self.link else { return };
        while let Some(chunk) = self.queue.get(self.sending) {
            match send(link, chunk.frame.get(self.offset..).unwrap_or_default(), SendFlags::NOSIGNAL) {
                Ok(sent) => self.offset += sent,
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => continue,
                Err(_) => return self.disconnected(),
            }
            if self.offset >= chunk.frame.len() {
                (self.sending, self.offset) = (self.sending + 1, 0);
            }
        }
    }

    fn receive(&mut self) {
        let Some(link) = &self.link else { return };
        let mut buffer = [0; 256];
        match recv(link, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => self.disconnected(),
            Ok((_, count)) => {
                self.partial.extend_from_slice(buffer.get(..count).unwrap_or_default());
                self.count_acknowledged();
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.disconnected(),
        }
    }

    /// An acknowledgement is the number of all frames that are recorded, as u64, little-endian.
    fn count_acknowledged(&mut self) {
        while let Some((count, rest)) = self.partial.split_first_chunk::<8>() {
            let (count, rest) = (u64::from_le_bytes(*count), rest.to_vec());
            self.partial = rest;
            while self.counted < count && self.acknowledged < self.sending {
                if let Some(chunk) = self.queue.get(self.acknowledged).filter(|chunk| chunk.lane.is_some()) {
                    self.recorded += (chunk.frame.len() - FRAME_HEAD) as u64;
                }
                (self.counted, self.acknowledged) = (self.counted + 1, self.acknowledged + 1);
            }
            self.owed = (self.acknowledged < self.queue.len()).then(Instant::now);
        }
        if self.ending && self.owed.is_none() {
            // agentd closes now. What is left is to be shown, to a reader who may be slow.
            (self.idle, self.link) = (true, None);
        }
    }

    fn disconnected(&mut self) {
        self.link = None;
        (self.sending, self.offset, self.counted) = (self.acknowledged, 0, 0);
        self.partial.clear();
        self.next_try = Instant::now();
        self.owed.get_or_insert(self.next_try);
    }
}

enum Failed {
    Refused(Refusal),
    Link(LinkError),
}

/// The recording's name and the connection; no connection where nothing is recorded.
fn ask(path: &str, request: &RecordRequest) -> Result<(String, Option<OwnedFd>), Failed> {
    let link = Link::open_at(path).map_err(Failed::Link)?;
    match link.ask_and_keep(&Request::Record(request.clone()), Deadline::after(ANSWER)).map_err(Failed::Link)? {
        (Reply::Recording { name }, link) => Ok((name, Some(link))),
        (Reply::Done, _) => Ok((String::new(), None)),
        (Reply::Refused(refusal), _) => Err(Failed::Refused(refusal)),
        _ => Err(Failed::Link(LinkError::Closed)),
    }
}

fn refused(failed: Failed) -> Refusal {
    let why = match failed {
        Failed::Refused(refusal) => refusal.to_string(),
        Failed::Link(error) => error.to_string(),
    };
    Refusal::new("recording.refused", format!("this channel cannot be recorded: {why}; nothing was run"))
        .hint("tell the human you act for; an administrator: `tether doctor`")
}
