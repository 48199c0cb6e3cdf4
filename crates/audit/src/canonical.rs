//! Canonical JSON (RFC 8785), for the values that records hold: no fractions, keys in ASCII.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};

/// 2^53 − 1: the greatest integer that every JSON reader keeps.
const SAFE_INTEGER: u64 = (1 << 53) - 1;

/// A value that has no canonical form here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a record cannot hold {0}")]
pub struct NotCanonical(String);

/// The one spelling of a value.
pub fn canonical(value: &Value) -> Result<String, NotCanonical> {
    let mut out = String::new();
    write(value, &mut out)?;
    Ok(out)
}

/// Bytes that came from outside: text where they are UTF-8, else tagged base64url, so that two that differ in one
/// invalid byte stay two. The tag cannot be met by a text: it is an object.
pub fn bytes(raw: &[u8]) -> Value {
    match std::str::from_utf8(raw) {
        Ok(text) => Value::String(text.to_owned()),
        Err(_) => json!({"base64": Base64UrlUnpadded::encode_string(raw)}),
    }
}

pub(crate) fn write(value: &Value, out: &mut String) -> Result<(), NotCanonical> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => write_number(number, out)?,
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out)?;
            }
            out.push(']');
        }
        Value::Object(members) => write_object(members, out)?,
    }
    Ok(())
}

pub(crate) fn write_object(members: &serde_json::Map<String, Value>, out: &mut String) -> Result<(), NotCanonical> {
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    // RFC 8785 sorts by UTF-16 units; for ASCII that is the order of bytes.
    if let Some((key, _)) = sorted.iter().find(|(key, _)| !key.is_ascii()) {
        return Err(NotCanonical(format!("the key {key:?}, which is not ASCII")));
    }
    sorted.sort_unstable_by_key(|(key, _)| *key);
    out.push('{');
    for (index, (key, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(key, out);
        out.push(':');
        write(value, out)?;
    }
    out.push('}');
    Ok(())
}

/// Integers above 2^53 − 1 become strings, since readers that use doubles would change them.
fn write_number(number: &serde_json::Number, out: &mut String) -> Result<(), NotCanonical> {
    let size = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
    match size {
        Some(size) if size <= SAFE_INTEGER => out.push_str(&number.to_string()),
        Some(_) => write_text(&number.to_string(), out),
        None => return Err(NotCanonical(format!("the fraction {number}"))),
    }
    Ok(())
}

/// A text as it is spelled, with its quotes.
pub(crate) fn spell(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    write_text(text, &mut out);
    out
}

/// What RFC 8785 escapes: quotes, backslash and control characters, and nothing else.
pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate().filter(|(_, byte)| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        // Those are ASCII, so both sides of them are whole characters.
        out.push_str(text.get(plain..at).unwrap_or_default());
        escape(byte, out);
        plain = at + 1;
    }
    out.push_str(text.get(plain..).unwrap_or_default());
    out.push('"');
}

fn escape(byte: u8, out: &mut String) {
    let short = match byte {
        b'"' => "\\\"",
        b'\\' => "\\\\",
        0x08 => "\\b",
        0x09 => "\\t",
        0x0a => "\\n",
        0x0c => "\\f",
        0x0d => "\\r",
        _ => return out.push_str(&format!("\\u{byte:04x}")),
    };
    out.push_str(short);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn one_spelling() {
        let value = json!({"b": [1, true, null], "a": "é\n\u{1}\"", "c": {"z": -3, "y": 0}});
        assert_eq!(
            canonical(&value).unwrap(),
            "{\"a\":\"é\\n\\u0001\\\"\",\"b\":[1,true,null],\"c\":{\"y\":0,\"z\":-3}}"
        );
    }

    #[test]
    fn great_integers_become_text_and_fractions_are_refused() {
        assert_eq!(canonical(&json!(9_007_199_254_740_991_u64)).unwrap(), "9007199254740991");
        assert_eq!(canonical(&json!(9_007_199_254_740_992_u64)).unwrap(), "\"9007199254740992\"");
        assert!(canonical(&json!(0.5)).is_err());
    }

    #[test]
    fn bytes_that_differ_are_written_differently() {
        let all = [&b"a"[..], b"a\xff", b"a\xfe", b"a\xef\xbf\xbd", b"\x00", b""];
        let written: std::collections::BTreeSet<_> = all.iter().map(|raw| canonical(&bytes(raw)).unwrap()).collect();
        assert_eq!(written.len(), all.len());
        assert_eq!(canonical(&bytes(b"a\xff")).unwrap(), "{\"base64\":\"Yf8\"}");
    }

    #[test]
    fn texts_are_escaped_as_serde_does() {
        let all: String = (0..0x300).filter_map(char::from_u32).collect();
        assert_eq!(spell(&all), Value::String(all.clone()).to_string());
    }

    proptest! {
        #[test]
        fn it_reads_back_the_same(text in "\\PC*", number in -1000i64..1000) {
            let value = json!({"text": text, "number": number});
            let spelled = canonical(&value).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&spelled).unwrap(), value);
        }
    }
}
