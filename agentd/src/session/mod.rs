//! The life of a session: `Reserved → Open → Closing → Gone`, as a pure machine.
//!
//! [`Session::step`] takes what happened and says what to do about it. The caller writes the new state to
//! disk before it does any of it, so that a crash at any point is taken up where it was.

mod causes;
mod machine;
mod types;

#[cfg(test)]
mod tests;

pub use causes::Causes;
pub use machine::{Effect, Input, Refused, Session};
pub use types::{Monitor, Phase, Reason};
