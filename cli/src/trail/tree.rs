//! The story on a terminal: who and with which papers first, then the tree, then what holds it up. Calm: one colour
//! for what was refused, and the mark says it too.

use super::check::Summary;
use super::proof;
use super::story::{Node, Rec, Story};
use super::words::{counts, label, outcome_of, papers, span, told};
use crate::render::{BOLD, GREEN, RED, clock, moment, painted, printable};
use std::fmt::Write;
use tether_audit::{Known, Outcome};

const DIM: &str = "\x1b[2m";
/// The papers' names, and the gap after.
const NAMES: usize = 13;

/// How it is shown.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Columns.
    pub width: usize,
    /// Whether there is colour.
    pub colour: bool,
}

/// The whole story.
pub fn tree(story: &Story, sums: &[Summary], from_central: bool, look: Look) -> String {
    let mut page = Page { story, look, out: String::new(), day: String::new(), wide: 0, hosts: hosts(story) };
    page.heading();
    page.papers();
    page.nodes();
    page.how_to_play();
    page.out.push('\n');
    page.out.push_str(&proof::words(sums, from_central, look));
    page.out
}

/// The chains' names, if there is more than one host besides central.
fn hosts(story: &Story) -> Vec<&str> {
    let mut found: Vec<&str> = story.records.iter().map(|record| record.chain.as_str()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

struct Page<'s> {
    story: &'s Story,
    look: Look,
    out: String,
    day: String,
    wide: usize,
    hosts: Vec<&'s str>,
}

impl Page<'_> {
    fn paint(&self, text: &str, with: &str) -> String {
        painted(text, with, self.look.colour)
    }

    fn heading(&mut self) {
        let Some(known) = self.story.whose() else { return };
        let ids = &known.link.event.ids;
        let show = |known: &Known| known.id().map_or_else(|| "unknown".to_owned(), printable);
        let team = self.story.first("token.issued").and_then(|token| token.about("team").as_str()).map(printable);
        let team = team.map(|team| format!(" of {team}")).unwrap_or_default();
        let (agent, human) = (self.paint(&show(&ids.agent), BOLD), self.paint(&show(&ids.human), BOLD));
        let _ = writeln!(self.out, "{agent}{team} acted for {human}");
        let _ = writeln!(
            self.out,
            "{}",
            self.paint(&format!("session {}, run {}", printable(&self.story.session), show(&ids.instance)), DIM)
        );
        let line = self.verdict();
        let _ = writeln!(self.out, "{line}\n");
    }

    /// What happened, at once.
    fn verdict(&self) -> String {
        let counts = counts(self.story);
        let mut parts = vec![many(counts.commands, "command")];
        if counts.refused > 0 {
            parts.push(self.paint(&format!("{} REFUSED", counts.refused), RED));
        }
        if counts.errors > 0 {
            parts.push(self.paint(&many(counts.errors, "ERROR"), RED));
        }
        if counts.recordings > 0 {
            parts.push(many(counts.recordings, "recording"));
        }
        if counts.gaps > 0 {
            parts.push(self.paint(&many(counts.gaps, "recording GAP"), RED));
        }
        let (from, to) = self.story.times();
        let ended = self.story.first("session.removed").is_some();
        let lasted = span(to.saturating_sub(from));
        parts.push(if ended { format!("over after {lasted}") } else { format!("not over, {lasted} so far") });
        parts.join(", ")
    }

    fn how_to_play(&mut self) {
        if self.story.of("recording.started").next().is_some() {
            let words = format!("to see a recording: tether session play {} NAME", printable(&self.story.session));
            let _ = writeln!(self.out, "\n{}", self.paint(&words, DIM));
        }
    }

    fn papers(&mut self) {
        for (name, rows) in papers(self.story) {
            for (at, row) in rows.iter().enumerate() {
                let name = self.paint(&format!("{:<NAMES$}", if at == 0 { name } else { "" }), DIM);
                for (part, piece) in wrapped(row, self.look.width.saturating_sub(NAMES)).into_iter().enumerate() {
                    let lead = if part == 0 { name.clone() } else { " ".repeat(NAMES) };
                    let _ = writeln!(self.out, "{lead}{piece}");
                }
            }
        }
        self.out.push('\n');
    }

    fn nodes(&mut self) {
        self.wide = widest(&self.story.roots, 0, self.story);
        let story = self.story;
        for node in &story.roots {
            self.node(node, "", "");
        }
    }

    fn node(&mut self, node: &Node, lead: &str, turn: &str) {
        let Some(record) = self.story.records.get(node.at) else { return };
        self.date(record);
        let (ended, rest) = fold(node, self.story);
        let below = match turn {
            "" => String::new(),
            "└ " => format!("{lead}  "),
            _ => format!("{lead}│ "),
        };
        self.record(record, ended, &format!("{lead}{turn}"), &below, !rest.is_empty());
        for (at, child) in rest.iter().enumerate() {
            let last = at + 1 == rest.len();
            self.node(child, &below, if last { "└ " } else { "├ " });
        }
    }

    fn date(&mut self, record: &Rec) {
        let moment = moment(record.link.time_us);
        let date = moment.split(' ').next().unwrap_or_default();
        if self.day != date {
            date.clone_into(&mut self.day);
            let line = self.paint(&format!("{date} (UTC)"), DIM);
            let _ = writeln!(self.out, "{line}");
        }
    }

    fn record(&mut self, record: &Rec, ended: Option<&Rec>, lead: &str, below: &str, more: bool) {
        let event = &record.link.event;
        let (mark, paint) = match event.outcome {
            Outcome::Allowed => (" ", ""),
            Outcome::Refused => ("✗", RED),
            Outcome::Error => ("!", RED),
        };
        let name = label(&event.event);
        let pad = " ".repeat(self.wide.saturating_sub(columns(lead) + columns(&name)));
        let time = self.paint(clock(record.link.time_us).get(..10).unwrap_or_default(), DIM);
        let mark = if paint.is_empty() { mark.to_owned() } else { self.paint(mark, paint) };
        let chain = self.chain(record);
        let start = format!("{time} {mark} {chain}{}{name}{pad}  ", self.paint(lead, DIM));
        let indent = 13 + self.chain_width() + self.wide + 2;
        let rows = self.rows(record, ended);
        let room = self.look.width.saturating_sub(indent).max(24);
        let mut first = true;
        for (text, paint) in rows {
            for piece in wrapped(&text, room) {
                let piece = if paint.is_empty() { piece } else { self.paint(&piece, paint) };
                if first {
                    let _ = writeln!(self.out, "{start}{piece}");
                } else {
                    let bar = if more { format!("{below}│") } else { below.to_owned() };
                    let gap = " ".repeat((indent - 13 - self.chain_width()).saturating_sub(columns(&bar)));
                    let lead = " ".repeat(13 + self.chain_width());
                    let _ = writeln!(self.out, "{lead}{}{gap}{piece}", self.paint(&bar, DIM));
                }
                first = false;
            }
        }
    }

    /// What stands beside a record: what it says, why it was refused, how it ended.
    fn rows(&self, record: &Rec, ended: Option<&Rec>) -> Vec<(String, &'static str)> {
        let event = &record.link.event;
        let mut rows = vec![(told(record), if event.event == "sudo.command" { BOLD } else { "" })];
        if event.outcome != Outcome::Allowed {
            let word = if event.outcome == Outcome::Refused { "REFUSED" } else { "ERROR" };
            let why = crate::render::text(record.about("why"));
            let why = if why.is_empty() || told(record) == why { String::new() } else { format!(" {why}") };
            rows.push((format!("{word} [{}]{why}", printable(&event.code)), RED));
        }
        if self.story.is_strange(record) {
            rows.push((stranger(record), RED));
        }
        if let Some(ended) = ended {
            let paint = if ended.link.event.outcome == Outcome::Allowed { DIM } else { RED };
            let code = if ended.link.event.code.is_empty() {
                String::new()
            } else {
                format!(" [{}]", printable(&ended.link.event.code))
            };
            rows.push((format!("{}{code}", outcome_of(record, ended).join(" · ")), paint));
        }
        rows
    }

    fn chain_width(&self) -> usize {
        // Central's records are known by what they are: with one host there is no doubt.
        let clear = self.hosts.len() < 2 || (self.hosts.len() == 2 && self.look.width < 100);
        if clear { 0 } else { self.hosts.iter().map(|host| columns(host)).max().unwrap_or(0).min(12) + 1 }
    }

    fn chain(&self, record: &Rec) -> String {
        let width = self.chain_width();
        if width == 0 {
            return String::new();
        }
        let name: String = printable(&record.chain).chars().take(width - 1).collect();
        self.paint(&format!("{name:<width$}"), DIM)
    }
}

/// What is said of a record that nobody is to believe.
pub fn stranger(record: &Rec) -> String {
    format!("told by {}, who has nothing to say of this", printable(&record.chain))
}

/// A command and its end are one line, and a recording and its end.
pub fn fold<'n>(node: &'n Node, story: &'n Story) -> (Option<&'n Rec>, Vec<&'n Node>) {
    let of = |node: &Node| story.records.get(node.at);
    let end = match of(node).map(Rec::event) {
        Some("sudo.command") => "sudo.ended",
        Some("recording.started") => "recording.ended",
        _ => "",
    };
    // What another host says of them is no end of theirs.
    let is = |child: &Node, event: &str| {
        let same = of(child).zip(of(node)).is_some_and(|(child, node)| child.chain == node.chain);
        same && of(child).is_some_and(|record| record.event() == event) && child.children.is_empty()
    };
    let ended = node.children.iter().find(|child| is(child, end));
    // Pieces of recordings are many, and their recording's end counts them.
    let is_piece = |child: &Node| is(child, "recording.chunk");
    let stays = |child: &&Node| ended.is_none_or(|ended| ended.at != child.at) && !is_piece(child);
    let rest = node.children.iter().filter(stays).collect();
    (ended.and_then(of), rest)
}

fn widest(nodes: &[Node], depth: usize, story: &Story) -> usize {
    let each = |node: &Node| {
        let own = story.records.get(node.at).map_or(0, |record| columns(&label(record.event()))) + 2 * depth;
        own.max(widest(&node.children, depth + 1, story))
    };
    nodes.iter().map(each).max().unwrap_or(0).min(30)
}

/// So many of these.
pub fn many(count: usize, of: &str) -> String {
    if count == 1 { format!("1 {of}") } else { format!("{count} {of}s") }
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

/// Lines of at most so many columns, broken at blanks where there are any.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(8);
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        if !line.is_empty() && columns(&line) + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        while columns(&line) + word.len() > width {
            let rest = word.split_off(width.saturating_sub(columns(&line)).min(word.len()));
            line.extend(word);
            lines.push(std::mem::take(&mut line));
            word = rest;
        }
        line.extend(word);
    }
    lines.push(line);
    lines
}

/// A sign of things being well.
pub fn well(text: &str, look: Look) -> String {
    painted(text, GREEN, look.colour)
}
