//! The fuzz target's body on its seeds and on changes of them: the short form, in every run of the tests.

mod fuzzed;
#[path = "../../fuzz/seeds.rs"]
mod seeds;

use proptest::prelude::*;
use seeds::{changed, seeds};

const WORDS: &[&str] = &[
    "\n",
    "\0",
    "\u{1e}3\n",
    "{\"hash\":\"a\",\"record\":{\"number\":3}}\n",
    "{\"head\":{\"number\":2}}\n",
    "{\"countersigned\":\"a.b.c\"}\n",
    "18446744073709551615",
    "-1",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn segments(bytes in changed("courier_segments", WORDS)) {
        fuzzed::any_segments(&bytes);
    }
}

/// The seeds are what they are meant to be: else the changes of them would all be read as nothing.
#[test]
fn the_seeds_are_sent() {
    for seed in seeds("courier_segments") {
        assert!(fuzzed::any_segments(&seed) > 2);
    }
}
