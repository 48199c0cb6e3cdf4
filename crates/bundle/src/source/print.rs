//! A bundle as TOML that compiles to the same bundle.

use super::units::{duration_text, size_text};
use crate::model::{Arguments, Bundle, Effect, Grant, Mode, Pattern, Rest, Rule, Target};
use std::fmt::Write;

/// A source that compiles to this bundle.
pub fn print(bundle: &Bundle) -> String {
    let mut out = String::new();
    line(&mut out, "name", &text(bundle.name.as_str()));
    line(&mut out, "version", &bundle.version.to_string());
    if !bundle.about.is_empty() {
        line(&mut out, "about", &text(&bundle.about));
    }
    let read = &bundle.read;
    if !read.trees.is_empty() || !read.named.is_empty() {
        out.push_str("\n[read]\n");
        for (key, list) in [("trees", &read.trees), ("named", &read.named)] {
            if !list.is_empty() {
                line(&mut out, key, &texts(list));
            }
        }
    }
    for rule in &bundle.rules {
        out.push('\n');
        print_rule(&mut out, rule);
    }
    out
}

fn print_rule(out: &mut String, rule: &Rule) {
    out.push_str("[[rule]]\n");
    line(out, "id", &text(&rule.id));
    if rule.effect == Effect::Deny {
        line(out, "deny", "true");
    }
    match &rule.target {
        Target::Program { path, sha256 } => {
            line(out, "program", &text(path));
            if !sha256.is_empty() {
                line(out, "sha256", &texts(sha256));
            }
        }
        Target::Directory(path) => line(out, "directory", &text(path)),
        Target::Every => {}
    }
    print_arguments(out, &rule.arguments);
    print_run(out, rule);
}

fn print_arguments(out: &mut String, arguments: &Arguments) {
    match arguments {
        Arguments::Any => line(out, "arguments", "\"any\""),
        Arguments::None => line(out, "arguments", "\"none\""),
        Arguments::Each { first, rest } => {
            line(out, "arguments", &list(first.iter().map(pattern)));
            if let Some(Rest { pattern, min, max }) = rest {
                line(out, "rest", &format!("{{ {}, min = {min}, max = {max} }}", inner(pattern)));
            }
        }
    }
}

fn print_run(out: &mut String, rule: &Rule) {
    let run = &rule.run;
    if let Mode::Write { run_as, paths, stdin } = &run.mode {
        line(out, "mode", "\"write\"");
        line(out, "run_as", &text(run_as));
        line(out, "writes", &texts(paths));
        if *stdin {
            line(out, "stdin", "true");
        }
    }
    let named: Vec<String> =
        run.grants.iter().filter(|grant| !matches!(grant, Grant::Net(_))).map(|grant| text(grant.name())).collect();
    if !named.is_empty() {
        line(out, "grants", &list(named.into_iter()));
    }
    for grant in &run.grants {
        if let Grant::Net(destinations) = grant {
            line(out, "net", &list(destinations.iter().map(|one| text(&one.to_string()))));
        }
    }
    if let Some(cwd) = &run.cwd {
        line(out, "cwd", &text(cwd));
    }
    if !run.environment.is_empty() {
        let pairs: Vec<String> =
            run.environment.iter().map(|(name, value)| format!("{name} = {}", text(value))).collect();
        line(out, "environment", &format!("{{ {} }}", pairs.join(", ")));
    }
    if let Some(seconds) = run.time_limit_s {
        line(out, "time_limit", &text(&duration_text(seconds)));
    }
    if let Some(bytes) = run.output_limit {
        line(out, "output_limit", &text(&size_text(bytes)));
    }
}

fn line(out: &mut String, key: &str, value: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{key} = {value}");
}

fn pattern(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Exact(exact) if exact != "…" => text(exact),
        other => format!("{{ {} }}", inner(other)),
    }
}

/// A pattern's keys, without the braces.
fn inner(one: &Pattern) -> String {
    match one {
        Pattern::Exact(exact) => format!("exact = {}", text(exact)),
        Pattern::OneOf(list) => format!("one_of = {}", texts(list)),
        Pattern::Integer { min, max } => format!("integer = [{min}, {max}]"),
        Pattern::Regex(regex) => format!("regex = {}", text(regex)),
        Pattern::Path { under, prefix } => {
            let under = match under.as_slice() {
                [one] => text(one),
                more => texts(more),
            };
            let prefix = if prefix.is_empty() { String::new() } else { format!(", prefix = {}", text(prefix)) };
            format!("path = {under}{prefix}")
        }
        Pattern::AnyOf(patterns) => format!("any_of = {}", list(patterns.iter().map(pattern))),
        Pattern::Anything => "anything = true".to_owned(),
    }
}

fn list(words: impl Iterator<Item = String>) -> String {
    format!("[{}]", words.collect::<Vec<_>>().join(", "))
}

fn texts(words: &[String]) -> String {
    list(words.iter().map(|word| text(word)))
}

fn text(word: &str) -> String {
    toml::Value::String(word.to_owned()).to_string()
}
