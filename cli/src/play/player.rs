//! Shows a recording at its own pace.

use super::frames::Frames;
use super::harmless::Harmless;
use super::keys::{Key, Keys};
use super::told;
use crate::Found;
use anyhow::{Context, Result};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tether_recording::Stream;

/// How far an arrow goes, in microseconds.
const JUMP: u64 = 5_000_000;
/// All attributes off, the cursor seen, the ordinary screen.
const CLEAN: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";

pub struct Player {
    path: PathBuf,
    frames: Frames,
    filter: Harmless,
    keys: Option<Keys>,
    speed: f64,
    idle_limit: Option<f64>,
    /// Where it is, in the recording's own time.
    at: u64,
    /// Until there nothing is waited for.
    until: u64,
}

impl Player {
    pub fn new(path: &Path, speed: f64, idle_limit: Option<f64>, on_terminal: bool) -> Result<Self> {
        let frames = Frames::open(path)?;
        let keys = if on_terminal { Some(Keys::take()?) } else { None };
        let filter = Harmless::default();
        Ok(Self { path: path.to_owned(), frames, filter, keys, speed, idle_limit, at: 0, until: 0 })
    }

    pub fn play(mut self) -> Result<Found> {
        let played = self.play_all();
        if self.keys.take().is_some() {
            show(CLEAN)?;
        }
        played
    }

    fn play_all(&mut self) -> Result<Found> {
        let mut out = Vec::new();
        while let Some(frame) = self.frames.next()? {
            match self.wait_until(frame.micros)? {
                After::Show => {}
                After::Quit => return Ok(Found::Fine),
                After::Again => continue,
            }
            if matches!(frame.stream, Stream::Output | Stream::Error) {
                self.filter.filter(&frame.data, &mut out);
                show(&out)?;
                out.clear();
            }
        }
        Ok(told(&self.frames, &self.path))
    }

    /// Waits until a moment of the recording is due.
    fn wait_until(&mut self, micros: u64) -> Result<After> {
        while self.at < micros && self.until < micros {
            let span = Duration::from_micros(micros - self.at.max(self.until)).as_secs_f64();
            let span = self.idle_limit.map_or(span, |most| span.min(most));
            let due = Duration::from_secs_f64((span / self.speed).min(86_400.0));
            let begun = Instant::now();
            let Some(keys) = &self.keys else {
                std::thread::sleep(due);
                break;
            };
            let Some(key) = keys.wait(Some(due))? else { break };
            let passed = begun.elapsed().as_secs_f64() * self.speed * 1e6;
            self.at = self.at.max(self.until).saturating_add(passed as u64).min(micros);
            match self.pressed(key)? {
                After::Show => {}
                other => return Ok(other),
            }
        }
        self.at = micros;
        Ok(After::Show)
    }

    fn pressed(&mut self, key: Key) -> Result<After> {
        match key {
            Key::Quit => return Ok(After::Quit),
            Key::Faster => self.speed = (self.speed * 2.0).min(1e6),
            Key::Slower => self.speed = (self.speed / 2.0).max(0.01),
            Key::On => self.until = self.at.saturating_add(JUMP),
            Key::Back => {
                self.until = self.at.saturating_sub(JUMP);
                self.at = 0;
                self.frames = Frames::open(&self.path)?;
                self.filter = Harmless::default();
                show(CLEAN)?;
                show(b"\x1b[2J\x1b[H")?;
                return Ok(After::Again);
            }
            Key::Pause => loop {
                match self.keys.as_ref().map(|keys| keys.wait(None)).transpose()?.flatten() {
                    Some(Key::Pause) => break,
                    Some(other) if other != Key::Pause => return self.pressed(other),
                    _ => {}
                }
            },
        }
        Ok(After::Show)
    }
}

/// What is to be done with the frame that was waited for.
enum After {
    Show,
    Quit,
    /// It was begun anew: the frame comes again.
    Again,
}

fn show(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).context("stdout")
}
