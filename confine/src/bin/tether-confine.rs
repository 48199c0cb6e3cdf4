//! Started by sudo, as root, with a plan from agentd; becomes the planned program or ends with 126.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    // Asked by `tether doctor confine`; needs no root and does nothing.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "--features") && arguments.next().is_none() {
        println!("{}", tether_confine::features::Features::probe().json());
        return ExitCode::SUCCESS;
    }
    // `run` comes back only when it refuses.
    let Err(refusal) = tether_confine::confine::run(std::env::args_os());
    tether_confine::refuse(&refusal)
}
