//! Bytes that came from outside and are meant to be text: on the way as text where they are UTF-8, else as hex, so that
//! two that differ in one invalid byte stay two.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Such bytes: an argument, the name of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Word(Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Spelled {
    Text(String),
    Hex { hex: String },
}

impl Word {
    /// No bytes.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<Vec<u8>> for Word {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let spelled = match self.text() {
            Some(text) => Spelled::Text(text.to_owned()),
            None => Spelled::Hex { hex: self.0.iter().map(|byte| format!("{byte:02x}")).collect() },
        };
        spelled.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match Spelled::deserialize(from)? {
            Spelled::Text(text) => Ok(Self(text.into_bytes())),
            Spelled::Hex { hex } => {
                let pairs = hex.as_bytes().chunks(2).map(|pair| match pair {
                    [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
                    _ => None,
                });
                let bytes: Option<Vec<u8>> = pairs.collect();
                bytes.map(Self).ok_or_else(|| serde::de::Error::custom("hex has two digits a byte"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_they_were() {
        for bytes in [&b"plain"[..], b"", b"a\xff", b"a\xfe", "a\u{fffd}".as_bytes(), &[0, 255, 16]] {
            let word = Word::from(bytes.to_vec());
            let text = serde_json::to_string(&word).unwrap();
            assert_eq!(serde_json::from_str::<Word>(&text).unwrap(), word, "{text}");
        }
        assert_eq!(serde_json::to_string(&Word::from("ls")).unwrap(), "\"ls\"");
        for wrong in ["{\"hex\":\"f\"}", "{\"hex\":\"zz\"}", "7", "null", "{}"] {
            assert!(serde_json::from_str::<Word>(wrong).is_err(), "{wrong}");
        }
    }
}
