//! Started by sudo, as root, with a plan from agentd; becomes the planned program or ends with 126.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    // `run` comes back only when it refuses.
    let Err(refusal) = tether_confine::confine::run(std::env::args_os());
    tether_confine::refuse(&refusal)
}
