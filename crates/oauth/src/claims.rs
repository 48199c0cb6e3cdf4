//! Reading claims: each is there and of its kind, or the token is refused with the claim's name.

use crate::refusal::Refusal;
use crate::{LEEWAY, UnixTime};
use serde_json::{Map, Value};

/// The claims of one token, and what its refusals begin with.
pub(crate) struct Claims<'c> {
    pub(crate) map: &'c Map<String, Value>,
    /// `subject`, `actor`, `proof`.
    pub(crate) what: &'static str,
}

impl Claims<'_> {
    pub(crate) fn refuse(&self, code: &str, why: impl std::fmt::Display) -> Refusal {
        Refusal::request(format!("{}.{code}", self.what), format_args!("the {} token is refused: {why}", self.what))
    }

    fn missing(&self, name: &str) -> Refusal {
        self.refuse(name, format_args!("its {name} is missing or of another kind"))
    }

    pub(crate) fn text(&self, name: &str) -> Result<&str, Refusal> {
        let text = self.map.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.ok_or_else(|| self.missing(name))
    }

    /// Absent or a text.
    pub(crate) fn optional(&self, name: &str) -> Result<Option<&str>, Refusal> {
        if self.map.contains_key(name) { self.text(name).map(Some) } else { Ok(None) }
    }

    pub(crate) fn time(&self, name: &str) -> Result<UnixTime, Refusal> {
        self.map.get(name).and_then(Value::as_u64).ok_or_else(|| self.missing(name))
    }

    /// A list of texts; absent is empty.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, Refusal> {
        let Some(value) = self.map.get(name) else { return Ok(Vec::new()) };
        let items = value.as_array().ok_or_else(|| self.missing(name))?;
        items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(|| self.missing(name))).collect()
    }

    /// One text or a list of texts, as `aud` may be (RFC 7519, 4.1.3).
    pub(crate) fn one_or_more(&self, name: &str) -> Result<Vec<String>, Refusal> {
        match self.map.get(name) {
            Some(Value::String(one)) => Ok(vec![one.clone()]),
            Some(Value::Array(_)) => self.texts(name),
            _ => Err(self.missing(name)),
        }
    }

    /// Begun and not over. The start may be ahead by the leeway, the end by nothing.
    pub(crate) fn check_times(&self, now: UnixTime) -> Result<(UnixTime, UnixTime), Refusal> {
        let (issued, expires) = (self.time("iat")?, self.time("exp")?);
        let start = if self.map.contains_key("nbf") { self.time("nbf")?.max(issued) } else { issued };
        if now >= expires {
            return Err(self.refuse("expired", format_args!("it expired at {expires}")));
        }
        if start > now.saturating_add(LEEWAY) {
            return Err(self.refuse("not_yet", format_args!("it is not valid before {start}")));
        }
        if expires <= start {
            return Err(self.refuse("exp", format_args!("its exp is not after {start}")));
        }
        Ok((issued, expires))
    }
}
