//! `tether session play`: a recording at a terminal, or as bytes or asciicast for other programs.
//!
//! What a recording shows was written by an agent. At a terminal it is tamed first (`tame`): nothing of it makes the
//! terminal answer, write to the clipboard, or be anything but a picture.

mod export;
mod film;
mod keys;
mod library;
mod player;
mod tame;

use crate::Found;
use crate::central::{Link, Who};
use anyhow::{Result, ensure};
use clap::Args;
use film::Film;
use std::io::IsTerminal;
use std::path::Path;

/// What follows `tether session play`.
#[derive(Args)]
#[command(after_help = "\
Keys: space pauses, . shows one step, arrows: 10 s back and on, faster, slower (also + and -), 0 to the beginning,
/ searches and n searches on, q ends.
Exit code: 3 if the recording has no end, or is broken; what comes before that is played.")]
pub struct Arguments {
    /// A session's id, or as much of it as is enough; or a recording's file. From central, if one is named, the whole
    /// id
    what: String,
    /// Which recording of the session, if it has more than one
    name: Option<String>,
    /// How many times as fast
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Wait no longer than this many seconds where nothing happens
    #[arg(long, alias = "idle-limit", value_name = "SECONDS", value_parser = seconds)]
    idle: Option<f64>,
    /// Begin where this text is shown
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["raw", "cast"])]
    search: Option<String>,
    /// Write the exact bytes of both outputs, in their order, to another program or a file
    #[arg(long)]
    raw: bool,
    /// Write asciicast v2, as asciinema plays it
    #[arg(long, conflicts_with = "raw")]
    cast: bool,
}

/// Plays, writes or lists.
pub fn run(who: &Who, arguments: &Arguments, json: bool) -> Result<Found> {
    let (what, name) = (&arguments.what, arguments.name.as_deref());
    if !who.is_named() || library::is_file(what, name) {
        let Some(path) = library::find(what, name, json)? else { return Ok(Found::Fine) };
        return show(&path, arguments);
    }
    let Some(fetched) = library::fetch(&Link::open(who)?, what, name, json)? else { return Ok(Found::Fine) };
    if let Some(cut) = fetched.cut {
        eprintln!("tether: central has no more than the first {cut} bytes of it");
    }
    show(&fetched.path(), arguments)
}

fn show(path: &Path, arguments: &Arguments) -> Result<Found> {
    let film = if arguments.raw {
        ensure!(!std::io::stdout().is_terminal(), "raw bytes could do anything to this terminal; send them to a file");
        export::raw(Film::open(path)?)?
    } else if arguments.cast {
        export::cast(Film::open(path)?)?
    } else {
        play(path, arguments)?
    };
    Ok(film.map_or(Found::Fine, |film| report(&film)))
}

/// None if it was left before the end.
fn play(path: &Path, arguments: &Arguments) -> Result<Option<Film>> {
    let pace = player::Pace { speed: arguments.speed, idle: arguments.idle };
    player::Player::new(path, pace)?.run(arguments.search.as_deref())
}

/// Says how the recording ended, if not as it should.
fn report(film: &Film) -> Found {
    let Some(fault) = film.fault() else { return Found::Fine };
    eprintln!("tether: {fault}");
    Found::Something
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    (0.01..=1000.0).contains(&speed).then_some(speed).ok_or_else(|| "it is 0.01 to 1000".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    (0.0..=86_400.0).contains(&seconds).then_some(seconds).ok_or_else(|| "it is 0 to 86400".to_owned())
}
