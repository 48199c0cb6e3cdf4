//! Bytes that come in parts, as text.

/// Makes text of bytes: what is no UTF-8 becomes U+FFFD, a character that lies in two parts is put together.
#[derive(Debug, Default)]
pub struct Text {
    /// The beginning of a character that is not whole yet: at most three bytes.
    begun: Vec<u8>,
}

impl Text {
    /// With nothing begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and appends what is text of them.
    pub fn take(&mut self, data: &[u8], out: &mut String) {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(data);
        for chunk in all.utf8_chunks() {
            out.push_str(chunk.valid());
            if chunk.invalid().is_empty() {
                continue;
            }
            // Only the last can still become a character.
            if is_begun(chunk.invalid()) && is_last(&all, chunk.invalid()) {
                self.begun = chunk.invalid().to_vec();
            } else {
                out.push('\u{fffd}');
            }
        }
    }

    /// What was begun and never came.
    pub fn finish(&mut self, out: &mut String) {
        if !std::mem::take(&mut self.begun).is_empty() {
            out.push('\u{fffd}');
        }
    }
}

/// Whether more bytes could make a character of these (Unicode 3.9, table 3-7: `utf8_chunks` gives the longest begun
/// one as one invalid piece, so only the number that is missing has to be looked at).
fn is_begun(bytes: &[u8]) -> bool {
    let wanted = match bytes.first() {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => 0,
    };
    bytes.len() < wanted
}

/// Whether a piece of `all` is its very end.
fn is_last(all: &[u8], piece: &[u8]) -> bool {
    all.as_ptr_range().end == piece.as_ptr_range().end
}
