//! What must hold for any input. The fuzz target and the ordinary tests run this same body.

use tether_recording::{Broken, Cast, Header, Pieces, Reader, Stream, frame_head};

/// A frame that was read, with its data.
type Read = (u64, Stream, Vec<u8>);

fn read<'d>(parts: impl Iterator<Item = &'d [u8]>) -> (Reader, Vec<Read>, Result<(), Broken>) {
    let (mut reader, mut frames) = (Reader::new(), Vec::new());
    for part in parts {
        let taken = reader.take(part, |frame| frames.push((frame.micros, frame.stream, frame.data.to_vec())));
        if taken.is_err() {
            return (reader, frames, taken);
        }
    }
    (reader, frames, Ok(()))
}

/// Gives how many frames there were.
pub fn any_recording(bytes: &[u8]) -> usize {
    let (reader, frames, result) = read(std::iter::once(bytes));
    let in_parts = read(bytes.chunks(7));
    assert_eq!(frames, in_parts.1, "however it comes, the same is read");
    assert_eq!(result, in_parts.2);
    assert!(reader.torn() <= bytes.len());
    let Some(header) = reader.header() else {
        assert!(frames.is_empty());
        return 0;
    };
    frames_are_the_bytes(bytes, &frames);
    cast_is_text(header, &frames);
    let mut pieces = Pieces::new();
    let mut covered = 0;
    pieces.take(bytes, |piece| covered += piece.length);
    covered += pieces.flush().map_or(0, |piece| piece.length);
    assert_eq!(covered, bytes.len() as u64);
    frames.len()
}

/// Written again, the frames are bytes of the file, one after the other, right behind the header.
fn frames_are_the_bytes(bytes: &[u8], frames: &[Read]) {
    let mut again = Vec::new();
    for (micros, stream, data) in frames {
        again.extend(frame_head(*micros, *stream, u32::try_from(data.len()).unwrap()));
        again.extend(data);
    }
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let behind = lines.nth(2).unwrap();
    assert!(behind.starts_with(&again));
    assert!(frames.is_sorted_by_key(|frame| frame.0));
}

/// Each line of a cast is JSON, its times do not run back, and its text is that of the outputs.
fn cast_is_text(header: &Header, frames: &[Read]) {
    let (mut cast, mut out) = (Cast::new(), String::new());
    let mut shown = [Vec::new(), Vec::new()];
    for (micros, stream, data) in frames {
        cast.frame(&tether_recording::Frame { micros: *micros, stream: *stream, data }, &mut out);
        match stream {
            Stream::Output => shown[0].extend_from_slice(data),
            Stream::Error => shown[1].extend_from_slice(data),
            _ => {}
        }
    }
    cast.finish(&mut out);
    let first: serde_json::Value = serde_json::from_str(Cast::header(header).trim_end()).unwrap();
    assert!(first["width"].as_u64() > Some(0) && first["height"].as_u64() > Some(0));
    let (mut time, mut text) = (0.0, 0);
    for line in out.lines() {
        let (at, kind, said): (f64, String, String) = serde_json::from_str(line).unwrap();
        assert!(at >= time && matches!(kind.as_str(), "o" | "r" | "m"));
        (time, text) = (at, text + if kind == "o" { said.chars().count() } else { 0 });
    }
    let wanted = shown.iter().map(|bytes| String::from_utf8_lossy(bytes).chars().count()).sum::<usize>();
    assert_eq!(text, wanted);
}
