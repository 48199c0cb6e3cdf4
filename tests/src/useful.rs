//! What an analyst runs (`tests/useful.toml`): the same as plain root and confined, or refused for a reason.

use anyhow::Result;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const COMMANDS: &str = include_str!("../useful.toml");

/// How two outputs are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compare {
    /// Byte for byte.
    #[default]
    Exact,
    /// Every number is one, blanks do not count.
    Numbers,
    /// The same, as a set of lines.
    Lines,
    /// The same, without what the comparison itself runs.
    Processes,
    /// Every confined line is one of root's, and there is one if root has any.
    Less,
}

/// One command.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// How it is compared.
    #[serde(default)]
    pub compare: Compare,
    /// What its rule needs.
    #[serde(default)]
    pub grant: Option<String>,
    /// Why it stays refused.
    #[serde(default)]
    pub refused: Option<String>,
    /// The one suite that has it.
    #[serde(default)]
    pub only: Option<String>,
}

/// All commands: class, command line, how.
pub fn commands() -> Result<Vec<(String, String, Command)>> {
    let classes: BTreeMap<String, BTreeMap<String, Command>> = toml::from_str(COMMANDS)?;
    let of = |(class, commands): (String, BTreeMap<String, Command>)| {
        commands.into_iter().map(move |(line, command)| (class.clone(), line, command))
    };
    Ok(classes.into_iter().flat_map(of).collect())
}

/// A bundle that allows all of them: every program read-only, and a rule with its grant where one is needed.
pub fn bundle(resolved: &BTreeMap<String, String>) -> Result<String> {
    let mut text = String::from(
        "name = \"triage\"\nversion = 7\n[read]\ntrees = [\"/usr\", \"/boot\", \"/etc\", \"/opt\", \"/run\", \"/sys\", \
         \"/tmp\", \"/var/tmp\", \"/var/cache\", \"/var/lib\", \"/var/log\", \"/var/spool\"]\n",
    );
    let mut number = 0;
    for (_, line, command) in commands()? {
        let Some(grant) = command.grant else { continue };
        let mut words = line.split(' ');
        let program = words.next().unwrap_or_default();
        let Some(program) = resolved.get(program) else { continue };
        let arguments: Vec<_> = words.map(|word| format!("{word:?}")).collect();
        let arguments = match arguments.is_empty() {
            true => "\"none\"".to_owned(),
            false => format!("[{}]", arguments.join(", ")),
        };
        number += 1;
        let _ = write!(
            text,
            "[[rule]]\nid = \"grant-{number}\"\nprogram = {program:?}\narguments = {arguments}\ngrants = [{grant:?}]\n"
        );
    }
    for (id, folder) in [("bin", "/usr/bin"), ("sbin", "/usr/sbin"), ("local", "/usr/local/bin")] {
        let _ = write!(text, "[[rule]]\nid = \"{id}\"\ndirectory = \"{folder}\"\narguments = \"any\"\n");
    }
    Ok(text)
}

/// What one side printed, and its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code.
    pub code: i32,
    /// Its stdout.
    pub out: String,
}

/// Whether both are the same.
pub fn is_same(compare: Compare, line: &str, root: &Output, confined: &Output) -> bool {
    let lines = |output: &Output| -> BTreeSet<String> {
        output.out.lines().filter(|text| compare != Compare::Processes || !is_own(text, line)).map(shape).collect()
    };
    match compare {
        Compare::Exact => root == confined,
        Compare::Numbers => root.code == confined.code && shape(&root.out) == shape(&confined.out),
        Compare::Lines | Compare::Processes => root.code == confined.code && lines(root) == lines(confined),
        Compare::Less => {
            let (all, some) = (lines(root), lines(confined));
            some.is_subset(&all) && (all.is_empty() || !some.is_empty())
        }
    }
}

/// A line without its numbers and blanks.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for character in text.chars() {
        match character {
            '0'..='9' | '.' if shape.ends_with('0') => {}
            '0'..='9' => shape.push('0'),
            blank if blank.is_whitespace() => {}
            other => shape.push(other),
        }
    }
    shape
}

/// Whether a line is about the comparison's own processes: the session's, sudo's, kernel threads that come and go.
fn is_own(text: &str, line: &str) -> bool {
    let program = line.split(' ').next().unwrap_or_default();
    ["sudo", "tether", "ssh", "kworker", "sftp", "bash", program].iter().any(|word| text.contains(word))
}

/// The table for the docs.
pub fn table() -> Result<String> {
    let mut text = String::new();
    let mut class = String::new();
    for (of, line, command) in commands()? {
        if of != class {
            let _ = write!(text, "\n## {of}\n\n| command | like root's | grant | why not |\n|---|---|---|---|\n");
            class = of;
        }
        let like = match (&command.refused, command.compare) {
            (Some(_), _) => "refused",
            (None, Compare::Exact) => "the same",
            (None, Compare::Less) => "the same, less what others may not read",
            (None, Compare::Processes) => "the same but for the command itself",
            (None, _) => "the same but for counters",
        };
        let grant = command.grant.map(|grant| format!("`{grant}`")).unwrap_or_default();
        let line = line.replace('|', "\\|");
        let _ = writeln!(text, "| `{line}` | {like} | {grant} | {} |", command.refused.unwrap_or_default());
    }
    Ok(text)
}
