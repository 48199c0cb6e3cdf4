//! The decision: a bundle with its index, and what it says to a command.

use crate::check::{BundleError, exact_list};
use crate::model::{Arguments, Bundle, Effect, Rule, Target};
use crate::path::{is_plain_absolute, split};
use crate::pattern::{Argument, Expressions, Fit, Matcher, Steps};
use crate::words::as_typed;
use std::collections::HashMap;

/// How many ways of running the same program a refusal lists.
const INSTEAD_MAX: usize = 8;

/// A command, as it is to be decided.
#[derive(Debug, Clone, Copy)]
pub struct Command<'c> {
    /// The program's resolved path.
    pub program: &'c str,
    /// The SHA-256 of its file, in lower-case hex. None fits no rule that wants one.
    pub sha256: Option<&'c str>,
    /// Its arguments, without argv\[0\].
    pub argv: &'c [String],
    /// Where relative paths among the arguments start.
    pub cwd: &'c str,
}

/// What a bundle says to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision<'p> {
    /// It may run.
    Allowed {
        /// By this rule: the first that fits.
        rule: &'p Rule,
        /// Arguments that fitted a path pattern. Whoever runs the command opens them without following links out of
        /// `under`, and gives the command `path`, not what was typed: relative paths mean the asker's folder.
        paths: Vec<PathArgument>,
    },
    /// It may not.
    Denied(Denied<'p>),
}

/// An argument that fitted a path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathArgument {
    /// Which argument, from 0, without argv\[0\].
    pub index: usize,
    /// How many bytes of it stand before the path.
    pub prefix_len: usize,
    /// The path, absolute and plain (`/` alone is not possible).
    pub path: String,
    /// The folder of the pattern that it lies in.
    pub under: String,
}

/// Why a command may not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied<'p> {
    /// `bundle.no_rule`: no rule is about the program. `bundle.arguments`: the arguments fit none of its rules.
    /// `bundle.digest`: they do, but the program's file is another. `bundle.denied_by_rule`: a rule denies it.
    /// `bundle.steps`: the patterns took too long, which a command of usual size does not cause.
    pub code: &'static str,
    /// The rule that denies, or whose digest is another.
    pub rule: Option<&'p str>,
    /// How the same program may be run, as a person would type it; at most eight ways.
    pub instead: Vec<String>,
}

/// A checked bundle and its index. The time of a decision does not depend on the number of rules.
#[derive(Debug, Clone)]
pub struct Policy {
    bundle: Bundle,
    programs: HashMap<String, Group>,
    directories: HashMap<String, Group>,
    every: Group,
}

/// The rules about one program, one folder, or all programs.
#[derive(Debug, Clone, Default)]
struct Group {
    allow: Side,
    deny: Side,
}

/// Rules with one effect. Numbers are places in the bundle, growing.
#[derive(Debug, Clone, Default)]
struct Side {
    exact: HashMap<Vec<String>, Vec<usize>>,
    tried: Vec<(usize, Trial)>,
    /// The first few, for a refusal's hint.
    first: Vec<usize>,
}

/// Arguments that are not an exact list.
#[derive(Debug, Clone)]
enum Trial {
    Any,
    Each { first: Vec<Matcher>, rest: Option<(Matcher, usize, usize)> },
}

/// The best that a side has for a command.
#[derive(Debug, Default)]
struct Found {
    rule: Option<(usize, Vec<PathArgument>)>,
    /// The first rule that would fit if the program's file were another.
    digest: Option<usize>,
}

impl Policy {
    /// Checks a bundle and makes its index.
    pub fn new(bundle: Bundle) -> Result<Self, BundleError> {
        let bundle = bundle.check()?;
        let mut policy =
            Self { bundle, programs: HashMap::new(), directories: HashMap::new(), every: Group::default() };
        let mut expressions = Expressions::default();
        for (at, rule) in policy.bundle.rules.iter().enumerate() {
            let group = match &rule.target {
                Target::Program { path, .. } => policy.programs.entry(path.clone()).or_default(),
                Target::Directory(path) => policy.directories.entry(path.clone()).or_default(),
                Target::Every => &mut policy.every,
            };
            let side = match rule.effect {
                Effect::Allow => &mut group.allow,
                Effect::Deny => &mut group.deny,
            };
            side.add(at, rule, &mut expressions)?;
        }
        Ok(policy)
    }

    /// The bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Whether any rule could allow `program` (a resolved path).
    pub fn has_rule_for(&self, program: &str) -> bool {
        self.groups(program).any(|group| !group.allow.first.is_empty())
    }

    /// Whether a command may run. A denial wins; what no rule allows is denied.
    pub fn decide(&self, command: &Command<'_>) -> Decision<'_> {
        self.decide_counted(command).0
    }

    /// The same, and how many steps it took: what a test can bound without a clock.
    pub fn decide_counted(&self, command: &Command<'_>) -> (Decision<'_>, u64) {
        let mut steps = Steps::new();
        let decision = self.decision(command, &mut steps);
        (decision, steps.taken())
    }

    fn decision(&self, command: &Command<'_>, steps: &mut Steps) -> Decision<'_> {
        if !self.has_rule_for(command.program) {
            return self.denied("bundle.no_rule", None, command);
        }
        let denial = self.best(command, Effect::Deny, steps).rule;
        if let Some((at, _)) = denial {
            // Out of steps, everything fits a denial; then it is not that rule's word.
            let code = if steps.are_over() { "bundle.steps" } else { "bundle.denied_by_rule" };
            return self.denied(code, Some(at), command);
        }
        let found = self.best(command, Effect::Allow, steps);
        if steps.are_over() {
            return self.denied("bundle.steps", None, command);
        }
        match (found.rule.and_then(|(at, paths)| Some((self.bundle.rules.get(at)?, paths))), found.digest) {
            (Some((rule, paths)), _) => Decision::Allowed { rule, paths },
            (None, Some(at)) => self.denied("bundle.digest", Some(at), command),
            (None, None) => self.denied("bundle.arguments", None, command),
        }
    }

    fn groups<'p>(&'p self, program: &str) -> impl Iterator<Item = &'p Group> {
        // A path with '..' in it names no program: whoever asks has not resolved it.
        let (own, folder) = if is_plain_absolute(program) {
            (self.programs.get(program), split(program).and_then(|(folder, _)| self.directories.get(folder)))
        } else {
            (None, None)
        };
        own.into_iter().chain(folder)
    }

    fn best(&self, command: &Command<'_>, effect: Effect, steps: &mut Steps) -> Found {
        let mut best = Found::default();
        for group in self.groups(command.program).chain([&self.every]) {
            let found = group.side(effect).find(&self.bundle.rules, command, effect, steps);
            best.rule = earlier(best.rule, found.rule, |(at, _)| *at);
            best.digest = earlier(best.digest, found.digest, |at| *at);
        }
        best
    }

    fn denied(&self, code: &'static str, rule: Option<usize>, command: &Command<'_>) -> Decision<'_> {
        let named = self.groups(command.program).flat_map(|group| &group.allow.first).take(INSTEAD_MAX);
        let rules = named.filter_map(|at| self.bundle.rules.get(*at));
        let instead = rules.map(|rule| as_typed(command.program, &rule.arguments)).collect();
        let rule = rule.and_then(|at| self.bundle.rules.get(at)).map(|rule| rule.id.as_str());
        Decision::Denied(Denied { code, rule, instead })
    }
}

impl Group {
    fn side(&self, effect: Effect) -> &Side {
        match effect {
            Effect::Allow => &self.allow,
            Effect::Deny => &self.deny,
        }
    }
}

impl Side {
    fn add(&mut self, at: usize, rule: &Rule, expressions: &mut Expressions) -> Result<(), BundleError> {
        if self.first.len() < INSTEAD_MAX {
            self.first.push(at);
        }
        if let Some(list) = exact_list(&rule.arguments) {
            let key = list.into_iter().map(str::to_owned).collect();
            self.exact.entry(key).or_default().push(at);
            return Ok(());
        }
        let wrong = |why| BundleError::Rule { rule: rule.id.clone(), code: "rule.regex", why };
        self.tried.push((at, Trial::new(&rule.arguments, expressions).map_err(wrong)?));
        Ok(())
    }

    fn find(&self, rules: &[Rule], command: &Command<'_>, effect: Effect, steps: &mut Steps) -> Found {
        let mut found = Found::default();
        let listed = self.exact.get(command.argv).into_iter().flatten().map(|at| (*at, None));
        let tried = self.tried.iter().map(|(at, trial)| (*at, Some(trial)));
        for (at, trial) in listed.chain(tried) {
            // The first rule of all is wanted: what stands later than one that was found need not be tried.
            if found.rule.as_ref().is_some_and(|(first, _)| *first < at) {
                continue;
            }
            let (fit, paths) = trial.map_or((Fit::Yes, Vec::new()), |trial| trial.fit(command, steps));
            let fits = fit == Fit::Yes || fit == Fit::Unsure && effect == Effect::Deny;
            if !fits {
                continue;
            }
            if rules.get(at).is_some_and(|rule| rule.is_about_file(command.sha256)) {
                found.rule = Some((at, paths));
            } else {
                found.digest = earlier(found.digest, Some(at), |at| *at);
            }
        }
        found
    }
}

impl Trial {
    fn new(arguments: &Arguments, expressions: &mut Expressions) -> Result<Self, String> {
        let Arguments::Each { first, rest } = arguments else { return Ok(Self::Any) };
        let first = first.iter().map(|pattern| Matcher::new(pattern, expressions)).collect::<Result<_, _>>()?;
        let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let rest = match rest {
            Some(rest) => Some((Matcher::new(&rest.pattern, expressions)?, size(rest.min), size(rest.max))),
            None => None,
        };
        Ok(Self::Each { first, rest })
    }

    fn fit(&self, command: &Command<'_>, steps: &mut Steps) -> (Fit, Vec<PathArgument>) {
        let mut paths = Vec::new();
        let Self::Each { first, rest } = self else { return (Fit::Yes, paths) };
        let (min, max) = rest.as_ref().map_or((0, 0), |(_, min, max)| (*min, *max));
        let further = command.argv.len().checked_sub(first.len());
        if !further.is_some_and(|count| (min..=max).contains(&count)) {
            return (Fit::No, paths);
        }
        let more = rest.iter().flat_map(|(matcher, _, _)| std::iter::repeat(matcher));
        let mut worst = Fit::Yes;
        for ((index, text), matcher) in command.argv.iter().enumerate().zip(first.iter().chain(more)) {
            let (fit, path) = matcher.fit(&Argument { index, text, cwd: command.cwd }, steps);
            worst = worst.min(fit);
            if worst == Fit::No {
                break;
            }
            paths.extend(path);
        }
        (worst, paths)
    }
}

impl Rule {
    /// Whether the program's file is one that the rule is about. A denial is about a file that nobody hashed, too.
    pub(crate) fn is_about_file(&self, found: Option<&str>) -> bool {
        match (&self.target, found) {
            (Target::Program { sha256, .. }, Some(found)) => sha256.is_empty() || sha256.iter().any(|one| one == found),
            (Target::Program { sha256, .. }, None) => sha256.is_empty() || self.effect == Effect::Deny,
            (Target::Directory(_) | Target::Every, _) => true,
        }
    }
}

fn earlier<T>(one: Option<T>, other: Option<T>, place: impl Fn(&T) -> usize) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if place(&other) < place(&one) { other } else { one }),
        (one, other) => one.or(other),
    }
}
