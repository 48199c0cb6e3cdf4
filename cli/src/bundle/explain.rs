//! `explain`: which rule decides, and why not each other.

use super::input::{Loaded, load};
use crate::Found;
use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use tether_bundle::{Command, Considered, Decision, Effect, Verdict, quoted};

/// Where sudo's plugin looks for a name without '/'.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// How many rules are told of.
const SHOWN: usize = 50;

#[derive(clap::Args)]
pub struct Arguments {
    /// The bundle
    file: PathBuf,
    /// Where the command is typed: what relative paths start from
    #[arg(long, default_value = "/")]
    cwd: String,
    /// The SHA-256 of the program's file, instead of that of this host's
    #[arg(long)]
    sha256: Option<String>,
    /// Take the program's path as it is: do not look at this host's files
    #[arg(long)]
    no_host: bool,
    /// The command
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Fine if the command is allowed; a refusal is a finding.
pub fn run(arguments: &Arguments, json: bool) -> Result<Found> {
    let loaded = load(&arguments.file)?;
    let policy = loaded.policy()?;
    let (typed, argv) = arguments.command.split_first().context("there is no command")?;
    let program = if arguments.no_host { typed.clone() } else { resolved(typed) };
    let sha256 = match &arguments.sha256 {
        Some(sha256) => Some(sha256.to_lowercase()),
        None if arguments.no_host => None,
        None => std::fs::read(&program).ok().map(|bytes| hex(&Sha256::digest(bytes))),
    };
    let command = Command { program: &program, sha256: sha256.as_deref(), argv, cwd: &arguments.cwd };
    let explanation = policy.explain(&command);
    let allowed = matches!(explanation.decision, Decision::Allowed { .. });
    if json {
        let considered: Vec<_> = explanation
            .considered
            .iter()
            .map(|one| {
                json!({"rule": one.rule.id, "place": loaded.place(one.at), "denies": one.rule.effect == Effect::Deny,
                       "fits": one.verdict == Verdict::Fits, "why": why(&one.verdict, argv)})
            })
            .collect();
        let (rule, code, instead) = parts(&explanation.decision);
        println!(
            "{}",
            json!({"program": program, "allowed": allowed, "rule": rule, "code": code, "instead": instead,
                   "considered": considered})
        );
    } else {
        print!("{}", words(&loaded, &program, argv, &explanation.decision, &explanation.considered));
    }
    Ok(if allowed { Found::Fine } else { Found::Something })
}

fn parts<'d>(decision: &'d Decision<'_>) -> (Option<&'d str>, Option<&'d str>, &'d [String]) {
    match decision {
        Decision::Allowed { rule, .. } => (Some(&rule.id), None, &[]),
        Decision::Denied(denied) => (denied.rule, Some(denied.code), &denied.instead),
    }
}

fn words(
    loaded: &Loaded,
    program: &str,
    argv: &[String],
    decision: &Decision<'_>,
    considered: &[Considered<'_>],
) -> String {
    let line: Vec<String> = std::iter::once(program).chain(argv.iter().map(String::as_str)).map(quoted).collect();
    let mut out = match decision {
        Decision::Allowed { rule, paths } => {
            let mut out = format!("allowed by {:?}: {}\n", rule.id, line.join(" "));
            for path in paths {
                out += &format!("  argument {} is opened below {}: {}\n", path.index + 1, path.under, path.path);
            }
            let listed = rule.listed();
            if let Some(run_as) = listed.run_as {
                out += &format!("  runs as {run_as} and may write {}\n", listed.writes.join(", "));
            }
            if !listed.grants.is_empty() {
                out += &format!("  with {} {}\n", listed.grants.join(", "), listed.net.join(" "));
            }
            out
        }
        Decision::Denied(denied) => {
            let by = denied.rule.map_or(String::new(), |rule| format!(" by {rule:?}"));
            format!("denied{by}: {} [{}]\n", line.join(" "), denied.code)
        }
    };
    for one in considered.iter().take(SHOWN) {
        let kind = if one.rule.effect == Effect::Deny { "denial" } else { "rule" };
        out += &format!("  {}: {kind} {:?}: {}\n", loaded.place(one.at), one.rule.id, why(&one.verdict, argv));
    }
    if considered.len() > SHOWN {
        out += &format!("  and {} more rules about this program\n", considered.len() - SHOWN);
    }
    if considered.is_empty() {
        out += &format!("  no rule is about {program}\n");
    }
    out
}

fn why(verdict: &Verdict, argv: &[String]) -> String {
    match verdict {
        Verdict::Fits => "fits".to_owned(),
        Verdict::OtherFile => "its arguments fit, but the program's file is not the one with its sha256".to_owned(),
        Verdict::Count { found, min, max } if min == max => format!("it takes {min} arguments, these are {found}"),
        Verdict::Count { found, min, max } => format!("it takes {min} to {max} arguments, these are {found}"),
        Verdict::Argument { index, wanted, unsure } => {
            let text = argv.get(*index).map(|text| quoted(text)).unwrap_or_default();
            let because = if *unsure { ", and what it means cannot be told from its text" } else { "" };
            format!("argument {}, {text}, is not {wanted}{because}", index + 1)
        }
    }
}

/// What a host would find for a name, links followed.
fn resolved(typed: &str) -> String {
    let candidates: Vec<PathBuf> = if typed.contains('/') {
        vec![typed.into()]
    } else {
        FOLDERS.iter().map(|folder| PathBuf::from(folder).join(typed)).collect()
    };
    let found = candidates.iter().find_map(|path| path.canonicalize().ok());
    found.and_then(|path| path.to_str().map(str::to_owned)).unwrap_or_else(|| typed.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
