//! The index against a decision that tries every rule in turn, as the language is described; and what comes back
//! from every form that a bundle is written in.

mod common;

use proptest::prelude::*;
use std::path::{Component, Path};
use tether_bundle::source::{compile, print};
use tether_bundle::{Arguments, Bundle, Command, Decision, Effect, Pattern, Policy, Rule, Target, Verdict};

/// Yes, no, or not to be told from the text.
type Fits = Option<bool>;

fn both(one: Fits, other: Fits) -> Fits {
    match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn either(one: Fits, other: Fits) -> Fits {
    both(one.map(|one| !one), other.map(|other| !other)).map(|fits| !fits)
}

fn fits(pattern: &Pattern, text: &str, cwd: &str) -> Fits {
    match pattern {
        Pattern::Exact(exact) => Some(exact == text),
        Pattern::OneOf(list) => Some(list.iter().any(|one| one == text)),
        Pattern::Integer { min, max } => {
            Some(text.parse::<i64>().is_ok_and(|found| found.to_string() == text && *min <= found && found <= *max))
        }
        Pattern::Regex(regex) => Some(regex::Regex::new(&format!("^(?:{regex})$")).unwrap().is_match(text)),
        Pattern::Path { under, prefix } => match text.strip_prefix(prefix.as_str()) {
            None | Some("") => Some(false),
            Some(path) => path_fits(path, prefix.is_empty(), under, cwd),
        },
        Pattern::AnyOf(list) => list.iter().map(|one| fits(one, text, cwd)).fold(Some(false), either),
        Pattern::Anything => Some(true),
    }
}

fn path_fits(path: &str, could_be_option: bool, under: &[String], cwd: &str) -> Fits {
    if could_be_option && path.starts_with('-') {
        return None;
    }
    let whole = Path::new(cwd).join(path);
    if !whole.is_absolute() || whole.components().any(|part| part == Component::ParentDir) {
        return None;
    }
    Some(under.iter().any(|folder| whole.starts_with(folder)))
}

fn arguments_fit(arguments: &Arguments, argv: &[String], cwd: &str) -> Fits {
    let Arguments::Each { first, rest } = arguments else {
        return Some(*arguments == Arguments::Any || argv.is_empty());
    };
    let Some(further) = argv.len().checked_sub(first.len()) else { return Some(false) };
    let right_number = match rest {
        None => further == 0,
        Some(rest) => (rest.min as usize..=rest.max as usize).contains(&further),
    };
    if !right_number {
        return Some(false);
    }
    let patterns = first.iter().chain(rest.iter().flat_map(|rest| std::iter::repeat(&rest.pattern)));
    argv.iter().zip(patterns).map(|(text, pattern)| fits(pattern, text, cwd)).fold(Some(true), both)
}

fn covers(target: &Target, program: &str) -> bool {
    match target {
        Target::Program { path, .. } => path == program,
        Target::Directory(folder) => Path::new(program).parent() == Some(Path::new(folder)),
        Target::Every => true,
    }
}

fn decide<'b>(bundle: &'b Bundle, command: &Command<'_>) -> (&'static str, Option<&'b str>) {
    let plain = Path::new(command.program);
    let is_resolved = plain.is_absolute()
        && plain.components().all(|part| part != Component::ParentDir)
        && !command.program.ends_with('/');
    let about: Vec<&Rule> = bundle.rules.iter().filter(|rule| covers(&rule.target, command.program)).collect();
    if !is_resolved || about.iter().all(|rule| rule.effect == Effect::Deny) {
        return ("bundle.no_rule", None);
    }
    let right_file = |rule: &Rule, unknown: bool| match &rule.target {
        Target::Program { sha256, .. } if !sha256.is_empty() => {
            command.sha256.map_or(unknown, |found| sha256.iter().any(|one| one == found))
        }
        _ => true,
    };
    let fit = |rule: &Rule| arguments_fit(&rule.arguments, command.argv, command.cwd);
    let denial =
        about.iter().find(|rule| rule.effect == Effect::Deny && fit(rule) != Some(false) && right_file(rule, true));
    if let Some(rule) = denial {
        return ("bundle.denied_by_rule", Some(&rule.id));
    }
    let allowances: Vec<&&Rule> =
        about.iter().filter(|rule| rule.effect == Effect::Allow && fit(rule) == Some(true)).collect();
    match (allowances.iter().find(|rule| right_file(rule, false)), allowances.first()) {
        (Some(rule), _) => ("allowed", Some(&rule.id)),
        (None, Some(rule)) => ("bundle.digest", Some(&rule.id)),
        (None, None) => ("bundle.arguments", None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn the_index_decides_as_the_rules_read(bundle in common::bundle(), commands in prop::collection::vec(common::command(), 8)) {
        let policy = Policy::new(bundle.clone()).unwrap();
        for (program, sha256, argv, cwd) in &commands {
            let command = Command { program, sha256: sha256.as_deref(), argv, cwd };
            let found = match policy.decide(&command) {
                Decision::Allowed { rule, .. } => ("allowed", Some(rule.id.as_str())),
                Decision::Denied(denied) => (denied.code, denied.rule),
            };
            prop_assert_eq!(found, decide(&bundle, &command), "{:?}", command);
            prop_assert_eq!(policy.decide(&command), policy.decide(&command), "twice the same");
            let explained = policy.explain(&command);
            if let Decision::Allowed { rule, .. } = &explained.decision {
                let first = explained.considered.iter().find(|one| one.rule.effect == Effect::Allow && one.verdict == Verdict::Fits);
                prop_assert_eq!(first.map(|one| one.rule), Some(*rule), "an explanation finds the same rule");
            }
        }
    }

    #[test]
    fn a_bundle_comes_back_from_its_source(bundle in common::bundle()) {
        let text = print(&bundle);
        prop_assert_eq!(compile(&text), Ok(bundle), "{}", text);
    }

    #[test]
    fn a_bundle_comes_back_from_its_compiled_form(bundle in common::bundle()) {
        let text = serde_json::to_string(&bundle).unwrap();
        prop_assert_eq!(serde_json::from_str::<Bundle>(&text).unwrap().check(), Ok(bundle), "{}", text);
    }

    #[test]
    fn the_same_bundle_with_more_rules_for_others_decides_the_same(
        bundle in common::bundle(),
        (program, sha256, argv, cwd) in common::command(),
        more in 1usize..200,
    ) {
        let mut larger = bundle.clone();
        for number in 0..more {
            let target = Target::Program { path: format!("/srv/p{number}"), sha256: vec![] };
            let id = format!("more {number}");
            let (effect, arguments) = (Effect::Allow, Arguments::Any);
            larger.rules.insert(0, Rule { id, effect, target, arguments, run: tether_bundle::Run::default() });
        }
        let command = Command { program: &program, sha256: sha256.as_deref(), argv: &argv, cwd: &cwd };
        let (small, large) = (Policy::new(bundle).unwrap(), Policy::new(larger).unwrap());
        prop_assert_eq!(small.decide_counted(&command), large.decide_counted(&command), "in as many steps");
    }
}
