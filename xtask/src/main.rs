//! Demo, test, check, bench, host.
fn main() {}
