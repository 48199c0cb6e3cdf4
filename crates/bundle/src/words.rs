//! Rules in words: as a person would type them.

use crate::model::{Arguments, Bundle, Effect, Pattern, Rest, Rule, Target};

/// How much of a list is written out in a line for people.
const SHOWN: usize = 8;
/// The same for a model, which must know what it may type.
const ALL: usize = usize::MAX;

impl Bundle {
    /// What is allowed, one line for each rule, as a person would type it.
    pub fn commands(&self) -> Vec<String> {
        self.rules.iter().filter(|rule| rule.effect == Effect::Allow).map(Rule::in_words).collect()
    }
}

impl Rule {
    /// The command that the rule is about, as a person would type it.
    pub fn in_words(&self) -> String {
        as_typed(&self.target.in_words(), &self.arguments)
    }
}

impl Target {
    /// Which programs.
    pub fn in_words(&self) -> String {
        match self {
            Self::Program { path, .. } => quoted(path),
            Self::Directory(path) => format!("{path}/*"),
            Self::Every => "*".to_owned(),
        }
    }
}

/// A program with arguments, as a person would type it.
pub(crate) fn as_typed(program: &str, arguments: &Arguments) -> String {
    match arguments.in_words() {
        words if words.is_empty() => program.to_owned(),
        words => format!("{program} {words}"),
    }
}

impl Arguments {
    /// The arguments in words, long lists shortened; nothing for none.
    pub fn in_words(&self) -> String {
        self.words(SHOWN)
    }

    /// The same with nothing left out.
    pub fn in_full(&self) -> String {
        self.words(ALL)
    }

    fn words(&self, most: usize) -> String {
        match self {
            Self::Any => "…".to_owned(),
            Self::None => String::new(),
            Self::Each { first, rest } => {
                let words = first.iter().map(|pattern| words(pattern, most));
                words.chain(rest.iter().map(|rest| further(rest, most))).collect::<Vec<_>>().join(" ")
            }
        }
    }
}

fn further(Rest { pattern, min, max }: &Rest, most: usize) -> String {
    let word = words(pattern, most);
    match (*min, *max) {
        (0, 1) => format!("[{word}]"),
        (1, 1) => word,
        (0, max) => format!("[{word}, up to {max}]"),
        (min, max) => format!("{word}, {min} to {max} of them"),
    }
}

/// What an argument must be, long lists shortened.
pub fn pattern_in_words(pattern: &Pattern) -> String {
    words(pattern, SHOWN)
}

fn words(pattern: &Pattern, most: usize) -> String {
    match pattern {
        Pattern::Exact(text) => quoted(text),
        Pattern::OneOf(texts) => format!("{{{}}}", joined(texts.iter().map(|text| quoted(text)), "|", most)),
        Pattern::Integer { min, max } => format!("<{min} to {max}>"),
        Pattern::Regex(text) => format!("<like /{text}/>"),
        Pattern::Path { under, prefix } => {
            format!("{prefix}<path under {}>", joined(under.iter().cloned(), " or ", most))
        }
        Pattern::AnyOf(patterns) => {
            format!("{{{}}}", joined(patterns.iter().map(|pattern| words(pattern, most)), "|", most))
        }
        Pattern::Anything => "<anything>".to_owned(),
    }
}

fn joined(words: impl ExactSizeIterator<Item = String>, between: &str, most: usize) -> String {
    let more = words.len().saturating_sub(most);
    let mut shown: Vec<String> = words.take(most).collect();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(between)
}

/// A word as a shell would take it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A line's words, as a shell would take them: blanks between, `'…'`, `"…"` and `\`. No variables, no globs.
pub fn split_words(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => quoted_part(&mut characters, '\'', word.get_or_insert_default())?,
            '"' => quoted_part(&mut characters, '"', word.get_or_insert_default())?,
            '\\' => {
                let next = characters.next().ok_or("a '\\' at the end of the line")?;
                word.get_or_insert_default().push(next);
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted_part(characters: &mut std::str::Chars<'_>, mark: char, word: &mut String) -> Result<(), &'static str> {
    loop {
        match characters.next().ok_or("a quote is not closed")? {
            c if c == mark => return Ok(()),
            '\\' if mark == '"' => {
                let next = characters.next().ok_or("a quote is not closed")?;
                if !matches!(next, '"' | '\\' | '$' | '`') {
                    word.push('\\');
                }
                word.push(next);
            }
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        let words = |line: &str| split_words(line).unwrap();
        assert_eq!(words("  a  b\tc "), ["a", "b", "c"]);
        assert_eq!(words(r#"awk '{print $1}' "a b" c\ d '' e"f"'g'"#), ["awk", "{print $1}", "a b", "c d", "", "efg"]);
        assert_eq!(words(r#""\n \" \\""#), [r#"\n " \"#]);
        for bad in ["'a", "\"a", "a\\", "\"a\\"] {
            assert!(split_words(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_quoted_word_is_split_into_itself() {
        for word in ["a", "", "a b", "it's", "$x", "\"", "\\", "…", "*", "a\tb"] {
            assert_eq!(split_words(&quoted(word)).unwrap(), [word]);
        }
    }
}
