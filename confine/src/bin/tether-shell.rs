//! The login shell of agents' accounts.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// "Found, but cannot be run", as shells have it.
const CANNOT_RUN: u8 = 126;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    eprintln!("tether: {}", tether_confine::shell::run(&arguments));
    ExitCode::from(CANNOT_RUN)
}
