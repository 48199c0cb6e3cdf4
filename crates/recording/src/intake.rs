//! What a recorder hands in: frames over a connection, from a process that the recorded one may have replaced.

use crate::frame::{FRAME_HEAD, Stream};

/// The most bytes of data in a frame that is handed in. So much is kept of each recorder at most.
pub const INTAKE_MAX: usize = 64 * 1024;

/// Why nothing more is taken from a recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Bytes that no recorder sends.
    #[error("what the recorder sent is no frame")]
    Frame,
    /// Something after the end.
    #[error("the recorder sent something after the end")]
    AfterEnd,
}

/// Takes bytes as they come, and gives frames as they are whole. Frames have the form of a recording's; their time is
/// not looked at, since whoever takes them in has a clock.
#[derive(Debug, Default)]
pub struct Intake {
    rest: Vec<u8>,
    ended: bool,
}

impl Intake {
    /// Of a new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the regular end came.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes the next bytes. After an error there is no more to be had; what was given before it stands.
    pub fn take(&mut self, bytes: &[u8], mut each: impl FnMut(Stream, &[u8])) -> Result<(), Rejected> {
        // Mostly a frame comes whole, and nothing has to be kept.
        let kept = std::mem::take(&mut self.rest);
        let joined;
        let mut all = bytes;
        if !kept.is_empty() {
            joined = [kept.as_slice(), bytes].concat();
            all = &joined;
        }
        while let Some((stream, data, rest)) = self.next(all)? {
            each(stream, data);
            self.ended |= stream == Stream::End;
            all = rest;
        }
        self.rest = all.to_vec();
        Ok(())
    }

    #[expect(clippy::type_complexity, reason = "a frame in its parts")]
    fn next<'d>(&self, all: &'d [u8]) -> Result<Option<(Stream, &'d [u8], &'d [u8])>, Rejected> {
        if self.ended && !all.is_empty() {
            return Err(Rejected::AfterEnd);
        }
        let Some(head) = all.first_chunk::<FRAME_HEAD>() else { return Ok(None) };
        let [_, _, _, _, _, _, _, _, stream, z0, z1, z2, l0, l1, l2, l3] = *head;
        let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        // A gap is what whoever takes it in says of the recorder, never its own word.
        let may = |stream: &Stream| *stream != Stream::Gap && stream.takes(length) && length <= INTAKE_MAX;
        let stream = Stream::of(stream).filter(may).ok_or(Rejected::Frame)?;
        if [z0, z1, z2] != [0; 3] {
            return Err(Rejected::Frame);
        }
        let whole = FRAME_HEAD + length;
        Ok(all.get(FRAME_HEAD..whole).map(|data| (stream, data, all.get(whole..).unwrap_or_default())))
    }
}
