//! Identifiers that appear in every record: session, delegation, host.

use crate::text::{Malformed, text_type};
use std::str::FromStr;

/// One session on one host. It is also the certificate's key id, a file name and a cgroup's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(String);
text_type!(SessionId);

impl FromStr for SessionId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let fail = |why| Err(Malformed::new("session id", text, why));
        if !(16..=40).contains(&text.len()) {
            return fail("it must have 16 to 40 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return fail("only a-z and 0-9 may stand in it");
        }
        Ok(Self(text.to_owned()))
    }
}

/// The `jti` of a delegation token (RFC 7519, 4.1.7). Usable once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DelegationId(String);
text_type!(DelegationId);

impl FromStr for DelegationId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        visible(text, "delegation id (jti)", 128).map(Self)
    }
}

/// One enrolled host: the audience of statements, tokens and grants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(String);
text_type!(HostId);

impl FromStr for HostId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        visible(text, "host id", 128).map(Self)
    }
}

/// 1 to `max` visible ASCII characters without quotes or backslash: safe in logs, JSON and file text.
fn visible(text: &str, what: &'static str, max: usize) -> Result<String, Malformed> {
    if text.is_empty() || text.len() > max {
        return Err(Malformed::new(what, text, "it must have 1 to 128 characters"));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\')) {
        return Err(Malformed::new(what, text, "only visible ASCII without quotes and '\\' may stand in it"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_are_plain_file_names() {
        assert!("0123456789abcdef".parse::<SessionId>().is_ok());
        for bad in ["", "short", "0123456789abcde/", "../../../etc/passwd", "0123456789ABCDEF", &"a".repeat(41)] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_hold_no_control_characters() {
        for bad in ["", "a b", "a\nb", "é", "a\"b", "a\\b"] {
            assert!(bad.parse::<DelegationId>().is_err(), "{bad:?}");
            assert!(bad.parse::<HostId>().is_err(), "{bad:?}");
        }
        assert!("web-01.example.org".parse::<HostId>().is_ok());
    }
}
