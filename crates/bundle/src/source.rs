//! What the security team writes: TOML.
//!
//! ```toml
//! name = "triage"
//! version = 3
//! about = "Look at processes and connections"
//!
//! [[rule]]
//! id = "connections"
//! program = "/usr/bin/ss"
//! arguments = ["-tn"]
//! ```
//! `arguments` is `"any"`, `"none"` or the exact list; a rule may name a `directory` instead of a `program`.

use crate::model::{Arguments, Bundle, BundleError, Rule, Target};
use serde::Deserialize;
use tether_identity::Name;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    name: Name,
    version: u64,
    #[serde(default)]
    about: String,
    #[serde(default, rename = "rule")]
    rules: Vec<SourceRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceRule {
    id: String,
    program: Option<String>,
    directory: Option<String>,
    arguments: SourceArguments,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SourceArguments {
    Word(String),
    List(Vec<String>),
}

/// Reads and checks a bundle's source.
pub fn compile(text: &str) -> Result<Bundle, BundleError> {
    let source: Source = toml::from_str(text).map_err(|error| BundleError::Form(error.to_string()))?;
    let rules = source.rules.into_iter().map(compile_rule).collect::<Result<_, _>>()?;
    Bundle { name: source.name, version: source.version, about: source.about, rules }.check()
}

fn compile_rule(source: SourceRule) -> Result<Rule, BundleError> {
    let wrong = |why: &str| BundleError::Rule { rule: source.id.clone(), why: why.to_owned() };
    let target = match (source.program, source.directory) {
        (Some(program), None) => Target::Program(program),
        (None, Some(directory)) => Target::Directory(directory),
        _ => return Err(wrong("name a program or a directory, and not both")),
    };
    let arguments = match source.arguments {
        SourceArguments::List(list) => Arguments::Exact(list),
        SourceArguments::Word(word) if word == "any" => Arguments::Any,
        SourceArguments::Word(word) if word == "none" => Arguments::None,
        SourceArguments::Word(_) => return Err(wrong("arguments are \"any\", \"none\" or a list")),
    };
    Ok(Rule { id: source.id, target, arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_compiles() {
        let bundle = compile(
            "name='t'\nversion=1\n[[rule]]\nid='a'\nprogram='/usr/bin/ss'\narguments=['-tn']\n[[rule]]\nid='b'\ndirectory='/opt/x'\narguments='any'",
        )
        .unwrap();
        assert_eq!(bundle.rules.len(), 2);
        assert_eq!(bundle.rules[0].arguments, Arguments::Exact(vec!["-tn".into()]));
    }

    #[test]
    fn mistakes_are_named() {
        let rule =
            |text: &str| compile(&format!("name='t'\nversion=1\n[[rule]]\nid='a'\n{text}")).unwrap_err().to_string();
        assert!(rule("program='ss'\narguments='any'").contains("absolute"));
        assert!(rule("program='/usr/../x'\narguments='any'").contains("absolute"));
        assert!(rule("program='/x'\ndirectory='/y'\narguments='any'").contains("not both"));
        assert!(rule("program='/x'\narguments='some'").contains("any"));
        assert!(rule("program='/x'\narguments=[]").contains("none"));
        assert!(rule("program='/x'\narguments='any'\nrunas='root'").contains("unknown field"));
        assert!(rule("program='/x'").contains("arguments"));
        let twice = "program='/x'\narguments='any'\n[[rule]]\nid='a'\nprogram='/y'\narguments='any'";
        assert!(rule(twice).contains("same id"));
    }
}
