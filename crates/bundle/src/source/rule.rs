//! One rule of a source.

use super::units;
use super::value::{Keys, Notes, Value};
use crate::check::kind_of;
use crate::model::{Arguments, Effect, Grant, Mode, Pattern, Rest, Rule, Run, Target};
use crate::path::split;
use toml::de::DeValue;

/// How many further arguments a `rest` takes if it does not say.
const REST_USUAL: u32 = 64;

/// A rule, and where it stands.
pub(super) struct ReadRule {
    pub(super) rule: Rule,
    pub(super) start: usize,
    /// Where its keys stand, and the arguments of its list.
    pub(super) origins: Origins,
}

/// Where the parts of a rule stand.
#[derive(Debug, Clone, Default)]
pub(super) struct Origins {
    pub(super) keys: Vec<(&'static str, usize)>,
    pub(super) arguments: Vec<usize>,
}

/// What a check may complain of.
const KEYS: [&str; 17] = [
    "id",
    "program",
    "programs",
    "directory",
    "sha256",
    "arguments",
    "rest",
    "deny",
    "grants",
    "net",
    "cwd",
    "environment",
    "time_limit",
    "output_limit",
    "run_as",
    "writes",
    "mode",
];

pub(super) fn rules(value: &Value<'_>, notes: &mut Notes<'_>) -> Vec<ReadRule> {
    let mut rules = Vec::new();
    for value in notes.array(value).unwrap_or_default() {
        if let Some(keys) = notes.table(value) {
            rule(keys, notes, &mut rules);
        }
        notes.rule = None;
    }
    rules
}

fn rule(mut keys: Keys<'_, '_>, notes: &mut Notes<'_>, rules: &mut Vec<ReadRule>) {
    let start = keys.start;
    let id = keys.get("id").and_then(|value| notes.string(value));
    notes.rule.clone_from(&id);
    if id.is_none() && keys.names().all(|key| key != "id") {
        notes.say(start, "source.missing", "a rule needs an id");
    }
    let deny = keys.get("deny").and_then(|value| notes.boolean(value)).unwrap_or_default();
    let effect = if deny { Effect::Deny } else { Effect::Allow };
    let targets = targets(&mut keys, effect, notes);
    let arguments = arguments(&mut keys, notes);
    let run = run(&mut keys, notes);
    let mut origins = Origins { keys: KEYS.map(|key| (key, keys.offset(key))).to_vec(), ..Origins::default() };
    let elements = |value: Option<&Value<'_>>| -> Vec<usize> {
        let list = value.and_then(|value| value.get_ref().as_array());
        list.into_iter().flat_map(|list| list.iter()).map(|one| one.span().start).collect()
    };
    origins.arguments = elements(keys.get("arguments"));
    let programs = elements(keys.get("programs"));
    keys.finish(notes);
    // What could not be read stands for itself: the rest of the rule is checked all the same.
    let id = id.unwrap_or_else(|| format!("at {start}"));
    let targets = targets.unwrap_or_else(|| vec![Target::Program { path: format!("/at/{start}"), sha256: Vec::new() }]);
    let arguments = arguments.unwrap_or(Arguments::None);
    let many = targets.len() > 1;
    for (number, target) in targets.into_iter().enumerate() {
        let id = if many { format!("{id}/{}", last_name(&target)) } else { id.clone() };
        let (arguments, run) = (arguments.clone(), run.clone());
        let mut origins = origins.clone();
        // A rule over several programs has one in a list where another has its key.
        if let Some(at) = programs.get(number) {
            origins.keys.retain(|(key, _)| *key != "program");
            origins.keys.push(("program", *at));
        }
        rules.push(ReadRule { rule: Rule { id, effect, target, arguments, run }, start, origins });
    }
}

fn last_name(target: &Target) -> &str {
    match target {
        Target::Program { path, .. } | Target::Directory(path) => split(path).map_or(path, |(_, name)| name),
        Target::Every => "",
    }
}

fn targets(keys: &mut Keys<'_, '_>, effect: Effect, notes: &mut Notes<'_>) -> Option<Vec<Target>> {
    let program = keys.get("program").map(|value| notes.string(value));
    let programs = keys.get("programs").map(|value| notes.strings(value));
    let directory = keys.get("directory").map(|value| notes.string(value));
    let digests_at = keys.offset("sha256");
    let digests = keys.get("sha256").map(|value| notes.string_or_strings(value));
    let sha256 = match (&digests, &program) {
        (Some(Some(list)), _) if list.is_empty() => {
            notes.say(digests_at, "rule.sha256", "an empty list would fit every file: leave sha256 out");
            return None;
        }
        (Some(list), Some(_)) => list.clone()?,
        (Some(_), None) => {
            notes.say(digests_at, "rule.sha256", "sha256 goes with program, not with programs or directory");
            return None;
        }
        (None, _) => Vec::new(),
    };
    match (program, programs, directory) {
        (Some(path), None, None) => Some(vec![Target::Program { path: path?, sha256 }]),
        (None, Some(paths), None) => {
            let paths = paths?;
            if paths.is_empty() {
                notes.say(keys.offset("programs"), "rule.program", "programs names none");
                return None;
            }
            Some(paths.into_iter().map(|path| Target::Program { path, sha256: Vec::new() }).collect())
        }
        (None, None, Some(path)) => Some(vec![Target::Directory(path?)]),
        (None, None, None) if effect == Effect::Deny => Some(vec![Target::Every]),
        (None, None, None) => {
            notes.say(keys.start, "rule.program", "name a program, programs or a directory");
            None
        }
        _ => {
            notes.say(keys.start, "rule.program", "name a program, programs or a directory, and only one of these");
            None
        }
    }
}

fn arguments(keys: &mut Keys<'_, '_>, notes: &mut Notes<'_>) -> Option<Arguments> {
    let rest = keys.get("rest").map(|value| rest(value, notes));
    let Some(value) = keys.get("arguments") else {
        let Some(rest) = rest else {
            let text = "arguments is missing: \"any\", \"none\" or a list";
            notes.say(keys.start, "source.missing", text);
            return None;
        };
        return Some(Arguments::Each { first: Vec::new(), rest: Some(rest?) });
    };
    let DeValue::Array(list) = value.get_ref() else {
        return word(value, rest.is_some(), notes);
    };
    let first = list.iter().map(|one| pattern(one, notes).unwrap_or(Pattern::Anything)).collect();
    Some(Arguments::Each { first, rest: rest.flatten() })
}

/// `"any"` or `"none"`.
fn word(value: &Value<'_>, has_rest: bool, notes: &mut Notes<'_>) -> Option<Arguments> {
    let text = notes.string(value)?;
    let at = value.span().start;
    if has_rest {
        notes.say(at, "rule.rest", "rest goes with a list of arguments, which may be empty");
        return None;
    }
    match text.as_str() {
        "any" => Some(Arguments::Any),
        "none" => Some(Arguments::None),
        _ => {
            notes.say(at, "rule.arguments", "arguments are \"any\", \"none\" or a list");
            None
        }
    }
}

fn rest(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<Rest> {
    let mut keys = notes.table(value)?;
    let min = keys.get("min").map(|value| count(value, notes));
    let max = keys.get("max").map(|value| count(value, notes));
    let pattern = one_pattern(keys, notes)?;
    Some(Rest { pattern, min: min.unwrap_or(Some(0))?, max: max.unwrap_or(Some(REST_USUAL))? })
}

fn count(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<u32> {
    let found = notes.integer(value)?;
    let count = u32::try_from(found).ok();
    if count.is_none() {
        notes.say(value.span().start, "rule.rest", "min and max count arguments");
    }
    count
}

fn pattern(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<Pattern> {
    match value.get_ref() {
        DeValue::String(text) if text == "…" => {
            let text =
                "\"…\" is how a listing writes any arguments; write { anything = true }, rest, or { exact = \"…\" }";
            notes.say(value.span().start, "rule.arguments", text);
            None
        }
        DeValue::String(text) => Some(Pattern::Exact(text.clone().into_owned())),
        DeValue::Table(_) => one_pattern(notes.table(value)?, notes),
        _ => {
            let text = "an argument is a string or a pattern such as { integer = [1, 9] }";
            notes.say(value.span().start, "source.type", text);
            None
        }
    }
}

const PATTERNS: &str = "exact, one_of, integer, regex, path, any_of, anything";

/// A table with one key that names the pattern; `path` may have `prefix` beside it.
fn one_pattern(mut keys: Keys<'_, '_>, notes: &mut Notes<'_>) -> Option<Pattern> {
    let start = keys.start;
    let exact = keys.get("exact").map(|value| notes.string(value).map(Pattern::Exact));
    let one_of = keys.get("one_of").map(|value| notes.strings(value).map(Pattern::OneOf));
    let integer = keys.get("integer").map(|value| range(value, notes));
    let regex = keys.get("regex").map(|value| notes.string(value).map(Pattern::Regex));
    let under = keys.get("path").map(|value| notes.string_or_strings(value));
    let prefix = keys.get("prefix").map(|value| notes.string(value));
    let any_of = keys.get("any_of").map(|value| any_of(value, notes));
    let anything = keys.get("anything").map(|value| anything(value, notes));
    let before = notes.problems.len();
    if prefix.is_some() && under.is_none() {
        notes.say(keys.offset("prefix"), "rule.path", "prefix goes with path");
    }
    keys.finish(notes);
    let path = under
        .map(|under| Some(Pattern::Path { under: under?, prefix: prefix.unwrap_or_default().unwrap_or_default() }));
    let mut found = [exact, one_of, integer, regex, path, any_of, anything].into_iter().flatten();
    match (found.next(), found.next()) {
        (Some(pattern), None) => pattern,
        // A key that is not known has been named; that none is left is only its consequence.
        (None, _) if notes.problems.len() > before => None,
        _ => {
            notes.say(start, "rule.pattern", format!("a pattern has exactly one of {PATTERNS}"));
            None
        }
    }
}

fn range(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<Pattern> {
    match notes.array(value)? {
        [min, max] => {
            let (min, max) = (notes.integer(min), notes.integer(max));
            Some(Pattern::Integer { min: min?, max: max? })
        }
        _ => {
            notes.say(value.span().start, "rule.integer", "integer = [LEAST, GREATEST]");
            None
        }
    }
}

fn any_of(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<Pattern> {
    let list = notes.array(value)?;
    Some(Pattern::AnyOf(list.iter().map(|one| pattern(one, notes).unwrap_or(Pattern::Anything)).collect()))
}

fn anything(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<Pattern> {
    if notes.boolean(value)? {
        return Some(Pattern::Anything);
    }
    notes.say(value.span().start, "rule.pattern", "anything = true, or another pattern");
    None
}

fn run(keys: &mut Keys<'_, '_>, notes: &mut Notes<'_>) -> Run {
    let mode = mode(keys, notes).unwrap_or_default();
    let mut grants = keys.get("grants").map(|value| grants(value, notes)).unwrap_or_default();
    grants.extend(keys.get("net").and_then(|value| net(value, notes)));
    grants.sort_by_key(kind_of);
    let cwd = keys.get("cwd").and_then(|value| notes.string(value));
    let environment = keys.get("environment").and_then(|value| notes.table(value));
    let mut variables = std::collections::BTreeMap::new();
    for (name, _, value) in environment.iter().flat_map(Keys::entries) {
        variables.extend(notes.string(value).map(|value| (name.to_owned(), value)));
    }
    let time = keys.get("time_limit").map(|value| (value.span().start, notes.string(value)));
    let time_limit_s = time.and_then(|(at, text)| {
        let read = units::duration(&text?);
        if read.is_none() {
            notes.say(at, "rule.limits", "a time limit is written like \"30s\", \"5m\" or \"2h\"");
        }
        read
    });
    let output = keys.get("output_limit").map(|value| (value.span().start, notes.string(value)));
    let output_limit = output.and_then(|(at, text)| {
        let read = units::size(&text?);
        if read.is_none() {
            notes.say(at, "rule.limits", "an output limit is written like \"512B\", \"64KiB\" or \"1MiB\"");
        }
        read
    });
    Run { mode, grants, cwd, environment: variables, time_limit_s, output_limit }
}

fn mode(keys: &mut Keys<'_, '_>, notes: &mut Notes<'_>) -> Option<Mode> {
    let at = keys.offset("mode");
    let text = keys.get("mode").map_or_else(|| Some("read-only".to_owned()), |value| notes.string(value))?;
    let run_as = keys.get("run_as").map(|value| notes.string(value));
    let paths = keys.get("writes").map(|value| notes.strings(value));
    let stdin = keys.get("stdin").map(|value| notes.boolean(value));
    match text.as_str() {
        "read-only" => {
            for (key, is_there) in
                [("run_as", run_as.is_some()), ("writes", paths.is_some()), ("stdin", stdin.is_some())]
            {
                if is_there {
                    notes.say(keys.offset(key), "rule.write", format!("{key} goes with mode = \"write\""));
                }
            }
            Some(Mode::ReadOnly)
        }
        "write" => {
            for (key, is_there) in [("run_as", run_as.is_some()), ("writes", paths.is_some())] {
                if !is_there {
                    notes.say(at, "rule.write", format!("a write rule needs {key}"));
                }
            }
            Some(Mode::Write { run_as: run_as??, paths: paths??, stdin: stdin.unwrap_or(Some(false))? })
        }
        _ => {
            notes.say(at, "rule.write", "mode is \"read-only\" or \"write\"");
            None
        }
    }
}

fn grants(value: &Value<'_>, notes: &mut Notes<'_>) -> Vec<Grant> {
    let mut grants = Vec::new();
    for one in notes.array(value).unwrap_or_default() {
        match notes.string(one).as_deref() {
            Some("proc-links") => grants.push(Grant::ProcLinks),
            Some("dbus") => grants.push(Grant::Dbus),
            Some(_) => {
                let text = "the grants are \"proc-links\" and \"dbus\"; destinations go into net = [\"10.0.0.1:443\"]";
                notes.say(one.span().start, "rule.grants", text);
            }
            None => {}
        }
    }
    grants
}

fn net(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<Grant> {
    let mut destinations = Vec::new();
    for one in notes.array(value)? {
        let Some(text) = notes.string(one) else { continue };
        match text.parse() {
            Ok(destination) => destinations.push(destination),
            Err(_) => {
                let text = "a destination is \"address:port\" or \"[address]:port\"; names are not looked up";
                notes.say(one.span().start, "rule.net", text);
            }
        }
    }
    Some(Grant::Net(destinations))
}
