//! Patterns that reach further than they look.

use super::programs::{Power, is_many, power};
use super::{Lint, Severity};
use tether_bundle::{Arguments, Bundle, Command, Decision, Effect, Pattern, Policy, Reads, Rest, Rule, Run, Target};

/// What nobody has in mind who writes an expression for something else.
const SURPRISES: [(&str, &str); 8] = [
    ("--exec=sh", "an option"),
    ("-e", "an option"),
    ("/etc/shadow", "a path"),
    ("../../etc/shadow", "a path that leads up"),
    ("/var/log/../../etc/shadow", "a path that leads up"),
    ("a;id", "a shell's command"),
    ("$(id)", "a shell's command"),
    ("a b", "blanks"),
];

pub fn look(lint: &mut Lint<'_>, at: usize, rule: &Rule) {
    if rule.effect == Effect::Deny {
        denial(lint, at, rule);
        return;
    }
    wide(lint, at, rule);
    many(lint, at, rule);
    let Arguments::Each { first, rest } = &rule.arguments else { return };
    for pattern in first.iter().chain(rest.iter().map(|rest| &rest.pattern)) {
        one(lint, at, pattern);
    }
}

/// A denial by text is no wall: the kernel's layers are.
fn denial(lint: &mut Lint<'_>, at: usize, rule: &Rule) {
    let Arguments::Each { first, rest } = &rule.arguments else { return };
    let by_text = |pattern: &Pattern| matches!(pattern, Pattern::Exact(_) | Pattern::OneOf(_) | Pattern::Regex(_));
    if first.iter().chain(rest.iter().map(|rest| &rest.pattern)).any(by_text) {
        let text = "it denies by the text of an argument; most programs take the same in another spelling \
                    (-rf, -r -f, --recursive): allow what is wanted rather than deny what is not";
        lint.rule(at, Severity::Note, "lint.denial_by_text", text);
    }
}

/// The name that is typed is no part of a decision.
fn many(lint: &mut Lint<'_>, at: usize, rule: &Rule) {
    if let Target::Program { path, .. } = &rule.target
        && is_many(path)
        && rule.arguments != Arguments::None
    {
        let text = format!(
            "{path} is several programs in one file, by the name under which it is typed: this rule is for all of them"
        );
        lint.rule(at, Severity::Note, "lint.many_programs", text);
    }
}

/// Any arguments, or anything for one, where an argument can be a program.
fn wide(lint: &mut Lint<'_>, at: usize, rule: &Rule) {
    let anything = match &rule.arguments {
        Arguments::Any => true,
        Arguments::None => false,
        Arguments::Each { first, rest } => first
            .iter()
            .chain(rest.iter().map(|rest: &Rest| &rest.pattern))
            .any(|pattern| *pattern == Pattern::Anything),
    };
    if !anything {
        return;
    }
    match &rule.target {
        Target::Program { path, .. } => match power(path) {
            Some(Power::Interprets) => {
                let text = format!(
                    "{path} runs what it is given: with free arguments this rule allows every program, confined"
                );
                lint.rule(at, Severity::Warning, "lint.interpreter", text);
            }
            Some(Power::Starts) => {
                let text = format!(
                    "{path} can start other programs: with free arguments they run in this rule's name, confined"
                );
                lint.rule(at, Severity::Warning, "lint.starts_programs", text);
            }
            Some(Power::Writes) | None => {}
        },
        Target::Directory(folder) => {
            let text = format!("every program in {folder} with free arguments, also those that come later");
            lint.rule(at, Severity::Note, "lint.folder", text);
        }
        Target::Every => {}
    }
}

fn one(lint: &mut Lint<'_>, at: usize, pattern: &Pattern) {
    match pattern {
        Pattern::Regex(text) => regex(lint, at, text),
        Pattern::Path { under, prefix } => path(lint, at, under, prefix),
        Pattern::AnyOf(patterns) => patterns.iter().for_each(|pattern| one(lint, at, pattern)),
        Pattern::Exact(text) => exact(lint, at, text),
        Pattern::OneOf(texts) => texts.iter().for_each(|text| exact(lint, at, text)),
        Pattern::Integer { .. } | Pattern::Anything => {}
    }
}

fn exact(lint: &mut Lint<'_>, at: usize, text: &str) {
    if text.contains(['*', '?']) && !text.contains(' ') && text.contains('/') {
        let text = format!("{text:?} is exactly this text: no shell and nothing here expands it; use path or regex");
        lint.rule(at, Severity::Warning, "lint.glob", text);
    }
}

fn regex(lint: &mut Lint<'_>, at: usize, text: &str) {
    if text.starts_with('^') || text.ends_with('$') && !text.ends_with("\\$") {
        let note = format!(
            "/{text}/ matches a whole argument anyway: '^' and '$' change nothing, and 'a|^b' is easily misread"
        );
        lint.rule(at, Severity::Note, "lint.regex_anchor", note);
    }
    let Some(policy) = alone(text) else { return };
    let matched: Vec<String> = SURPRISES
        .iter()
        .filter(|(surprise, _)| fits(&policy, surprise))
        .map(|(surprise, what)| format!("{surprise:?} ({what})"))
        .collect();
    if !matched.is_empty() {
        let shown = matched.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
        lint.rule(at, Severity::Warning, "lint.regex_reach", format!("/{text}/ reaches far: it matches {shown} too"));
    } else if has_bare_dot(text) {
        let text = format!("/{text}/ has a '.' between letters or digits, which stands for any character: write '\\.'");
        lint.rule(at, Severity::Warning, "lint.regex_dot", text);
    }
}

fn alone(text: &str) -> Option<Policy> {
    let arguments = Arguments::Each { first: vec![Pattern::Regex(text.to_owned())], rest: None };
    let target = Target::Program { path: "/x".to_owned(), sha256: Vec::new() };
    let rule = Rule { id: "x".to_owned(), effect: Effect::Allow, target, arguments, run: Run::default() };
    let name = "lint".parse().ok()?;
    Policy::new(Bundle { name, version: 1, about: String::new(), read: Reads::default(), rules: vec![rule] }).ok()
}

fn fits(policy: &Policy, text: &str) -> bool {
    let argv = [text.to_owned()];
    let command = Command { program: "/x", sha256: None, argv: &argv, cwd: "/" };
    matches!(policy.decide(&command), Decision::Allowed { .. })
}

/// `syslog.1`, `10.0.0.1`: a dot that looks like itself.
fn has_bare_dot(text: &str) -> bool {
    let bytes = text.as_bytes();
    let word = |at: Option<&u8>| at.is_some_and(u8::is_ascii_alphanumeric);
    (1..bytes.len()).any(|at| {
        let escaped = at >= 2 && bytes.get(at - 2) == Some(&b'\\');
        bytes.get(at) == Some(&b'.') && word(bytes.get(at - 1)) && !escaped && word(bytes.get(at + 1))
    })
}

fn path(lint: &mut Lint<'_>, at: usize, under: &[String], prefix: &str) {
    if prefix.starts_with("--") && !prefix.ends_with(['=', ':', ',']) {
        let text = format!("the prefix {prefix:?} has no '=' at its end: the path is glued to the option's name");
        lint.rule(at, Severity::Warning, "lint.prefix", text);
    }
    if prefix.contains('/') {
        let text = format!("the prefix {prefix:?} is part of a path: what stands after it is looked up on its own");
        lint.rule(at, Severity::Warning, "lint.prefix", text);
    }
    let is_top =
        |folder: &&String| folder.matches('/').count() == 1 && !["/usr", "/proc", "/sys"].contains(&folder.as_str());
    let wide: Vec<&str> = under.iter().filter(is_top).map(String::as_str).collect();
    if !wide.is_empty() {
        let text = format!(
            "path under {}: whole top-level folders; what the command may read there is limited by the never-list only",
            wide.join(", ")
        );
        lint.rule(at, Severity::Note, "lint.path_wide", text);
    }
    for folder in under {
        if let Some(reason) = tether_never::is_never(std::path::Path::new(folder)) {
            let text = format!("nothing below {folder} can be read, whatever a bundle says: {}", reason.text);
            lint.rule(at, Severity::Warning, "lint.never", text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::has_bare_dot;

    #[test]
    fn dots_that_look_like_themselves() {
        for text in ["syslog.1", "10.0.0.1", "a.b"] {
            assert!(has_bare_dot(text), "{text}");
        }
        for text in [r"syslog\.1", "a.*b", "[a.b]c", ".a", "a.", ""] {
            assert!(!has_bare_dot(text) || text == "[a.b]c", "{text}");
        }
    }
}
