//! A recording as pictures: asciicast v2 put through a terminal, once, when the page is made. The page then needs no
//! terminal of its own, and no byte of a recording is ever markup or script.

use super::escape;
use anyhow::{Context, Result, ensure};
use avt::{Color, Line, Terminal};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// Pictures closer than this are one: a screen shows no more.
const FRAME_S: f64 = 0.033;
/// The most that one recording may take in the page.
const BYTES_MAX: usize = 16 << 20;
/// The most that is read of one; what comes after is not in the page.
const FILE_MAX: u64 = 64 << 20;
/// The most that all of them may take there.
const PAGE_MAX: usize = 128 << 20;
/// How long a terminal may be at it, for one and for all: eight bytes of an agent's can have it write 65,535 characters.
const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_ALL: Duration = Duration::from_secs(60);
/// So many characters before the time is looked at again.
const PART: usize = 4096;
/// How wide what was no terminal is shown: pipes have no size, and the page has room for so many columns.
const PIPE_COLUMNS: usize = 130;
/// As many events may move all rows of a large screen up; each makes all of them anew.
const MOVES: usize = 200;
/// The largest terminal.
const SIZE_MAX: usize = 400;

/// One event of a recording.
#[derive(Debug, Clone, PartialEq)]
enum Event {
    Output(String),
    Size(usize, usize),
}

/// A recording: what was shown, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Cast {
    /// Its name.
    pub name: String,
    columns: usize,
    rows: usize,
    events: Vec<(f64, Event)>,
    /// Whether there is more of it.
    cut: bool,
    /// Whether it is of pipes: then it has as many rows as it needs.
    pipe: bool,
}

/// A recording in the page.
#[derive(Debug)]
pub struct Pictured {
    /// Its name.
    pub name: String,
    /// Its pictures, as they stand there.
    pub json: String,
}

/// What recordings may still take of a page, and of the time of who waits for it. An agent chooses how many there are,
/// and what is in them.
#[derive(Debug)]
pub struct Room {
    bytes: usize,
    until: Instant,
}

impl Room {
    /// Of a page without recordings.
    pub fn new() -> Self {
        Self { bytes: PAGE_MAX, until: Instant::now() + PATIENCE_ALL }
    }

    /// Whether no other one has a place.
    pub fn is_full(&self) -> bool {
        self.bytes < BYTES_MAX || Instant::now() >= self.until
    }
}

impl Cast {
    /// Reads a file: asciicast v2, or a recording as Tether keeps it.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_some(path, FILE_MAX)
    }

    fn read_some(path: &Path, most: u64) -> Result<Self> {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or("recording");
        let naming = || format!("cannot read {}", path.display());
        let about = std::fs::metadata(path).with_context(naming)?;
        ensure!(about.is_file(), "{} is no file", path.display());
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).with_context(naming)?;
        let read = Self::of(name, &bytes).with_context(|| format!("{} is no recording", path.display()))?;
        Ok(Self { cut: about.len() > most, ..read })
    }

    /// For the page.
    pub fn pictured(self, room: &mut Room) -> Result<Pictured> {
        let until = room.until.min(Instant::now() + PATIENCE);
        let json = escape::json(&self.pictures(until)?);
        room.bytes = room.bytes.saturating_sub(json.len());
        Ok(Pictured { name: self.name, json })
    }

    /// A recording as Tether keeps it, from a file under whatever name.
    pub fn read_as(name: &str, path: &Path) -> Result<Self> {
        Self::read_as_far(name, path, FILE_MAX)
    }

    /// The same, and so many bytes of it at most.
    pub fn read_as_far(name: &str, path: &Path, most: u64) -> Result<Self> {
        let read = Self::read_some(path, most.min(FILE_MAX)).with_context(|| format!("recording {name}"))?;
        Ok(Self { name: name.to_owned(), ..read })
    }

    fn of(name: &str, bytes: &[u8]) -> Result<Self> {
        if !bytes.starts_with(tether_recording::MAGIC) {
            return Self::parse(name, &String::from_utf8_lossy(bytes));
        }
        let (text, pipe) = converted(bytes);
        let read = Self::parse(name, &text)?;
        if !pipe {
            return Ok(read);
        }
        let rows = read.piped_rows();
        Ok(Self { pipe, columns: PIPE_COLUMNS, rows, ..read })
    }

    /// asciicast v2: a header, then `[seconds, kind, text]` a line. What is cut at the end is left out.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let header: Value = serde_json::from_str(lines.next().unwrap_or_default()).context("its header is not JSON")?;
        ensure!(header["version"] == 2, "it is not asciicast v2");
        let size = |name: &str, most: usize| {
            let given = header[name].as_u64().and_then(|size| usize::try_from(size).ok());
            given.unwrap_or(80).clamp(1, most)
        };
        let events = lines.map_while(event).flatten().collect();
        Ok(Self {
            name: name.to_owned(),
            columns: size("width", SIZE_MAX),
            rows: size("height", SIZE_MAX),
            events,
            cut: false,
            pipe: false,
        })
    }

    /// So many that nothing is moved out of sight, if that many are not too many.
    fn piped_rows(&self) -> usize {
        let (mut rows, mut characters) = (1, 0);
        for (_, event) in &self.events {
            if let Event::Output(text) = event {
                rows += text.matches('\n').count();
                characters += text.chars().count();
            }
        }
        let rows = rows + characters / PIPE_COLUMNS;
        if rows <= SIZE_MAX || self.events.len() <= MOVES { rows.min(SIZE_MAX) } else { self.rows }
    }

    /// The pictures, for the page's player: each says which rows are new.
    fn pictures(&self, until: Instant) -> Result<Value> {
        let mut screen = Screen::new(self.columns, self.rows)?;
        screen.cut = self.cut;
        let (mut last, mut waiting) = (f64::NEG_INFINITY, None);
        for (time, event) in &self.events {
            if *time - last >= FRAME_S {
                if let Some(at) = waiting.take() {
                    screen.picture(at);
                }
                last = *time;
            }
            waiting = Some(last);
            let in_time = screen.take(event, until);
            if screen.bytes > BYTES_MAX || !in_time {
                screen.cut = true;
                break;
            }
        }
        if let Some(at) = waiting {
            screen.picture(at);
        }
        let duration = millis(self.events.last().map_or(0.0, |(time, _)| *time));
        Ok(json!({
            "name": self.name, "columns": screen.columns, "rows": if self.pipe { screen.used } else { screen.rows },
            "duration": duration, "cut": screen.cut,
            "pictures": screen.pictures,
        }))
    }
}

/// None where the recording ends; an inner none for what is nothing to show.
fn event(line: &str) -> Option<Option<(f64, Event)>> {
    let (time, kind, text): (f64, String, String) = serde_json::from_str(line).ok()?;
    let time = time.clamp(0.0, 1e7);
    Some(match kind.as_str() {
        "o" => Some((time, Event::Output(text))),
        "r" => text.split_once('x').and_then(|(columns, rows)| {
            let read = |text: &str| text.parse().ok().map(|size: usize| size.clamp(1, SIZE_MAX));
            Some((time, Event::Size(read(columns)?, read(rows)?)))
        }),
        _ => None,
    })
}

/// As asciicast, and whether it is of pipes.
fn converted(bytes: &[u8]) -> (String, bool) {
    use tether_recording::{Cast, Reader};
    let frames = bytes.split_inclusive(|byte| *byte == b'\n').take(2).map(<[u8]>::len).sum();
    let (header, frames) = bytes.split_at(frames);
    let mut reader = Reader::new();
    // What is broken at its end is left out; how much of it holds is for `tether session play` to say.
    let _ = reader.take(header, |_| ());
    let Some(header) = reader.header().cloned() else { return (String::new(), false) };
    let (mut cast, mut out) = (Cast::of(&header), Cast::header(&header));
    let _ = reader.take(frames, |frame| cast.frame(frame, &mut out));
    cast.finish(&mut out);
    (out, header.columns == 0 || header.rows == 0)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn millis(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

struct Screen {
    terminal: Terminal,
    columns: usize,
    rows: usize,
    /// How many rows ever had something.
    used: usize,
    shown: Vec<Value>,
    pictures: Vec<Value>,
    bytes: usize,
    cut: bool,
}

impl Screen {
    fn new(columns: usize, rows: usize) -> Result<Self> {
        let terminal = Terminal::new(columns, rows).context("a terminal of no size")?;
        Ok(Self { terminal, columns, rows, used: 1, shown: Vec::new(), pictures: Vec::new(), bytes: 0, cut: false })
    }

    /// Whether it was done in time.
    fn take(&mut self, event: &Event, until: Instant) -> bool {
        match event {
            Event::Output(text) => {
                let mut rest = text.as_str();
                while !rest.is_empty() && Instant::now() < until {
                    let at = rest.char_indices().nth(PART).map_or(rest.len(), |(at, _)| at);
                    let (part, more) = rest.split_at(at);
                    self.terminal.feed(part);
                    rest = more;
                }
                rest.is_empty()
            }
            Event::Size(columns, rows) => {
                self.terminal.resize(*columns, *rows);
                (self.columns, self.rows) = (self.columns.max(*columns), self.rows.max(*rows));
                Instant::now() < until
            }
        }
    }

    fn picture(&mut self, at: f64) {
        let rows: Vec<Value> = self.terminal.screen().visible_lines().map(row).collect();
        let mut changed = Vec::new();
        for at in 0..rows.len().max(self.shown.len()) {
            let new = rows.get(at).cloned().unwrap_or_else(|| json!([]));
            if self.shown.get(at).is_none_or(|old| *old != new) {
                changed.push(json!([at, new]));
            }
        }
        let full = |row: &Value| row.as_array().is_some_and(|runs| !runs.is_empty());
        self.used = rows.iter().rposition(full).map_or(1, |at| at + 1).max(self.used);
        self.shown = rows;
        let cursor = self.terminal.cursor().position().map(|(column, row)| json!([column, row]));
        let picture = json!([millis(at), changed, cursor]);
        self.bytes += picture.to_string().len();
        self.pictures.push(picture);
    }
}

/// A row as runs of one look: text, foreground, background, and whether bold, faint, italic, underlined or struck.
fn row(line: &Line) -> Value {
    let runs = line.chunks(|one, other| one.pen() != other.pen()).map(|cells| {
        let text: String = cells.iter().map(avt::Cell::char).collect();
        let Some(pen) = cells.first().map(avt::Cell::pen) else { return json!([text]) };
        if pen.is_default() {
            return json!([text]);
        }
        let (mut front, mut back) = (colour(pen.foreground(), pen.is_bold()), colour(pen.background(), false));
        if pen.is_inverse() {
            (front, back) = (or(back, "back"), or(front, "front"));
        }
        let flags = [pen.is_bold(), pen.is_faint(), pen.is_italic(), pen.is_underline(), pen.is_strikethrough()];
        let flags = flags.iter().zip([1, 2, 4, 8, 16]).filter(|(on, _)| **on).map(|(_, bit)| bit).sum::<u32>();
        json!([text, front, back, flags])
    });
    let mut runs: Vec<Value> = runs.collect();
    if let Some(Value::Array(last)) = runs.last_mut()
        && let [Value::String(text)] = last.as_mut_slice()
    {
        text.truncate(text.trim_end().len());
        if text.is_empty() {
            runs.pop();
        }
    }
    Value::Array(runs)
}

fn or(colour: Value, otherwise: &str) -> Value {
    if colour.is_null() { otherwise.into() } else { colour }
}

/// The number of a terminal's own 16 colours, which the page has; else the colour itself.
fn colour(colour: Option<Color>, bold: bool) -> Value {
    match colour {
        None => Value::Null,
        Some(Color::Indexed(index @ 0..=7)) if bold => (index + 8).into(),
        Some(Color::Indexed(index @ 0..=15)) => index.into(),
        Some(Color::Indexed(index)) => hex(indexed(index)),
        Some(Color::RGB(rgb)) => hex((rgb.r, rgb.g, rgb.b)),
    }
}

fn hex((red, green, blue): (u8, u8, u8)) -> Value {
    format!("#{red:02x}{green:02x}{blue:02x}").into()
}

/// The cube of 216 colours and the 24 greys, as xterm has them.
fn indexed(index: u8) -> (u8, u8, u8) {
    if index >= 232 {
        let grey = 8 + 10 * (index - 232);
        return (grey, grey, grey);
    }
    let index = index.saturating_sub(16);
    let step = |part: u8| if part == 0 { 0 } else { 55 + 40 * part };
    (step(index / 36), step(index / 6 % 6), step(index % 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cast(events: &[Value]) -> Cast {
        let mut text = json!({"version": 2, "width": 10, "height": 3}).to_string();
        for event in events {
            text = format!("{text}\n{event}");
        }
        Cast::parse("r", &text).unwrap()
    }

    fn piped(lines: &[String]) -> Cast {
        let header = tether_recording::Header {
            name: "exec-1".into(),
            session: "s".into(),
            host: "h".into(),
            kind: tether_recording::Kind::Exec,
            command: json!("seq"),
            started_us: 0,
            columns: 0,
            rows: 0,
        };
        let mut file = header.encode().unwrap();
        for (at, line) in (0..).zip(lines) {
            let length = u32::try_from(line.len()).unwrap();
            file.extend(tether_recording::frame_head(at * 40_000, tether_recording::Stream::Output, length));
            file.extend(line.as_bytes());
        }
        Cast::of("exec-1", &file).unwrap()
    }

    #[test]
    fn what_pipes_showed_is_all_in_sight_unless_that_costs_too_much() {
        let line = |number: usize| format!("{number}\n");
        let rows = |lines: &[String]| piped(lines).pictures_in_time().unwrap()["rows"].as_u64().unwrap();
        assert_eq!(rows(&[line(1), line(2), line(3)]), 3);
        assert_eq!(rows(&(0..380).map(line).collect::<Vec<_>>()), 380);
        // At once, and longer than a screen may be: as much as it may.
        assert!(rows(&[(0..5000).map(line).collect::<String>()]) >= SIZE_MAX as u64 - 1);
        // Line by line for long: each would move all rows.
        let long: Vec<String> = (0..5000).map(|number| format!("{number:0>100}\n")).collect();
        let shown = piped(&long).pictures_in_time().unwrap();
        assert!(shown["rows"].as_u64().unwrap() <= 24 && shown["cut"] == false, "{} {}", shown["rows"], shown["cut"]);
    }

    impl Cast {
        fn pictures_in_time(&self) -> Result<Value> {
            self.pictures(Instant::now() + PATIENCE_ALL)
        }
    }

    /// Eight bytes for 65,535 characters: a MiB of them kept whoever wanted the page for minutes, and agents have GiBs.
    #[test]
    fn an_agents_output_takes_a_bounded_time_and_place() {
        let begun = Instant::now();
        let output = "a\u{1b}[65535b".repeat(100_000);
        let mut room = Room { bytes: PAGE_MAX, until: begun + Duration::from_millis(300) };
        assert!(!room.is_full());
        let pictured = cast(&[json!([0.5, "o", output])]).pictured(&mut room).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        let pictures: Value = serde_json::from_str(&pictured.json).unwrap();
        assert_eq!(
            (&pictures["cut"], pictures["pictures"][0][1][0][1][0][0].as_str()),
            (&json!(true), Some("aaaaaaaaaa"))
        );
        assert!(room.is_full(), "the next one is not begun");
        let mut room = Room { bytes: BYTES_MAX, until: begun + PATIENCE_ALL };
        cast(&[json!([0.5, "o", "a"])]).pictured(&mut room).unwrap();
        assert!(room.is_full(), "nor one that has no place");
    }

    /// One that was longer than what is read had the whole page refused.
    #[test]
    fn of_a_long_recording_the_beginning_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exec-1.cast");
        let mut text = json!({"version": 2, "width": 10, "height": 3}).to_string();
        for number in 0..100 {
            text = format!("{text}\n{}", json!([number, "o", format!("\r{number}")]));
        }
        std::fs::write(&path, &text).unwrap();
        let cut = |most: usize| {
            let pictures = Cast::read_some(&path, most as u64).unwrap().pictures_in_time().unwrap();
            (pictures["cut"].clone(), pictures["pictures"].as_array().unwrap().len())
        };
        assert_eq!(cut(text.len()), (json!(false), 100));
        let (is_cut, count) = cut(text.len() / 2);
        assert!(is_cut == true && (40..60).contains(&count), "{count}");
    }

    #[test]
    fn pictures_say_what_is_new() {
        let cast = cast(&[json!([0.5, "o", "a\u{1b}[31mb"]), json!([1.0, "o", "\r\nc"]), json!([1.01, "o", "d"])]);
        let pictures = cast.pictures_in_time().unwrap();
        assert_eq!(pictures["duration"], 1010);
        let wanted = json!([
            [500, [[0, [["a"], ["b", 1, null, 0]]], [1, []], [2, []]], [2, 0]],
            [1000, [[1, [["cd"]]]], [2, 1]],
        ]);
        // The pen stays red after the line's end.
        let wanted_red = json!([1000, [[1, [["cd", 1, null, 0]]]], [2, 1]]);
        assert_eq!(pictures["pictures"][0], wanted[0]);
        assert_eq!(pictures["pictures"][1], wanted_red);
    }

    #[test]
    fn what_is_no_recording_is_refused_and_a_cut_one_is_shown_as_far_as_it_goes() {
        assert!(Cast::parse("r", "").is_err());
        assert!(Cast::parse("r", "{\"version\":1}").is_err());
        let cut = "{\"version\":2,\"width\":9,\"height\":2}\n[0.1,\"o\",\"a\"]\n[0.2,\"o\",";
        assert_eq!(Cast::parse("r", cut).unwrap().events.len(), 1);
        let huge = "{\"version\":2,\"width\":99999999,\"height\":0}\n[1e300,\"o\",\"a\"]\n[2,\"r\",\"0x99999\"]";
        assert!(Cast::parse("r", huge).unwrap().pictures_in_time().is_ok());
    }

    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        /// Whatever an agent printed, there are pictures of it.
        #[test]
        fn no_output_stops_the_page(
            texts in proptest::collection::vec("(\\PC|[\\x00-\\x1f]|\u{1b}\\[[0-9;?]{0,9}[@-~]|\u{1b}[ -~]{1,2}){0,40}", 0..12),
            sizes in proptest::collection::vec((0_usize..500, 0_usize..500), 0..4),
        ) {
            let mut events: Vec<Value> = texts.iter().map(|text| json!([1.0, "o", text])).collect();
            for (at, (columns, rows)) in sizes.iter().enumerate() {
                events.insert(at.min(events.len()), json!([2.0, "r", format!("{columns}x{rows}")]));
            }
            prop_assert!(cast(&events).pictures_in_time().is_ok());
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>(), rest in any::<String>()) {
            let _ = Cast::parse("r", &text);
            let _ = Cast::parse("r", &format!("{{\"version\":2}}\n{rest}")).map(|cast| cast.pictures_in_time());
        }
    }
}
