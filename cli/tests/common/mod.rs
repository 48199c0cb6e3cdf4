//! The real program, in a folder of its own.
#![allow(dead_code)]

use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// What `tether bundle …` did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A folder with files, and `tether` run in it.
pub struct Desk(TempDir);

impl Desk {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file and its text.
    pub fn with(self, name: &str, text: &str) -> Self {
        self.put(name, text);
        self
    }

    pub fn put(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// `tether bundle LINE`: split at blanks.
    pub fn run(&self, line: &str) -> Ran {
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        self.words(&words)
    }

    pub fn words(&self, words: &[&str]) -> Ran {
        let program = env!("CARGO_BIN_EXE_tether");
        let done = Command::new(program).arg("bundle").args(words).current_dir(self.0.path()).output().unwrap();
        ran(done)
    }
}

pub fn ran(done: Output) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: done.status.code().unwrap_or(-1), out: text(done.stdout), err: text(done.stderr) }
}

/// A small bundle: `ss` with one argument, `tail` of a log.
pub const SMALL: &str = "name = 'small'
version = 3
about = 'Looks'

[read]
trees = ['/usr', '/var/log']

[[rule]]
id = 'sockets'
program = '/usr/bin/ss'
arguments = ['-tn']

[[rule]]
id = 'last-lines'
program = '/usr/bin/tail'
arguments = ['-n', { integer = [1, 100] }, { path = '/var/log' }]

[[test]]
allow = '/usr/bin/ss -tn'
rule = 'sockets'

[[test]]
deny = '/usr/bin/tail -n 5 /etc/shadow'
code = 'bundle.arguments'
";
