//! `diff`: what another version of a bundle changes.

use super::input::load;
use crate::Found;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use tether_bundle::{Bundle, Effect, Mode, Reads, Rule};

/// All that differs.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Name, version and purpose, if they differ: what, old, new.
    bundle: Vec<(&'static str, String, String)>,
    /// The version does not grow: a host would not take the new one.
    version_does_not_grow: bool,
    /// Read in the new one only, and not below what the old one reads.
    reads_added: Vec<String>,
    /// Read in the old one only.
    reads_removed: Vec<String>,
    added: Vec<Line>,
    removed: Vec<Line>,
    changed: Vec<Change>,
    /// Rules that both have, in another order: which one names a decision may change.
    reordered: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Line {
    rule: String,
    denies: bool,
    command: String,
    /// Grants and writes, if any.
    more: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Change {
    rule: String,
    /// What, old, new.
    parts: Vec<(&'static str, String, String)>,
}

pub fn run(old: &Path, new: &Path, json: bool) -> Result<Found> {
    let (old, new) = (load(old)?.bundle, load(new)?.bundle);
    let difference = compare(&old, &new);
    let differs = difference != Difference::default();
    if json {
        println!("{}", serde_json::to_string(&difference)?);
    } else {
        print!("{}", words(&difference));
        if !differs {
            eprintln!("tether: the bundles are the same");
        }
    }
    Ok(if differs { Found::Something } else { Found::Fine })
}

fn compare(old: &Bundle, new: &Bundle) -> Difference {
    let ids = |bundle: &Bundle| -> BTreeMap<String, Rule> {
        bundle.rules.iter().map(|rule| (rule.id.clone(), rule.clone())).collect()
    };
    let (before, after) = (ids(old), ids(new));
    let only = |rules: &[Rule], others: &BTreeMap<String, Rule>| -> Vec<Line> {
        rules.iter().filter(|rule| !others.contains_key(&rule.id)).map(Line::new).collect()
    };
    let changed = new.rules.iter().filter_map(|rule| before.get(&rule.id).and_then(|old| Change::new(old, rule)));
    let common = |rules: &[Rule], others: &BTreeMap<String, Rule>| -> Vec<String> {
        rules.iter().map(|rule| rule.id.clone()).filter(|id| others.contains_key(id)).collect()
    };
    let texts = [
        ("name", old.name.to_string(), new.name.to_string()),
        ("version", old.version.to_string(), new.version.to_string()),
        ("about", old.about.clone(), new.about.clone()),
    ];
    let same_but_version = Bundle { version: new.version, ..old.clone() } == *new;
    Difference {
        bundle: texts.into_iter().filter(|(_, old, new)| old != new).collect(),
        version_does_not_grow: !same_but_version && old.name == new.name && old.version >= new.version,
        reads_added: reads_only_in(&new.read, &old.read),
        reads_removed: reads_only_in(&old.read, &new.read),
        added: only(&new.rules, &before),
        removed: only(&old.rules, &after),
        changed: changed.collect(),
        reordered: common(&old.rules, &after) != common(&new.rules, &before),
    }
}

/// What one reads and the other does not: neither the path nor a folder above it. What is named only is its own kind.
fn reads_only_in(one: &Reads, other: &Reads) -> Vec<String> {
    let below = |path: &str, folders: &[String]| folders.iter().any(|folder| Path::new(path).starts_with(folder));
    let trees = one.trees.iter().filter(|path| !below(path, &other.trees)).cloned();
    let named = one.named.iter().filter(|path| !below(path, &other.named)).map(|path| format!("{path} (named)"));
    trees.chain(named).collect()
}

impl Line {
    fn new(rule: &Rule) -> Self {
        let more = [("with", grants(rule)), ("", mode(rule))];
        let more = more.into_iter().filter(|(_, text)| !text.is_empty() && text != "read-only");
        Self {
            rule: rule.id.clone(),
            denies: rule.effect == Effect::Deny,
            command: rule.in_words(),
            more: more.map(|(word, text)| format!("{word} {text}").trim().to_owned()).collect(),
        }
    }
}

impl Change {
    fn new(old: &Rule, new: &Rule) -> Option<Self> {
        let effect = |rule: &Rule| if rule.effect == Effect::Deny { "denies" } else { "allows" }.to_owned();
        let run = |rule: &Rule| {
            let run = &rule.run;
            format!("cwd {:?}, environment {:?}", run.cwd.as_deref().unwrap_or("/"), run.environment)
        };
        let limits = |rule: &Rule| {
            let text = |value: Option<u64>| value.map_or("the host's".to_owned(), |value| value.to_string());
            format!("time {}, output {}", text(rule.run.time_limit_s.map(u64::from)), text(rule.run.output_limit))
        };
        let digests = |rule: &Rule| match &rule.target {
            tether_bundle::Target::Program { sha256, .. } => sha256.join(" "),
            _ => String::new(),
        };
        let part = |what, text: &dyn Fn(&Rule) -> String| (what, text(old), text(new));
        let mut parts = vec![
            part("effect", &effect),
            part("program", &|rule| rule.target.in_words()),
            part("sha256", &digests),
            part("arguments", &|rule| rule.arguments.in_words()),
            part("mode", &mode),
            part("grants", &grants),
            part("runs in", &run),
            part("limits", &limits),
        ];
        parts.retain(|(_, old, new)| old != new);
        // Words shorten long lists: what differs only there is told, too.
        if parts.is_empty() && old != new {
            parts.push(("patterns", "as they were".to_owned(), "changed where the listing is shortened".to_owned()));
        }
        (!parts.is_empty()).then(|| Self { rule: new.id.clone(), parts })
    }
}

fn grants(rule: &Rule) -> String {
    let listed = rule.listed();
    [listed.grants.join(" "), listed.net.join(" ")].join(" ").trim().to_owned()
}

fn mode(rule: &Rule) -> String {
    match &rule.run.mode {
        Mode::ReadOnly => "read-only".to_owned(),
        Mode::Write { run_as, paths, stdin } => {
            let input = if *stdin { ", reads its input" } else { "" };
            format!("writes {} as {run_as}{input}", paths.join(" "))
        }
    }
}

fn words(difference: &Difference) -> String {
    let mut out = String::new();
    for (what, old, new) in &difference.bundle {
        out += &format!("{what}: {old} -> {new}\n");
    }
    if difference.version_does_not_grow {
        out += "version: it does not grow, a host would not take the new bundle\n";
    }
    for path in &difference.reads_added {
        out += &format!("+ reads {path}\n");
    }
    for path in &difference.reads_removed {
        out += &format!("- reads {path}\n");
    }
    for (sign, lines) in [('+', &difference.added), ('-', &difference.removed)] {
        for line in lines {
            let effect = if line.denies { "denies" } else { "allows" };
            out += &format!("{sign} {:?} {effect} {}", line.rule, line.command);
            for more in &line.more {
                out += &format!(" ({more})");
            }
            out.push('\n');
        }
    }
    for change in &difference.changed {
        for (what, old, new) in &change.parts {
            out += &format!("~ {:?} {what}: {old} -> {new}\n", change.rule);
        }
    }
    if difference.reordered {
        out += "~ the order of rules changed: another one may name a decision, and say how the command runs\n";
    }
    out
}
