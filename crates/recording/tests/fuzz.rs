//! The fuzz target's body on its seeds and on changes of them: the short form, in every run of the tests.

mod fuzzed;
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

use proptest::prelude::*;
use seeds::{changed, seeds};

const WORDS: &[&str] = &[
    "\n",
    "\"columns\":70000",
    "null",
    "\u{1}\0\0\0",
    "\u{3}\0\0\0\u{4}\0\0\0",
    "\u{5}\0\0\0\0\0\0\0",
    "\u{4}\0\0\0",
    "\0\0\u{10}\0",
    "\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}",
    "\u{20ac}",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn recordings(bytes in changed("recording", WORDS)) {
        fuzzed::any_recording(&bytes);
    }
}

/// The seeds are what they are meant to be: else the changes of them would all be refused for another reason.
#[test]
fn the_seeds_are_taken() {
    assert!(seeds("recording").iter().all(|seed| fuzzed::any_recording(seed) > 2));
}
