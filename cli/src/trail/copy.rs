//! A second copy of a chain, read beside the first, in bounded memory.

use super::files::{Files, Lines};
use anyhow::Result;

/// Central's copy of a chain, read beside the chain.
pub struct Copy<'c> {
    files: &'c Files,
    segment: usize,
    lines: Option<Lines>,
    current: Option<(u64, String)>,
}

impl<'c> Copy<'c> {
    /// At its beginning.
    pub fn of(files: &'c Files) -> Self {
        Self { files, segment: 0, lines: None, current: None }
    }

    /// The hash of a record; numbers are asked for in their order.
    pub fn hash_of(&mut self, number: u64) -> Result<Option<String>> {
        while self.current.as_ref().is_none_or(|(at, _)| *at < number) {
            if !self.advance()? {
                return Ok(None);
            }
        }
        Ok(self.current.as_ref().filter(|(at, _)| *at == number).map(|(_, hash)| hash.clone()))
    }

    /// The last record there is.
    pub fn last(&mut self) -> Result<u64> {
        while self.advance()? {}
        Ok(self.current.as_ref().map_or(0, |(number, _)| *number))
    }

    /// The next record; the copy itself is checked elsewhere.
    fn advance(&mut self) -> Result<bool> {
        loop {
            if self.lines.is_none() {
                let Some(segment) = self.files.segments.get(self.segment) else { return Ok(false) };
                self.segment += 1;
                self.lines = Some(Lines::open(&segment.path)?);
            }
            let Some(lines) = &mut self.lines else { return Ok(false) };
            match lines.next()? {
                None => self.lines = None,
                Some((_, Ok(text))) => {
                    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
                    if let (Some(number), Some(hash)) = (value["record"]["number"].as_u64(), value["hash"].as_str()) {
                        self.current = Some((number, hash.to_owned()));
                        return Ok(true);
                    }
                }
                Some((_, Err(_))) => {}
            }
        }
    }
}
