//! This host's recordings, by session.

use super::film::Film;
use crate::central::Link;
use crate::render::{moment, printable};
use crate::trail::shipped::{Fetched, Listed, Recordings};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A folder for each session, a file `NAME.rec` for each recording.
const RECORDINGS: &str = "/var/lib/tether/recordings";

/// Whether a file is meant, and no session.
pub fn is_file(what: &str, name: Option<&str>) -> bool {
    what.contains('/') || (name.is_none() && Path::new(what).is_file())
}

/// The one file that is meant. None if there are more, and they were listed.
pub fn find(what: &str, name: Option<&str>, json: bool) -> Result<Option<PathBuf>> {
    if is_file(what, name) {
        return Ok(Some(what.into()));
    }
    let all = recordings(&session(Path::new(RECORDINGS), what)?)?;
    let wanted = |path: &&PathBuf| name.is_none_or(|name| path.file_stem().is_some_and(|stem| stem == name));
    let mut found = all.iter().filter(wanted);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(Some(only.clone())),
        (None, _) => {
            bail!("session {what} has no recording{}", name.map(|name| format!(" {name}")).unwrap_or_default())
        }
        _ => list(&all, json).map(|()| None),
    }
}

/// The same from central. None if there are more than one, and they were listed.
pub fn fetch(link: &Link, session: &str, name: Option<&str>, json: bool) -> Result<Option<Fetched>> {
    let recordings = Recordings::of(link, session)?;
    let wanted = |one: &&Listed| name.is_none_or(|name| one.name == name);
    let mut found = recordings.all.iter().filter(wanted);
    match (found.next(), found.next()) {
        (Some(only), None) => recordings.fetch(only).map(Some),
        (None, _) => {
            bail!("session {session} has no recording{}", name.map(|name| format!(" {name}")).unwrap_or_default())
        }
        _ => {
            list_far(&recordings.all, json);
            Ok(None)
        }
    }
}

fn list_far(all: &[Listed], json: bool) {
    if json {
        let rows = all.iter().map(|one| {
            serde_json::json!({
                "name": one.name, "kind": one.kind, "started_us": one.started_us, "bytes": one.here,
                "command": one.command, "host": one.host, "state": one.state,
            })
        });
        println!("{}", serde_json::Value::from_iter(rows));
        return;
    }
    println!("{:<24} {:<5} {:<20} {:>12} {:<8} COMMAND", "RECORDING", "KIND", "SINCE", "BYTES", "STATE");
    for one in all {
        let (name, state) = (printable(&one.name), printable(&one.state));
        let kind = printable(one.kind.as_deref().unwrap_or("-"));
        let since = one.started_us.map(moment).unwrap_or_default();
        println!("{name:<24} {kind:<5} {since:<20} {:>12} {state:<8} {}", one.here, words(&one.command));
    }
    eprintln!("hint: give one of these names behind the session");
}

/// The folder of the one session whose id begins so.
fn session(recordings: &Path, begins: &str) -> Result<PathBuf> {
    let naming = || format!("cannot read {}", recordings.display());
    let mut found = Vec::new();
    let entries = match fs::read_dir(recordings) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("{begins} is no file, and there are no recordings on this host")
        }
        other => other.with_context(naming)?,
    };
    for entry in entries {
        let entry = entry.with_context(naming)?;
        if entry.file_name().to_str().is_some_and(|id| id.starts_with(begins)) && entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    ensure!(found.len() <= 1, "recordings of more than one session begin with {begins}; give more of its id");
    found.pop().with_context(|| format!("no session {begins} was recorded on this host"))
}

/// In the order in which they began.
fn recordings(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rec") {
            let started = Film::open(&path).map_or(0, |film| film.header().started_us);
            found.push((started, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn list(all: &[PathBuf], json: bool) -> Result<()> {
    let mut rows = Vec::new();
    for path in all {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let bytes = fs::metadata(path).map_or(0, |about| about.len());
        match Film::open(path) {
            Ok(film) => {
                let header = film.header();
                let (kind, started, command) = (header.kind.as_str(), header.started_us, header.command.clone());
                rows.push((name, kind, started, bytes, command));
            }
            Err(error) => eprintln!("tether: {error:#}"),
        }
    }
    if json {
        let rows = rows.iter().map(|(name, kind, started, bytes, command)| {
            serde_json::json!({"name": name, "kind": kind, "started_us": started, "bytes": bytes, "command": command})
        });
        println!("{}", serde_json::Value::from_iter(rows));
        return Ok(());
    }
    println!("{:<24} {:<5} {:<20} {:>12} COMMAND", "RECORDING", "KIND", "SINCE", "BYTES");
    for (name, kind, started, bytes, command) in rows {
        println!("{name:<24} {kind:<5} {:<20} {bytes:>12} {}", moment(started), words(&command));
    }
    eprintln!("hint: give one of these names behind the session");
    Ok(())
}

/// A command in a line that no byte of it can break.
fn words(command: &serde_json::Value) -> String {
    let word = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let line = match command {
        serde_json::Value::Null => "(login)".to_owned(),
        serde_json::Value::Array(all) => all.iter().map(word).collect::<Vec<_>>().join(" "),
        other => word(other),
    };
    printable(&line).chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_by_the_beginning_of_its_id() {
        let folder = tempfile::tempdir().unwrap();
        for id in ["aa11", "aa22", "bb"] {
            fs::create_dir(folder.path().join(id)).unwrap();
        }
        fs::write(folder.path().join("bbfile"), "").unwrap();
        assert_eq!(session(folder.path(), "aa1").unwrap(), folder.path().join("aa11"));
        assert_eq!(session(folder.path(), "b").unwrap(), folder.path().join("bb"));
        assert!(session(folder.path(), "aa").unwrap_err().to_string().contains("more than one"));
        assert!(session(folder.path(), "c").unwrap_err().to_string().contains("no session c"));
        assert!(session(&folder.path().join("none"), "c").is_err());
    }

    #[test]
    fn a_command_stays_in_its_line() {
        assert_eq!(
            words(&serde_json::json!(["sh", "-c", "echo \u{1b}[31m\n'x'"])),
            "sh -c echo \u{fffd}[31m\u{fffd}'x'"
        );
        assert_eq!(words(&serde_json::Value::Null), "(login)");
    }
}
