//! The whole of a source.

use super::place::Problem;
use super::rule::{Origins, rules};
use super::value::{Keys, Notes, Value};
use super::{Case, SOURCE_MAX, Source};
use crate::check::{Fault, faults};
use crate::model::{Bundle, Reads};
use crate::words::split_words;
use toml::de::DeTable;

pub(super) fn read(text: &str) -> Result<Source, Vec<Problem>> {
    let mut notes = Notes::new(text);
    if text.len() > SOURCE_MAX {
        notes.say(0, "source.too_long", format!("a source has at most {SOURCE_MAX} bytes"));
        return Err(notes.problems);
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start);
        notes.say(at, "source.syntax", error.message());
    }
    // What a broken line means to the rest would be guesswork.
    if !errors.is_empty() {
        return Err(sorted(notes.problems));
    }
    let mut keys = Keys::new(document.get_ref(), 0);
    let name = keys.get("name").and_then(|value| name(value, &mut notes));
    let version = keys.get("version").and_then(|value| version(value, &mut notes));
    let about = keys.get("about").and_then(|value| notes.string(value)).unwrap_or_default();
    let mut reads_at = Vec::new();
    let read = keys.get("read").and_then(|value| reads(value, &mut notes, &mut reads_at)).unwrap_or_default();
    let rules = keys.get("rule").map(|value| rules(value, &mut notes)).unwrap_or_default();
    let cases = keys.get("test").map(|value| cases(value, &mut notes)).unwrap_or_default();
    for needed in ["name", "version"] {
        if keys.names().all(|key| key != needed) {
            notes.say(0, "source.missing", format!("{needed} is missing"));
        }
    }
    let tops = ["about", "version", "rule"].map(|key| (key, keys.offset(key)));
    keys.finish(&mut notes);
    let places: Vec<usize> = rules.iter().map(|rule| rule.start).collect();
    let (Some(name), Some(version)) = (name, version) else { return Err(sorted(notes.problems)) };
    let (compiled, origins): (Vec<_>, Vec<_>) = rules.into_iter().map(|read| (read.rule, read.origins)).unzip();
    let bundle = Bundle { name, version, about, read, rules: compiled };
    reads_at.extend(tops);
    for fault in faults(&bundle) {
        note(&fault, &bundle, &reads_at, &places, &origins, &mut notes);
    }
    let places = places.into_iter().map(|at| notes.place(at)).collect();
    if notes.problems.is_empty() { Ok(Source { bundle, places, cases }) } else { Err(sorted(notes.problems)) }
}

/// Where keys stand.
type Keyed = Vec<(&'static str, usize)>;

fn note(fault: &Fault, bundle: &Bundle, tops: &Keyed, starts: &[usize], origins: &[Origins], notes: &mut Notes<'_>) {
    let key = |keys: &Keyed| keys.iter().find(|(key, _)| *key == fault.key).map(|(_, at)| *at);
    let part = |origins: &Origins| {
        let element = fault.element.and_then(|element| origins.arguments.get(element)).copied();
        element.or_else(|| key(&origins.keys))
    };
    let at = match fault.rule {
        None => key(tops),
        Some(rule) => origins.get(rule).and_then(part).or_else(|| starts.get(rule).copied()),
    };
    notes.rule = fault.rule.and_then(|at| bundle.rules.get(at)).map(|rule| rule.id.clone());
    notes.say(at.unwrap_or_default(), fault.code, fault.why.clone());
    notes.rule = None;
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems.dedup();
    problems
}

fn name(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<tether_identity::Name> {
    let text = notes.string(value)?;
    match text.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let error: tether_identity::Malformed = error;
            notes.say(value.span().start, "bundle.name", error.to_string());
            None
        }
    }
}

fn version(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<u64> {
    let found = notes.integer(value)?;
    let version = u64::try_from(found).ok();
    if version.is_none() {
        notes.say(value.span().start, "bundle.version", "a version begins with 1");
    }
    version
}

fn reads(value: &Value<'_>, notes: &mut Notes<'_>, at: &mut Keyed) -> Option<Reads> {
    let mut keys = notes.table(value)?;
    let trees = keys.get("trees").and_then(|value| notes.strings(value)).unwrap_or_default();
    let named = keys.get("named").and_then(|value| notes.strings(value)).unwrap_or_default();
    at.extend(["trees", "named"].map(|key| (key, keys.offset(key))));
    keys.finish(notes);
    Some(Reads { trees, named })
}

fn cases(value: &Value<'_>, notes: &mut Notes<'_>) -> Vec<Case> {
    let list = notes.array(value).unwrap_or_default();
    list.iter().filter_map(|value| case(value, notes)).collect()
}

fn case(value: &Value<'_>, notes: &mut Notes<'_>) -> Option<Case> {
    let mut keys = notes.table(value)?;
    let mut text = |key| keys.get(key).and_then(|value| notes.string(value));
    let (allow, deny) = (text("allow"), text("deny"));
    let (cwd, sha256, rule, code) = (text("cwd"), text("sha256"), text("rule"), text("code"));
    let start = keys.start;
    keys.finish(notes);
    let (allow, line) = match (allow, deny) {
        (Some(line), None) => (true, line),
        (None, Some(line)) => (false, line),
        _ => {
            notes.say(start, "source.test", "a test has allow = \"COMMAND\" or deny = \"COMMAND\", and not both");
            return None;
        }
    };
    let words = match split_words(&line) {
        Ok(words) if words.is_empty() => Err("there is no command"),
        other => other,
    };
    match words {
        Ok(words) => {
            let cwd = cwd.unwrap_or_else(|| "/".to_owned());
            Some(Case { place: notes.place(start), allow, line, words, cwd, sha256, rule, code })
        }
        Err(why) => {
            notes.say(start, "source.test", why);
            None
        }
    }
}
