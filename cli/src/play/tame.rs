//! What an agent wrote, fit for the terminal of whoever looks at it.
//!
//! A list of what passes: text, moving, erasing, colours, the second screen. All else is left out: what makes a
//! terminal answer (its answer would be typed in at the next prompt), write to the clipboard, set titles, print, report
//! the mouse, or take a string of any sort.

use tether_recording::Text;

/// Longer sequences are none that a terminal knows.
const SEQUENCE_MAX: usize = 64;
/// Private modes that change nothing but the picture: cursor keys, reverse video, origin, wrap, the cursor, the second
/// screen in its three spellings, the saved cursor.
const MODES: &[&str] = &["1", "5", "6", "7", "12", "25", "47", "1047", "1048", "1049"];

/// Brings a terminal back: characters, colours, cursor, wrapping.
pub const RESET: &str = "\x1b(B\x0f\x1b[0m\x1b[?25h\x1b[?7h\x1b[?6l\x1b[?1l\x1b[?5l\x1b[4l\x1b[r";

/// Takes bytes as they come.
#[derive(Default)]
pub struct Tame {
    text: Text,
    at: At,
    /// The sequence so far, without its introducer.
    sequence: String,
    second_screen: bool,
    /// Whether rows are counted from the margins.
    origin: bool,
}

/// Where in a sequence the next character stands.
#[derive(Default, Clone, Copy, PartialEq)]
enum At {
    #[default]
    Text,
    /// Behind ESC.
    Escape,
    /// Behind ESC and what says that one more follows, such as `(`.
    Charset,
    /// Behind `ESC [`.
    Control,
    /// In a string that ends with ST or BEL.
    String,
    /// Behind an ESC in such a string.
    StringEscape,
}

impl Tame {
    /// Takes bytes; appends what may be shown, and the characters alone, for a search.
    pub fn take(&mut self, bytes: &[u8], shown: &mut String, plain: &mut String) {
        let mut text = String::new();
        self.text.take(bytes, &mut text);
        for character in text.chars() {
            self.character(character, shown, plain);
        }
    }

    /// What brings the terminal back to how it was.
    pub fn end(&self) -> String {
        let first = if self.second_screen { "\x1b[?1049l" } else { "" };
        // Margins and origin send the cursor home, and what comes next would be written over what was shown. To bring it
        // back brings the origin back, too: then it goes to the last line.
        if self.origin {
            return format!("{first}{RESET}\x1b[999;1H");
        }
        format!("{first}\x1b7{RESET}\x1b8\x1b(B\x0f\x1b[0m")
    }

    fn character(&mut self, character: char, shown: &mut String, plain: &mut String) {
        match (self.at, character) {
            // They end whatever was begun (ECMA-48, 5.5; CAN and SUB by every terminal).
            (_, '\x18' | '\x1a') => self.at = At::Text,
            (At::String, '\x1b') => self.at = At::StringEscape,
            (At::String, '\x07') => self.at = At::Text,
            (At::StringEscape, '\\') => self.at = At::Text,
            (At::String, _) => {}
            (_, '\x1b') => self.at = At::Escape,
            (At::Text, _) => text(character, shown, plain),
            (At::Escape | At::StringEscape, _) => self.escape(character, shown),
            (At::Charset, _) => {
                self.at = At::Text;
                if matches!(character, '0' | 'A' | 'B') {
                    shown.extend(['\x1b', '(', character]);
                }
            }
            (At::Control, ' '..='?') if self.sequence.len() < SEQUENCE_MAX => self.sequence.push(character),
            (At::Control, '@'..='~') => self.control(character, shown),
            // A control character within a sequence is obeyed as if it came before it.
            (At::Control, '\0'..='\x1f') => text(character, shown, plain),
            (At::Control, _) => self.at = At::Text,
        }
    }

    fn escape(&mut self, character: char, shown: &mut String) {
        self.at = match character {
            '[' => At::Control,
            '(' => At::Charset,
            // OSC, DCS, SOS, PM, APC, and the title of screen(1).
            ']' | 'P' | 'X' | '^' | '_' | 'k' => At::String,
            _ => At::Text,
        };
        self.sequence.clear();
        if matches!(character, '7' | '8' | 'D' | 'E' | 'H' | 'M' | '=' | '>' | 'c') {
            shown.extend(['\x1b', character]);
        }
    }

    fn control(&mut self, last: char, shown: &mut String) {
        self.at = At::Text;
        let sequence = std::mem::take(&mut self.sequence);
        let numbers = |text: &str| text.chars().all(|one| matches!(one, '0'..='9' | ';' | ':'));
        let passes = match last {
            'h' | 'l' => self.mode(&sequence, last == 'h'),
            '@'
            | 'A'..='M'
            | 'P'
            | 'S'
            | 'T'
            | 'X'
            | 'Z'
            | '`'
            | 'a'
            | 'b'
            | 'd'
            | 'e'
            | 'f'
            | 'g'
            | 'm'
            | 'r'
            | 's'
            | 'u' => numbers(&sequence),
            _ => false,
        };
        if passes {
            shown.push_str("\x1b[");
            shown.push_str(&sequence);
            shown.push(last);
        }
    }

    fn mode(&mut self, sequence: &str, on: bool) -> bool {
        let Some(modes) = sequence.strip_prefix('?') else { return sequence == "4" };
        let passes = modes.split(';').all(|mode| MODES.contains(&mode));
        if passes && modes.split(';').any(|mode| matches!(mode, "47" | "1047" | "1049")) {
            self.second_screen = on;
        }
        if passes && modes.split(';').any(|mode| mode == "6") {
            self.origin = on;
        }
        passes
    }
}

fn text(character: char, shown: &mut String, plain: &mut String) {
    match character {
        '\n' | '\r' | '\t' => {
            shown.push(character);
            plain.push(character);
        }
        '\x08' | '\x0b' | '\x0c' | '\x0e' | '\x0f' => shown.push(character),
        // The rest of C0, and C1, of which U+009B would begin a sequence.
        '\0'..='\x1f' | '\x7f'..='\u{9f}' => {}
        _ => {
            shown.push(character);
            plain.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tamed(bytes: &[u8]) -> (String, String) {
        let (mut shown, mut plain) = (String::new(), String::new());
        let mut tame = Tame::default();
        for byte in bytes {
            tame.take(&[*byte], &mut shown, &mut plain);
        }
        let (mut shown_whole, mut plain_whole) = (String::new(), String::new());
        Tame::default().take(bytes, &mut shown_whole, &mut plain_whole);
        assert_eq!((&shown, &plain), (&shown_whole, &plain_whole), "in any parts");
        (shown, plain)
    }

    #[test]
    fn a_picture_passes_as_it_is() {
        for picture in [
            "caf\u{e9} \u{20ac}\r\n\ttab\x08 ",
            "\x1b[31mred\x1b[0m \x1b[38;5;196m\x1b[38:2::1:2:3mx\x1b[m",
            "\x1b[?1049h\x1b[2J\x1b[H\x1b[5;10Hx\x1b[K\x1b[?25l\x1b[?25h\x1b[?1049l",
            "\x1b7\x1b8\x1bM\x1b(0lqk\x1b(B\x1b[1;20r\x1b[4h\x1b[4l",
        ] {
            assert_eq!(tamed(picture.as_bytes()).0, picture);
        }
    }

    #[test]
    fn what_does_more_than_show_is_left_out() {
        for (hostile, why) in [
            ("\x1b[c", "device attributes are answered"),
            ("\x1b[>c", "as are the second ones"),
            ("\x1b[=c", "and the third"),
            ("\x1b[6n", "the cursor's place is answered"),
            ("\x1b[?6n", "as is this"),
            ("\x1b[21t", "the title is answered"),
            ("\x1b[8;10;10t", "the window"),
            ("\x1b[?1000h", "the mouse is typed in"),
            ("\x1b[?1004h", "the focus is typed in"),
            ("\x1b[?25;1003h", "in company too"),
            ("\x1b[?2004h", "pasting"),
            ("\x1b[5i", "printing"),
            ("\x1b[$p", "modes are answered"),
            ("\x1b[?1$p", "modes are answered"),
            ("\x1b[1$w", "reports"),
            ("\x1b[x", "terminal parameters are answered"),
            ("\x1bZ", "identify"),
            ("\x1b]52;c;cm0gLXJmCg==\x07", "the clipboard"),
            ("\x1b]52;c;cm0gLXJmCg==\x1b\\", "the same"),
            ("\x1b]0;title\x07", "a title"),
            ("\x1b]10;?\x07", "colours are answered"),
            ("\x1bP$qm\x1b\\", "settings are answered"),
            ("\x1bP+q544e\x1b\\", "capabilities are answered"),
            ("\x1b_Gi=1;AAAA\x1b\\", "graphics are answered"),
            ("\x1b^pm\x1b\\", "a private message"),
            ("\x1bXs\x1b\\", "a string"),
            ("\x1bktitle\x1b\\", "screen's title"),
            ("\x05", "enquiry is answered"),
            ("\x07", "the bell"),
            ("\u{9b}6n", "C1"),
            ("\u{9d}52;c;AA\u{9c}", "C1"),
        ] {
            let (shown, _) = tamed(hostile.as_bytes());
            assert!(
                !shown.contains('\x1b') && !shown.contains('\u{9b}') && !shown.contains('\u{9d}'),
                "{why}: {shown:?}"
            );
            assert!(!shown.contains('\x05') && !shown.contains('\x07'), "{why}");
            assert_eq!(
                tamed(&[hostile.as_bytes(), b"\x18ok"].concat()).0.rsplit_once("ok"),
                Some((&*shown, "")),
                "{why}"
            );
        }
        assert_eq!(tamed(b"\x9b6n\x9d0;x").0, "\u{fffd}6n\u{fffd}0;x", "C1 as bytes is no UTF-8");
    }

    #[test]
    fn a_string_that_never_ends_shows_nothing_and_takes_no_memory() {
        let mut tame = Tame::default();
        let (mut shown, mut plain) = (String::new(), String::new());
        tame.take(b"\x1b]52;", &mut shown, &mut plain);
        for _ in 0..1000 {
            tame.take(&[b'A'; 1000], &mut shown, &mut plain);
        }
        assert_eq!((shown.as_str(), tame.sequence.len()), ("", 0));
        let long = [b"\x1b[".as_slice(), &[b'1'; 1000], b"mx"].concat();
        assert_eq!(tamed(&long).0.matches('\x1b').count(), 0);
    }

    #[test]
    fn the_characters_alone_are_there_for_a_search() {
        assert_eq!(tamed(b"pa\x1b[1mss\x1b[0mword\x1b]0;hidden\x07\r\n").1, "password\r\n");
    }

    #[test]
    fn the_cursor_is_at_the_end_where_it_was_or_in_the_last_line() {
        let (mut tame, mut shown, mut plain) = (Tame::default(), String::new(), String::new());
        let end = tame.end();
        let (kept, back) = (end.find("\x1b7").unwrap(), end.find("\x1b8").unwrap());
        assert!(kept < end.find("\x1b[r").unwrap() && end.find("\x1b[r").unwrap() < back);
        tame.take(b"\x1b[?6h", &mut shown, &mut plain);
        assert!(tame.end().ends_with("\x1b[999;1H") && !tame.end().contains("\x1b8"));
        tame.take(b"\x1b[?6l", &mut shown, &mut plain);
        assert_eq!(tame.end(), end);
    }

    #[test]
    fn the_second_screen_is_left_at_the_end() {
        let mut tame = Tame::default();
        let (mut shown, mut plain) = (String::new(), String::new());
        assert!(!tame.end().contains("1049"));
        tame.take(b"\x1b[?1049h", &mut shown, &mut plain);
        assert!(tame.end().contains("\x1b[?1049l"));
        tame.take(b"\x1b[?1049l", &mut shown, &mut plain);
        assert!(!tame.end().contains("1049"));
    }
}
