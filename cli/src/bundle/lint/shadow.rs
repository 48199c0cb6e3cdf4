//! Rules that never decide anything: an earlier one, or a denial, always does.

use super::{Lint, Severity};
use std::collections::HashMap;
use tether_bundle::{Arguments, Command, Decision, Effect, Pattern, Rule, Target};

pub fn look(lint: &mut Lint<'_>) {
    let rules = lint.loaded.bundle.rules.clone();
    // Where each target and arguments were seen first, and where a target is taken whole.
    let mut seen: HashMap<(Effect, Target, Arguments), usize> = HashMap::new();
    let mut whole: HashMap<(Effect, Target), usize> = HashMap::new();
    let denied_whole: HashMap<&Target, usize> = rules
        .iter()
        .enumerate()
        .filter(|(_, rule)| rule.effect == Effect::Deny && rule.arguments == Arguments::Any)
        .map(|(at, rule)| (&rule.target, at))
        .rev()
        .collect();
    for (at, rule) in rules.iter().enumerate() {
        let effect = rule.effect;
        let others: Vec<Target> = targets(rule);
        let denial = others.iter().chain([&Target::Every]).find_map(|target| denied_whole.get(target));
        let earlier = others.iter().find_map(|target| whole.get(&(effect, target.clone())));
        let key = (effect, rule.target.clone(), rule.arguments.clone());
        let same = seen.get(&key);
        match (rule.effect, denial, earlier.or(same)) {
            (Effect::Allow, Some(by), _) => dead(lint, at, *by, "denies all of it"),
            (_, _, Some(by)) => dead(lint, at, *by, "decides all of it already"),
            (Effect::Allow, None, None) => exact(lint, at, rule),
            (Effect::Deny, _, None) => unused_denial(lint, at, rule),
        }
        seen.entry(key).or_insert(at);
        if rule.arguments == Arguments::Any && unpinned(&rule.target) {
            whole.entry((effect, rule.target.clone())).or_insert(at);
        }
    }
}

fn unpinned(target: &Target) -> bool {
    !matches!(target, Target::Program { sha256, .. } if !sha256.is_empty())
}

/// The targets whose rules reach all that this rule is about.
fn targets(rule: &Rule) -> Vec<Target> {
    match &rule.target {
        Target::Program { path, .. } => {
            let folder = path.rsplit_once('/').map(|(folder, _)| Target::Directory(folder.to_owned()));
            let bare = Target::Program { path: path.clone(), sha256: Vec::new() };
            std::iter::once(bare).chain(folder).collect()
        }
        other => vec![other.clone()],
    }
}

fn dead(lint: &mut Lint<'_>, at: usize, by: usize, what: &str) {
    let by = format!("{:?}", lint.loaded.bundle.rules.get(by).map_or("", |rule| &rule.id));
    lint.rule(at, Severity::Warning, "lint.shadowed", format!("it never decides: {by} {what}"));
}

/// An exact command can be asked.
fn exact(lint: &mut Lint<'_>, at: usize, rule: &Rule) {
    let (Target::Program { path, sha256 }, Some(argv)) = (&rule.target, exact_argv(&rule.arguments)) else { return };
    let command = Command { program: path, sha256: sha256.first().map(String::as_str), argv: &argv, cwd: "/" };
    let by = match lint.policy.decide(&command) {
        Decision::Allowed { rule: by, .. } if by.id != rule.id => format!("{:?} decides all of it already", by.id),
        Decision::Denied(denied) if denied.code == "bundle.denied_by_rule" => {
            format!("{:?} denies all of it", denied.rule.unwrap_or_default())
        }
        _ => return,
    };
    lint.rule(at, Severity::Warning, "lint.shadowed", format!("it never decides: {by}"));
}

fn exact_argv(arguments: &Arguments) -> Option<Vec<String>> {
    match arguments {
        Arguments::None => Some(Vec::new()),
        Arguments::Each { first, rest: None } => first
            .iter()
            .map(|pattern| match pattern {
                Pattern::Exact(text) => Some(text.clone()),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// A denial where nothing is allowed.
fn unused_denial(lint: &mut Lint<'_>, at: usize, rule: &Rule) {
    let unused = match &rule.target {
        Target::Program { path, .. } => !lint.policy.has_rule_for(path),
        Target::Directory(folder) => !lint.loaded.bundle.rules.iter().any(|other| {
            other.effect == Effect::Allow
                && match &other.target {
                    Target::Program { path, .. } => path.rsplit_once('/').is_some_and(|(parent, _)| parent == folder),
                    Target::Directory(other) => other == folder,
                    Target::Every => false,
                }
        }),
        Target::Every => false,
    };
    if unused {
        let text = "it denies what no rule allows: silence denies already";
        lint.rule(at, Severity::Note, "lint.denial_unused", text);
    }
}
