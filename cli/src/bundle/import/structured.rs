//! The form of commercial command bundles: each command is raw, a directory or an executable, with any, no or given
//! arguments, and options for the whole.

use super::draft::{At, Draft, NewRule, exact};
use super::sudoers;
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use tether_bundle::{Arguments, Effect, Run, Target, split_words};

/// Reads one bundle, a list of them, or an answer that has them in `list`.
pub fn read(text: &str) -> Result<Draft> {
    let value: Value = if text.trim_start().starts_with(['{', '[']) {
        serde_json::from_str(text).context("it is not JSON")?
    } else {
        toml::from_str(text).context("it is not TOML")?
    };
    let list = value.get("list").cloned().unwrap_or(value);
    let bundles: Vec<Value> = if let Value::Array(all) = list { all } else { vec![list] };
    let mut draft = Draft::new("imported");
    let mut places = Places { text, from: 0 };
    let count = bundles.len();
    for bundle in &bundles {
        let Value::Object(bundle) = bundle else { bail!("a command bundle is an object with a list of commands") };
        one(&mut draft, bundle, &mut places, count == 1);
    }
    Ok(draft)
}

fn one(draft: &mut Draft, bundle: &Map<String, Value>, places: &mut Places<'_>, alone: bool) {
    let top = At { line: 1, column: 1 };
    let text = |key: &str| bundle.get(key).and_then(Value::as_str).unwrap_or_default();
    if alone && !text("name").is_empty() {
        draft.name = text("name").to_owned();
    }
    if draft.about.is_empty() {
        draft.about = text("description").to_owned();
    }
    let run = options(draft, bundle, top);
    let commands = ["structured_commands", "commands"].iter().find_map(|key| bundle.get(*key)?.as_array());
    for command in commands.into_iter().flatten() {
        match command {
            // The older form: a line as sudoers has it.
            Value::String(line) => {
                let at = places.next(line);
                sudoers::command(draft, at, line, &run);
            }
            Value::Object(command) => structured(draft, command, places, &run),
            other => draft.leave(top, &other.to_string(), "a command is a text or an object"),
        }
    }
}

const KNOWN: [&str; 17] = [
    "name",
    "description",
    "structured_commands",
    "commands",
    "opt_run_as",
    "run_as",
    "opt_no_exec",
    "no_exec",
    "opt_no_passwd",
    "no_passwd",
    "opt_set_env",
    "set_env",
    "add_env",
    "sub_env",
    "id",
    "created_at",
    "updated_at",
];

/// What holds for all commands.
fn options(draft: &mut Draft, bundle: &Map<String, Value>, at: At) -> Run {
    let either =
        |one: &str, other: &str| bundle.get(one).or_else(|| bundle.get(other)).filter(|value| !value.is_null());
    if let Some(account) = either("opt_run_as", "run_as").and_then(Value::as_str).filter(|account| !account.is_empty())
    {
        let why = "it reads with root's eyes and writes nothing; what must write becomes a write rule with run_as";
        draft.note(at, &format!("run-as {account}"), why);
    }
    if either("opt_no_exec", "no_exec").and_then(Value::as_bool) == Some(true) {
        draft.note(at, "no-exec", "not needed: what a command starts is confined with it");
    }
    if either("opt_no_passwd", "no_passwd").and_then(Value::as_bool) == Some(true) {
        draft.note(at, "no-passwd", "agents have no password");
    }
    if either("opt_set_env", "set_env").and_then(Value::as_bool) == Some(true) {
        draft.leave(at, "set-env", "an agent sets no variables; name them with their values in environment");
    }
    for key in bundle.keys().filter(|key| !KNOWN.contains(&key.as_str())) {
        draft.leave(at, key, "this option is not known");
    }
    Run { environment: environment(draft, bundle, at), ..Run::default() }
}

fn environment(draft: &mut Draft, bundle: &Map<String, Value>, at: At) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    let added = bundle.get("add_env").and_then(Value::as_array);
    for one in added.into_iter().flatten().filter_map(Value::as_str) {
        match one.split_once('=') {
            Some((name, value)) => {
                environment.insert(name.to_owned(), value.trim_matches('"').to_owned());
            }
            None => draft.leave(at, &format!("add_env {one}"), "without a value it is the asker's: name one"),
        }
    }
    let removed = bundle.get("sub_env").and_then(Value::as_array);
    for one in removed.into_iter().flatten().filter_map(Value::as_str) {
        draft.note(at, &format!("sub_env {one}"), "not needed: commands have an environment of their own");
    }
    environment
}

fn structured(draft: &mut Draft, command: &Map<String, Value>, places: &mut Places<'_>, run: &Run) {
    let text = |keys: &[&str]| keys.iter().find_map(|key| command.get(*key)?.as_str()).unwrap_or_default();
    let path = text(&["command", "path"]);
    let at = places.next(path);
    let kind = text(&["command_type", "type"]);
    match kind {
        "raw" => sudoers::command(draft, at, path, run),
        "directory" => {
            let Some(path) = draft.program(at, path.trim_end_matches('/')) else { return };
            let (effect, arguments) = (Effect::Allow, Arguments::Any);
            let rule = NewRule { effect, target: Target::Directory(path), arguments, run: run.clone() };
            draft.add(at, kind, rule);
        }
        "executable" => {
            let Some(program) = draft.program(at, path) else { return };
            let words = match given(command) {
                Ok(words) => words,
                Err(why) => {
                    draft.leave(at, path, &why);
                    return;
                }
            };
            let target = Target::Program { path: program, sha256: Vec::new() };
            draft.add(at, path, NewRule { effect: Effect::Allow, target, arguments: words, run: run.clone() });
        }
        other => draft.leave(at, path, &format!("its type is {other:?}, known are raw, directory and executable")),
    }
}

/// The arguments of an executable.
fn given(command: &Map<String, Value>) -> Result<Arguments, String> {
    let kind = ["args_type", "arguments_type"].iter().find_map(|key| command.get(*key)?.as_str()).unwrap_or("any");
    match kind {
        "any" => Ok(Arguments::Any),
        "none" => Ok(Arguments::None),
        "custom" | "specific" => {
            let words = match command.get("args").or_else(|| command.get("arguments")) {
                Some(Value::String(text)) => split_words(text)?,
                Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                _ => return Err("its arguments are not given".to_owned()),
            };
            if words.iter().any(|word| word.contains(['*', '?', '['])) {
                return Err("wildcards in arguments: write a pattern (one_of, integer, path, regex)".to_owned());
            }
            Ok(exact(words))
        }
        other => Err(format!("its arguments are {other:?}, known are any, none and custom")),
    }
}

/// Where commands stand: values have no place, so their text is looked for, in order.
struct Places<'t> {
    text: &'t str,
    from: usize,
}

impl Places<'_> {
    fn next(&mut self, needle: &str) -> At {
        let quoted = serde_json::to_string(needle).unwrap_or_default();
        let rest = self.text.get(self.from..).unwrap_or_default();
        let found = rest.find(&quoted).or_else(|| rest.find(needle)).filter(|_| !needle.is_empty());
        let offset = self.from + found.unwrap_or_default();
        if found.is_some() {
            self.from = offset + 1;
        }
        let before = self.text.get(..offset).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(start..).map_or(0, |line| line.chars().count()) + 1;
        At { line: before.matches('\n').count() + 1, column }
    }
}
