//! The time line: a lane for each chain, a mark for each record, a bar for each command. One picture, without script.

use super::super::story::{Rec, Story};
use super::super::words::{label, told};
use super::escape::html;
use crate::render::clock;
use std::collections::HashMap;
use std::fmt::Write;
use tether_audit::{Outcome, Parent};

const WIDE: u64 = 1000;
const LEFT: u64 = 96;
const RIGHT: u64 = 24;
const LANE: u64 = 44;
const TOP: u64 = 14;

/// The picture.
pub fn time_line(story: &Story) -> String {
    let mut lanes: Vec<&str> = Vec::new();
    for record in &story.records {
        if !lanes.contains(&record.chain.as_str()) {
            lanes.push(&record.chain);
        }
    }
    let time = |record: Option<&Rec>| record.map_or(0, |record| record.link.time_us);
    let scale = Scale { from: time(story.records.first()), to: time(story.records.last()) };
    let high = TOP + LANE * lanes.len() as u64 + 26;
    let mut out = format!("<svg viewBox=\"0 0 {WIDE} {high}\" role=\"img\" aria-label=\"time line\">\n");
    for (at, lane) in lanes.iter().enumerate() {
        let y = TOP + LANE * at as u64 + LANE / 2;
        let name: String = lane.chars().take(12).collect();
        let _ = writeln!(out, "<text class=\"lane\" x=\"0\" y=\"{}\">{}</text>", y + 4, html(&name));
        let _ = writeln!(out, "<line class=\"lane\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\"/>", WIDE - RIGHT);
    }
    ticks(&mut out, &scale, high);
    let ends: Ends<'_> = story
        .of("sudo.ended")
        .filter_map(|ended| Some((ended.link.event.parent.as_ref()?, ended.link.time_us)))
        .collect();
    for (at, record) in story.records.iter().enumerate() {
        let lane = lanes.iter().position(|lane| *lane == record.chain).unwrap_or(0) as u64;
        mark(&mut out, story, &scale, &ends, (at, record), TOP + LANE * lane + LANE / 2);
    }
    out + "</svg>\n"
}

/// When commands ended, by what they are named.
type Ends<'s> = HashMap<&'s Parent, u64>;

struct Scale {
    from: u64,
    to: u64,
}

impl Scale {
    fn x(&self, time_us: u64) -> u64 {
        let all = u128::from((self.to - self.from).max(1));
        let at = u128::from(time_us.clamp(self.from, self.to) - self.from);
        LEFT + u64::try_from(at * u128::from(WIDE - LEFT - RIGHT) / all).unwrap_or(0)
    }
}

fn ticks(out: &mut String, scale: &Scale, high: u64) {
    for part in 0..=4 {
        let time_us = scale.from + (scale.to - scale.from) / 4 * part;
        let (x, text) = (scale.x(time_us), clock(time_us));
        // Whole seconds would all be one in a short session.
        let text = text.get(..if scale.to - scale.from < 20_000_000 { 10 } else { 8 }).unwrap_or_default();
        let anchor = if part == 0 {
            "start"
        } else if part == 4 {
            "end"
        } else {
            "middle"
        };
        let _ = writeln!(out, "<line class=\"tick\" x1=\"{x}\" x2=\"{x}\" y1=\"{TOP}\" y2=\"{}\"/>", high - 20);
        let _ =
            writeln!(out, "<text class=\"tick\" x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\">{text}</text>", high - 4);
    }
}

fn mark(out: &mut String, story: &Story, scale: &Scale, ends: &Ends<'_>, (at, record): (usize, &Rec), y: u64) {
    let x = scale.x(record.link.time_us);
    let event = &record.link.event;
    if event.event == "sudo.ended" && event.outcome == Outcome::Allowed && !story.is_strange(record) {
        // The end of its command's bar.
        return;
    }
    let is_command = event.event == "sudo.command" && event.outcome == Outcome::Allowed;
    let kind = match event.outcome {
        Outcome::Allowed if is_command => "command",
        Outcome::Allowed => "ok",
        _ => "refused",
    };
    let shape = if is_command {
        // A host's clock may have been put back meanwhile.
        let width = ends.get(&record.name()).map_or(3, |ended| scale.x(*ended).saturating_sub(x)).max(3);
        format!("<rect x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"14\" rx=\"2\"/>", y - 7)
    } else if kind == "refused" {
        format!("<path d=\"M{x} {} l8 8 l-8 8 l-8 -8 z\"/>", y - 8)
    } else {
        format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"4\"/>")
    };
    let title = format!("{} {}: {}", clock(record.link.time_us), label(&event.event), told(record));
    let _ = writeln!(out, "<a class=\"{kind}\" href=\"#e{at}\"><title>{}</title>{shape}</a>", html(&title));
}
