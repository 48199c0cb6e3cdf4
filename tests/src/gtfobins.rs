//! GTFOBins' own payloads, read at test time from a folder with its repository (GPL, so never in this one).

use crate::payloads::Payload;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// One file of `_gtfobins`. Aliases have no functions.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    functions: BTreeMap<String, Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    code: Option<String>,
    contexts: Option<BTreeMap<String, Option<Context_>>>,
}

#[derive(Deserialize, Default)]
struct Context_ {
    code: Option<String>,
}

/// What a test host cannot have, whoever tries it: it would reach the machine itself.
const LEFT_OUT: &[(&str, &str)] = &[
    ("dmsetup", "the device mapper is the machine's"),
    ("crash", "the memory is the machine's"),
    ("openvt", "a test host has no consoles"),
    ("nsenter", "as plain root it leaves the command's own namespaces, which is the host's whole idea of root"),
    ("docker", "no daemon runs"),
];

/// Every payload that is for sudo: named `CLASS.PROGRAM.NUMBER`, to be typed into an unprivileged shell.
pub fn read(folder: &Path) -> Result<Vec<Payload>> {
    let folder = folder.join("_gtfobins");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))?.collect::<Result<_, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    let mut all = Vec::new();
    for file in files {
        let program = file.file_name().to_string_lossy().into_owned();
        if LEFT_OUT.iter().any(|(name, _)| *name == program) {
            continue;
        }
        let text = std::fs::read_to_string(file.path())?;
        let parsed: File = serde_yaml_ng::from_str(&text).with_context(|| format!("{}", file.path().display()))?;
        for (class, entries) in parsed.functions {
            for (number, entry) in entries.into_iter().enumerate() {
                all.extend(payload(&program, &class, number, entry));
            }
        }
    }
    Ok(all)
}

fn payload(program: &str, class: &str, number: usize, entry: Entry) -> Option<Payload> {
    let context = entry.contexts?.remove("sudo")?.unwrap_or_default();
    let code = context.code.or(entry.code)?;
    // "..." stands for a whole payload of another program.
    if code.contains("...") {
        return None;
    }
    let mut keys: Vec<String> = code.lines().map(|line| with_sudo(program, &filled(class, line))).collect();
    keys.push("{do}".to_owned());
    let name = format!("{class}.{}.{number}", program.replace('.', "_"));
    Some(Payload { name, class: class.to_owned(), script: None, keys: Some(keys) })
}

/// Puts the attacker's files and addresses in place of the placeholders.
fn filled(class: &str, line: &str) -> String {
    let file = if class == "privilege-escalation" { "{out}" } else { "{secret}" };
    let mut line = line.to_owned();
    for (placeholder, value) in [
        ("/path/to/input-file", file),
        ("/path/to/file-input", file),
        ("/path/to/output-file", "{out}"),
        ("/path/to/ouput-file", "{out}"),
        ("/path/to/output-dir", "{outfolder}"),
        ("/path/to/command", "{do}"),
        ("/path/to/lib.so", "{lib}"),
        ("/path/to/temp-", "/tmp/{name}-"),
        ("/path/to/dir", "/tmp"),
        ("/path/to/empty-dir", "/tmp/{name}-empty"),
        ("attacker.com:12345", "127.0.0.1:{port}"),
        ("http://attacker.com", "http://127.0.0.1:{port}"),
        ("attacker.com", "127.0.0.1"),
        ("12345", "{port}"),
        ("/bin/sh", "{do}"),
    ] {
        line = line.replace(placeholder, value);
    }
    line
}

/// The program with sudo before it, where it begins a command.
fn with_sudo(program: &str, line: &str) -> String {
    let mut done = String::new();
    let mut rest = line;
    loop {
        // A command begins a line, follows one of these, or assignments.
        let end = rest.find(['|', ';', '&']).map_or(rest.len(), |at| at + 1);
        let (part, next) = rest.split_at(end);
        done.push_str(&first_with_sudo(program, part));
        if next.is_empty() {
            return done;
        }
        rest = next;
    }
}

fn first_with_sudo(program: &str, part: &str) -> String {
    let indent = part.len() - part.trim_start().len();
    let (blank, command) = part.split_at(indent);
    let is_it =
        command.strip_prefix(program).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ';', '|', '&']));
    if is_it { format!("{blank}sudo {command}") } else { part.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_stands_before_the_program_only() {
        for (line, expected) in [
            ("tar cf /dev/null", "sudo tar cf /dev/null"),
            ("echo x | tar xf -", "echo x | sudo tar xf -"),
            ("target", "target"),
            ("x=tar; tar", "x=tar; sudo tar"),
        ] {
            assert_eq!(with_sudo("tar", line), expected);
        }
    }

    #[test]
    fn a_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("_gtfobins")).unwrap();
        let text = "---\nfunctions:\n  shell:\n  - code: |-\n      vi -c ':!/bin/sh'\n    contexts:\n      sudo:\n      unprivileged:\n  inherit:\n  - code: vi -c ':py ...'\n    contexts: {sudo: }\n...\n";
        std::fs::write(folder.path().join("_gtfobins/vi"), text).unwrap();
        let read = read(folder.path()).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].name, "shell.vi.0");
        assert_eq!(read[0].keys.as_deref(), Some(&["sudo vi -c ':!{do}'".to_owned(), "{do}".to_owned()][..]));
    }
}
