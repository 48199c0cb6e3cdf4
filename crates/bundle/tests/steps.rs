//! No bundle makes a decision long: steps are counted, not time, so that a busy machine changes nothing.

mod common;

use proptest::prelude::*;
use tether_bundle::{
    Arguments, Bundle, Command, Decision, Effect, PATTERN_RULES_MAX, Pattern, Policy, RULES_MAX, Reads, Rest, Rule,
    Run, STEPS_MAX, Target,
};

fn bundle(rules: Vec<Rule>) -> Bundle {
    Bundle { name: "t".parse().unwrap(), version: 1, about: String::new(), read: Reads::default(), rules }
}

fn rule(number: usize, path: String, arguments: Arguments) -> Rule {
    let target = Target::Program { path, sha256: vec![] };
    Rule { id: number.to_string(), effect: Effect::Allow, target, arguments, run: Run::default() }
}

fn exact(words: &[&str]) -> Arguments {
    let first = words.iter().map(|word| Pattern::Exact((*word).to_owned())).collect();
    Arguments::Each { first, rest: None }
}

fn steps(policy: &Policy, program: &str, words: &[&str]) -> (bool, u64) {
    let argv: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let (decision, steps) = policy.decide_counted(&Command { program, sha256: None, argv: &argv, cwd: "/" });
    (matches!(decision, Decision::Allowed { .. }), steps)
}

#[test]
fn ten_thousand_rules_take_as_many_steps_as_ten() {
    let policy = |count: usize| {
        let rules = (0..count).map(|at| rule(at, format!("/usr/bin/p{at}"), exact(&["-x", "y"]))).collect();
        Policy::new(bundle(rules)).unwrap()
    };
    let (few, many) = (policy(10), policy(RULES_MAX));
    assert_eq!(steps(&few, "/usr/bin/p9", &["-x", "y"]), (true, 0));
    assert_eq!(steps(&many, "/usr/bin/p9", &["-x", "y"]), (true, 0));
    assert_eq!(steps(&many, "/usr/bin/p9999", &["-x", "y"]), (true, 0));
    assert_eq!(steps(&many, "/usr/bin/p9", &["-x", "z"]), (false, 0));
}

#[test]
fn ten_thousand_rules_of_one_program_are_looked_up() {
    let rules = (0..RULES_MAX).map(|at| rule(at, "/x".into(), exact(&[&at.to_string()]))).collect();
    let policy = Policy::new(bundle(rules)).unwrap();
    assert_eq!(steps(&policy, "/x", &["9999"]), (true, 0));
    assert_eq!(steps(&policy, "/x", &["10000"]), (false, 0));
}

#[test]
fn as_many_patterns_as_may_be_take_few_steps_for_a_usual_command() {
    let pattern = |at: usize| Pattern::Regex(format!("[a-z]{{1,20}}[0-9]*{at}"));
    let each = |at| Arguments::Each { first: vec![Pattern::Exact("-x".into()), pattern(at)], rest: None };
    let rules = (0..PATTERN_RULES_MAX).map(|at| rule(at, "/x".into(), each(at))).collect();
    let policy = Policy::new(bundle(rules)).unwrap();
    let (allowed, taken) = steps(&policy, "/x", &["-x", "journal63"]);
    assert!(allowed && taken < STEPS_MAX / 10, "{taken}");
}

#[test]
fn a_command_made_to_take_long_is_refused_not_waited_for() {
    let pattern = || Pattern::Regex("(a|b|ab|ba|aab|bba){1,30}x".into());
    let rest = Some(Rest { pattern: Pattern::AnyOf(vec![pattern(); 16]), min: 0, max: 1024 });
    let each = Arguments::Each { first: vec![], rest };
    let policy = Policy::new(bundle(vec![rule(0, "/x".into(), each.clone())])).unwrap();
    let argv = vec![format!("{}x", "ab".repeat(300)); 1024];
    let command = Command { program: "/x", sha256: None, argv: &argv, cwd: "/" };
    let (decision, taken) = policy.decide_counted(&command);
    let Decision::Denied(denied) = decision else { panic!("allowed") };
    assert_eq!((denied.code, taken), ("bundle.steps", STEPS_MAX));

    // A denial that was not tried to its end holds, under a code of its own.
    let mut rules = vec![rule(0, "/x".into(), Arguments::Any), rule(1, "/x".into(), each)];
    rules[1].effect = Effect::Deny;
    let policy = Policy::new(bundle(rules)).unwrap();
    let Decision::Denied(denied) = policy.decide(&command) else { panic!("allowed") };
    assert_eq!(denied.code, "bundle.steps");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_bundles_and_long_commands_stay_within_bounds(
        bundle in common::bundle(),
        (program, _, words, cwd) in common::command(),
        times in 1usize..500,
    ) {
        let argv: Vec<String> = words.iter().map(|word| word.repeat(times)).collect();
        let rules = bundle.rules.len() as u64;
        let policy = Policy::new(bundle).unwrap();
        let command = Command { program: &program, sha256: None, argv: &argv, cwd: &cwd };
        let (_, taken) = policy.decide_counted(&command);
        // Each rule looks at each argument with at most six patterns, an expression of at most 1 KiB among them.
        let bytes: usize = argv.iter().map(|text| text.len() + cwd.len() + 1).sum();
        prop_assert!(taken <= rules * 6 * (32 * bytes as u64 + 8), "{taken}");
    }
}
