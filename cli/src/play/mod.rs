//! `tether session play`: a recording at its own pace, as its raw bytes, or as asciicast.

mod frames;
mod harmless;
mod keys;
mod player;

use crate::Found;
use anyhow::{Context, Result, bail, ensure};
use frames::Frames;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use tether_recording::{Cast, Stream};

/// Where a host keeps its recordings.
const FOLDER: &str = "/var/lib/tether/recordings";

#[derive(clap::Args)]
pub struct Arguments {
    /// A session, as much of its id as is enough; or a recording's file
    what: String,
    /// Which recording of the session, such as `sudo-1`; without it they are listed, unless there is one
    recording: Option<String>,
    /// Print the bytes that were shown, exactly, and nothing else
    #[arg(long, conflicts_with = "cast")]
    raw: bool,
    /// Print it as asciicast v2, for asciinema and other players
    #[arg(long)]
    cast: bool,
    /// How much faster than it was
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// The longest pause, in seconds
    #[arg(long, value_parser = speed)]
    idle_limit: Option<f64>,
}

fn speed(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.01..=1e6).contains(&number) { Ok(number) } else { Err("between 0.01 and 1000000".to_owned()) }
}

pub fn run(arguments: &Arguments) -> Result<Found> {
    let Some(path) = find(Path::new(FOLDER), &arguments.what, arguments.recording.as_deref())? else {
        return Ok(Found::Fine);
    };
    let mut frames = Frames::open(&path)?;
    if arguments.raw {
        raw(&mut frames)?;
    } else if arguments.cast {
        cast(&mut frames)?;
    } else {
        let on_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        return player::Player::new(&path, arguments.speed, arguments.idle_limit, on_terminal)?.play();
    }
    Ok(told(&frames, &path))
}

/// Says what is missing at the end, if anything.
fn told(frames: &Frames, path: &Path) -> Found {
    match frames.missing() {
        None => Found::Fine,
        Some(what) => {
            eprintln!("tether: {}: {what}", path.display());
            Found::Something
        }
    }
}

fn raw(frames: &mut Frames) -> Result<()> {
    let mut out = std::io::stdout().lock();
    while let Some(frame) = frames.next()? {
        if matches!(frame.stream, Stream::Output | Stream::Error) {
            out.write_all(&frame.data).context("stdout")?;
        }
    }
    out.flush().context("stdout")
}

fn cast(frames: &mut Frames) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let (mut cast, mut text) = (Cast::new(), Cast::header(frames.header()));
    while let Some(frame) = frames.next()? {
        cast.frame(&frame.borrowed(), &mut text);
        out.write_all(text.as_bytes()).context("stdout")?;
        text.clear();
    }
    cast.finish(&mut text);
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("stdout")
}

/// The recording that is meant. None if they were listed instead.
fn find(folder: &Path, what: &str, recording: Option<&str>) -> Result<Option<PathBuf>> {
    if recording.is_none() && (what.contains('/') || Path::new(what).is_file()) {
        return Ok(Some(what.into()));
    }
    let names = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let names: Vec<String> = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let of_it: Vec<&String> = names.iter().filter(|name| name.starts_with(what)).collect();
    let session = match of_it.as_slice() {
        [] => bail!("no session {what} has recordings here; `tether session list`, `tether session show`"),
        [one] => folder.join(one),
        _ => bail!("more than one session begins with {what}; give more of its id"),
    };
    let files = std::fs::read_dir(&session)?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|kind| kind == "rec")).collect();
    if let Some(name) = recording {
        let path = session.join(format!("{name}.rec"));
        ensure!(files.contains(&path), "the session has no recording {name}; without a name they are listed");
        return Ok(Some(path));
    }
    if let [_] = files.as_slice() {
        return Ok(files.pop());
    }
    files.sort_by_key(|path| number(path));
    files.iter().try_for_each(|path| list(path))?;
    Ok(None)
}

fn number(path: &Path) -> u32 {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    stem.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn list(path: &Path) -> Result<()> {
    let frames = Frames::open(path)?;
    let header = frames.header();
    let name: String = header.name.chars().filter(|c| !c.is_control()).collect();
    // JSON has no control characters in its texts.
    println!("{name:<10} {:<20} {}", crate::render::moment(header.started_us), header.command);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recording_that_is_meant_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let header = r#"{"name":"sudo-1","session":"abc1","host":"h","kind":"sudo","command":["id"],"started_us":0,"columns":0,"rows":0}"#;
        for (session, name) in [("abc1", "sudo-1"), ("abc1", "sudo-10"), ("abd2", "tty-1")] {
            std::fs::create_dir_all(folder.path().join(session)).unwrap();
            let path = folder.path().join(session).join(format!("{name}.rec"));
            std::fs::write(path, format!("tether-recording 1\n{header}\n")).unwrap();
        }
        let found = |what: &str, name: Option<&str>| {
            let found = find(folder.path(), what, name);
            found.map(|path| path.map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string()))
        };
        assert_eq!(found("abd", None).unwrap().as_deref(), Some("abd2/tty-1.rec"));
        assert_eq!(found("abc", Some("sudo-10")).unwrap().as_deref(), Some("abc1/sudo-10.rec"));
        assert_eq!(found("abc", None).unwrap(), None, "they are listed");
        for (what, name) in [("ab", None), ("x", None), ("abc", Some("sudo-2")), ("abc", Some("../abd2/tty-1"))] {
            assert!(found(what, name).is_err(), "{what} {name:?}");
        }
    }
}
