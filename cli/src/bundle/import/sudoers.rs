//! Lists of sudoers(5): command aliases and what users may run. Only what can be said as a rule is carried over;
//! the rest is reported with its place.

use super::draft::{At, Draft, NewRule, exact};
use std::collections::{BTreeMap, BTreeSet};
use tether_bundle::{Arguments, Effect, Run, Target};

/// A character and where it stands.
type Char = (char, At);
/// A list entry's characters.
type Entry = Vec<Char>;

/// Words before a ':' that do not end a list.
const TAGS: [&str; 16] = [
    "EXEC",
    "NOEXEC",
    "FOLLOW",
    "NOFOLLOW",
    "INTERCEPT",
    "NOINTERCEPT",
    "LOG_INPUT",
    "NOLOG_INPUT",
    "LOG_OUTPUT",
    "NOLOG_OUTPUT",
    "MAIL",
    "NOMAIL",
    "PASSWD",
    "NOPASSWD",
    "SETENV",
    "NOSETENV",
];
const DIGESTS: [&str; 4] = ["sha224", "sha256", "sha384", "sha512"];
/// How deep aliases may stand in aliases.
const DEPTH: usize = 16;

/// Reads a file. With a user, only what that user (or %group) may run.
pub fn read(text: &str, user: Option<&str>) -> Draft {
    let mut draft = Draft::new("imported");
    let mut aliases = Aliases::default();
    let lines = logical_lines(text);
    let mut specs = Vec::new();
    for line in lines {
        let word = first_word(&line);
        let at = line.first().map_or(At { line: 1, column: 1 }, |(_, at)| *at);
        match word.as_str() {
            "Cmnd_Alias" | "Cmd_Alias" => aliases.define(&line, true),
            "User_Alias" => aliases.define(&line, false),
            "Host_Alias" | "Runas_Alias" => {}
            word if word.starts_with("Defaults") => {
                draft.note(at, &plain(&line), "settings of sudo are not a bundle's")
            }
            "@include" | "@includedir" | "#include" | "#includedir" => {
                draft.leave(at, &plain(&line), "other files are not read: import each");
            }
            _ => specs.push(line),
        }
    }
    let mut any = false;
    for line in &specs {
        any |= spec(&mut draft, &aliases, line, user);
    }
    // A file that only names commands is a list, too.
    if specs.is_empty() {
        for name in aliases.commands.keys().cloned().collect::<Vec<_>>() {
            let entries = aliases.commands.get(&name).cloned().unwrap_or_default();
            list(&mut draft, &aliases, &entries, &Context::default());
        }
    } else if !any && user.is_some() {
        let what = user.unwrap_or_default();
        draft.leave(At { line: 1, column: 1 }, what, "no line of this file is about this user");
    }
    draft
}

/// One command as sudoers has it, from elsewhere.
pub fn command(draft: &mut Draft, at: At, line: &str, run: &Run) {
    let entry: Entry = line.chars().map(|c| (c, at)).collect();
    let context = Context { run: run.clone(), ..Context::default() };
    list(draft, &Aliases::default(), &[entry], &context);
}

#[derive(Debug, Default)]
struct Aliases {
    commands: BTreeMap<String, Vec<Entry>>,
    users: BTreeMap<String, Vec<Entry>>,
}

impl Aliases {
    /// `Cmnd_Alias ONE = a, b : TWO = c`
    fn define(&mut self, line: &[Char], commands: bool) {
        let start = line.iter().position(|(c, _)| c.is_whitespace()).unwrap_or(line.len());
        for definition in split(line.get(start..).unwrap_or_default(), ':') {
            let Some(equals) = unescaped(&definition, '=') else { continue };
            let name = plain(definition.get(..equals).unwrap_or_default());
            let entries = split(definition.get(equals + 1..).unwrap_or_default(), ',');
            let table = if commands { &mut self.commands } else { &mut self.users };
            table.insert(name, entries);
        }
    }

    fn has_user(&self, users: &[Entry], wanted: &str, depth: usize) -> bool {
        depth < DEPTH
            && users.iter().any(|entry| {
                let name = plain(entry);
                let name = name.trim_matches('"');
                name == wanted
                    || name == "ALL"
                    || self.users.get(name).is_some_and(|users| self.has_user(users, wanted, depth + 1))
            })
    }
}

/// What earlier entries of a list say about later ones.
#[derive(Debug, Clone, Default)]
struct Context {
    negated: bool,
    depth: usize,
    run: Run,
    digests: Vec<String>,
}

/// `users hosts = commands : hosts = commands`. Whether it is about the user that is asked for.
fn spec(draft: &mut Draft, aliases: &Aliases, line: &[Char], user: Option<&str>) -> bool {
    let at = line.first().map_or(At { line: 1, column: 1 }, |(_, at)| *at);
    let Some(equals) = unescaped(line, '=') else {
        draft.leave(at, &plain(line), "it is no line of sudoers that is known here");
        return false;
    };
    let who = trim(line.get(..equals).unwrap_or_default());
    let users = split(who.get(..end_of_users(who)).unwrap_or_default(), ',');
    if user.is_some_and(|user| !aliases.has_user(&users, user, 0)) {
        return false;
    }
    for (number, part) in split(line, ':').into_iter().enumerate() {
        let Some(equals) = unescaped(&part, '=') else {
            draft.leave(at, &plain(&part), "commands without hosts");
            continue;
        };
        let before = trim(part.get(..equals).unwrap_or_default());
        let hosts = if number == 0 { before.get(end_of_users(before)..).unwrap_or_default() } else { before };
        let host = plain(hosts);
        if host != "ALL" {
            draft.note(at, &host, "a bundle is for all hosts to which central gives its name");
        }
        list(draft, aliases, &split(part.get(equals + 1..).unwrap_or_default(), ','), &Context::default());
    }
    true
}

/// Where the users end and the hosts begin: at the first blank that has no comma beside it.
fn end_of_users(who: &[Char]) -> usize {
    let mut quoted = false;
    let mut after_comma = false;
    for (at, (c, _)) in who.iter().enumerate() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => after_comma = true,
            c if c.is_whitespace() && !quoted => {
                let next = trim(who.get(at..).unwrap_or_default()).first().map(|(c, _)| *c);
                if !after_comma && next != Some(',') {
                    return at;
                }
            }
            _ => after_comma = false,
        }
    }
    who.len()
}

fn list(draft: &mut Draft, aliases: &Aliases, entries: &[Entry], context: &Context) {
    let mut context = context.clone();
    for entry in entries {
        one(draft, aliases, entry, &mut context);
    }
}

fn one(draft: &mut Draft, aliases: &Aliases, entry: &[Char], context: &mut Context) {
    let mut rest = trim(entry);
    let Some((_, at)) = rest.first().copied() else { return };
    rest = trim(runas(draft, rest));
    rest = options(draft, rest, context);
    let mut negated = context.negated;
    while let Some(('!', _)) = rest.first() {
        negated = !negated;
        rest = trim(rest.get(1..).unwrap_or_default());
    }
    rest = digests(draft, rest, context);
    if rest.is_empty() {
        // A digest alone belongs to the next entry's command.
        return;
    }
    let sha256 = std::mem::take(&mut context.digests);
    let text = plain(rest);
    let effect = if negated { Effect::Deny } else { Effect::Allow };
    if negated && context.depth == 0 {
        draft.note(at, &format!("!{text}"), "here a denial wins wherever it stands; in sudoers the last match does");
    }
    if let Some(entries) = aliases.commands.get(&text) {
        if context.depth >= DEPTH {
            draft.leave(at, &text, "aliases stand in aliases without end");
            return;
        }
        let run = context.run.clone();
        list(draft, aliases, entries, &Context { negated, depth: context.depth + 1, run, digests: sha256 });
        return;
    }
    program(draft, at, rest, &text, effect, sha256, &context.run);
}

fn program(draft: &mut Draft, at: At, rest: &[Char], text: &str, effect: Effect, sha256: Vec<String>, run: &Run) {
    let words = words(rest);
    let Some((path, argv)) = words.split_first() else { return };
    if path.text == "ALL" {
        let why = "every command: name those that are needed (tether bundle replay shows what was run)";
        draft.leave(at, text, if effect == Effect::Deny { "nothing at all: silence denies" } else { why });
        return;
    }
    if !path.text.starts_with(['/', '^']) {
        let why = match path.text.as_str() {
            "sudoedit" => "editing a file as root: a write rule for what is to be changed",
            word if word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') => {
                "an alias that this file does not define"
            }
            _ => "it is not an absolute path",
        };
        draft.leave(at, text, why);
        return;
    }
    if path.text.starts_with('^') || argv.first().is_some_and(|word| word.text.starts_with('^')) {
        draft.leave(at, text, "a regular expression over the whole command line: write a pattern for each argument");
        return;
    }
    if path.wild || argv.iter().any(|word| word.wild) {
        let why = "wildcards: in sudoers '*' also matches '/' and blanks; write one_of, integer, path or regex";
        draft.leave(at, text, why);
        return;
    }
    let is_folder = path.text.ends_with('/') && path.text.len() > 1;
    let Some(resolved) = draft.program(at, path.text.trim_end_matches('/')) else { return };
    let arguments = match argv {
        [] => Arguments::Any,
        [only] if only.text == "\"\"" => Arguments::None,
        more => exact(more.iter().map(|word| word.text.clone()).collect()),
    };
    if is_folder && !sha256.is_empty() {
        draft.leave(at, text, "a digest of a folder");
        return;
    }
    let target = if is_folder { Target::Directory(resolved) } else { Target::Program { path: resolved, sha256 } };
    let run = if effect == Effect::Deny { Run::default() } else { run.clone() };
    draft.add(at, text, NewRule { effect, target, arguments, run });
}

/// `(root)`, `(postgres:staff)`.
fn runas<'e>(draft: &mut Draft, rest: &'e [Char]) -> &'e [Char] {
    let Some(('(', at)) = rest.first().copied() else { return rest };
    let Some(end) = rest.iter().position(|(c, _)| *c == ')') else { return rest };
    let account = plain(rest.get(1..end).unwrap_or_default());
    let why = "it reads with root's eyes and writes nothing; what must write becomes a write rule with run_as";
    if !draft.notes.iter().any(|note| note.what == format!("({account})")) {
        draft.note(at, &format!("({account})"), why);
    }
    rest.get(end + 1..).unwrap_or_default()
}

/// `NOPASSWD:`, `CWD=/srv`, `TIMEOUT=30`.
fn options<'e>(draft: &mut Draft, mut rest: &'e [Char], context: &mut Context) -> &'e [Char] {
    loop {
        let Some((_, at)) = rest.first().copied() else { return rest };
        let length = rest.iter().take_while(|(c, _)| c.is_ascii_uppercase() || *c == '_').count();
        let word = plain(rest.get(..length).unwrap_or_default());
        let after = trim(rest.get(length..).unwrap_or_default());
        match after.first() {
            Some((':', _)) if TAGS.contains(&word.as_str()) => {
                tag(draft, at, &word);
                rest = trim(after.get(1..).unwrap_or_default());
            }
            Some(('=', _)) if length > 0 => {
                let value = trim(after.get(1..).unwrap_or_default());
                let end = value.iter().position(|(c, _)| c.is_whitespace()).unwrap_or(value.len());
                option(draft, at, &word, &plain(value.get(..end).unwrap_or_default()), context);
                rest = trim(value.get(end..).unwrap_or_default());
            }
            _ => return rest,
        }
    }
}

fn tag(draft: &mut Draft, at: At, word: &str) {
    let why = match word {
        "NOPASSWD" | "PASSWD" => "agents have no password",
        "NOEXEC" => "not needed: what a command starts is confined with it",
        "LOG_INPUT" | "LOG_OUTPUT" | "MAIL" => "every command of an agent is on record",
        "SETENV" => "not carried: an agent sets no variables; name them with their values in environment",
        _ => "has no counterpart",
    };
    if !draft.notes.iter().any(|note| note.what == word) {
        draft.note(at, word, why);
    }
}

fn option(draft: &mut Draft, at: At, word: &str, value: &str, context: &mut Context) {
    match (word, value.parse::<u32>()) {
        ("CWD", _) if value.starts_with('/') => context.run.cwd = Some(value.to_owned()),
        ("TIMEOUT", Ok(seconds)) => context.run.time_limit_s = Some(seconds),
        ("TIMEOUT", Err(_)) if tether_bundle::source::duration(value).is_some() => {
            context.run.time_limit_s = tether_bundle::source::duration(value);
        }
        _ => draft.leave(at, &format!("{word}={value}"), "this option has no counterpart"),
    }
}

/// `sha256:HEX`, perhaps several.
fn digests<'e>(draft: &mut Draft, mut rest: &'e [Char], context: &mut Context) -> &'e [Char] {
    loop {
        let Some((_, at)) = rest.first().copied() else { return rest };
        let end = rest.iter().position(|(c, _)| c.is_whitespace()).unwrap_or(rest.len());
        let word = plain(rest.get(..end).unwrap_or_default());
        let Some((kind, digest)) = word.split_once(':').filter(|(kind, _)| DIGESTS.contains(kind)) else { return rest };
        if kind == "sha256" && digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()) {
            context.digests.push(digest.to_lowercase());
        } else {
            draft.leave(at, &word, "only SHA-256 in hex; the command is carried over with a digest that no file has");
            // Dropping the digest would widen the rule.
            context.digests.push("0".repeat(64));
        }
        rest = trim(rest.get(end..).unwrap_or_default());
    }
}

/// A word of a command.
struct Word {
    text: String,
    /// It has a wildcard that is not escaped.
    wild: bool,
}

fn words(rest: &[Char]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut open = false;
    let mut characters = rest.iter().map(|(c, _)| *c);
    while let Some(c) = characters.next() {
        if c.is_whitespace() {
            open = false;
            continue;
        }
        if !open {
            words.push(Word { text: String::new(), wild: false });
            open = true;
        }
        let Some(word) = words.last_mut() else { continue };
        match c {
            '\\' => word.text.extend(characters.next()),
            c => {
                word.wild |= matches!(c, '*' | '?' | '[');
                word.text.push(c);
            }
        }
    }
    words
}

/// Lines, with continued ones joined and comments gone.
fn logical_lines(text: &str) -> Vec<Vec<Char>> {
    let mut lines = Vec::new();
    let mut line: Vec<Char> = Vec::new();
    for (number, physical) in text.lines().enumerate() {
        let (content, goes_on) = match physical.strip_suffix('\\') {
            Some(content) => (content, true),
            None => (physical, false),
        };
        let places = content.chars().enumerate();
        let with_places = places.map(|(column, c)| (c, At { line: number + 1, column: column + 1 }));
        let starts_line = line.is_empty();
        line.extend(without_comment(with_places.collect(), starts_line));
        if goes_on {
            line.push((' ', At { line: number + 1, column: content.chars().count() + 1 }));
            continue;
        }
        lines.push(trim(&std::mem::take(&mut line)).to_vec());
    }
    lines.push(trim(&line).to_vec());
    lines.retain(|line| !line.is_empty());
    lines
}

/// `#` begins a comment, but `#include` and `#1000` (a uid) do not.
fn without_comment(line: Vec<Char>, starts_line: bool) -> Vec<Char> {
    let is_comment = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| line.get(before)).map(|(c, _)| *c);
        let after: String = line.iter().skip(at + 1).take(7).map(|(c, _)| *c).collect();
        let include = starts_line && at == 0 && after.starts_with("include");
        let uid = after.starts_with(|c: char| c.is_ascii_digit() || c == '-') && before != Some('#');
        before != Some('\\') && !include && !uid
    };
    let end = line.iter().enumerate().find(|(at, (c, _))| *c == '#' && is_comment(*at)).map(|(at, _)| at);
    match end {
        Some(end) => line.into_iter().take(end).collect(),
        None => line,
    }
}

fn first_word(line: &[Char]) -> String {
    line.iter().map(|(c, _)| *c).take_while(|c| !c.is_whitespace()).collect()
}

fn plain(line: &[Char]) -> String {
    trim(line).iter().map(|(c, _)| *c).collect()
}

fn trim(line: &[Char]) -> &[Char] {
    let start = line.iter().position(|(c, _)| !c.is_whitespace()).unwrap_or(line.len());
    let end = line.iter().rposition(|(c, _)| !c.is_whitespace()).map_or(start, |at| at + 1);
    line.get(start..end).unwrap_or_default()
}

/// Where a character stands first, unescaped.
fn unescaped(line: &[Char], wanted: char) -> Option<usize> {
    separators(line, wanted).next()
}

/// The parts between separators that are not escaped, not quoted, and not part of a tag, digest or account.
fn split(line: &[Char], separator: char) -> Vec<Entry> {
    let mut parts = Vec::new();
    let mut start = 0;
    for at in separators(line, separator) {
        parts.push(trim(line.get(start..at).unwrap_or_default()).to_vec());
        start = at + 1;
    }
    parts.push(trim(line.get(start..).unwrap_or_default()).to_vec());
    parts
}

fn separators(line: &[Char], separator: char) -> impl Iterator<Item = usize> + '_ {
    let mut quoted = false;
    let mut escaped = false;
    let mut bracket = false;
    let ends_word = move |at: usize| {
        let word: Vec<char> = line
            .get(..at)
            .unwrap_or_default()
            .iter()
            .rev()
            .map(|(c, _)| *c)
            .skip_while(|c| separator == ':' && c.is_whitespace())
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        let word: String = word.into_iter().rev().collect();
        separator == ':' && (TAGS.contains(&word.as_str()) || DIGESTS.contains(&word.as_str()))
    };
    let mut seen = BTreeSet::new();
    line.iter().enumerate().filter_map(move |(at, (c, _))| {
        let was_escaped = std::mem::replace(&mut escaped, false);
        match c {
            '\\' if !was_escaped => escaped = true,
            '"' if !was_escaped => quoted = !quoted,
            '(' if !was_escaped => bracket = true,
            ')' if !was_escaped => bracket = false,
            c if *c == separator && !was_escaped && !quoted && !bracket && !ends_word(at) => {
                return seen.insert(at).then_some(at);
            }
            _ => {}
        }
        None
    })
}
