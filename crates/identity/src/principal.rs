//! The workload principal `tether://TEAM/AGENT/HUMAN`: both halves or nothing.
//!
//! One principal has exactly one spelling: unreserved characters of RFC 3986 and `@` stand for
//! themselves, every other byte of the UTF-8 text is `%XX` in upper case. Anything else is refused,
//! so that principals may be compared as bytes (in a certificate, in an account file, in a record).

use crate::text::{Malformed, serde_text, text_type};
use std::fmt;
use std::str::FromStr;

const WHAT: &str = "workload principal";
const SEGMENT_MAX: usize = 256;

/// The scheme before `://`; a setting, `tether` unless changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scheme(String);
text_type!(Scheme);

impl Default for Scheme {
    fn default() -> Self {
        Self("tether".to_owned())
    }
}

impl FromStr for Scheme {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !(2..=16).contains(&text.len()) || !plain || !text.as_bytes()[0].is_ascii_lowercase() {
            return Err(Malformed::new("scheme", text, "it must be 2 to 16 characters of a-z and 0-9, a letter first"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A team's or an agent's name: what `act.sub` and `cid` carry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);
text_type!(Name);

impl FromStr for Name {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        check_text("name", text).map(Self)
    }
}

/// The human's name as the issuer's configured claim gives it, for example `alice@example.org`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Human(String);
text_type!(Human);

impl FromStr for Human {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        check_text("human", text).map(Self)
    }
}

impl Human {
    /// Whether the name lies in a namespace such as `@example.org`: it ends with it, and something
    /// without a further `@` stands before it.
    pub fn is_in(&self, namespace: &str) -> bool {
        match self.0.strip_suffix(namespace) {
            Some(local) => namespace.starts_with('@') && !local.is_empty() && !local.contains('@'),
            None => false,
        }
    }
}

/// Neither empty nor long, no control characters, no surrounding blanks, not `.` or `..`.
fn check_text(what: &'static str, text: &str) -> Result<String, Malformed> {
    let fail = |why| Err(Malformed::new(what, text, why));
    if text.is_empty() {
        return fail("it is empty");
    }
    if text.len() > SEGMENT_MAX {
        return fail("it has more than 256 bytes");
    }
    if text.chars().any(|c| c.is_control() || is_invisible(c)) {
        return fail("it holds a control or invisible character");
    }
    if text.trim() != text || text == "." || text == ".." {
        return fail("it begins or ends with a blank, or is '.' or '..'");
    }
    Ok(text.to_owned())
}

/// Characters that change how a name looks, or make two names look alike, without being seen: those that
/// Unicode calls default-ignorable (bidirectional controls, zero-width marks, fillers, tags, variation
/// selectors), line separators and interlinear marks.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The pair (human, agent), and the team that owns the agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    /// The deployment's scheme.
    pub scheme: Scheme,
    /// The team that owns the agent.
    pub team: Name,
    /// The agent that acts.
    pub agent: Name,
    /// The human it acts for.
    pub human: Human,
}
serde_text!(Principal);

impl fmt::Display for Principal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://", self.scheme)?;
        encode(out, self.team.as_str())?;
        out.write_str("/")?;
        encode(out, self.agent.as_str())?;
        out.write_str("/")?;
        encode(out, self.human.as_str())
    }
}

impl FromStr for Principal {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let fail = |why| Malformed::new(WHAT, text, why);
        let (scheme, rest) = text.split_once("://").ok_or_else(|| fail("it has no '://'"))?;
        let segments: Vec<&str> = rest.split('/').collect();
        let &[team, agent, human] = segments.as_slice() else {
            return Err(fail("it must be SCHEME://TEAM/AGENT/HUMAN, no more and no less"));
        };
        let decode = |segment| decode(segment).ok_or_else(|| fail("a segment is not percent-encoded UTF-8"));
        let principal = Self {
            scheme: scheme.parse()?,
            team: decode(team)?.parse()?,
            agent: decode(agent)?.parse()?,
            human: decode(human)?.parse()?,
        };
        if principal.to_string() != text {
            return Err(fail("it is not in its one canonical spelling"));
        }
        Ok(principal)
    }
}

fn stands_for_itself(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'@')
}

fn encode(out: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for b in text.bytes() {
        if stands_for_itself(b) {
            write!(out, "{}", char::from(b))?;
        } else {
            write!(out, "%{b:02X}")?;
        }
    }
    Ok(())
}

fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(b) = rest.next() {
        if b == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(b);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_principal_reads_back() {
        let text = "tether://secops/triage/alice@example.org";
        let principal: Principal = text.parse().unwrap();
        assert_eq!(principal.human.as_str(), "alice@example.org");
        assert_eq!(principal.to_string(), text);
    }

    #[test]
    fn half_a_pair_and_second_spellings_are_refused() {
        for bad in [
            "",
            "tether://",
            "tether://t/a",
            "tether://t/a/",
            "tether://t//h",
            "tether:///a/h",
            "tether://t/a/h/x",
            "tether://t/a/%61lice",
            "tether://t/a/h%2f",
            "tether://t/a/h%2",
            "tether://t/a/%FF",
            "tether://t/a/a b",
            "tether://t/a/a%00",
            "tether://t/a/..",
            "TETHER://t/a/h",
            "tether://t/a/h?x",
            "tether://t/a/h%E2%80%AE",
            "tether://t/a/h%D8%9C",
            "tether://t/a/h%E3%85%A4",
            "tether://t/a/h%F3%A0%81%A1",
        ] {
            assert!(bad.parse::<Principal>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_namespace_owns_only_what_ends_with_it() {
        let human = |text: &str| text.parse::<Human>().unwrap();
        assert!(human("alice@example.org").is_in("@example.org"));
        assert!(!human("alice@evil.example.org").is_in("@example.org"));
        assert!(!human("alice@evilexample.org").is_in("@example.org"));
        assert!(!human("a@b@example.org").is_in("@example.org"));
        assert!(!human("@example.org").is_in("@example.org"));
        assert!(!human("alice@example.org").is_in(""));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(team in "\\PC{1,20}", agent in "\\PC{1,20}", human in "\\PC{1,20}") {
            let made = (|| Some(Principal {
                scheme: Scheme::default(),
                team: team.parse().ok()?,
                agent: agent.parse().ok()?,
                human: human.parse().ok()?,
            }))();
            if let Some(principal) = made {
                prop_assert_eq!(principal.to_string().parse::<Principal>().unwrap(), principal);
            }
        }

        #[test]
        fn what_is_read_writes_the_same(text in "\\PC{0,80}") {
            if let Ok(principal) = text.parse::<Principal>() {
                prop_assert_eq!(principal.to_string(), text);
            }
        }
    }
}
