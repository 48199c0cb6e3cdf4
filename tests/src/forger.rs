//! What whoever is root on a host can do to its chain: lines changed by hand, and others written and signed with every key
//! that is there. Those of before are not there.

use anyhow::{Context, Result};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use tether_audit::{Chain, Event, HeadAt, HeadSigner, Link, SignedHead, Verified, canonical};

/// A chain's lines, in their files.
#[derive(Debug, Clone)]
pub struct Stolen {
    /// Files and their lines, in order.
    pub segments: Vec<(PathBuf, Vec<String>)>,
    /// Which key signs the next head, and its secret.
    pub key: (u64, [u8; 32]),
}

/// The number of a record's line; none of another line.
pub fn number(line: &str) -> Option<u64> {
    let value: Value = serde_json::from_str(line).ok()?;
    value["record"]["number"].as_u64()
}

/// A head's line.
pub fn head(line: &str) -> Option<SignedHead> {
    line.starts_with("{\"head\"").then(|| serde_json::from_str(line).ok())?
}

/// A record that says something else, with the hash of what it says now.
pub fn rehashed(line: &str, change: impl FnOnce(&mut Value)) -> Result<String> {
    let mut value: Value = serde_json::from_str(line)?;
    change(&mut value["record"]);
    let body = canonical(&value["record"])?;
    let hash = Sha256::digest([b"tether audit record v1\0", body.as_bytes()].concat());
    Ok(format!("{{\"hash\":\"{}\",\"record\":{body}}}", Base64UrlUnpadded::encode_string(&hash)))
}

impl Stolen {
    /// Reads a folder that was copied from a host: the chain, and `key`.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            files.push(entry?.path());
        }
        files.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
        files.sort();
        let lines = |path: PathBuf| {
            let text = std::fs::read_to_string(&path)?;
            let name = PathBuf::from(path.file_name().context("a name")?);
            Ok((name, text.lines().map(str::to_owned).collect()))
        };
        let segments = files.into_iter().map(lines).collect::<Result<_>>()?;
        Ok(Self { segments, key: key(&std::fs::read(folder.join("key"))?)? })
    }

    /// Writes the chain into a folder, and nothing else.
    pub fn put(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        for (name, lines) in &self.segments {
            let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            std::fs::write(folder.join(name), text)?;
        }
        Ok(())
    }

    /// All lines in order.
    pub fn lines(&self) -> Vec<String> {
        self.segments.iter().flat_map(|(_, lines)| lines.clone()).collect()
    }

    /// The last record.
    pub fn last(&self) -> u64 {
        self.lines().iter().rev().find_map(|line| number(line)).unwrap_or_default()
    }

    /// Heads with the places of their lines.
    pub fn heads(&self) -> Vec<(usize, SignedHead)> {
        self.lines().iter().enumerate().filter_map(|(at, line)| Some((at, head(line)?))).collect()
    }

    /// Changes the lines as one list; each stays in its file, what is new comes into the file of the line before.
    pub fn change(&mut self, change: impl FnOnce(&mut Vec<String>)) {
        let firsts: Vec<String> = self.segments.iter().filter_map(|(_, lines)| lines.first().cloned()).collect();
        let mut all = self.lines();
        change(&mut all);
        let mut ends: Vec<usize> =
            firsts.iter().skip(1).map(|first| all.iter().position(|line| line == first).unwrap_or(all.len())).collect();
        ends.push(all.len());
        let mut from = 0;
        for ((_, lines), end) in self.segments.iter_mut().zip(ends) {
            *lines = all.get(from..end).unwrap_or_default().to_vec();
            from = end.max(from);
        }
        self.segments.retain(|(_, lines)| !lines.is_empty());
    }

    /// Where a record's line stands.
    pub fn at(&self, wanted: u64) -> Result<usize> {
        let place = self.lines().iter().position(|line| number(line) == Some(wanted));
        place.with_context(|| format!("there is no record {wanted}"))
    }

    /// The past from a record on is written anew: `change` gets the record, and all later ones follow it. Heads are signed
    /// with keys from `key` on, the first of them under the number `index`.
    pub fn rewrite(&mut self, from: u64, index: u64, change: impl Fn(&mut Event)) -> Result<()> {
        let mut signer = HeadSigner::new(index, self.key.1);
        let (mut chain, mut previous): (Option<Chain>, String) = (None, String::new());
        for (_, lines) in &mut self.segments {
            for line in lines {
                if let Some(number) = number(line) {
                    if number < from {
                        continue;
                    }
                    let mut value: Value = serde_json::from_str(line)?;
                    let link: Link = serde_json::from_value(value["record"].take())?;
                    let mut event = link.event;
                    if number == from {
                        change(&mut event);
                    }
                    let before = chain.as_ref().map_or(link.previous, |chain| chain.head().to_owned());
                    let verified = Verified { records: number - 1, head: before };
                    let mut new = Chain::after(&link.host, &link.boot, verified);
                    let next = new.next(event, link.time_us)?;
                    new.commit(&next);
                    *line = next.line;
                    chain = Some(new);
                } else if let Some(old) = head(line) {
                    let Some(chain) = &chain else {
                        previous = old.head.digest()?;
                        continue;
                    };
                    let signed = signer.sign(&HeadAt {
                        host: &old.head.host,
                        boot: &old.head.boot,
                        number: chain.number(),
                        hash: chain.head(),
                        time_us: old.head.time_us,
                        previous: &previous,
                    })?;
                    previous = signed.head.digest()?;
                    *line = signed.line()?;
                    signer = signer.next();
                }
            }
        }
        Ok(())
    }

    /// Goes on with what never happened, so much later than the last line, and signs it with the key that is there.
    pub fn lie(&mut self, later_us: i64, change: impl Fn(&mut Event)) -> Result<()> {
        let lines = self.lines();
        let last = lines.iter().rev().find(|line| number(line).is_some()).context("no record")?;
        let value: Value = serde_json::from_str(last)?;
        let link: Link = serde_json::from_value(value["record"].clone())?;
        let hash = value["hash"].as_str().context("no hash")?.to_owned();
        let mut event = link.event.clone();
        change(&mut event);
        let mut chain = Chain::after(&link.host, &link.boot, Verified { records: link.number, head: hash });
        let time_us = link.time_us.saturating_add_signed(later_us);
        let next = chain.next(event, time_us)?;
        chain.commit(&next);
        let before = self.heads().pop().map(|(_, head)| head.head.digest()).transpose()?.unwrap_or_default();
        let signed = HeadSigner::new(self.key.0, self.key.1).sign(&HeadAt {
            host: &link.host,
            boot: &link.boot,
            number: chain.number(),
            hash: chain.head(),
            time_us,
            previous: &before,
        })?;
        let last = &mut self.segments.last_mut().context("no segment")?.1;
        last.push(next.line);
        last.push(signed.line()?);
        Ok(())
    }
}

/// The older of the secrets in agentd's key file: with it the younger one can be made.
fn key(bytes: &[u8]) -> Result<(u64, [u8; 32])> {
    let places = [bytes.get(..512), bytes.get(512..1024)];
    let read = |place: Option<&[u8]>| -> Option<(u64, [u8; 32])> {
        let text = place?.split(|byte| *byte == 0).next()?;
        let kept: Value = serde_json::from_slice(text).ok()?;
        let hex = kept["seed"].as_str()?;
        let mut seed = [0; 32];
        for (at, byte) in seed.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some((kept["index"].as_u64()?, seed))
    };
    places.into_iter().filter_map(read).min_by_key(|(index, _)| *index).context("no secret is in the key file")
}
