//! What the benches set on central from the lab's network: `test-load TASK`, where TASK is JSON.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    tether_tests::load::main()
}
