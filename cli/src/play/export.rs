//! A recording for other programs.

use super::film::Film;
use anyhow::Result;
use std::io::{BufWriter, ErrorKind, Write};
use tether_recording::{Cast, Frame, Stream};

/// The exact bytes of both outputs, in their order. None if the reader went away.
pub fn raw(mut film: Film) -> Result<Option<Film>> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    while let Some(step) = film.next()? {
        if matches!(step.stream, Stream::Output | Stream::Error) && gone(out.write_all(&step.data))? {
            return Ok(None);
        }
    }
    Ok((!gone(out.flush())?).then_some(film))
}

/// asciicast v2. None if the reader went away.
pub fn cast(mut film: Film) -> Result<Option<Film>> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let (mut cast, mut lines) = (Cast::of(film.header()), Cast::header(film.header()));
    while let Some(step) = film.next()? {
        cast.frame(&Frame { micros: step.micros, stream: step.stream, data: &step.data }, &mut lines);
        if gone(out.write_all(lines.as_bytes()))? {
            return Ok(None);
        }
        lines.clear();
    }
    cast.finish(&mut lines);
    Ok((!gone(out.write_all(lines.as_bytes()).and_then(|()| out.flush()))?).then_some(film))
}

/// Whether whoever reads the output has seen enough of it.
fn gone(written: std::io::Result<()>) -> std::io::Result<bool> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(true),
        other => other.map(|()| false),
    }
}
