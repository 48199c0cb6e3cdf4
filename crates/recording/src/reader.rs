//! Reading a recording in parts, in bounded memory.

use crate::frame::{FRAME_HEAD, Frame, Stream};
use crate::header::{HEADER_MAX, Header, MAGIC};

/// Why the bytes are no recording, or none from here on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Another file.
    #[error("it does not begin like a recording")]
    Magic,
    /// Its header cannot be read.
    #[error("its header cannot be read: {0}")]
    Header(String),
    /// A frame that no recorder writes.
    #[error("at byte {0} there is no frame")]
    Frame(u64),
    /// Something after the end.
    #[error("at byte {0} something follows the end")]
    AfterEnd(u64),
}

/// Takes bytes as they come and gives frames as they are whole.
#[derive(Debug, Default)]
pub struct Reader {
    header: Option<Header>,
    /// What is not a whole frame yet.
    rest: Vec<u8>,
    /// Where `rest` begins in the file.
    at: u64,
    micros: u64,
    ended: bool,
}

impl Reader {
    /// At the beginning of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the recording is of, once that was read.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Whether the recording has its regular end. If it has none, its recorder was killed, or it goes on.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// How many bytes at the end are less than a frame: of a recorder that was killed while it wrote.
    pub fn torn(&self) -> usize {
        self.rest.len()
    }

    /// Takes the next bytes of the file and gives every frame that is whole now. After an error there is no more to
    /// be had: what was given before it stands.
    pub fn take(&mut self, bytes: &[u8], mut each: impl FnMut(&Frame<'_>)) -> Result<(), Broken> {
        self.rest.extend_from_slice(bytes);
        let rest = std::mem::take(&mut self.rest);
        let mut used = 0;
        let result = self.walk(&rest, &mut used, &mut each);
        self.rest = rest.get(used..).unwrap_or_default().to_vec();
        self.at += used as u64;
        result
    }

    fn walk(&mut self, all: &[u8], used: &mut usize, each: &mut impl FnMut(&Frame<'_>)) -> Result<(), Broken> {
        if self.header.is_none() {
            let Some((header, length)) = read_header(all)? else { return Ok(()) };
            self.header = Some(header);
            *used = length;
        }
        while let Some(rest) = all.get(*used..).filter(|rest| !rest.is_empty()) {
            let at = self.at + *used as u64;
            if self.ended {
                return Err(Broken::AfterEnd(at));
            }
            let Some((frame, length)) = self.frame(rest, at)? else { return Ok(()) };
            (self.micros, self.ended) = (frame.micros, frame.stream == Stream::End);
            each(&frame);
            *used += length;
        }
        Ok(())
    }

    fn frame<'d>(&self, rest: &'d [u8], at: u64) -> Result<Option<(Frame<'d>, usize)>, Broken> {
        let Some(head) = rest.first_chunk::<FRAME_HEAD>() else { return Ok(None) };
        let [t0, t1, t2, t3, t4, t5, t6, t7, stream, z0, z1, z2, l0, l1, l2, l3] = *head;
        let micros = u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
        let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let stream = Stream::of(stream).filter(|stream| stream.takes(length)).ok_or(Broken::Frame(at))?;
        if [z0, z1, z2] != [0; 3] || micros < self.micros {
            return Err(Broken::Frame(at));
        }
        let whole = FRAME_HEAD + length;
        Ok(rest.get(FRAME_HEAD..whole).map(|data| (Frame { micros, stream, data }, whole)))
    }
}

/// The header and how many bytes it takes; none if it is not whole yet.
fn read_header(all: &[u8]) -> Result<Option<(Header, usize)>, Broken> {
    let known = all.len().min(MAGIC.len());
    if all.get(..known) != MAGIC.get(..known) {
        return Err(Broken::Magic);
    }
    let line = all.get(MAGIC.len()..).unwrap_or_default();
    let Some(end) = line.iter().take(HEADER_MAX).position(|byte| *byte == b'\n') else {
        let too_long = line.len() >= HEADER_MAX;
        return if too_long { Err(Broken::Header("it is too long".to_owned())) } else { Ok(None) };
    };
    let text = line.get(..end).unwrap_or_default();
    let header = serde_json::from_slice(text).map_err(|error| Broken::Header(error.to_string()))?;
    Ok(Some((header, MAGIC.len() + end + 1)))
}
