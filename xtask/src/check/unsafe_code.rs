//! Which files may hold unsafe code: those named in `xtask/unsafe-files.txt`, no more and no fewer.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Findings;
use crate::run::{capture, program, root};

const LIST: &str = "xtask/unsafe-files.txt";

const WORD: &str = "unsafe";

/// What follows the keyword; other uses of the word are a lint's name or plain text.
const FOLLOWERS: [&str; 6] = ["{", "(", "fn", "impl", "extern", "trait"];

pub(super) fn check() -> Findings {
    let text = fs::read_to_string(root().join(LIST)).with_context(|| format!("cannot read {LIST}"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let listed: BTreeSet<String> = lines.map(str::to_owned).collect();
    let found = sources()?;
    let new = found.difference(&listed).map(|file| format!("{file} holds {WORD} code and is not in {LIST}"));
    let old = listed.difference(&found).map(|file| format!("{file} is in {LIST} and holds no {WORD} code"));
    Ok(new.chain(old).collect())
}

/// The files of the repository that hold it, committed or about to be.
fn sources() -> Result<BTreeSet<String>> {
    let files = capture(&mut program("git", &["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"]))?;
    let holds = |file: &&str| fs::read_to_string(Path::new(root()).join(file)).is_ok_and(|text| holds_it(&text));
    Ok(files.lines().filter(holds).map(str::to_owned).collect())
}

/// Whether the keyword stands outside line comments; it may be the last word of its line.
fn holds_it(text: &str) -> bool {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).any(|code| {
        code.match_indices(WORD).any(|(at, _)| {
            let starts_a_word = !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
            let rest = code[at + WORD.len()..].trim_start();
            starts_a_word && (rest.is_empty() || FOLLOWERS.iter().any(|follower| rest.starts_with(follower)))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{WORD, holds_it};

    #[test]
    fn finds_the_keyword_only() {
        assert!(holds_it(&format!("let x = {WORD} {{ y() }};")));
        assert!(holds_it(&format!("#[{WORD}(no_mangle)]")));
        assert!(!holds_it(&format!("#![forbid({WORD}_code)] // {WORD} {{")));
        assert!(!holds_it(&format!("let text = \"no {WORD} code\";")));
    }
}
