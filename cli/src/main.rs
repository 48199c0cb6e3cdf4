//! tether: see the library's documentation and the README.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    tether::main()
}
