//! Reading bundles, in whatever form they come, and writing what is asked for.

use anyhow::{Context, Result, anyhow, bail};
use base64ct::{Base64UrlUnpadded, Encoding};
use std::io::{Read, Write};
use std::path::Path;
use tether_bundle::source::{self, Problem, Source};
use tether_bundle::{Bundle, Policy};

/// The most bytes that are read as one bundle or key.
const FILE_MAX: u64 = 16 << 20;

/// A bundle that was read.
pub struct Loaded {
    /// Its file, as it was named.
    pub file: String,
    pub bundle: Bundle,
    /// What only a source has.
    pub source: Option<Source>,
}

impl Loaded {
    /// Its index. It was checked when it was read.
    pub fn policy(&self) -> Result<Policy> {
        Ok(Policy::new(self.bundle.clone())?)
    }

    /// Where a rule stands: `file:line:column`, or the file alone.
    pub fn place(&self, rule: usize) -> String {
        let place = self.source.as_ref().and_then(|source| source.places.get(rule));
        place.map_or_else(|| self.file.clone(), |place| format!("{}:{place}", self.file))
    }
}

/// A text, or why it is no bundle.
pub enum Outcome {
    Bundle(Box<Loaded>),
    Problems(Vec<Problem>),
}

/// Reads a bundle; what is wrong with a source becomes an error of several lines.
pub fn load(path: &Path) -> Result<Loaded> {
    match read(path)? {
        Outcome::Bundle(loaded) => Ok(*loaded),
        Outcome::Problems(problems) => {
            let lines: Vec<String> = problems.iter().map(|problem| format!("{}:{problem}", path.display())).collect();
            bail!("the bundle does not compile:\n{}", lines.join("\n"))
        }
    }
}

/// Reads a bundle.
pub fn read(path: &Path) -> Result<Outcome> {
    let text = text(path)?;
    let file = path.display().to_string();
    let compiled = match form(&text) {
        Form::Source => match source::read(&text) {
            Err(problems) => return Ok(Outcome::Problems(problems)),
            Ok(source) => {
                let loaded = Loaded { file, bundle: source.bundle.clone(), source: Some(source) };
                return Ok(Outcome::Bundle(Box::new(loaded)));
            }
        },
        Form::Compiled => text,
        Form::Signed => {
            eprintln!("tether: {file} is signed; this does not look at the signature, `tether bundle verify` does");
            payload(&text).with_context(|| format!("{file} looks signed, but is not a JWS"))?
        }
    };
    let bundle: Bundle = serde_json::from_str(&compiled).with_context(|| format!("{file} is not a bundle"))?;
    let bundle = bundle.check().with_context(|| format!("{file} is not a bundle that a host takes"))?;
    Ok(Outcome::Bundle(Box::new(Loaded { file, bundle, source: None })))
}

enum Form {
    Source,
    Compiled,
    Signed,
}

fn form(text: &str) -> Form {
    let text = text.trim();
    let in_compact = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.starts_with('{') {
        Form::Compiled
    } else if text.starts_with("eyJ") && text.bytes().all(in_compact) {
        Form::Signed
    } else {
        Form::Source
    }
}

fn payload(compact: &str) -> Result<String> {
    let part = compact.trim().split('.').nth(1).context("it has no payload")?;
    let bytes = Base64UrlUnpadded::decode_vec(part).map_err(|_| anyhow!("its payload is not base64url"))?;
    Ok(String::from_utf8(bytes)?)
}

/// A file's text, or stdin's.
pub fn text(path: &Path) -> Result<String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(FILE_MAX + 1).read_to_string(&mut text)
    } else {
        let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        file.take(FILE_MAX + 1).read_to_string(&mut text)
    };
    read.with_context(|| format!("cannot read {}", path.display()))?;
    if text.len() as u64 > FILE_MAX {
        bail!("{} has more than {FILE_MAX} bytes", path.display());
    }
    Ok(text)
}

/// Writes to a file, or to stdout.
pub fn write(output: Option<&Path>, text: &str) -> Result<()> {
    match output {
        None => crate::out::Out::new().write_all(text.as_bytes()).context("cannot write to stdout"),
        Some(path) => std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display())),
    }
}
