//! Text into a page: nothing of it is ever markup.

use crate::render::printable;
use base64ct::{Base64, Encoding};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// As text, or as the value of an attribute.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// JSON within `<script type="application/json">`, where nothing may end the element.
pub fn json(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Several lines of text, such as indented JSON.
pub fn block(text: &str) -> String {
    text.lines().map(html).collect::<Vec<_>>().join("\n")
}

/// How a policy names an inline script or style.
pub fn digest(text: &str) -> String {
    format!("'sha256-{}'", Base64::encode_string(&Sha256::digest(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_becomes_markup() {
        assert_eq!(html("<b a='\"'>&\u{1b}[2J\u{202e}"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;\u{fffd}[2J\u{fffd}");
        assert_eq!(json(&json!("</script><!--&\u{2028}")), "\"\\u003c/script\\u003e\\u003c!--\\u0026\\u2028\"");
    }
}
