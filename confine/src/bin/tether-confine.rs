//! Runs what agentd allowed, without root. Started by sudo's plugin, never by hand.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// "Found, but cannot be run", as shells have it.
const CANNOT_RUN: u8 = 126;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    eprintln!("tether: {}", tether_confine::confine::run(&arguments));
    ExitCode::from(CANNOT_RUN)
}
