//! The fuzz targets' bodies on their seeds and on changes of them: the short form, in every run of the tests.

mod fuzzed;
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

use proptest::prelude::*;
use seeds::{changed, seeds};

const WORDS: &[&str] = &[
    "\"web-02\"",
    "null",
    "\"number\":2",
    "1e99",
    "\\u0000",
    "\"previous\":\"\",",
    "[",
    "{",
    "-1",
    "18446744073709551616",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn statements(bytes in changed("statement", WORDS)) {
        fuzzed::any_statement(&bytes);
    }
}

/// The seeds are what they are meant to be: else the changes of them would all be refused for another reason.
#[test]
fn the_seeds_are_taken() {
    assert!(seeds("statement").iter().all(|seed| fuzzed::any_statement(seed) > 0));
}
