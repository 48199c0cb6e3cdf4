#![no_main]

#[path = "../../crates/bundle/tests/fuzzed/mod.rs"]
#[allow(dead_code)]
mod fuzzed;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzzed::any_compiled(bytes));
