//! Random bundles and commands out of few words, so that they meet often.
#![allow(dead_code)]

use proptest::prelude::*;
use tether_bundle::{Arguments, Bundle, Effect, Grant, Mode, Pattern, Reads, Rest, Rule, Run, Target};

pub const FOLDERS: [&str; 3] = ["/usr/bin", "/opt/t", "/var/log"];
const PROGRAMS: [&str; 5] = ["/usr/bin/a", "/usr/bin/b", "/opt/t/a", "/opt/t/x", "/opt/t/sub/x"];
const WORDS: [&str; 24] = [
    "-a",
    "-b",
    "--to=",
    "--to=/var/log/x",
    "--to=x",
    "--to=../x",
    "/var/log",
    "/var/log/x",
    "/var/logs/x",
    "x",
    "./x",
    "../x",
    "/usr/bin/../../etc/shadow",
    "/etc/shadow",
    "",
    "1",
    "7",
    "07",
    "-3",
    "100",
    "abc",
    "ab1",
    "é",
    "…",
];
const EXPRESSIONS: [&str; 7] = ["[a-z]+", "a|b|abc", "-.", ".*", "(?i)ABC", "[0-9]{1,2}", "é?"];

pub fn digest(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn digests() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop::sample::select(vec![digest('a'), digest('b')]))
}

pub fn word() -> impl Strategy<Value = String> {
    prop::sample::select(&WORDS[..]).prop_map(str::to_owned)
}

fn folder() -> impl Strategy<Value = String> {
    prop::sample::select(&FOLDERS[..]).prop_map(str::to_owned)
}

pub fn pattern() -> impl Strategy<Value = Pattern> {
    let leaf = prop_oneof![
        4 => word().prop_map(Pattern::Exact),
        1 => prop::collection::vec(word(), 1..4).prop_map(Pattern::OneOf),
        1 => (-5i64..10, 0i64..200).prop_map(|(min, span)| Pattern::Integer { min, max: min + span }),
        1 => prop::sample::select(&EXPRESSIONS[..]).prop_map(|text| Pattern::Regex(text.to_owned())),
        2 => (prop::collection::vec(folder(), 1..3), prop::sample::select(vec!["", "--to="]))
            .prop_map(|(under, prefix)| Pattern::Path { under, prefix: prefix.to_owned() }),
        1 => Just(Pattern::Anything),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| prop::collection::vec(inner, 1..3).prop_map(Pattern::AnyOf))
}

fn arguments() -> impl Strategy<Value = Arguments> {
    let rest = (pattern(), 0u32..2, 1u32..3).prop_map(|(pattern, min, more)| Rest { pattern, min, max: min + more });
    let each = (prop::collection::vec(pattern(), 0..3), prop::option::of(rest))
        .prop_filter("something", |(first, rest)| !first.is_empty() || rest.is_some())
        .prop_map(|(first, rest)| Arguments::Each { first, rest });
    prop_oneof![1 => Just(Arguments::Any), 1 => Just(Arguments::None), 6 => each]
}

fn target() -> impl Strategy<Value = Target> {
    let program = (prop::sample::select(&PROGRAMS[..]), digests())
        .prop_map(|(path, sha256)| Target::Program { path: path.to_owned(), sha256: sha256.into_iter().collect() });
    prop_oneof![5 => program, 2 => folder().prop_map(Target::Directory), 1 => Just(Target::Every)]
}

fn run() -> impl Strategy<Value = Run> {
    let net = Grant::Net(vec!["10.0.0.1:443".parse().unwrap(), "[fe80::1]:22".parse().unwrap()]);
    let grants = prop::sample::subsequence(vec![Grant::ProcLinks, Grant::Dbus, net], 0..=3);
    let environment = prop::collection::btree_map("(LC_[A-Z]{1,4}|TZ|x_1)", "[ -~é]{0,8}", 0..3);
    let cwd = prop::option::of(prop_oneof![Just("/".to_owned()), folder()]);
    (grants, environment, cwd, prop::option::of(1u32..=86_400), prop::option::of(1u64..=1 << 30)).prop_map(
        |(grants, environment, cwd, time_limit_s, output_limit)| Run {
            mode: Mode::ReadOnly,
            grants,
            cwd,
            environment,
            time_limit_s,
            output_limit,
        },
    )
}

fn rule() -> impl Strategy<Value = Rule> {
    let mode = (prop::collection::vec(folder(), 1..3), any::<bool>()).prop_map(|(paths, stdin)| Mode::Write {
        run_as: "root".to_owned(),
        paths,
        stdin,
    });
    (any::<bool>(), target(), arguments(), run(), prop::option::of(mode)).prop_map(
        |(deny, target, arguments, mut run, mode)| {
            let effect = if deny || target == Target::Every { Effect::Deny } else { Effect::Allow };
            let is_exact = match &arguments {
                Arguments::None => true,
                Arguments::Each { first, rest: None } => first.iter().all(|one| matches!(one, Pattern::Exact(_))),
                _ => false,
            };
            if let (Some(mode), Target::Program { .. }, true) = (mode, &target, is_exact) {
                run.mode = mode;
            }
            let run = if effect == Effect::Deny { Run::default() } else { run };
            Rule { id: String::new(), effect, target, arguments, run }
        },
    )
}

/// A bundle that passes its check.
pub fn bundle() -> impl Strategy<Value = Bundle> {
    let reads = || prop::collection::vec(folder(), 0..3);
    let about = "[ -~éß\"']{0,20}";
    (prop::collection::vec(rule(), 0..12), 1u64..1 << 40, about, reads(), reads()).prop_map(
        |(mut rules, version, about, trees, named)| {
            for (number, rule) in rules.iter_mut().enumerate() {
                rule.id = format!("rule {number} \"ü\"");
            }
            Bundle { name: "random".parse().unwrap(), version, about, read: Reads { trees, named }, rules }
        },
    )
}

/// Program, digest, arguments, folder.
pub fn command() -> impl Strategy<Value = (String, Option<String>, Vec<String>, String)> {
    let programs = [&PROGRAMS[..], &["/usr/bin/../bin/a", "/usr/bin/", "a", "/opt/t"]].concat();
    let program = prop::sample::select(programs).prop_map(str::to_owned);
    let cwd = prop::sample::select(vec!["/", "/var/log", "/opt/t/", "/var/../etc", ""]).prop_map(str::to_owned);
    (program, digests(), prop::collection::vec(word(), 0..4), cwd)
}
