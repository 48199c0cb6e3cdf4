//! Which files may hold unsafe code: those named in `xtask/unsafe-files.txt`, no more and no fewer.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Findings;
use crate::run::{capture, program, root};

const LIST: &str = "xtask/unsafe-files.txt";

/// Written in two parts so that this file does not hold it.
const WORD: &str = concat!("un", "safe");

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

/// Whether the keyword stands outside line comments. In a longer name (a lint's, say) it is not the keyword.
fn holds_it(text: &str) -> bool {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).any(|code| {
        let part_of_name = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        code.match_indices(WORD).any(|(at, _)| {
            let before = at.checked_sub(1).map(|before| code.as_bytes()[before]);
            !part_of_name(before) && !part_of_name(code.as_bytes().get(at + WORD.len()).copied())
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
        assert!(!holds_it(&format!("#![forbid({WORD}_code)] // {WORD}")));
    }
}
