#![no_main]

#[path = "../../crates/bundle/tests/fuzzed/mod.rs"]
#[allow(dead_code)]
mod fuzzed;

libfuzzer_sys::fuzz_target!(|text: &str| fuzzed::any_source(text));
