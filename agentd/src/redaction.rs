//! What of a command's arguments no record shows: by the host admin's patterns, which `[audit] redact` lists.
//!
//! A pattern that matches an argument hides all of it; `after:PATTERN` hides the argument after the one that PATTERN
//! matches.

use regex_lite::Regex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// A command line is kept whole up to this many bytes.
const WHOLE_MAX: usize = 8192;
/// What spells a word of a shell's and is no part of it.
const QUOTES: [char; 3] = ['\'', '"', '\\'];
/// What hides the argument that follows.
const AFTER: &str = "after:";

/// What is hidden where `host.toml` says nothing: the usual names of options that carry a secret.
pub const USUAL: [&str; 2] = [
    "(?i)^--?([a-z0-9]+[-_])*(password|passwd|passphrase|secret|token|api[-_]?key)=",
    "after:(?i)^--?([a-z0-9]+[-_])*(password|passwd|passphrase|secret|token|api[-_]?key)$",
];

/// The patterns.
#[derive(Debug, Default)]
pub struct Redaction {
    /// What hides the argument that it matches.
    own: Vec<Regex>,
    /// What hides the argument after the one that it matches.
    after: Vec<Regex>,
}

impl Redaction {
    /// Whether all can be read; if not, which cannot and why.
    pub fn check(patterns: &[String]) -> Result<(), String> {
        patterns.iter().try_for_each(|pattern| match Regex::new(pattern.strip_prefix(AFTER).unwrap_or(pattern)) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{pattern:?}: {error}")),
        })
    }

    /// From the settings, which were checked: what cannot be read hides nothing. `after:PATTERN` hides the argument
    /// after the one that PATTERN matches.
    pub fn new(patterns: &[String]) -> Self {
        let (after, own): (Vec<&String>, Vec<&String>) =
            patterns.iter().partition(|pattern| pattern.starts_with(AFTER));
        let read = |patterns: Vec<&String>| -> Vec<Regex> {
            let texts = patterns.into_iter().map(|pattern| pattern.strip_prefix(AFTER).unwrap_or(pattern));
            texts.filter_map(|text| Regex::new(text).ok()).collect()
        };
        Self { own: read(own), after: read(after) }
    }

    /// A command line as a record has it: whole up to 8 KiB; beyond, its beginning, how long it was, and a digest, so
    /// that two that differ have two records. What is hidden is hidden in the digest, too.
    pub fn argv(&self, argv: &[Value]) -> Value {
        // What is not text is hidden with what it follows, and by no pattern of its own.
        let texts: Vec<&str> = argv.iter().map(|word| word.as_str().unwrap_or_default()).collect();
        let hides = |at: usize| texts.get(at).is_some_and(|text| self.hides(&texts, at, text));
        let word = |(at, word): (usize, &Value)| if hides(at) { json!({"redacted": true}) } else { word.clone() };
        let shown: Vec<Value> = argv.iter().enumerate().map(word).collect();
        let length: usize = argv.iter().map(length).sum();
        if length <= WHOLE_MAX {
            return Value::Array(shown);
        }
        let digest: String =
            Sha256::digest(Value::Array(shown.clone()).to_string()).iter().map(|byte| format!("{byte:02x}")).collect();
        let start: Vec<Value> = shown.into_iter().take(8).map(start).collect();
        json!({"start": start, "arguments": argv.len(), "bytes": length, "sha256": digest})
    }

    /// The same of texts.
    pub fn texts(&self, argv: &[String]) -> Value {
        self.argv(&argv.iter().map(|text| Value::String(text.clone())).collect::<Vec<_>>())
    }

    /// Other words about a command, without what its arguments hide. An agent chose both: what stands in the place of
    /// one that is hidden is not looked at again, so the text does not grow with each of them.
    pub fn words(&self, text: &str, argv: &[String]) -> String {
        let hides = |(at, word): &(usize, &String)| !word.is_empty() && self.hides(argv, *at, word);
        blanked(text, &argv.iter().enumerate().filter(hides).map(|(_, word)| word.as_str()).collect())
    }

    /// A shell's command line, which is one text: what its words hide, as far as blanks outside of quotes part them.
    pub fn line(&self, text: &str) -> String {
        let words = shell_words(text);
        let plain: Vec<String> =
            std::iter::once("sh".to_owned()).chain(words.iter().map(|word| word.replace(QUOTES, ""))).collect();
        let hidden = plain.iter().enumerate().skip(1).filter(|(at, word)| self.hides(&plain, *at, word));
        // As it is spelled; without its quotes it may stand elsewhere.
        let spelled = hidden.flat_map(|(at, word)| words.get(at - 1).copied().into_iter().chain([word.as_str()]));
        blanked(text, &spelled.filter(|word| !word.is_empty()).collect())
    }

    fn hides<T: AsRef<str>>(&self, argv: &[T], at: usize, word: &str) -> bool {
        // The program is never hidden.
        if at == 0 {
            return false;
        }
        let before = argv.get(at - 1).map_or("", AsRef::as_ref);
        self.own.iter().any(|pattern| pattern.is_match(word))
            || (at > 1 && self.after.iter().any(|pattern| pattern.is_match(before)))
    }
}

/// A text without these words.
fn blanked(text: &str, hidden: &BTreeSet<&str>) -> String {
    let places = |word: &&str| text.match_indices(*word).map(|(at, word)| (at, at + word.len())).collect::<Vec<_>>();
    let mut places: Vec<(usize, usize)> = hidden.iter().flat_map(places).collect();
    places.sort_unstable();
    let (mut out, mut done) = (String::with_capacity(text.len()), 0);
    for (from, to) in places {
        // Those that touch or overlap are one.
        if done == 0 || from > done {
            out.push_str(text.get(done..from).unwrap_or_default());
            out.push_str("(hidden)");
        }
        done = done.max(to);
    }
    out + text.get(done..).unwrap_or_default()
}

/// The words of a shell's command line as they are spelled: blanks part them where no quote is open and no backslash
/// stands before.
fn shell_words(text: &str) -> Vec<&str> {
    let (mut words, mut begun, mut quote, mut escaped) = (Vec::new(), None, None, false);
    for (at, character) in text.char_indices() {
        if character.is_whitespace() && quote.is_none() && !escaped {
            words.extend(begun.take().and_then(|from| text.get(from..at)));
            continue;
        }
        begun.get_or_insert(at);
        if std::mem::take(&mut escaped) {
            continue;
        }
        match (character, quote) {
            // Between single quotes a backslash is one.
            ('\\', None | Some('"')) => escaped = true,
            ('\'' | '"', None) => quote = Some(character),
            (_, Some(open)) if open == character => quote = None,
            _ => {}
        }
    }
    words.extend(begun.and_then(|from| text.get(from..)));
    words
}

fn length(word: &Value) -> usize {
    word.as_str().map_or_else(|| word.to_string().len(), str::len)
}

fn start(word: Value) -> Value {
    match word {
        Value::String(text) if text.chars().count() > 256 => Value::String(text.chars().take(256).collect()),
        Value::Object(members) if Value::Object(members.clone()).to_string().len() > 1024 => json!({"base64": null}),
        word => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redaction(patterns: &[&str]) -> Redaction {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        assert_eq!(Redaction::check(&patterns), Ok(()));
        Redaction::new(&patterns)
    }

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_a_pattern_names_is_hidden_and_nothing_else() {
        let redaction = redaction(&["^--token=", "after:^--password$"]);
        let line = argv(&["/bin/x", "--token=abc", "--password", "secret", "--token", "shown"]);
        assert_eq!(
            redaction.texts(&line),
            json!(["/bin/x", {"redacted": true}, "--password", {"redacted": true}, "--token", "shown"])
        );
        let said = "the value secret of --token=abc is not allowed";
        assert_eq!(redaction.words(said, &line), "the value (hidden) of (hidden) is not allowed");
        assert_eq!(redaction.line("x --password  secret; y"), "x --password  (hidden) y");
        assert_eq!(Redaction::default().texts(&line), json!(line), "control: without patterns all is shown");
    }

    /// What stood behind the first blank of a quoted secret was shown.
    #[test]
    fn a_secret_in_quotes_is_hidden_whole() {
        let usual = redaction(&USUAL);
        for (line, shown) in [
            ("mysql --password='correct horse' -e x", "mysql (hidden) -e x"),
            ("x --token \"a b\" y", "x --token (hidden) y"),
            ("x --token a\\ b y", "x --token (hidden) y"),
            ("x --token='it'\\''s so' y", "x (hidden) y"),
            ("export T=\"s3 cr\"; x --token 's3 cr'", "export T=\"(hidden)\"; x --token (hidden)"),
            ("x --'password' \"never closed", "x --'password' (hidden)"),
            ("echo \"it's\" 'all \"shown\"' here", "echo \"it's\" 'all \"shown\"' here"),
        ] {
            assert_eq!(usual.line(line), shown, "{line}");
        }
    }

    #[test]
    fn the_usual_names_of_secrets_are_hidden_where_nothing_is_said() {
        let usual = redaction(&USUAL);
        let hidden = json!({"redacted": true});
        for word in ["--password=x", "-token=x", "--db-password=x", "--API_KEY=x", "--client-secret=", "--apikey=x"] {
            assert_eq!(usual.texts(&argv(&["/bin/x", word, "y"])), json!(["/bin/x", hidden, "y"]), "{word}");
        }
        for word in ["--password", "--auth-token", "-passphrase"] {
            assert_eq!(usual.texts(&argv(&["/bin/x", word, "y", "z"])), json!(["/bin/x", word, hidden, "z"]), "{word}");
        }
        for word in ["password", "--password-file=/etc/x", "--tokens=3", "--keys=x", "-p", "token=x", "/etc/passwd"] {
            assert_eq!(usual.texts(&argv(&["/bin/x", word, "y"])), json!(["/bin/x", word, "y"]), "{word}");
        }
    }

    /// What stood for one was hidden again by the next, and each doubled the text: forty of them in one command line took
    /// all of the host's memory.
    #[test]
    fn what_is_hidden_is_hidden_once() {
        let usual = redaction(&USUAL);
        let line = format!("x {}", "--token d --token h --token ( ".repeat(12));
        let shown = usual.line(&line);
        assert!(shown.len() < 8 * line.len(), "{} bytes of {}", shown.len(), line.len());
        assert!(!shown.replace("(hidden)", "").contains(['d', 'h', '(']), "{shown}");
        let texts = argv(&["x", "--token", "ab", "--token", "bc", "--token", "x"]);
        assert_eq!(usual.words("abc ab bc-ab, xx", &texts), "(hidden) (hidden) (hidden)-(hidden), (hidden)");
        assert_eq!(usual.words("nothing of it", &argv(&["x", "--token", ""])), "nothing of it");
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_named() {
        assert!(Redaction::check(&["(".to_owned()]).unwrap_err().contains("\"(\""));
        assert!(Redaction::check(&["after:(".to_owned()]).is_err());
    }

    #[test]
    fn long_lines_that_differ_far_behind_have_two_records() {
        let long = |end: &str| argv(&["/bin/x", &"a".repeat(9000), end]);
        let none = Redaction::default();
        assert_ne!(none.texts(&long("b")), none.texts(&long("c")));
        let hides = redaction(&["^[bc]$"]);
        assert_eq!(hides.texts(&long("b")), hides.texts(&long("c")), "nothing of what is hidden is in the digest");
        assert!(none.texts(&long("b")).to_string().len() < 1000);
    }
}
