//! Shows a recording in its own time, and does what the keys say.

use super::film::{Film, Step};
use super::keys::{Key, Keys};
use super::tame::{RESET, Tame};
use anyhow::{Result, ensure};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tether_recording::Stream;

/// How far an arrow goes.
const JUMP: u64 = 10_000_000;

/// How fast it goes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How many times as fast.
    pub speed: f64,
    /// No longer pause than this many seconds.
    pub idle: Option<f64>,
}

/// What comes of the wait for a frame.
enum Next {
    Show,
    /// It is another frame's turn.
    Elsewhere,
    Leave,
}

/// A recording while it is played.
pub struct Player {
    path: PathBuf,
    film: Film,
    tame: Tame,
    keys: Keys,
    pace: Pace,
    /// How many frames were shown.
    shown: u64,
    /// Where in the recording it is, in microseconds.
    clock: u64,
    paused: bool,
    /// Something of ours stands on the picture.
    spoiled: bool,
    search: String,
    /// Whoever reads the output went away.
    gone: bool,
}

impl Player {
    /// At the beginning of a recording.
    pub fn new(path: &Path, pace: Pace) -> Result<Self> {
        let film = Film::open(path)?;
        Ok(Self {
            path: path.to_owned(),
            film,
            tame: Tame::default(),
            keys: Keys::new()?,
            pace,
            shown: 0,
            clock: 0,
            paused: false,
            spoiled: false,
            search: String::new(),
            gone: false,
        })
    }

    /// Plays to the end; none if it was left before.
    pub fn run(mut self, search: Option<&str>) -> Result<Option<Film>> {
        if let Some(text) = search {
            text.clone_into(&mut self.search);
            ensure!(self.find()?, "it never shows {text}");
            self.paused = self.keys.are_there();
        }
        let left = self.play();
        if self.keys.are_there() {
            if self.spoiled {
                self.write(&format!("\x1b7{RESET}\x1b[999;1H\x1b[K\x1b8"))?;
            }
            self.write(&(self.tame.end() + "\r\n"))?;
        }
        Ok((!left? && !self.gone).then_some(self.film))
    }

    /// Whether it was left.
    fn play(&mut self) -> Result<bool> {
        while let Some(step) = self.film.next()? {
            match self.wait(&step)? {
                Next::Show if self.spoiled => self.redraw(self.shown + 1)?,
                Next::Show => self.show(&step)?,
                Next::Elsewhere => {}
                Next::Leave => return Ok(true),
            }
            if self.gone {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until a frame's time has come, or a key says otherwise.
    fn wait(&mut self, step: &Step) -> Result<Next> {
        let mut left = Duration::from_micros(step.micros.saturating_sub(self.clock)).as_secs_f64();
        left = left.min(self.pace.idle.unwrap_or(f64::INFINITY));
        loop {
            let since = Instant::now();
            let wait = (left / self.pace.speed).min(1e6);
            let key = self.keys.wait((!self.paused).then(|| Duration::from_secs_f64(wait)))?;
            let Some(key) = key else { return Ok(Next::Show) };
            if !self.paused {
                left = (left - since.elapsed().as_secs_f64() * self.pace.speed).max(0.0);
            }
            match key {
                Key::Leave | Key::Typed('q') => return Ok(Next::Leave),
                Key::Typed('.') if self.paused => return Ok(Next::Show),
                Key::Typed(' ') => self.pause()?,
                Key::Typed('+') | Key::Up => self.pace.speed = (self.pace.speed * 2.0).min(1000.0),
                Key::Typed('-') | Key::Down => self.pace.speed = (self.pace.speed / 2.0).max(0.01),
                other => {
                    if self.go(other)? {
                        return Ok(Next::Elsewhere);
                    }
                }
            }
        }
    }

    fn pause(&mut self) -> Result<()> {
        self.paused = !self.paused;
        if self.paused {
            let seconds = self.clock / 1_000_000;
            let (minutes, seconds) = (seconds / 60, seconds % 60);
            self.status(&format!("paused at {minutes}:{seconds:02}, {} times as fast", self.pace.speed))?;
        } else {
            self.redraw(self.shown)?;
        }
        Ok(())
    }

    /// Goes to another place, if the key says so.
    fn go(&mut self, key: Key) -> Result<bool> {
        match key {
            Key::Left => self.seek(self.clock.saturating_sub(JUMP))?,
            Key::Right => self.seek(self.clock.saturating_add(JUMP))?,
            Key::Typed('0') => self.seek(0)?,
            Key::Typed('/') if self.ask()? => return self.find_or_say(),
            Key::Typed('n') if !self.search.is_empty() => return self.find_or_say(),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn find_or_say(&mut self) -> Result<bool> {
        let found = self.find()?;
        self.paused = true;
        let said = if found { format!("paused at {}", self.search) } else { format!("no further {}", self.search) };
        self.status(&said)?;
        Ok(found)
    }

    /// The text to search for, on the last line.
    fn ask(&mut self) -> Result<bool> {
        let mut text = String::new();
        loop {
            self.status(&format!("/{text}"))?;
            match self.keys.wait(None)? {
                Some(Key::Typed(character)) => text.push(character),
                Some(Key::Erase) => drop(text.pop()),
                Some(Key::Enter) if !text.is_empty() => break,
                Some(Key::Left | Key::Right | Key::Up | Key::Down) => {}
                _ => return Ok(false),
            }
        }
        self.search = text;
        Ok(true)
    }

    /// Goes on to where the text is shown next, at once.
    fn find(&mut self) -> Result<bool> {
        let (mut film, mut tame) = (Film::open(&self.path)?, Tame::default());
        let (mut at, mut shown, mut plain) = (0, String::new(), String::new());
        while let Some(step) = film.next()? {
            at += 1;
            if matches!(step.stream, Stream::Output | Stream::Error) {
                // So much of what came before that the text cannot lie in it alone.
                keep_end(&mut plain, self.search.len());
                tame.take(&step.data, &mut shown, &mut plain);
                shown.clear();
            }
            if at > self.shown && plain.contains(&self.search) {
                self.redraw(at)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Shows everything from the beginning up to a frame, at once.
    fn redraw(&mut self, frames: u64) -> Result<()> {
        self.rewind()?;
        while self.shown < frames
            && let Some(step) = self.film.next()?
        {
            self.show(&step)?;
        }
        Ok(())
    }

    fn seek(&mut self, to: u64) -> Result<()> {
        if to < self.clock || self.spoiled {
            self.rewind()?;
        }
        while let Some(step) = self.film.next()? {
            if step.micros > to {
                self.film.put_back(step);
                self.clock = to;
                break;
            }
            self.show(&step)?;
        }
        Ok(())
    }

    fn rewind(&mut self) -> Result<()> {
        let second_screen = self.tame.end();
        (self.film, self.tame) = (Film::open(&self.path)?, Tame::default());
        (self.shown, self.clock, self.spoiled) = (0, 0, false);
        if self.keys.are_there() {
            self.write(&format!("{second_screen}\x1b[H\x1b[2J"))?;
        }
        Ok(())
    }

    fn show(&mut self, step: &Step) -> Result<()> {
        (self.shown, self.clock) = (self.shown + 1, step.micros);
        let (mut shown, mut plain) = (String::new(), String::new());
        match step.stream {
            Stream::Output | Stream::Error => self.tame.take(&step.data, &mut shown, &mut plain),
            Stream::Gap => {
                self.tame.take(&step.data, &mut plain, &mut shown);
                shown = format!("\r\n[not recorded: {shown}]\r\n");
            }
            Stream::Resize | Stream::End => {}
        }
        self.write(&shown)
    }

    /// On the last line, until the picture is drawn again.
    fn status(&mut self, text: &str) -> Result<()> {
        self.spoiled = true;
        let text: String = text.chars().take(70).collect();
        self.write(&format!("\x1b7{RESET}\x1b[999;1H\x1b[7m {text} \x1b[0m\x1b[K\x1b8"))
    }

    fn write(&mut self, text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.gone = true,
            other => other?,
        }
        Ok(())
    }
}

/// Leaves less than `length` bytes of a text.
fn keep_end(text: &mut String, length: usize) {
    let mut from = text.len().saturating_sub(length.saturating_sub(1));
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text.drain(..from);
}
