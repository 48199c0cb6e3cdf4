//! Recordings of what a session's terminals and outputs showed.
//!
//! A recording is one file: a line of magic, a line of JSON that says what it is of, then frames, each written in one
//! piece. From it come the raw bytes exactly (the data of the frames [`Stream::Output`] and [`Stream::Error`]) and
//! asciicast v2 ([`Cast`]). Digests of it in pieces ([`Pieces`]) stand in the audit chain. docs/recording.md is the
//! format. Pure: no I/O and no clock; all of it works in bounded memory, on input that an enemy wrote.
#![forbid(unsafe_code)]

mod cast;
mod frame;
mod header;
mod intake;
mod pieces;
mod reader;
mod text;
mod told;

pub use cast::Cast;
pub use frame::{DATA_MAX, FRAME_HEAD, Frame, Stream, frame_head, resize};
pub use header::{Header, Kind, MAGIC};
pub use intake::{INTAKE_MAX, Intake, Rejected};
pub use pieces::{PIECE, Piece, Pieces};
pub use reader::{Broken, Reader};
pub use text::Text;
pub use told::{Checked, End, Told, is_name};
