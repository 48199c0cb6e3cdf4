//! A bundle in the making, and the report.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use tether_bundle::{Arguments, Bundle, Effect, Pattern, Reads, Rule, Run, Target, is_plain_absolute};

/// Something to report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    pub line: usize,
    pub column: usize,
    /// What, as it was written.
    pub what: String,
    pub why: String,
}

/// Where something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    pub line: usize,
    pub column: usize,
}

#[derive(Debug)]
pub struct Draft {
    pub name: String,
    pub about: String,
    pub rules: Vec<Rule>,
    /// What could not be carried over.
    pub left: Vec<Remark>,
    /// What was, in another way.
    pub notes: Vec<Remark>,
    ids: BTreeSet<String>,
}

impl Draft {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            about: String::new(),
            rules: Vec::new(),
            left: Vec::new(),
            notes: Vec::new(),
            ids: BTreeSet::new(),
        }
    }

    pub fn leave(&mut self, at: At, what: &str, why: &str) {
        self.left.push(Remark { line: at.line, column: at.column, what: what.to_owned(), why: why.to_owned() });
    }

    pub fn note(&mut self, at: At, what: &str, why: &str) {
        self.notes.push(Remark { line: at.line, column: at.column, what: what.to_owned(), why: why.to_owned() });
    }

    /// A rule, with an id of its own; a report if a bundle cannot have it. The same rule twice is one.
    pub fn add(&mut self, at: At, what: &str, rule: NewRule) {
        let NewRule { effect, target, arguments, run } = rule;
        let same = |rule: &&Rule| rule.effect == effect && rule.target == target && rule.arguments == arguments;
        if let Some(rule) = self.rules.iter().find(same) {
            if rule.run != run {
                self.leave(at, what, "the same command is there already, with other options");
            }
            return;
        }
        let id = self.id(&target, effect);
        let rule = Rule { id: id.clone(), effect, target, arguments, run };
        match alone(rule.clone()) {
            Err(why) => self.leave(at, what, &why),
            Ok(()) => {
                self.ids.insert(id);
                self.rules.push(rule);
            }
        }
    }

    /// The program's name, with a number if another rule has it.
    fn id(&self, target: &Target, effect: Effect) -> String {
        let path = match target {
            Target::Program { path, .. } | Target::Directory(path) => path.as_str(),
            Target::Every => "every",
        };
        let name: String = path.rsplit('/').next().unwrap_or_default().chars().take(12).collect();
        let stem = if effect == Effect::Deny { format!("no-{name}") } else { name };
        let mut id = stem.clone();
        let mut number = 1;
        while self.ids.contains(&id) {
            number += 1;
            id = format!("{stem}-{number}");
        }
        id
    }

    /// A program's path, resolved as far as its text allows; None, with a report, if a rule cannot name it.
    pub fn program(&mut self, at: At, path: &str) -> Option<String> {
        if !is_plain_absolute(path) {
            let why = if path.starts_with('/') {
                "its path has '.', '..', '//' or control characters"
            } else {
                "it is not an absolute path"
            };
            self.leave(at, path, why);
            return None;
        }
        if path.contains(['*', '?', '[']) {
            self.leave(at, path, "wildcards in a program's path: name each program, or its folder");
            return None;
        }
        // On a host with a merged /usr these are links, and rules name what they lead to.
        if path.starts_with("/bin/") || path.starts_with("/sbin/") {
            let resolved = format!("/usr{path}");
            self.note(at, path, &format!("written as {resolved}: /bin and /sbin are links"));
            return Some(resolved);
        }
        Some(path.to_owned())
    }

    pub fn bundle(self) -> Result<Bundle> {
        let name = self.name.parse().with_context(|| "the bundle's name; give another with --name")?;
        let Self { about, rules, .. } = self;
        let about: String = about.chars().filter(|c| !c.is_control()).take(120).collect();
        let bundle = Bundle { name, version: 1, about, read: Reads::default(), rules };
        bundle.check().context("what was imported makes no bundle")
    }
}

/// A rule that has no id yet.
#[derive(Debug, Clone)]
pub struct NewRule {
    pub effect: Effect,
    pub target: Target,
    pub arguments: Arguments,
    pub run: Run,
}

/// Whether a bundle can have a rule.
fn alone(rule: Rule) -> Result<(), String> {
    let name = "alone".parse().map_err(|error: tether_identity::Malformed| error.to_string())?;
    let bundle = Bundle { name, version: 1, about: String::new(), read: Reads::default(), rules: vec![rule] };
    bundle.check().map(|_| ()).map_err(|error| error.to_string())
}

/// Exactly these words; none if there are none.
pub fn exact(words: Vec<String>) -> Arguments {
    if words.is_empty() {
        return Arguments::None;
    }
    Arguments::Each { first: words.into_iter().map(Pattern::Exact).collect(), rest: None }
}
