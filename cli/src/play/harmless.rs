//! What a recording may do to the terminal of who looks at it. An agent chose every byte: it may draw, but not ask the
//! terminal something (the answer would be typed into the shell afterwards), set its title or clipboard, or program it.

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    Control,
    /// Operating system commands, device control strings and their like, until their end.
    Text,
    TextEscape,
}

/// Lets through what draws.
#[derive(Debug, Default)]
pub struct Harmless {
    state: State,
    begun: Vec<u8>,
}

/// The longest control sequence that is let through.
const LONGEST: usize = 64;

impl Harmless {
    pub fn filter(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for byte in bytes {
            self.byte(*byte, out);
        }
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        match (self.state, byte) {
            // ENQ asks for an answer.
            (State::Ground, 0x05) => {}
            (State::Text, 0x07) => self.state = State::Ground,
            (State::Text, 0x1b) => self.state = State::TextEscape,
            (State::Text, 0x18 | 0x1a) | (State::TextEscape, b'\\') => self.state = State::Ground,
            (State::Text, _) => {}
            (State::TextEscape, _) => self.state = State::Text,
            (_, 0x1b) => self.begin(State::Escape, byte),
            (State::Ground, _) => out.push(byte),
            (State::Escape, b'[') => self.go_on(State::Control, byte),
            (State::Escape, b']' | b'P' | b'_' | b'^' | b'X') => self.state = State::Text,
            // A charset, two bytes behind the escape; intermediate bytes in general.
            (State::Escape, 0x20..=0x2f) => self.go_on(State::Escape, byte),
            // Z asks who the terminal is; c resets it.
            (State::Escape, b'Z' | b'c') => self.state = State::Ground,
            (State::Escape, _) => self.end(byte, out),
            (State::Control, 0x20..=0x3f) => self.go_on(State::Control, byte),
            // c, n, x, y and t ask; p, q and the like set up; i prints.
            (State::Control, b'c' | b'n' | b'x' | b'y' | b't' | b'p' | b'i' | b'w' | b'z' | b'{' | b'|') => {
                self.state = State::Ground;
            }
            (State::Control, _) => self.end(byte, out),
        }
    }

    fn begin(&mut self, state: State, byte: u8) {
        self.begun.clear();
        self.go_on(state, byte);
    }

    fn go_on(&mut self, state: State, byte: u8) {
        self.begun.push(byte);
        self.state = if self.begun.len() > LONGEST { State::Ground } else { state };
    }

    fn end(&mut self, byte: u8, out: &mut Vec<u8>) {
        out.append(&mut self.begun);
        out.push(byte);
        self.state = State::Ground;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(text: &str) -> String {
        // In pieces, since sequences lie across frames.
        let (mut whole, mut filter) = (Vec::new(), Harmless::default());
        text.as_bytes().iter().for_each(|byte| filter.filter(&[*byte], &mut whole));
        String::from_utf8(whole).unwrap()
    }

    #[test]
    fn what_draws_passes() {
        for text in ["plain ä\r\n", "\x1b[1;31mred\x1b[0m", "\x1b[2J\x1b[H", "\x1b(B\x1b7\x1b8", "\x1b[?1049h\x1b[?25l"]
        {
            assert_eq!(filtered(text), text);
        }
    }

    #[test]
    fn what_asks_or_sets_up_does_not() {
        for text in [
            "\x1b[c",
            "\x1b[6n",
            "\x1b[>0c",
            "\x1b[21t",
            "\x1bZ",
            "\x05",
            "\x1b]0;title\x07",
            "\x1b]52;c;cm0gLXJmIC8=\x1b\\",
            "\x1bP$q q\x1b\\",
            "\x1b_x\x1b\\",
            "\x1bc",
        ] {
            assert_eq!(filtered(&format!("a{text}b")), "ab", "{text:?}");
        }
    }
}
