//! Why a command is decided as it is: every rule about its program, and what of it does not fit.

use crate::decide::{Command, Decision, Policy};
use crate::model::{Arguments, Rule, Target};
use crate::path::{is_plain_absolute, split};
use crate::pattern::{Argument, Expressions, Fit, Matcher, Steps};
use crate::words::pattern_in_words;

/// A decision and its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation<'p> {
    /// The decision.
    pub decision: Decision<'p>,
    /// Every rule about the program, in the bundle's order.
    pub considered: Vec<Considered<'p>>,
}

/// A rule about the program, and how it stands to the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered<'p> {
    /// The rule.
    pub rule: &'p Rule,
    /// Its place in the bundle, from 0.
    pub at: usize,
    /// How it stands.
    pub verdict: Verdict,
}

/// How a rule stands to a command about whose program it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It fits.
    Fits,
    /// Its arguments fit, the program's file is another (or was not hashed).
    OtherFile,
    /// The command has too few or too many arguments.
    Count {
        /// How many it has.
        found: usize,
        /// The fewest.
        min: usize,
        /// The most.
        max: usize,
    },
    /// One argument does not fit.
    Argument {
        /// Which, from 0.
        index: usize,
        /// What it must be, in words.
        wanted: String,
        /// Whether its text alone does not tell: it has `..`, or is too long for an expression.
        unsure: bool,
    },
}

impl Policy {
    /// Decides, and says why. Takes time with the number of rules: for people, not for a host.
    pub fn explain(&self, command: &Command<'_>) -> Explanation<'_> {
        let plain = is_plain_absolute(command.program);
        let rules = self.bundle().rules.iter().enumerate();
        let about = rules.filter(|(_, rule)| plain && rule.target.covers(command.program));
        let considered = about.map(|(at, rule)| Considered { rule, at, verdict: verdict(rule, command) }).collect();
        Explanation { decision: self.decide(command), considered }
    }
}

impl Target {
    /// Whether it is about a program, given by a plain absolute path.
    pub fn covers(&self, program: &str) -> bool {
        match self {
            Self::Program { path, .. } => path == program,
            Self::Directory(folder) => split(program).is_some_and(|(parent, _)| parent == folder),
            Self::Every => true,
        }
    }
}

fn verdict(rule: &Rule, command: &Command<'_>) -> Verdict {
    match misfit(&rule.arguments, command) {
        Some(misfit) => misfit,
        None if rule.is_about_file(command.sha256) => Verdict::Fits,
        None => Verdict::OtherFile,
    }
}

fn misfit(arguments: &Arguments, command: &Command<'_>) -> Option<Verdict> {
    let found = command.argv.len();
    let (first, rest) = match arguments {
        Arguments::Any => return None,
        Arguments::None => (&[][..], None),
        Arguments::Each { first, rest } => (first.as_slice(), rest.as_ref()),
    };
    let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let min = first.len() + rest.map_or(0, |rest| size(rest.min));
    let max = first.len() + rest.map_or(0, |rest| size(rest.max));
    if !(min..=max).contains(&found) {
        return Some(Verdict::Count { found, min, max });
    }
    let more = rest.into_iter().flat_map(|rest| std::iter::repeat(&rest.pattern));
    let mut steps = Steps::new();
    command.argv.iter().enumerate().zip(first.iter().chain(more)).find_map(|((index, text), pattern)| {
        let matcher = Matcher::new(pattern, &mut Expressions::default()).ok()?;
        let (fit, _) = matcher.fit(&Argument { index, text, cwd: command.cwd }, &mut steps);
        // A word that looks like an option is plainly no path to whoever reads this.
        let unsure = fit == Fit::Unsure && !text.starts_with('-');
        (fit != Fit::Yes).then(|| Verdict::Argument { index, wanted: pattern_in_words(pattern), unsure })
    })
}
