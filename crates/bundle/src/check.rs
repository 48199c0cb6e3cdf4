//! What every bundle must be, wherever it came from: bounds, plain paths, rules that mean something.

use crate::environment;
use crate::model::{Arguments, Bundle, Effect, Grant, Mode, Pattern, Reads, Rest, Rule, Run, Target};
use crate::path::is_plain_absolute;
use crate::pattern::Expressions;
use std::collections::{BTreeMap, BTreeSet};

const PLAIN: &str = "a path is absolute, without '.', '..', '//', a '/' at the end or control characters";

/// The most rules that a bundle may have.
pub const RULES_MAX: usize = 10_000;
/// The most rules whose arguments are not an exact list, for one program or folder (and as many for every program);
/// and the most rules with the same exact list. They are tried one by one; exact lists are looked up.
pub const PATTERN_RULES_MAX: usize = 64;
/// The most patterns in the `first` of one rule.
pub const ARGUMENTS_MAX: usize = 64;
/// The most patterns of one rule, nested ones included.
pub const PATTERNS_MAX: usize = 1024;
/// The most further arguments that a rule may take.
pub const REST_MAX: u32 = 1024;
/// How deep `any_of` may be nested.
pub const DEPTH_MAX: usize = 4;
/// The most values of a `one_of`, patterns of an `any_of`, folders of a `path`, paths of a list.
pub const LIST_MAX: usize = 256;
/// The most bytes of one argument, text or variable.
pub const TEXT_MAX: usize = 4096;
/// The most bytes that the compiled regular expressions of a bundle may take; the same text counts once.
pub const EXPRESSIONS_MAX: usize = 4 << 20;
/// The longest time limit: a day.
pub const TIME_MAX_S: u32 = 86_400;
/// The greatest output limit: 1 GiB.
pub const OUTPUT_MAX: u64 = 1 << 30;

/// Why a bundle is not one. The first of possibly many reasons.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// A rule breaks a rule for rules.
    #[error("rule {rule:?}: {why}")]
    Rule {
        /// Its id.
        rule: String,
        /// A stable code.
        code: &'static str,
        /// What is wrong and what to write instead.
        why: String,
    },
    /// Something else than a rule is wrong.
    #[error("{why}")]
    Bundle {
        /// A stable code.
        code: &'static str,
        /// What is wrong and what to write instead.
        why: String,
    },
}

impl BundleError {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rule { code, .. } | Self::Bundle { code, .. } => code,
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Which rule, by its place.
    pub(crate) rule: Option<usize>,
    /// Which key of the source it is about.
    pub(crate) key: &'static str,
    /// Which element of that key's list.
    pub(crate) element: Option<usize>,
    pub(crate) code: &'static str,
    pub(crate) why: String,
}

impl Bundle {
    /// Checks a bundle, wherever it came from.
    pub fn check(self) -> Result<Self, BundleError> {
        match faults(&self).into_iter().next() {
            None => Ok(self),
            Some(fault) => Err(self.error(fault)),
        }
    }

    fn error(&self, Fault { rule, code, why, .. }: Fault) -> BundleError {
        match rule.and_then(|at| self.rules.get(at)) {
            Some(rule) => BundleError::Rule { rule: rule.id.chars().take(64).collect(), code, why },
            None => BundleError::Bundle { code, why },
        }
    }
}

/// Everything that is wrong with a bundle.
pub(crate) fn faults(bundle: &Bundle) -> Vec<Fault> {
    let mut check = Check::default();
    if bundle.rules.len() > RULES_MAX {
        let why = format!("it has {} rules, the most is {RULES_MAX}", bundle.rules.len());
        check.say("rule", "bundle.too_many_rules", why);
        return check.faults;
    }
    if bundle.version == 0 {
        check.say("version", "bundle.version", "a version begins with 1");
    }
    if !is_text(&bundle.about, 512) {
        check.say("about", "bundle.about", "it has at most 512 bytes and no control characters");
    }
    check.reads(&bundle.read);
    for (at, rule) in bundle.rules.iter().enumerate() {
        check.rule = Some(at);
        check.one(rule);
    }
    check.faults
}

#[derive(Default)]
struct Check<'b> {
    faults: Vec<Fault>,
    rule: Option<usize>,
    element: Option<usize>,
    ids: BTreeSet<&'b str>,
    /// How many rules are tried one by one for the same target, or looked up by the same list.
    tried: BTreeMap<TargetKey<'b>, usize>,
    listed: BTreeMap<(TargetKey<'b>, Vec<&'b str>), usize>,
    /// How many patterns the rule has, so far.
    patterns: usize,
    expressions: Expressions,
    /// How many bytes they take, so far.
    expressions_size: usize,
}

impl<'b> Check<'b> {
    fn say(&mut self, key: &'static str, code: &'static str, why: impl Into<String>) {
        let (rule, element) = (self.rule, self.element);
        self.faults.push(Fault { rule, key, element, code, why: why.into() });
    }

    fn reads(&mut self, read: &Reads) {
        for (key, list) in [("trees", &read.trees), ("named", &read.named)] {
            if list.len() > LIST_MAX {
                self.say(key, "bundle.read", format!("at most {LIST_MAX} paths"));
            }
            for path in list.iter().filter(|path| !is_plain_absolute(path)) {
                self.say(key, "bundle.read", format!("{path:?}: {PLAIN}; '/' as a whole cannot be given"));
            }
        }
    }

    fn one(&mut self, rule: &'b Rule) {
        if rule.id.is_empty() || !is_text(&rule.id, 64) {
            self.say("id", "rule.id", "an id has 1 to 64 bytes without control characters");
        }
        if !self.ids.insert(&rule.id) {
            self.say("id", "rule.id", format!("another rule has the same id, {:?}", rule.id));
        }
        self.target(rule);
        self.patterns = 0;
        self.arguments(&rule.arguments);
        self.run(rule);
        self.crowd(rule);
    }

    fn target(&mut self, rule: &Rule) {
        match &rule.target {
            Target::Program { path, sha256 } => {
                if !is_plain_absolute(path) {
                    self.say("program", "rule.program", format!("{path:?}: {PLAIN}"));
                }
                let is_digest = |text: &String| {
                    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
                };
                if sha256.len() > LIST_MAX || !sha256.iter().all(is_digest) {
                    self.say("sha256", "rule.sha256", "a SHA-256 is written as 64 of 0-9a-f; at most 256 of them");
                }
            }
            Target::Directory(path) if !is_plain_absolute(path) => {
                self.say("directory", "rule.directory", format!("{path:?}: {PLAIN}"));
            }
            Target::Every if rule.effect == Effect::Allow => {
                self.say("program", "rule.program", "only a rule that denies may leave the program out");
            }
            Target::Directory(_) | Target::Every => {}
        }
    }

    fn arguments(&mut self, arguments: &Arguments) {
        let Arguments::Each { first, rest } = arguments else { return };
        if first.is_empty() && rest.is_none() {
            self.say("arguments", "rule.arguments", "an empty list of arguments is written \"none\"");
        }
        if first.len() > ARGUMENTS_MAX {
            self.say("arguments", "rule.arguments", format!("at most {ARGUMENTS_MAX} arguments; use rest for more"));
            return;
        }
        for (element, pattern) in first.iter().enumerate() {
            self.element = Some(element);
            self.pattern("arguments", pattern, 1);
        }
        self.element = None;
        if let Some(Rest { pattern, min, max }) = rest {
            if min > max || *max == 0 || *max > REST_MAX {
                let why = format!("rest needs min <= max, and max from 1 to {REST_MAX}");
                self.say("rest", "rule.rest", why);
            }
            self.pattern("rest", pattern, 1);
        }
    }

    fn pattern(&mut self, key: &'static str, pattern: &Pattern, depth: usize) {
        self.patterns += 1;
        if self.patterns > PATTERNS_MAX {
            if self.patterns == PATTERNS_MAX + 1 {
                self.say(key, "rule.pattern", format!("a rule has at most {PATTERNS_MAX} patterns"));
            }
            return;
        }
        match pattern {
            Pattern::Exact(text) => self.argument(key, text),
            Pattern::OneOf(texts) => {
                self.some(key, "one_of", texts.len());
                for text in texts {
                    self.argument(key, text);
                }
            }
            Pattern::Integer { min, max } if min > max => {
                self.say(key, "rule.integer", format!("no integer lies between {min} and {max}"));
            }
            Pattern::Regex(text) => self.regex(key, text),
            Pattern::Path { under, prefix } => {
                self.some(key, "path", under.len());
                for path in under.iter().filter(|path| !is_plain_absolute(path)) {
                    self.say(key, "rule.path", format!("{path:?}: {PLAIN}"));
                }
                self.argument(key, prefix);
            }
            Pattern::AnyOf(_) if depth >= DEPTH_MAX => {
                self.say(key, "rule.any_of", format!("any_of may be nested {DEPTH_MAX} deep"));
            }
            Pattern::AnyOf(patterns) => {
                self.some(key, "any_of", patterns.len());
                for pattern in patterns.iter().take(LIST_MAX) {
                    self.pattern(key, pattern, depth + 1);
                }
            }
            Pattern::Integer { .. } | Pattern::Anything => {}
        }
    }

    fn argument(&mut self, key: &'static str, text: &str) {
        if !is_text(text, TEXT_MAX) {
            self.say(key, "rule.arguments", format!("an argument has at most {TEXT_MAX} bytes, no control characters"));
        }
    }

    fn some(&mut self, key: &'static str, what: &str, found: usize) {
        if !(1..=LIST_MAX).contains(&found) {
            self.say(key, "rule.arguments", format!("{what} has {found} entries, it must have 1 to {LIST_MAX}"));
        }
    }

    fn regex(&mut self, key: &'static str, text: &str) {
        match self.expressions.get(text) {
            Err(why) => self.say(key, "rule.regex", why),
            Ok((_, false)) => {}
            Ok((expression, true)) => {
                let before = self.expressions_size;
                self.expressions_size += expression.size();
                if before <= EXPRESSIONS_MAX && self.expressions_size > EXPRESSIONS_MAX {
                    let why = "the regular expressions of this bundle are too many; write one_of or exact arguments";
                    self.say(key, "rule.regex", why);
                }
            }
        }
    }

    fn run(&mut self, rule: &Rule) {
        let run = &rule.run;
        if rule.effect == Effect::Deny && *run != Run::default() {
            self.say(
                "deny",
                "rule.deny",
                "a rule that denies runs nothing: it has no mode, grants, limits or environment",
            );
        }
        if let Some(cwd) = run.cwd.as_ref().filter(|cwd| *cwd != "/" && !is_plain_absolute(cwd)) {
            self.say("cwd", "rule.cwd", format!("{cwd:?}: {PLAIN}"));
        }
        for (name, value) in &run.environment {
            if let Some(why) = environment::objection(name) {
                self.say("environment", "rule.environment", format!("{name:?}: {why}"));
            }
            if !is_text(value, TEXT_MAX) {
                let why = format!("{name:?}: a value has at most {TEXT_MAX} bytes, no control characters");
                self.say("environment", "rule.environment", why);
            }
        }
        if run.environment.len() > 32 {
            self.say("environment", "rule.environment", "at most 32 variables");
        }
        if run.time_limit_s.is_some_and(|seconds| !(1..=TIME_MAX_S).contains(&seconds)) {
            self.say("time_limit", "rule.limits", "a time limit is 1 s to 24 h");
        }
        if run.output_limit.is_some_and(|bytes| !(1..=OUTPUT_MAX).contains(&bytes)) {
            self.say("output_limit", "rule.limits", "an output limit is 1 byte to 1 GiB");
        }
        self.grants(&run.grants);
        if let Mode::Write { run_as, paths, .. } = &run.mode {
            self.write(rule, run_as, paths);
        }
    }

    fn grants(&mut self, grants: &[Grant]) {
        // One order, so that one rule has one form.
        if !grants.is_sorted_by(|one, next| kind_of(one) < kind_of(next)) {
            self.say("grants", "rule.grants", "grants stand once each, in the order proc-links, dbus, net");
        }
        for grant in grants {
            let Grant::Net(destinations) = grant else { continue };
            if !(1..=LIST_MAX).contains(&destinations.len()) {
                self.say("net", "rule.net", format!("net has 1 to {LIST_MAX} destinations"));
            }
            for one in destinations {
                if one.port() == 0 || one.ip().is_unspecified() || one.ip().is_multicast() {
                    self.say("net", "rule.net", format!("{one}: it needs one host's address and a port"));
                }
            }
        }
    }

    fn write(&mut self, rule: &Rule, run_as: &str, paths: &[String]) {
        if !is_account(run_as) {
            let why = "a write rule names the local account that it runs as: 1 to 32 of a-z, 0-9, '_', '-', '.'";
            self.say("run_as", "rule.write", why);
        }
        if !(1..=LIST_MAX).contains(&paths.len()) {
            self.say("writes", "rule.write", format!("a write rule names 1 to {LIST_MAX} paths that it writes"));
        }
        for path in paths.iter().filter(|path| !is_plain_absolute(path)) {
            self.say("writes", "rule.write", format!("{path:?}: {PLAIN}"));
        }
        if !matches!(rule.target, Target::Program { .. }) {
            self.say("directory", "rule.write", "a write rule names one program, not a folder");
        }
        if exact_list(&rule.arguments).is_none() {
            self.say(
                "arguments",
                "rule.write",
                "a write rule has exact arguments or none: no patterns, no rest, not any",
            );
        }
    }

    /// Rules that are tried one by one may not be many.
    fn crowd(&mut self, rule: &'b Rule) {
        let key = rule.target.key();
        let count = match exact_list(&rule.arguments) {
            Some(list) => self.listed.entry((key, list)).or_default(),
            None => self.tried.entry(key).or_default(),
        };
        *count += 1;
        if *count == PATTERN_RULES_MAX + 1 {
            let why = format!(
                "{} has {PATTERN_RULES_MAX} rules before this that are tried one by one; join them with one_of or \
                 any_of, or write exact arguments",
                key.1
            );
            self.say("arguments", "rule.crowd", why);
        }
    }
}

/// What kind of target, and its path.
pub(crate) type TargetKey<'b> = (u8, &'b str);

impl Target {
    pub(crate) fn key(&self) -> TargetKey<'_> {
        match self {
            Self::Program { path, .. } => (0, path),
            Self::Directory(path) => (1, path),
            Self::Every => (2, "every program"),
        }
    }
}

/// The arguments, if they are an exact list; empty for none.
pub(crate) fn exact_list(arguments: &Arguments) -> Option<Vec<&str>> {
    match arguments {
        Arguments::None => Some(Vec::new()),
        Arguments::Each { first, rest: None } => first.iter().map(exact).collect(),
        Arguments::Any | Arguments::Each { .. } => None,
    }
}

fn exact(pattern: &Pattern) -> Option<&str> {
    match pattern {
        Pattern::Exact(text) => Some(text),
        _ => None,
    }
}

pub(crate) fn kind_of(grant: &Grant) -> u8 {
    match grant {
        Grant::ProcLinks => 0,
        Grant::Dbus => 1,
        Grant::Net(_) => 2,
    }
}

fn is_text(text: &str, max: usize) -> bool {
    text.len() <= max && !text.chars().any(char::is_control)
}

fn is_account(name: &str) -> bool {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.');
    (1..=32).contains(&name.len()) && !name.starts_with(['-', '.']) && name.bytes().all(known)
}
