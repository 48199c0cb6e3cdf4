//! What an audit chain tells of a recording: digests of its pieces, and of all of it. By it bytes are known wherever
//! they come from.

use crate::header::Kind;
use crate::pieces::{PIECE, Piece, Pieces};
use serde_json::{Map, Value};
use std::io::{self, Read};

/// Whether that is a recording's name: its kind and its number, and so no path.
pub fn is_name(name: &str) -> bool {
    let Some((kind, number)) = name.rsplit_once('-') else { return false };
    let kinds = [Kind::Tty, Kind::Exec, Kind::Sftp, Kind::Sudo, Kind::Run];
    let counts = !number.starts_with('0') && number.len() <= 10 && number.parse::<u32>().is_ok();
    kinds.iter().any(|known| known.as_str() == kind) && counts && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// What the end's record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// How many bytes there are, and SHA-256 of them; none of a recording that could not be read.
    pub all: Option<(u64, String)>,
    /// Whether its recorder ended it.
    pub regular: bool,
}

/// What is on record of one recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    pieces: Vec<Piece>,
    length: u64,
    end: Option<End>,
}

/// How bytes and what is on record agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// All of them, and there are no more.
    Whole,
    /// Those that are there are so on record; more are to come, or their end is not on record.
    Begun {
        /// Up to which byte.
        to: u64,
    },
    /// They differ.
    Differ {
        /// From a piece on that begins there.
        from: u64,
    },
    /// Nothing is on record of them.
    Untold,
}

impl Told {
    /// Takes the next record about it, in the chain's order. What was told first stands: whoever becomes root later can
    /// only add. A piece may be told twice, and after the end nothing is.
    pub fn take(&mut self, event: &str, details: &Map<String, Value>) {
        if self.end.is_some() {
            return;
        }
        match event {
            "recording.chunk" => {
                let pieces = details.get("pieces").and_then(Value::as_array);
                pieces.into_iter().flatten().filter_map(piece).for_each(|piece| self.add(piece));
            }
            "recording.ended" => self.finish(details),
            _ => {}
        }
    }

    fn add(&mut self, piece: Piece) {
        if piece.offset == self.length && (1..=PIECE).contains(&piece.length) {
            self.length += piece.length;
            self.pieces.push(piece);
        }
    }

    fn finish(&mut self, details: &Map<String, Value>) {
        let bytes = details.get("bytes").and_then(Value::as_u64);
        let sha256 = details.get("sha256").and_then(Value::as_str);
        let all = bytes.zip(sha256.map(str::to_owned));
        // Of one piece the digest stands in the end alone.
        if let (Some((length, sha256)), true) = (&all, self.pieces.is_empty()) {
            self.add(Piece { offset: 0, length: *length, sha256: sha256.clone() });
        }
        let regular = details.get("regular").and_then(Value::as_bool).unwrap_or_default();
        self.end = Some(End { all, regular });
    }

    /// The piece that begins at that byte.
    pub fn piece_at(&self, offset: u64) -> Option<&Piece> {
        let at = self.pieces.partition_point(|piece| piece.offset < offset);
        self.pieces.get(at).filter(|piece| piece.offset == offset)
    }

    /// Up to which byte digests are on record.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Its end, if that is on record.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The digest of all of it, if the pieces on record are all of it.
    pub fn whole(&self) -> Option<&str> {
        let (bytes, sha256) = self.end.as_ref()?.all.as_ref()?;
        (*bytes == self.length).then_some(sha256)
    }

    /// Compares bytes, from the beginning on, with what is on record.
    pub fn check(&self, mut bytes: &mut dyn Read) -> io::Result<Checked> {
        if self.pieces.is_empty() {
            return Ok(Checked::Untold);
        }
        let mut all = Pieces::new();
        let mut buffer = Vec::new();
        for piece in &self.pieces {
            buffer.clear();
            (&mut bytes).take(piece.length).read_to_end(&mut buffer)?;
            let mut found = Pieces::new();
            found.take(&buffer, |_| ());
            all.take(&buffer, |_| ());
            if buffer.is_empty() && piece.offset > 0 {
                return Ok(Checked::Begun { to: piece.offset });
            }
            if buffer.len() as u64 != piece.length || found.digest() != piece.sha256 {
                return Ok(Checked::Differ { from: piece.offset });
            }
        }
        Ok(match self.whole() {
            Some(sha256) if all.digest() == sha256 => Checked::Whole,
            Some(_) => Checked::Differ { from: 0 },
            None => Checked::Begun { to: self.length },
        })
    }
}

fn piece(value: &Value) -> Option<Piece> {
    let number = |name: &str| value.get(name).and_then(Value::as_u64);
    let sha256 = value.get("sha256").and_then(Value::as_str)?.to_owned();
    Some(Piece { offset: number("offset")?, length: number("length")?, sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(records: &[(&str, Value)]) -> Told {
        let mut told = Told::default();
        for (event, details) in records {
            told.take(event, details.as_object().unwrap());
        }
        told
    }

    /// Records of a recording as agentd writes them, in chunks of so many pieces.
    fn of(bytes: &[u8], chunk: usize) -> Vec<(&'static str, Value)> {
        let (mut pieces, mut all) = (Vec::new(), Pieces::new());
        all.take(bytes, |piece| pieces.push(piece));
        pieces.extend(all.flush());
        let text = |one: &Piece| json!({"offset": one.offset, "length": one.length, "sha256": one.sha256});
        let chunks = pieces.chunks(chunk).map(|some| {
            let some: Vec<Value> = some.iter().map(text).collect();
            ("recording.chunk", json!({"pieces": some}))
        });
        let mut records: Vec<_> = if pieces.len() > 1 { chunks.collect() } else { Vec::new() };
        let end = json!({"bytes": bytes.len(), "sha256": all.digest(), "regular": true});
        records.push(("recording.ended", end));
        records
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|at| (at * 7 % 251) as u8).collect()
    }

    const MIB: usize = 1 << 20;

    #[test]
    fn bytes_are_known_by_what_is_on_record() {
        for (count, chunk) in [(1, 1), (1000, 1), (MIB, 1), (MIB + 1, 1), (3 * MIB + 5, 2)] {
            let whole = bytes(count);
            let records = of(&whole, chunk);
            let told = told(&records);
            assert_eq!(told.length(), count as u64);
            assert_eq!(told.check(&mut whole.as_slice()).unwrap(), Checked::Whole, "{count}");
            let mut more = whole.clone();
            more.push(1);
            assert_eq!(told.check(&mut more.as_slice()).unwrap(), Checked::Whole, "what is behind it is nobody's word");
            for at in [0, count / 2, count - 1] {
                let mut wrong = whole.clone();
                wrong[at] ^= 1;
                let from = (at / MIB * MIB) as u64;
                assert_eq!(told.check(&mut wrong.as_slice()).unwrap(), Checked::Differ { from }, "{count}: {at}");
            }
            let short = &whole[..count - 1];
            assert!(!matches!(told.check(&mut &*short).unwrap(), Checked::Whole), "{count}");
            if count > MIB {
                let begun = Checked::Begun { to: MIB as u64 };
                assert_eq!(told.check(&mut &whole[..MIB]).unwrap(), begun, "the first piece is there");
                let (_, before) = records.split_last().unwrap();
                assert_eq!(
                    super::tests::told(before).check(&mut whole.as_slice()).unwrap(),
                    Checked::Begun { to: count as u64 }
                );
            }
        }
        assert_eq!(Told::default().check(&mut &b"x"[..]).unwrap(), Checked::Untold);
    }

    #[test]
    fn what_was_told_first_stands() {
        let (one, other) = (bytes(2 * MIB), vec![9; 2 * MIB]);
        let mut records = of(&one, 1);
        let end = records.pop().unwrap();
        // Told twice alike, then otherwise, then the end; and whatever comes behind the end.
        let mut all = vec![records[0].clone(), records[0].clone(), of(&other, 1)[0].clone(), records[1].clone(), end];
        all.extend(of(&other, 1));
        let told = told(&all);
        assert_eq!(told.check(&mut one.as_slice()).unwrap(), Checked::Whole);
        assert_eq!(told.check(&mut other.as_slice()).unwrap(), Checked::Differ { from: 0 });
        assert!(told.piece_at(MIB as u64).is_some() && told.piece_at(1).is_none() && told.piece_at(2 << 20).is_none());
    }

    #[test]
    fn what_is_no_piece_counts_for_nothing() {
        let piece = |offset: u64, length: u64| json!({"offset": offset, "length": length, "sha256": "x"});
        for wrong in [piece(1, 5), piece(0, 0), piece(0, PIECE + 1), json!({"offset": 0}), json!(7), json!(null)] {
            let told = told(&[("recording.chunk", json!({"pieces": [wrong]}))]);
            assert_eq!(told, Told::default());
        }
        let unread = told(&[("recording.ended", json!({"regular": false}))]);
        assert_eq!((unread.whole(), unread.length(), unread.end().map(|end| end.regular)), (None, 0, Some(false)));
        let long = told(&[("recording.ended", json!({"bytes": PIECE + 1, "sha256": "x"}))]);
        assert_eq!(long.whole(), None, "its pieces are not on record");
    }

    #[test]
    fn a_name_is_no_path() {
        for good in ["sudo-1", "tty-10", "exec-4294967295", "sftp-2", "run-3"] {
            assert!(is_name(good), "{good}");
        }
        for bad in
            ["", "sudo", "sudo-", "sudo-0", "sudo-01", "sudo-+1", "x-1", "../sudo-1", "sudo-1/..", "sudo-4294967296"]
        {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
