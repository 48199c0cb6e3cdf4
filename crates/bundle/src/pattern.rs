//! Patterns, compiled, and whether an argument fits one.

use crate::decide::PathArgument;
use crate::model::Pattern;
use crate::path::{is_under, lexical};
use regex_lite::{Regex, RegexBuilder};
use std::collections::HashMap;
use std::sync::Arc;

/// The most bytes of an argument that a regular expression looks at: a longer one fits none.
pub const REGEX_ARGUMENT_MAX: usize = 1024;
/// The most bytes of a regular expression's text.
const REGEX_TEXT_MAX: usize = 512;
/// Sizes that a compiled expression may have, in bytes; the last is the most.
const SIZES: [usize; 4] = [1 << 10, 1 << 12, 1 << 14, 1 << 15];
/// About how many bytes one state of a compiled expression takes.
const STATE: usize = 32;
/// How many steps one decision may take: some milliseconds. Each comparison is one; an expression takes one for each
/// byte and state. A usual command takes a few, or some thousand where there are many expressions.
pub const STEPS_MAX: u64 = 1_000_000;

/// What an argument is to a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fit {
    /// It does not fit.
    No,
    /// The text alone does not tell: an allowance must not take it, a denial must.
    Unsure,
    /// It fits.
    Yes,
}

/// How much of a decision's time is left.
#[derive(Debug)]
pub(crate) struct Steps(u64);

impl Steps {
    pub(crate) fn new() -> Self {
        Self(STEPS_MAX)
    }

    pub(crate) fn taken(&self) -> u64 {
        STEPS_MAX - self.0
    }

    /// Takes some; false if there are not as many left.
    fn take(&mut self, steps: usize) -> bool {
        let left = u64::try_from(steps).ok().and_then(|steps| self.0.checked_sub(steps));
        self.0 = left.unwrap_or(0);
        left.is_some()
    }

    pub(crate) fn are_over(&self) -> bool {
        self.0 == 0
    }
}

/// A regular expression that must match a whole argument.
#[derive(Debug)]
pub(crate) struct Expression {
    regex: Regex,
    size: usize,
}

impl Expression {
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        if text.len() > REGEX_TEXT_MAX {
            return Err(format!("a regular expression has at most {REGEX_TEXT_MAX} bytes"));
        }
        // Alone first: "a)|(b" must not close the group that holds it to the whole argument.
        let most = SIZES.last().copied().unwrap_or_default();
        build(text, most)?;
        let whole = format!(r"\A(?:{text})\z");
        let mut last = String::new();
        for size in SIZES {
            match build(&whole, size) {
                Ok(regex) => return Ok(Self { regex, size }),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// Bytes it takes at most.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    fn fit(&self, argument: &str, steps: &mut Steps) -> Fit {
        let cost = (argument.len() + 1).saturating_mul(self.size / STATE);
        if argument.len() > REGEX_ARGUMENT_MAX || !steps.take(cost) {
            return Fit::Unsure;
        }
        if self.regex.is_match(argument) { Fit::Yes } else { Fit::No }
    }
}

fn build(text: &str, size: usize) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).size_limit(size).nest_limit(32).build();
    built.map_err(|error| format!("the regular expression {text:?}: {error}"))
}

/// Compiled expressions, each text once.
#[derive(Debug, Default)]
pub(crate) struct Expressions(HashMap<String, Arc<Expression>>);

impl Expressions {
    /// The expression, and whether it is new here.
    pub(crate) fn get(&mut self, text: &str) -> Result<(Arc<Expression>, bool), String> {
        if let Some(known) = self.0.get(text) {
            return Ok((Arc::clone(known), false));
        }
        let new = Arc::new(Expression::compile(text)?);
        self.0.insert(text.to_owned(), Arc::clone(&new));
        Ok((new, true))
    }
}

/// A pattern, ready to be tried.
#[derive(Debug, Clone)]
pub(crate) enum Matcher {
    Exact(String),
    /// Sorted.
    OneOf(Vec<String>),
    Integer(i64, i64),
    Regex(Arc<Expression>),
    Path {
        under: Vec<String>,
        prefix: String,
    },
    AnyOf(Vec<Matcher>),
    Anything,
}

impl Matcher {
    pub(crate) fn new(pattern: &Pattern, expressions: &mut Expressions) -> Result<Self, String> {
        Ok(match pattern {
            Pattern::Exact(text) => Self::Exact(text.clone()),
            Pattern::OneOf(texts) => {
                let mut sorted = texts.clone();
                sorted.sort_unstable();
                Self::OneOf(sorted)
            }
            Pattern::Integer { min, max } => Self::Integer(*min, *max),
            Pattern::Regex(text) => Self::Regex(expressions.get(text)?.0),
            Pattern::Path { under, prefix } => Self::Path { under: under.clone(), prefix: prefix.clone() },
            Pattern::AnyOf(patterns) => {
                let all = patterns.iter().map(|pattern| Self::new(pattern, expressions));
                Self::AnyOf(all.collect::<Result<_, _>>()?)
            }
            Pattern::Anything => Self::Anything,
        })
    }

    /// Whether an argument fits; if it fits as a path, which.
    pub(crate) fn fit(&self, argument: &Argument<'_>, steps: &mut Steps) -> (Fit, Option<PathArgument>) {
        if !steps.take(1) {
            return (Fit::Unsure, None);
        }
        let text = argument.text;
        let yes = |fits: bool| (if fits { Fit::Yes } else { Fit::No }, None);
        match self {
            Self::Exact(exact) => yes(exact == text),
            Self::OneOf(texts) => yes(texts.binary_search_by(|one| one.as_str().cmp(text)).is_ok()),
            Self::Integer(min, max) => yes(integer(text).is_some_and(|found| (*min..=*max).contains(&found))),
            Self::Regex(expression) => (expression.fit(text, steps), None),
            Self::Path { under, prefix } => {
                // A path is written anew, some bytes at a step.
                if steps.take(under.len() + (text.len() + argument.cwd.len()) / 16) {
                    fit_path(argument, under, prefix)
                } else {
                    (Fit::Unsure, None)
                }
            }
            Self::AnyOf(patterns) => {
                let mut best = (Fit::No, None);
                for pattern in patterns {
                    let found = pattern.fit(argument, steps);
                    if found.0 > best.0 {
                        best = found;
                    }
                    if best.0 == Fit::Yes {
                        break;
                    }
                }
                best
            }
            Self::Anything => yes(true),
        }
    }
}

/// One argument of a command.
pub(crate) struct Argument<'c> {
    pub(crate) index: usize,
    pub(crate) text: &'c str,
    pub(crate) cwd: &'c str,
}

fn fit_path(argument: &Argument<'_>, under: &[String], prefix: &str) -> (Fit, Option<PathArgument>) {
    let Some(typed) = argument.text.strip_prefix(prefix) else { return (Fit::No, None) };
    if typed.is_empty() {
        return (Fit::No, None);
    }
    // The program would take `-x` for an option; `./-x` is the file.
    if prefix.is_empty() && typed.starts_with('-') {
        return (Fit::Unsure, None);
    }
    // Where ".." leads, only the file system knows.
    let Some(path) = lexical(typed, argument.cwd) else { return (Fit::Unsure, None) };
    match under.iter().find(|folder| is_under(&path, folder)) {
        None => (Fit::No, None),
        Some(folder) => {
            let under = folder.clone();
            (Fit::Yes, Some(PathArgument { index: argument.index, prefix_len: prefix.len(), path, under }))
        }
    }
}

/// A decimal integer as a program would print it: no `+`, no leading zeros, no `-0`.
fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let no_zeros = !digits.starts_with('0') || text == "0";
    if plain && no_zeros { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(pattern: Pattern, text: &str) -> Fit {
        let argument = Argument { index: 0, text, cwd: "/var/log" };
        Matcher::new(&pattern, &mut Expressions::default()).unwrap().fit(&argument, &mut Steps::new()).0
    }

    fn table(pattern: &Pattern, fits: &[&str], does_not: &[&str]) {
        for text in fits {
            assert_eq!(fit(pattern.clone(), text), Fit::Yes, "{pattern:?} {text:?}");
        }
        for text in does_not {
            assert_ne!(fit(pattern.clone(), text), Fit::Yes, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn exact_and_one_of() {
        table(&Pattern::Exact("-tn".into()), &["-tn"], &["", "-t", "-tnx", "-TN", " -tn"]);
        table(&Pattern::OneOf(vec!["b".into(), "a".into(), "".into()]), &["a", "b", ""], &["c", "ab", "A"]);
    }

    #[test]
    fn integers_have_one_spelling() {
        let pattern = Pattern::Integer { min: -5, max: 100 };
        table(
            &pattern,
            &["0", "1", "100", "-5"],
            &["", "-", "101", "-6", "+1", "01", "-0", "1.0", " 1", "1\n", "0x1", "١"],
        );
        let all = Pattern::Integer { min: i64::MIN, max: i64::MAX };
        table(
            &all,
            &["9223372036854775807", "-9223372036854775808"],
            &["9223372036854775808", "99999999999999999999999"],
        );
    }

    #[test]
    fn an_expression_must_match_the_whole_argument() {
        table(&Pattern::Regex("[a-z]+".into()), &["abc"], &["", "abc1", "1abc", "abc\n", "\nabc", "abc\nabc"]);
        table(&Pattern::Regex("a|b".into()), &["a", "b"], &["ab", "ax", "xb"]);
        table(&Pattern::Regex("(?m)^a$".into()), &["a"], &["a\nb", "b\na", "a\n"]);
        table(&Pattern::Regex("(?i)abc".into()), &["ABC"], &["abcd"]);
        for bad in ["a)|(?:b", "(", "[", "a{1000000}", "(?x)a#", "(((((((((((((((((((((((((((((((((((((a", r"\p{L}"] {
            assert!(Expression::compile(bad).is_err(), "{bad}");
        }
        assert!(Expression::compile(&"a".repeat(REGEX_TEXT_MAX + 1)).is_err());
    }

    #[test]
    fn a_long_argument_fits_no_expression_and_is_no_miss_for_a_denial() {
        let pattern = Pattern::Regex("a*".into());
        assert_eq!(fit(pattern.clone(), &"a".repeat(REGEX_ARGUMENT_MAX)), Fit::Yes);
        assert_eq!(fit(pattern, &"a".repeat(REGEX_ARGUMENT_MAX + 1)), Fit::Unsure);
    }

    #[test]
    fn paths_lie_under_their_folder() {
        let pattern = Pattern::Path { under: vec!["/var/log".into(), "/etc/ssh".into()], prefix: String::new() };
        table(
            &pattern,
            &["/var/log", "/var/log/", "/var/log/syslog", "/var//log/./a", "syslog", "./-x", "/etc/ssh/x", "."],
            &["", "/var/logs", "/var/log/../shadow", "../log/syslog", "-x", "--help", "/etc/shadow", "/", "~/x/.."],
        );
        let prefixed = Pattern::Path { under: vec!["/var/log".into()], prefix: "--file=".into() };
        table(
            &prefixed,
            &["--file=/var/log/a", "--file=a", "--file=-a"],
            &["--file=", "--file", "/var/log/a", "--file=../a"],
        );
        assert_eq!(fit(pattern.clone(), "/var/log/../x"), Fit::Unsure);
        assert_eq!(fit(pattern, "/usr"), Fit::No);
    }

    #[test]
    fn a_path_is_reported_as_it_lies() {
        let pattern = Pattern::Path { under: vec!["/var/log".into()], prefix: "-f".into() };
        let argument = Argument { index: 3, text: "-f./x//y", cwd: "/var/log" };
        let (_, path) = Matcher::new(&pattern, &mut Expressions::default()).unwrap().fit(&argument, &mut Steps::new());
        let wanted = PathArgument { index: 3, prefix_len: 2, path: "/var/log/x/y".into(), under: "/var/log".into() };
        assert_eq!(path, Some(wanted));
    }

    #[test]
    fn any_of_takes_the_first_that_fits() {
        let number = Pattern::Integer { min: 1, max: 9 };
        let pattern = Pattern::AnyOf(vec![Pattern::Exact("all".into()), number, Pattern::Regex("x+".into())]);
        table(&pattern, &["all", "7", "xx"], &["", "10", "y"]);
        table(&Pattern::Anything, &["", "-x", "\n"], &[]);
    }
}
