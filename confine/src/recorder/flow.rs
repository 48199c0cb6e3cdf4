//! The loop: what comes out goes to agentd, and once it is recorded to sshd; what comes in goes in.
#![forbid(unsafe_code)]

use super::sink::{Lost, Sink};
use super::start::nothing;
use super::terminal::Terminal;
use crate::signals::{kill_all_of_uid, let_through};
use crate::sys;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process_group, pidfd_open, waitpid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;
use tether_recording::{INTAKE_MAX, Stream, resize};

/// One output of the channel.
pub struct Lane {
    /// Where it comes from, until its end.
    pub from: Option<OwnedFd>,
    /// sshd's side, while somebody reads there.
    pub to: Option<BorrowedFd<'static>>,
    /// What it is in the recording.
    pub stream: Stream,
}

/// What goes in, where it does not go in by itself.
pub struct Input {
    from: BorrowedFd<'static>,
    to: OwnedFd,
    held: Vec<u8>,
    ended: bool,
}

impl Input {
    pub fn new(from: BorrowedFd<'static>, to: OwnedFd) -> Self {
        Self { from, to, held: Vec::new(), ended: false }
    }
}

/// Everything between sshd and the child.
pub struct Flow {
    signals: OwnedFd,
    lanes: Vec<Lane>,
    input: Option<Input>,
    terminal: Option<Terminal>,
    status: Option<WaitStatus>,
    buffer: Vec<u8>,
    /// Whether sshd was told the status already, by the process that this one is a copy of.
    told: bool,
    ended: bool,
}

/// The child, as long as it lives.
struct Child {
    pid: Pid,
    process: Option<OwnedFd>,
}

/// What became ready.
#[derive(Clone, Copy)]
enum Ready {
    Sink,
    Signals,
    Child,
    From(usize),
    To(usize),
    InputFrom,
    InputTo,
}

impl Flow {
    pub fn new(signals: OwnedFd, lanes: Vec<Lane>, input: Option<Input>, terminal: Option<Terminal>) -> Self {
        let buffer = vec![0; INTAKE_MAX];
        Self { signals, lanes, input, terminal, status: None, buffer, told: false, ended: false }
    }

    /// Nothing ran: says so to agentd, which takes a broken connection for a killed recorder.
    pub fn give_up(&mut self, mut sink: Sink) {
        sink.push(Stream::End, None, &[]);
        if let Some(terminal) = &self.terminal {
            terminal.restore();
        }
    }

    /// Copies to the end, and ends like the child.
    pub fn run(&mut self, mut sink: Sink, child: Pid) -> ! {
        let process = pidfd_open(child, PidfdFlags::empty());
        let child = Child { pid: child, process: process.ok() };
        // Only what reads standard input holds it: who writes there sees when nobody does any more.
        if self.terminal.is_none()
            && self.input.is_none()
            && let Ok(nothing) = nothing()
        {
            let _ = dup2_stdin(&nothing);
        }
        if child.process.is_none() || self.copy_all(&mut sink, child).is_err() {
            // Nothing more can be recorded: whatever runs in this session ends with us, and agentd sees no end.
            kill_all_of_uid();
            sys::end_by(Signal::KILL);
        }
        if let Some(terminal) = &self.terminal {
            terminal.restore();
        }
        match self.status {
            Some(status) if !self.told => end_like(status),
            _ => std::process::exit(0),
        }
    }

    fn copy_all(&mut self, sink: &mut Sink, mut child: Child) -> Result<(), Lost> {
        loop {
            self.show(sink);
            if self.is_drained() && !self.ended {
                self.ended = true;
                let status = self.status.map_or(0, WaitStatus::as_raw);
                sink.push(Stream::End, None, &status.to_le_bytes());
                // Where nothing is recorded nobody acknowledges it, so nothing would wake us.
                continue;
            }
            if self.ended && sink.is_empty() {
                return Ok(());
            }
            let ready = self.wait(sink, &child)?;
            if ready.is_empty() && self.is_held_by_others(sink) {
                self.tell_status()?;
            }
            if ready.is_empty() || sink.is_away() {
                sink.keep_up()?;
            }
            for one in ready {
                self.act(one, sink, &mut child);
            }
        }
    }

    /// Whether all outputs are at their end and the child is.
    fn is_drained(&self) -> bool {
        self.status.is_some() && self.lanes.iter().all(|lane| lane.from.is_none())
    }

    /// Whether the child is over, and something else keeps an output open.
    fn is_held_by_others(&self, sink: &Sink) -> bool {
        self.status.is_some() && !self.told && !self.ended && self.terminal.is_none() && sink.is_empty()
    }

    fn wait(&self, sink: &Sink, child: &Child) -> Result<Vec<Ready>, Lost> {
        let mut all: Vec<(PollFd<'_>, Ready)> = vec![(PollFd::new(&self.signals, PollFlags::IN), Ready::Signals)];
        if let Some((link, sends)) = sink.link() {
            let flags = if sends { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            all.push((PollFd::new(link, flags), Ready::Sink));
        }
        if let Some(process) = child.process.as_ref().filter(|_| self.status.is_none()) {
            all.push((PollFd::new(process, PollFlags::IN), Ready::Child));
        }
        self.add_lanes(sink, &mut all);
        self.add_input(&mut all);
        let most = if self.is_held_by_others(sink) { Some(Duration::ZERO) } else { sink.patience() };
        let timeout = most.and_then(|most| Timespec::try_from(most).ok());
        let (mut descriptors, roles): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return Err(Lost),
        }
        let ready = descriptors.iter().zip(roles).filter(|(one, _)| !one.revents().is_empty());
        Ok(ready.map(|(_, role)| role).collect())
    }

    fn add_lanes<'s>(&'s self, sink: &Sink, all: &mut Vec<(PollFd<'s>, Ready)>) {
        let front = sink.front().and_then(|(lane, _)| lane);
        for (number, lane) in self.lanes.iter().enumerate() {
            if let Some(from) = lane.from.as_ref().filter(|_| sink.has_room()) {
                all.push((PollFd::new(from, PollFlags::IN), Ready::From(number)));
            }
            if let Some(to) = lane.to {
                // Without a flag it is told only that nobody reads there any more.
                let flags = if front == Some(number) { PollFlags::OUT } else { PollFlags::empty() };
                all.push((PollFd::from_borrowed_fd(to, flags), Ready::To(number)));
            }
        }
    }

    fn add_input<'s>(&'s self, all: &mut Vec<(PollFd<'s>, Ready)>) {
        let Some(input) = &self.input else { return };
        if !input.held.is_empty() {
            all.push((PollFd::new(&input.to, PollFlags::OUT), Ready::InputTo));
        } else if !input.ended {
            all.push((PollFd::from_borrowed_fd(input.from, PollFlags::IN), Ready::InputFrom));
        }
    }

    fn act(&mut self, ready: Ready, sink: &mut Sink, child: &mut Child) {
        match ready {
            Ready::Sink => sink.exchange(),
            Ready::Signals => self.take_signals(sink, child),
            Ready::Child => self.reap(child),
            Ready::From(lane) => self.take_output(lane, sink),
            // Written by `show`; here only that nobody reads.
            Ready::To(lane) => self.see_reader(lane),
            Ready::InputFrom => self.take_input(),
            Ready::InputTo => self.hand_input(),
        }
    }

    fn reap(&mut self, child: &mut Child) {
        if let Ok(Some((_, status))) = waitpid(Some(child.pid), WaitOptions::NOHANG) {
            self.status = Some(status);
            child.process = None;
        }
    }

    fn take_output(&mut self, number: usize, sink: &mut Sink) {
        let Some(lane) = self.lanes.get_mut(number) else { return };
        let Some(from) = &lane.from else { return };
        match read(from, &mut self.buffer) {
            Ok(count) if count > 0 => {
                sink.push(lane.stream, Some(number), self.buffer.get(..count).unwrap_or_default());
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A terminal whose session is over says EIO.
            Ok(_) | Err(_) => lane.from = None,
        }
    }

    /// Shows what is recorded, as far as the reader takes it.
    fn show(&mut self, sink: &mut Sink) {
        while let Some((number, bytes)) = sink.front() {
            let to = number.and_then(|number| self.lanes.get(number)?.to);
            let Some(to) = to else {
                sink.drop_front();
                continue;
            };
            match write(to, bytes) {
                Ok(count) => sink.shown(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.reader_gone(number.unwrap_or_default()),
            }
        }
        self.close_finished(sink);
    }

    /// An output whose end was shown is closed, so that its reader sees the end.
    fn close_finished(&mut self, sink: &Sink) {
        if !sink.is_empty() || self.terminal.is_some() {
            return;
        }
        for lane in self.lanes.iter_mut().filter(|lane| lane.from.is_none()) {
            if lane.to.take().is_some() {
                close_standard(lane.stream);
            }
        }
    }

    fn see_reader(&mut self, number: usize) {
        let Some(to) = self.lanes.get(number).and_then(|lane| lane.to) else { return };
        let mut one = [PollFd::from_borrowed_fd(to, PollFlags::empty())];
        let gone = poll(&mut one, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count > 0);
        if gone {
            self.reader_gone(number);
        }
    }

    /// Whoever writes learns it as it would from sshd itself: by SIGPIPE, or by the terminal's hanging up.
    fn reader_gone(&mut self, number: usize) {
        if self.terminal.is_some() {
            return self.hang_up();
        }
        let Some(lane) = self.lanes.get_mut(number) else { return };
        lane.from = None;
        if lane.to.take().is_some() {
            close_standard(lane.stream);
        }
    }

    /// With the controlling side the kernel hangs the session's terminal up.
    fn hang_up(&mut self) {
        (self.terminal, self.input) = (None, None);
        for lane in &mut self.lanes {
            (lane.from, lane.to) = (None, None);
        }
    }

    fn take_input(&mut self) {
        let Some(input) = &mut self.input else { return };
        let mut buffer = [0; 4096];
        match read(input.from, &mut buffer) {
            Ok(count) if count > 0 => {
                input.held = buffer.get(..count).unwrap_or_default().to_vec();
                self.hand_input();
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(_) | Err(_) if self.terminal.is_some() => self.hang_up(),
            Ok(_) | Err(_) => self.input = None,
        }
    }

    fn hand_input(&mut self) {
        let Some(input) = &mut self.input else { return };
        match write(&input.to, &input.held) {
            Ok(count) => drop(input.held.drain(..count.min(input.held.len()))),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Nobody reads it.
            Err(_) => (input.held, input.ended) = (Vec::new(), true),
        }
    }

    /// Without a terminal they reach the child by themselves: it is in the process group that sshd sends them to.
    fn take_signals(&mut self, sink: &mut Sink, child: &Child) {
        let mut buffer = [0; 128];
        while read(&self.signals, &mut buffer).is_ok_and(|count| count == buffer.len()) {
            let Some(number) = buffer.first_chunk::<4>().map(|bytes| i32::from_ne_bytes(*bytes)) else { return };
            let Some(terminal) = &self.terminal else { continue };
            match Signal::from_named_raw(number) {
                Some(Signal::WINCH) => {
                    let Ok(size) = terminal.follow_size() else { continue };
                    sink.note_size(size.ws_col, size.ws_row);
                    sink.push(Stream::Resize, None, &resize(size.ws_col, size.ws_row));
                }
                Some(Signal::HUP) => self.hang_up(),
                Some(
                    signal @ (Signal::TERM | Signal::INT | Signal::QUIT | Signal::USR1 | Signal::USR2 | Signal::ALARM),
                ) if self.status.is_none() => {
                    // It may just have ended.
                    let _ = kill_process_group(child.pid, signal);
                }
                _ => {}
            }
        }
    }

    /// sshd tells its client how the command ended as soon as it did, and waits for the outputs as long as something
    /// holds them. So does this: the process that sshd waits for ends, and a copy of it goes on.
    fn tell_status(&mut self) -> Result<(), Lost> {
        match (sys::fork(), self.status) {
            (Ok(None), _) => {
                self.told = true;
                Ok(())
            }
            (Ok(Some(_)), Some(status)) => end_like(status),
            _ => Err(Lost),
        }
    }
}

fn close_standard(stream: Stream) {
    let Ok(nothing) = nothing() else { return };
    let _ = if stream == Stream::Error { dup2_stderr(&nothing) } else { dup2_stdout(&nothing) };
}

fn end_like(status: WaitStatus) -> ! {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => std::process::exit(code),
        (None, Some(number)) => {
            let_through(number);
            match Signal::from_named_raw(number) {
                Some(signal) => sys::end_by(signal),
                None => std::process::exit(128 + number),
            }
        }
        (None, None) => sys::end_by(Signal::KILL),
    }
}
