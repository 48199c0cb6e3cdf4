//! tether-central: see the library's documentation and docs/central.md.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    tether_central::main()
}
