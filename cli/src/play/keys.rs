//! The keys of who looks at a recording: the terminal gives each at once, and is put back as it was.

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::stdio::stdin;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::time::Duration;

/// What a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Pause,
    Quit,
    Back,
    On,
    Faster,
    Slower,
}

pub struct Keys {
    before: Termios,
}

impl Keys {
    pub fn take() -> Result<Self> {
        let before = tcgetattr(stdin()).context("the terminal")?;
        let mut now = before.clone();
        // Not raw: ^C still ends it, and newlines are still what they are.
        now.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(stdin(), OptionalActions::Now, &now).context("the terminal")?;
        Ok(Self { before })
    }

    /// The next key, if one comes in that time; without a time, whenever it comes.
    pub fn wait(&self, most: Option<Duration>) -> Result<Option<Key>> {
        let most = most.map(Timespec::try_from).transpose()?;
        let ready = poll(&mut [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)], most.as_ref());
        match ready {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            other => other.context("the terminal")?,
        };
        let mut bytes = [0; 8];
        let count = rustix::io::read(stdin(), &mut bytes).context("the terminal")?;
        Ok(key(bytes.get(..count).unwrap_or_default()))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

fn key(bytes: &[u8]) -> Option<Key> {
    match bytes {
        // Nothing: the terminal is gone.
        [] | [b'q' | 0x04, ..] => Some(Key::Quit),
        [b' ', ..] => Some(Key::Pause),
        [0x1b, b'[' | b'O', b'C', ..] => Some(Key::On),
        [0x1b, b'[' | b'O', b'D', ..] => Some(Key::Back),
        [0x1b, b'[' | b'O', b'A', ..] => Some(Key::Faster),
        [0x1b, b'[' | b'O', b'B', ..] => Some(Key::Slower),
        _ => None,
    }
}
