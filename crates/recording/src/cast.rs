//! asciicast v2 (docs.asciinema.org, "asciicast file format version 2"): a line of header, a line for each event.

use crate::frame::{Frame, Stream};
use crate::header::Header;
use crate::text::Text;
use serde_json::Value;
use std::fmt::Write;

/// What a terminal without a size is taken for.
const SIZE: (u16, u16) = (80, 24);

/// Turns frames into lines. Bytes that are no UTF-8 become U+FFFD; a character that lies in two frames is put together.
#[derive(Debug, Default)]
pub struct Cast {
    /// A character may have begun in each.
    outputs: [Text; 2],
    micros: u64,
    /// Whether a line ends as in a pipe, by a newline alone. A player's terminal would go down there, and not back.
    pipe: bool,
    /// Whether the last character was a carriage return.
    returned: bool,
}

impl Cast {
    /// At the beginning.
    pub fn new() -> Self {
        Self::default()
    }

    /// At the beginning of a recording. Of one without a terminal the lines end as a terminal shows them.
    pub fn of(header: &Header) -> Self {
        Self { pipe: header.columns == 0 || header.rows == 0, ..Self::default() }
    }

    /// The first line, with its newline.
    pub fn header(header: &Header) -> String {
        let (columns, rows) =
            if header.columns == 0 || header.rows == 0 { SIZE } else { (header.columns, header.rows) };
        let title = format!("{} {} on {}, session {}", header.kind.as_str(), header.name, header.host, header.session);
        // Written out, so that the same recording gives the same text whatever features serde_json is built with.
        let (time, title) = (header.started_us / 1_000_000, Value::from(title));
        format!("{{\"version\":2,\"width\":{columns},\"height\":{rows},\"timestamp\":{time},\"title\":{title}}}\n")
    }

    /// The lines of a frame, each with its newline.
    pub fn frame(&mut self, frame: &Frame<'_>, out: &mut String) {
        self.micros = frame.micros;
        match frame.stream {
            Stream::Output => self.bytes(0, frame.data, out),
            Stream::Error => self.bytes(1, frame.data, out),
            Stream::Resize => {
                if let Some((columns, rows)) = frame.size() {
                    event(frame.micros, "r", &format!("{columns}x{rows}"), out);
                }
            }
            Stream::Gap => event(frame.micros, "m", &format!("gap: {}", String::from_utf8_lossy(frame.data)), out),
            Stream::End => self.finish(out),
        }
    }

    /// What was begun and never came: call it at the end of a recording that has none.
    pub fn finish(&mut self, out: &mut String) {
        for output in &mut self.outputs {
            let mut text = String::new();
            output.finish(&mut text);
            if !text.is_empty() {
                event(self.micros, "o", &text, out);
            }
        }
    }

    fn bytes(&mut self, which: usize, data: &[u8], out: &mut String) {
        let Some(output) = self.outputs.get_mut(which) else { return };
        let mut text = String::new();
        output.take(data, &mut text);
        if !text.is_empty() {
            event(self.micros, "o", &self.lines(text), out);
        }
    }

    fn lines(&mut self, text: String) -> String {
        if !self.pipe {
            return text;
        }
        let mut lines = String::with_capacity(text.len());
        for character in text.chars() {
            if character == '\n' && !self.returned {
                lines.push('\r');
            }
            lines.push(character);
            self.returned = character == '\r';
        }
        lines
    }
}

fn event(micros: u64, kind: &str, text: &str, out: &mut String) {
    let _ = writeln!(out, "[{}.{:06},\"{kind}\",{}]", micros / 1_000_000, micros % 1_000_000, Value::from(text));
}
