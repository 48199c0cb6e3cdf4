//! tether-agent: see the library's documentation.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    tether_agent::main()
}
