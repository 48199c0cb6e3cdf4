#![no_main]

#[path = "../../courier/tests/fuzzed/mod.rs"]
mod fuzzed;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzed::any_segments(data);
});
