//! The keyboard, while something is played.

use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr};
use std::collections::VecDeque;
use std::io::{IsTerminal, stdin, stdout};
use std::time::{Duration, Instant};

/// What was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A character of the keyboard.
    Typed(char),
    /// Return.
    Enter,
    /// Backspace.
    Erase,
    /// The arrow to the left.
    Left,
    /// The arrow to the right.
    Right,
    /// The arrow up.
    Up,
    /// The arrow down.
    Down,
    /// Escape.
    Escape,
    /// Ctrl-C, or nobody is there any more.
    Leave,
}

/// The keyboard if there is one, each key as it is typed and not shown. The terminal is as before when this is dropped.
pub struct Keys {
    before: Option<Termios>,
    typed: VecDeque<Key>,
}

impl Keys {
    /// Takes the keyboard if both ends are a terminal.
    pub fn new() -> Result<Self> {
        let mut before = None;
        if stdin().is_terminal() && stdout().is_terminal() {
            let found = tcgetattr(stdin())?;
            let mut ours = found.clone();
            ours.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
            tcsetattr(stdin(), OptionalActions::Now, &ours)?;
            before = Some(found);
        }
        Ok(Self { before, typed: VecDeque::new() })
    }

    /// Whether somebody is there.
    pub fn are_there(&self) -> bool {
        self.before.is_some()
    }

    /// Waits for a key; no longer than this, if it is given. Without a keyboard it only waits.
    pub fn wait(&mut self, at_most: Option<Duration>) -> Result<Option<Key>> {
        if !self.are_there() {
            std::thread::sleep(at_most.unwrap_or_default());
            return Ok(None);
        }
        let until = at_most.map(|time| Instant::now() + time);
        while self.typed.is_empty() {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let left = left.map(Timespec::try_from).transpose()?;
            match poll(&mut [PollFd::new(&stdin(), PollFlags::IN)], left.as_ref()) {
                Ok(0) => return Ok(None),
                Ok(_) => self.read()?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.typed.pop_front())
    }

    fn read(&mut self) -> Result<()> {
        let mut bytes = [0; 256];
        let length = match rustix::io::read(stdin(), &mut bytes) {
            Err(Errno::INTR | Errno::AGAIN) => return Ok(()),
            // The terminal hung up.
            Err(Errno::IO) => 0,
            other => other?,
        };
        let bytes = bytes.get(..length).unwrap_or_default();
        self.typed.extend(if bytes.is_empty() { vec![Key::Leave] } else { parse(&String::from_utf8_lossy(bytes)) });
        Ok(())
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // What was typed, or answered by the terminal, is not for whoever reads next.
            let _ = tcflush(stdin(), QueueSelector::IFlush);
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

/// In both of a terminal's modes for them.
const ARROWS: [(&str, Key); 8] = [
    ("\x1b[A", Key::Up),
    ("\x1b[B", Key::Down),
    ("\x1b[C", Key::Right),
    ("\x1b[D", Key::Left),
    ("\x1bOA", Key::Up),
    ("\x1bOB", Key::Down),
    ("\x1bOC", Key::Right),
    ("\x1bOD", Key::Left),
];

/// A sequence of a key comes in one piece.
fn parse(text: &str) -> Vec<Key> {
    let (mut keys, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        if let Some((sequence, key)) = ARROWS.iter().find(|(sequence, _)| rest.starts_with(sequence)) {
            keys.push(*key);
            rest = rest.get(sequence.len()..).unwrap_or_default();
            continue;
        }
        let behind = rest.get(first.len_utf8()..).unwrap_or_default();
        rest = behind;
        keys.push(match first {
            // Another key with a sequence, or an answer of the terminal.
            '\x1b' if !behind.is_empty() => return keys,
            '\x1b' => Key::Escape,
            '\r' | '\n' => Key::Enter,
            '\x08' | '\x7f' => Key::Erase,
            '\x03' | '\x04' => Key::Leave,
            other if other.is_control() => continue,
            other => Key::Typed(other),
        });
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_and_answers_of_a_terminal_are_none() {
        use Key::{Enter, Erase, Escape, Leave, Left, Right, Typed};
        assert_eq!(
            parse("a\u{e9}\x1b[D\x1bOC \r\x7f\x03"),
            [Typed('a'), Typed('\u{e9}'), Left, Right, Typed(' '), Enter, Erase, Leave]
        );
        assert_eq!(parse("\x1b"), [Escape]);
        assert_eq!(parse("\x1b[?62;c"), []);
        assert_eq!(parse("q\x1b[5;5R"), [Typed('q')]);
    }
}
