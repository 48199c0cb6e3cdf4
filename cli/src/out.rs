//! Stdout, whose reader may have seen enough: `tether … | head` ends quietly. The macros shadow the standard ones, which
//! panic then.

use std::fmt::Arguments;
use std::io::{ErrorKind, Result, Stdout, Write, stdout};

/// Stdout for what is long. Nobody goes on who cannot write to it.
pub struct Out(Stdout);

impl Out {
    pub fn new() -> Self {
        Self(stdout())
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.write(bytes).map_err(quietly)
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush().map_err(quietly)
    }
}

/// Ends the program if the reader is gone: nothing that it would find counts any more, so never with 0.
fn quietly(error: std::io::Error) -> std::io::Error {
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(1);
    }
    error
}

/// What the macros do.
pub fn print(words: Arguments<'_>) {
    let mut out = Out::new();
    if let Err(error) = out.write_fmt(words).and_then(|()| out.flush()) {
        eprintln!("tether: cannot write to stdout: {error}");
        std::process::exit(1);
    }
}

macro_rules! print {
    ($($words:tt)*) => { $crate::out::print(format_args!($($words)*)) };
}

macro_rules! println {
    () => { $crate::out::print(format_args!("\n")) };
    ($($words:tt)*) => { $crate::out::print(format_args!("{}\n", format_args!($($words)*))) };
}
