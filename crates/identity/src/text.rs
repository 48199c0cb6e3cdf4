//! What all parsers here share: the error, and the serde glue for types that are text on the wire.

/// A text that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {found:?} is malformed: {why}")]
pub struct Malformed {
    /// What was being read, for example `account name`.
    pub what: &'static str,
    /// The text found, cut to 80 characters.
    pub found: String,
    /// Which rule it breaks.
    pub why: &'static str,
}

impl Malformed {
    pub(crate) fn new(what: &'static str, found: &str, why: &'static str) -> Self {
        Self { what, found: found.chars().take(80).collect(), why }
    }
}

/// Implements `FromStr`'s companions (`Display`, serde) for a type with one `String` field and a `FromStr`.
macro_rules! text_type {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl $name {
            /// The text as it was parsed.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        crate::text::serde_text!($name);
    };
}

/// Serializes through `Display`, deserializes through `FromStr`.
macro_rules! serde_text {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use {serde_text, text_type};
