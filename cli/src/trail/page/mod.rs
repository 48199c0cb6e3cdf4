//! `--html`: one file that needs nothing else, and lets nothing in. All of it is written here, as text; the script only
//! filters and plays, and the policy in the page names it and the style by their digests.

pub mod cast;
mod escape;
mod line;

use super::check::Summary;
use super::proof;
use super::story::{Node, Rec, Story};
use super::tree::{Look, fold, many, stranger};
use super::words::{counts, label, outcome_of, papers, shown_by, span, told};
use crate::render::{clock, moment};
use cast::Pictured;
use escape::{block, digest, html};
use std::fmt::Write;
use tether_audit::{Known, Outcome};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The whole page.
pub fn page(story: &Story, sums: &[Summary], far: bool, casts: &[Pictured]) -> String {
    let title = html(&format!("Session {}", story.session));
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        digest(STYLE),
        digest(SCRIPT)
    );
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    heading(&mut out, story, sums, far);
    let _ = write!(
        out,
        "<section class=\"line\">\n<h2>Time line</h2>\n<div class=\"scroll\">{}</div>\n</section>\n",
        line::time_line(story)
    );
    trail(&mut out, story);
    recordings(&mut out, story, casts);
    paper_section(&mut out, story);
    proof_section(&mut out, sums, far);
    out.push_str("</main>\n");
    out.push_str("<script type=\"application/json\" id=\"casts\">[");
    for (at, cast) in casts.iter().enumerate() {
        out.push_str(if at > 0 { "," } else { "" });
        out.push_str(&cast.json);
    }
    let _ = writeln!(out, "]</script>\n<script>{SCRIPT}</script>\n</body>\n</html>");
    out
}

fn heading(out: &mut String, story: &Story, sums: &[Summary], far: bool) {
    let unknown = Known::unknown("");
    let ids = story.whose().map(|record| &record.link.event.ids);
    let show = |known: Option<&Known>| known.unwrap_or(&unknown).id().map_or_else(|| "unknown".to_owned(), html);
    let (agent, human) = (show(ids.map(|ids| &ids.agent)), show(ids.map(|ids| &ids.human)));
    let team = story.first("token.issued").and_then(|token| token.about("team").as_str()).map(html);
    let team = team.map(|team| format!(" <span class=\"of\">of {team}</span>")).unwrap_or_default();
    let _ = writeln!(out, "<header>\n<h1><b>{agent}</b>{team} <span class=\"of\">acted for</span> <b>{human}</b></h1>");
    let (from, to) = story.times();
    let _ = writeln!(
        out,
        "<p class=\"sub\">session {}, run {}, {} UTC</p>",
        html(&story.session),
        show(ids.map(|ids| &ids.instance)),
        moment(from)
    );
    let counts = counts(story);
    let mut chips = vec![("", many(counts.commands, "command"))];
    if counts.refused > 0 {
        chips.push(("bad", format!("{} refused", counts.refused)));
    }
    if counts.errors > 0 {
        chips.push(("bad", many(counts.errors, "error")));
    }
    if counts.gaps > 0 {
        chips.push(("bad", many(counts.gaps, "gap in recordings")));
    }
    let over = story.first("session.removed").is_some();
    let lasted = span(to.saturating_sub(from));
    chips.push(("", if over { format!("over after {lasted}") } else { format!("not over, {lasted} so far") }));
    chips.push(match (proof::holds(sums), far) {
        (false, _) => ("bad", "the chain does NOT hold".to_owned()),
        (true, true) => ("", "as central told it".to_owned()),
        (true, false) => ("good", "the chain holds".to_owned()),
    });
    let chips: String = chips.iter().map(|(kind, text)| format!("<li class=\"{kind}\">{}</li>", html(text))).collect();
    let _ = writeln!(out, "<ul class=\"chips\">{chips}</ul>\n</header>");
}

fn trail(out: &mut String, story: &Story) {
    out.push_str(
        "<section>\n<div class=\"bar\"><h2>What happened</h2>\n<div class=\"filters\" hidden>\
         <button type=\"button\" data-show=\"all\" aria-pressed=\"true\">All</button>\
         <button type=\"button\" data-show=\"command\" aria-pressed=\"false\">Commands</button>\
         <button type=\"button\" data-show=\"refused\" aria-pressed=\"false\">Refusals</button>\
         <input type=\"search\" placeholder=\"Find\" aria-label=\"Find\"></div></div>\n<ol class=\"tree\">\n",
    );
    let mut writer = Tree { out, story };
    for node in &story.roots {
        writer.node(node);
    }
    out.push_str("</ol>\n</section>\n");
}

struct Tree<'o, 's> {
    out: &'o mut String,
    story: &'s Story,
}

impl Tree<'_, '_> {
    fn node(&mut self, node: &Node) {
        let Some(record) = self.story.records.get(node.at) else { return };
        let (ended, rest) = fold(node, self.story);
        let event = &record.link.event;
        let bad = event.outcome != Outcome::Allowed
            || self.story.is_strange(record)
            || ended.is_some_and(|ended| ended.link.event.outcome != Outcome::Allowed);
        let command = event.event == "sudo.command";
        let kinds = [command.then_some("command"), bad.then_some("refused")];
        let kinds = kinds.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let _ = write!(self.out, "<li class=\"{kinds}\"><details id=\"e{}\"><summary>", node.at);
        self.summary(record, ended);
        self.out.push_str("</summary>\n");
        self.facts(record);
        if let Some(ended) = ended {
            self.facts(ended);
        }
        self.out.push_str("</details>");
        if !rest.is_empty() {
            self.out.push_str("\n<ol>\n");
            rest.iter().for_each(|node| self.node(node));
            self.out.push_str("</ol>\n");
        }
        self.out.push_str("</li>\n");
    }

    fn summary(&mut self, record: &Rec, ended: Option<&Rec>) {
        let event = &record.link.event;
        let time = clock(record.link.time_us);
        let _ = write!(
            self.out,
            "<time>{}</time><span class=\"chain\">{}</span>",
            time.get(..10).unwrap_or_default(),
            html(&record.chain)
        );
        let _ = write!(
            self.out,
            "<span class=\"label\">{}</span><span class=\"what\">{}</span>",
            html(&label(&event.event)),
            html(&told(record))
        );
        if event.outcome != Outcome::Allowed {
            let word = if event.outcome == Outcome::Refused { "refused" } else { "error" };
            let _ = write!(self.out, "<span class=\"no\">{word} <code>{}</code></span>", html(&event.code));
            let why = crate::render::text(record.about("why"));
            if !why.is_empty() && why != told(record) {
                let _ = write!(self.out, "<span class=\"end\">{}</span>", html(&why));
            }
        }
        if self.story.is_strange(record) {
            let _ = write!(self.out, "<span class=\"no\">{}</span>", html(&stranger(record)));
        }
        if let Some(ended) = ended {
            let parts = outcome_of(record, ended);
            let code = if ended.link.event.code.is_empty() {
                String::new()
            } else {
                format!(" <code>{}</code>", html(&ended.link.event.code))
            };
            let _ = write!(self.out, "<span class=\"end\">{}{code}</span>", html(&parts.join(" · ")));
        }
    }

    /// All that a record says.
    fn facts(&mut self, record: &Rec) {
        let link = &record.link;
        let ids = &link.event.ids;
        let known = |known: &Known| match known {
            Known::Id(id) => html(id),
            Known::Unknown { why, .. } => format!("not known: {}", html(why)),
        };
        let mut rows = vec![
            ("record", format!("{} {}", html(&record.name().to_string()), html(&link.event.event))),
            ("time", format!("{} UTC", moment(link.time_us))),
        ];
        rows.extend(link.event.parent.as_ref().map(|parent| ("came of", html(&parent.to_string()))));
        for (name, id) in [
            ("human", &ids.human),
            ("agent", &ids.agent),
            ("instance", &ids.instance),
            ("delegation", &ids.delegation),
            ("session", &ids.session),
        ] {
            rows.push((name, known(id)));
        }
        rows.push(("hash", html(&record.hash)));
        rows.extend(record.place.as_ref().map(|place| ("place", html(place))));
        if let Some(name) = record.about("recording").as_str() {
            rows.push(("recording", format!("<a href=\"#rec-{0}\">{0}</a>", html(name))));
        }
        let rows: String = rows.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{value}</dd>")).collect();
        let details = serde_json::to_string_pretty(&link.event.details).unwrap_or_default();
        let _ = writeln!(self.out, "<div class=\"facts\"><dl>{rows}</dl><pre>{}</pre></div>", block(&details));
    }
}

fn recordings(out: &mut String, story: &Story, casts: &[Pictured]) {
    if casts.is_empty() {
        return;
    }
    out.push_str("<section class=\"recordings\">\n<h2>Recordings</h2>\n");
    for (at, cast) in casts.iter().enumerate() {
        let name = html(&cast.name);
        let started = story.of("recording.started").find(|record| record.about("recording") == cast.name.as_str());
        let command = started.map(shown_by).unwrap_or_default();
        let command = if command.is_empty() { command } else { format!(" <b>{}</b>", html(&command)) };
        let _ = writeln!(
            out,
            "<figure id=\"rec-{name}\" data-cast=\"{at}\"><figcaption>{name}{command}</figcaption>\
             <div class=\"scroll\"><pre class=\"screen\" aria-label=\"terminal\">This plays with scripts on; `tether session play` does too.</pre></div>\
             <div class=\"controls\" hidden><button type=\"button\" class=\"play\" aria-label=\"Play\">Play</button>\
             <input class=\"seek\" type=\"range\" min=\"0\" value=\"0\" step=\"1\" aria-label=\"Time\">\
             <output>0:00</output>\
             <select class=\"speed\" aria-label=\"Speed\"><option value=\"0.5\">½×</option><option value=\"1\" selected>1×</option>\
             <option value=\"2\">2×</option><option value=\"4\">4×</option><option value=\"16\">16×</option></select>\
             <label><input type=\"checkbox\" class=\"short\" checked> short pauses</label></div></figure>"
        );
    }
    out.push_str("</section>\n");
}

fn paper_section(out: &mut String, story: &Story) {
    out.push_str("<section>\n<h2>Papers</h2>\n<dl class=\"papers\">\n");
    for (name, rows) in papers(story) {
        let rows: String = rows.iter().map(|row| format!("<dd>{}</dd>", html(row))).collect();
        let _ = writeln!(out, "<div><dt>{name}</dt>{rows}</div>");
    }
    out.push_str("</dl>\n</section>\n");
}

fn proof_section(out: &mut String, sums: &[Summary], far: bool) {
    let words = proof::words(sums, far, Look { width: 100, colour: false });
    let kind = if proof::holds(sums) { "" } else { " class=\"bad\"" };
    let _ = write!(out, "<section>\n<h2>What was checked</h2>\n<pre{kind}>{}</pre>\n</section>\n", block(&words));
}
