//! `replay`: the commands of an audit chain, decided by another bundle. Line by line: a chain may be large.

use super::input::load;
use crate::Found;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use tether_bundle::{Command, Decision, Policy, quoted};

/// Where a name without '/' is looked for, if a refusal has only the name.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// The most bytes of one line: a record has some kilobytes. The rest of a longer one counts as lines of its own.
const LINE_MAX: u64 = 1 << 20;

#[derive(clap::Args)]
pub struct Arguments {
    /// The chain: a file; `-` is stdin, as of `cat /var/lib/tether/audit/*.jsonl`. `tether audit verify` says if it holds
    audit: PathBuf,
    /// The bundle as it is to be
    new: PathBuf,
    /// Also the commands of sessions with other bundles
    #[arg(long)]
    all: bool,
    /// How many different commands to print
    #[arg(long, default_value_t = 100)]
    show: usize,
}

/// A line of the chain: a record and its hash.
#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    record: Record<'l>,
}

/// What a record is read for.
#[derive(Deserialize)]
struct Record<'l> {
    #[serde(borrow)]
    event: Cow<'l, str>,
    #[serde(borrow)]
    outcome: Cow<'l, str>,
    #[serde(borrow)]
    code: Cow<'l, str>,
    #[serde(borrow)]
    ids: RecordIds<'l>,
    #[serde(borrow)]
    details: &'l RawValue,
}

#[derive(Deserialize)]
struct RecordIds<'l> {
    #[serde(borrow)]
    session: &'l RawValue,
}

#[derive(Deserialize)]
struct Details<'l> {
    /// A list; of a very long command an object.
    #[serde(borrow)]
    argv: Option<&'l RawValue>,
    program: Option<String>,
    sha256: Option<String>,
    cwd: Option<String>,
    rule: Option<String>,
    bundle: Option<String>,
}

/// What would become of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// It was refused and would run.
    NowAllowed,
    /// It ran and would be refused.
    NowRefused,
    /// It would run by another rule.
    OtherRule,
}

#[derive(Debug, Default, Serialize)]
struct Counts {
    /// Lines of the chain.
    records: u64,
    /// Decisions that were made again.
    decided: u64,
    same: u64,
    now_allowed: u64,
    now_refused: u64,
    other_rule: u64,
    /// Sessions with other bundles.
    other_bundle: u64,
    /// Refused for another reason than the bundle: the session, the host, the ceiling.
    not_the_bundles: u64,
    /// Very long commands: the chain has only how they begin.
    cut: u64,
    /// Lines that are no records.
    unreadable: u64,
}

/// A command and what would change; a list because the same is often typed many times.
type Changes = BTreeMap<(Kind, String, String), u64>;

struct Replay {
    policy: Policy,
    all: bool,
    show: usize,
    counts: Counts,
    changes: Changes,
    /// Changes that are counted and not shown.
    left_out: u64,
    /// Which bundle a session has.
    sessions: HashMap<String, String>,
}

pub fn run(arguments: &Arguments, json: bool) -> Result<Found> {
    let mut replay = Replay {
        policy: load(&arguments.new)?.policy()?,
        all: arguments.all,
        show: arguments.show,
        counts: Counts::default(),
        changes: Changes::new(),
        left_out: 0,
        sessions: HashMap::new(),
    };
    if arguments.audit == Path::new("-") {
        replay.read(std::io::stdin().lock())?;
    } else {
        let file = std::fs::File::open(&arguments.audit);
        let file = file.with_context(|| format!("cannot open {}", arguments.audit.display()))?;
        replay.read(BufReader::with_capacity(1 << 20, file))?;
    }
    replay.print(json)?;
    Ok(if replay.changes.is_empty() && replay.left_out == 0 { Found::Fine } else { Found::Something })
}

impl Replay {
    fn read(&mut self, mut chain: impl BufRead) -> Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if chain.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).context("cannot read the chain")? == 0 {
                return Ok(());
            }
            self.counts.records += 1;
            if self.record(&line).is_none() {
                self.counts.unreadable += 1;
            }
        }
    }

    /// None: it is no record.
    fn record(&mut self, line: &[u8]) -> Option<()> {
        let Line { record } = serde_json::from_slice(line).ok()?;
        let session: Option<Cow<'_, str>> = serde_json::from_str(record.ids.session.get()).ok();
        match record.event.as_ref() {
            "session.reserved" => {
                let details: Details<'_> = serde_json::from_str(record.details.get()).ok()?;
                if let (Some(session), Some(bundle)) = (session, details.bundle) {
                    self.sessions.insert(session.into_owned(), bundle);
                }
            }
            "sudo.command" | "sudo.refused" => {
                let details: Details<'_> = serde_json::from_str(record.details.get()).ok()?;
                let before = match record.outcome.as_ref() {
                    "allowed" => Ok(details.rule.as_deref().unwrap_or_default()),
                    _ => Err(record.code.as_ref()),
                };
                self.command(session.as_deref(), &details, before);
            }
            _ => {}
        }
        Some(())
    }

    /// `before`: the rule that allowed it, or the code of its refusal.
    fn command(&mut self, session: Option<&str>, details: &Details<'_>, before: Result<&str, &str>) {
        let known = session.and_then(|session| self.sessions.get(session));
        let bundle = details.bundle.as_ref().or(known);
        if !self.all && bundle.is_some_and(|bundle| bundle != self.policy.bundle().name.as_str()) {
            self.counts.other_bundle += 1;
            return;
        }
        if before.is_err_and(|code| !code.starts_with("bundle.") || code == "bundle.none") {
            self.counts.not_the_bundles += 1;
            return;
        }
        let argv: Option<Vec<String>> = details.argv.and_then(|argv| serde_json::from_str(argv.get()).ok());
        let Some((typed, argv)) = argv.as_deref().and_then(<[String]>::split_first) else {
            self.counts.cut += 1;
            return;
        };
        let program = details.program.clone().unwrap_or_else(|| self.program(typed));
        let cwd = details.cwd.as_deref().unwrap_or("/");
        let command = Command { program: &program, sha256: details.sha256.as_deref(), argv, cwd };
        self.counts.decided += 1;
        let (kind, what) = match (before, self.policy.decide(&command)) {
            (Err(code), Decision::Allowed { rule, .. }) => (Kind::NowAllowed, format!("{code} -> {:?}", rule.id)),
            (Ok(rule), Decision::Denied(denied)) => (Kind::NowRefused, format!("{rule:?} -> {}", denied.code)),
            (Ok(old), Decision::Allowed { rule, .. }) if old != rule.id => {
                (Kind::OtherRule, format!("{old:?} -> {:?}", rule.id))
            }
            (Ok(_), Decision::Allowed { .. }) | (Err(_), Decision::Denied(_)) => {
                self.counts.same += 1;
                return;
            }
        };
        match kind {
            Kind::NowAllowed => self.counts.now_allowed += 1,
            Kind::NowRefused => self.counts.now_refused += 1,
            Kind::OtherRule => self.counts.other_rule += 1,
        }
        let line: Vec<String> =
            std::iter::once(program.as_str()).chain(argv.iter().map(String::as_str)).map(quoted).collect();
        let key = (kind, line.join(" "), what);
        if self.changes.len() < self.show || self.changes.contains_key(&key) {
            *self.changes.entry(key).or_default() += 1;
        } else {
            self.left_out += 1;
        }
    }

    /// A refusal has what was typed. The first folder in which the new bundle knows such a program stands for it.
    fn program(&self, typed: &str) -> String {
        let known = |path: &String| self.policy.has_rule_for(path);
        let merged = ["/bin/", "/sbin/"].iter().any(|folder| typed.starts_with(folder));
        if merged && !self.policy.has_rule_for(typed) {
            return format!("/usr{typed}");
        }
        if typed.contains('/') {
            return typed.to_owned();
        }
        let paths = FOLDERS.iter().map(|folder| format!("{folder}/{typed}"));
        paths.into_iter().find(known).unwrap_or_else(|| typed.to_owned())
    }

    fn print(&self, json: bool) -> Result<()> {
        let counts = &self.counts;
        if json {
            let changes: Vec<_> = self
                .changes
                .iter()
                .map(|((kind, command, what), times)| {
                    serde_json::json!({"change": kind, "command": command, "what": what, "times": times})
                })
                .collect();
            let all = serde_json::json!({"counts": counts, "changes": changes, "left_out": self.left_out});
            println!("{}", serde_json::to_string(&all)?);
            return Ok(());
        }
        for ((kind, command, what), times) in &self.changes {
            let word = match kind {
                Kind::NowAllowed => "now allowed",
                Kind::NowRefused => "now refused",
                Kind::OtherRule => "other rule",
            };
            println!("{word:<11}  {times:>6}x  {command}  [{what}]");
        }
        if self.left_out > 0 {
            println!("and {} more, of commands that are not shown (--show)", self.left_out);
        }
        eprintln!(
            "tether: {} records, {} decisions made again: {} the same, {} now allowed, {} now refused, {} by another rule",
            counts.records, counts.decided, counts.same, counts.now_allowed, counts.now_refused, counts.other_rule
        );
        for (count, what) in [
            (counts.other_bundle, "commands of other bundles were passed over (--all)"),
            (counts.not_the_bundles, "refusals were not the bundle's"),
            (counts.cut, "commands are too long for the chain to hold them whole"),
            (counts.unreadable, "lines are no records: `tether audit verify` says where the chain breaks"),
        ] {
            if count > 0 {
                eprintln!("tether: {count} {what}");
            }
        }
        Ok(())
    }
}
