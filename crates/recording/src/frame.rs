//! One frame: 16 bytes of head, little-endian (microseconds since the start as u64, the stream as u8, three zero
//! bytes, the length as u32), then the data.

/// The most bytes of data in one frame.
pub const DATA_MAX: usize = 1024 * 1024;
/// The length of a frame's head.
pub const FRAME_HEAD: usize = 16;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// Bytes that the terminal, or the reader of the output, was shown.
    Output = 1,
    /// The same, of the error output, where that is another.
    Error = 2,
    /// The terminal's new size: columns and rows, u16 each.
    Resize = 3,
    /// Something was not recorded: a text that says what.
    Gap = 4,
    /// The recording's regular end: the wait status, i32; nothing if it is not known.
    End = 5,
}

impl Stream {
    pub(crate) fn of(number: u8) -> Option<Self> {
        [Self::Output, Self::Error, Self::Resize, Self::Gap, Self::End].into_iter().find(|one| *one as u8 == number)
    }

    /// What may stand in one frame of it.
    pub(crate) fn takes(self, length: usize) -> bool {
        match self {
            Self::Output | Self::Error => (1..=DATA_MAX).contains(&length),
            Self::Resize => length == 4,
            Self::Gap => length <= 1024,
            Self::End => length == 0 || length == 4,
        }
    }
}

/// A frame that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'d> {
    /// Microseconds since the start. Never less than the frame's before.
    pub micros: u64,
    /// What it holds.
    pub stream: Stream,
    /// The data.
    pub data: &'d [u8],
}

/// The head of a frame, to be written in one piece with its data. The caller keeps the length in the stream's bounds.
pub fn frame_head(micros: u64, stream: Stream, length: u32) -> [u8; FRAME_HEAD] {
    let mut head = [0; FRAME_HEAD];
    let (time, rest) = head.split_at_mut(8);
    time.copy_from_slice(&micros.to_le_bytes());
    let (kind, length_at) = rest.split_at_mut(4);
    if let Some(first) = kind.first_mut() {
        *first = stream as u8;
    }
    length_at.copy_from_slice(&length.to_le_bytes());
    head
}

/// The data of a resize.
pub fn resize(columns: u16, rows: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (columns.to_le_bytes(), rows.to_le_bytes());
    [a, b, c, d]
}

impl Frame<'_> {
    /// Columns and rows, if it is a resize.
    pub fn size(&self) -> Option<(u16, u16)> {
        let ([a, b, c, d], Stream::Resize) = (<[u8; 4]>::try_from(self.data).ok()?, self.stream) else { return None };
        Some((u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])))
    }

    /// The wait status, if it is an end that knows it.
    pub fn status(&self) -> Option<i32> {
        let (Ok(bytes), Stream::End) = (<[u8; 4]>::try_from(self.data), self.stream) else { return None };
        Some(i32::from_le_bytes(bytes))
    }
}
