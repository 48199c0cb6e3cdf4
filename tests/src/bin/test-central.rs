//! tether-central, built with the tests so that they always run the current one.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    tether_central::main_with(tether_tests::recorder::around)
}
