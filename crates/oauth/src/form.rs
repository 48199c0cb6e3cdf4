//! `application/x-www-form-urlencoded`, no member twice (RFC 6749, 3.2).

use crate::refusal::Refusal;
use std::collections::BTreeMap;

/// The most bytes that a form may have: two tokens and their names.
const FORM_MAX: usize = 64 * 1024;
/// The most members.
const MEMBERS_MAX: usize = 32;

/// A form that was read. A member without a value is as good as left out (RFC 6749, 3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let malformed = |why: &str| Refusal::request("request.form", format_args!("the form is malformed: {why}"));
        if body.len() > FORM_MAX {
            return Err(malformed("it has more than 64 KiB"));
        }
        let text = std::str::from_utf8(body).map_err(|_| malformed("it is not UTF-8"))?;
        let mut members = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = |part| decode(part).ok_or_else(|| malformed("a member is not percent-encoded UTF-8"));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if members.len() >= MEMBERS_MAX {
                return Err(malformed("it has more than 32 members"));
            }
            if members.insert(name.clone(), value).is_some() {
                let why = format_args!("the member {name:?} stands twice");
                return Err(Refusal::request("request.twice", why));
            }
        }
        Ok(Self(members))
    }

    /// A member's value, if it has one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A member that must have a value.
    pub fn need(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name)
            .ok_or_else(|| Refusal::request(format!("request.no_{name}"), format_args!("the form has no {name}")))
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn members_stand_once() {
        let form = Form::parse(b"a=1&b=x%20y%2Bz+w&empty=").unwrap();
        assert_eq!((form.get("a"), form.get("b"), form.get("empty")), (Some("1"), Some("x y+z w"), None));
        assert_eq!(Form::parse(b"a=1&a=1").unwrap_err().code, "request.twice");
        assert_eq!(Form::parse(b"a=1&%61=2").unwrap_err().code, "request.twice");
        assert_eq!(Form::parse(b"a=%zz").unwrap_err().code, "request.form");
        assert_eq!(Form::parse(b"a=%ff").unwrap_err().code, "request.form");
        assert_eq!(Form::parse(&[b'a'; FORM_MAX + 1]).unwrap_err().code, "request.form");
        assert_eq!(form.need("empty").unwrap_err().code, "request.no_empty");
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Form::parse(&body);
        }
    }
}
