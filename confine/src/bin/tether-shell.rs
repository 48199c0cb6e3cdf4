//! The login shell of agents' accounts; becomes bash or ends with 126.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    // `run` comes back only when it refuses.
    let Err(refusal) = tether_confine::shell::run(std::env::args_os(), std::env::vars_os());
    tether_confine::refuse(&refusal)
}
