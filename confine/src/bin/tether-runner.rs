//! Started by systemd for each connection of agentd's; runs the launcher of one plan.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    match tether_confine::runner::run() {
        Ok(code) => code,
        Err(refusal) => tether_confine::refuse(&refusal),
    }
}
