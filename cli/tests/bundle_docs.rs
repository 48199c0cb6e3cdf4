//! docs/bundles.md and docs/codes.md say what is: their examples compile, and no code is missing.

mod common;

use common::Desk;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The blocks of a kind.
fn blocks(text: &str, kind: &str) -> Vec<String> {
    let fence = format!("```{kind}\n");
    text.split(&fence).skip(1).map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_examples_of_the_language_compile() {
    let blocks = blocks(&read("docs/bundles.md"), "toml");
    assert!(blocks.len() >= 5, "{}", blocks.len());
    let head = "name = 'doc'\nversion = 1\n";
    let logs = "[[rule]]\nid = 'x'\nprogram = '/usr/bin/grep'\n";
    for block in blocks {
        let whole = match block.trim_start() {
            text if text.starts_with("name") => block,
            text if text.starts_with("arguments") => format!("{head}{logs}{block}"),
            _ => format!("{head}{block}"),
        };
        let desk = Desk::new().with("a.toml", &whole);
        let checked = desk.run("check a.toml");
        assert_eq!(checked.code, 0, "{whole}\n{checked:?}");
    }
    let first = Desk::new().with("a.toml", &self::blocks(&read("docs/bundles.md"), "toml")[0]);
    assert_eq!(first.run("test a.toml").code, 0);
    assert_eq!(first.run("lint a.toml --no-host").code, 0);
}

#[test]
fn every_code_is_explained() {
    let docs = read("docs/codes.md");
    let documented: BTreeSet<&str> = docs.split('`').collect();
    let mut found = BTreeSet::new();
    for folder in ["crates/bundle/src", "cli/src/bundle", "crates/scim/src"] {
        codes_below(&root().join(folder), &mut found);
    }
    assert!(found.len() > 50, "{found:?}");
    let missing: Vec<&String> = found.iter().filter(|code| !documented.contains(code.as_str())).collect();
    assert!(missing.is_empty(), "not in docs/codes.md: {missing:?}");
}

fn codes_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            codes_below(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let is_code = |text: &&str| {
            let known = ["rule.", "source.", "bundle.", "lint.", "scim."].iter().any(|start| text.starts_with(start));
            known && text.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'.' | b'_')) && !text.ends_with('.')
        };
        found.extend(text.split('"').filter(is_code).map(str::to_owned));
    }
}

#[test]
fn every_tool_is_in_the_help_and_in_the_docs() {
    let help = Desk::new().run("--help");
    assert_eq!(help.code, 0);
    let docs = read("docs/bundles.md");
    for tool in ["check", "build", "sign", "verify", "confirm", "lint", "test", "explain", "diff", "replay", "import"] {
        assert!(help.out.contains(&format!("  {tool} ")), "{tool}: {}", help.out);
        assert!(docs.contains(&format!("| `{tool} ")), "{tool}");
        assert_eq!(Desk::new().words(&[tool, "--help"]).code, 0, "{tool}");
    }
}
