//! The fuzz targets' bodies on their seeds and on changes of them: the short form, in every run of the tests.

mod fuzzed;

use proptest::prelude::*;
use std::path::Path;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 2, "seeds in {}", folder.display());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// A seed with a few pieces of it replaced.
fn changed(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let pieces = proptest::collection::vec(any::<u8>(), 0..8).boxed();
    let words = prop::sample::select(WORDS).prop_map(|word| word.as_bytes().to_vec()).boxed();
    let edit = (any::<prop::sample::Index>(), 0usize..12, prop_oneof![pieces, words]);
    (prop::sample::select(seeds(target)), proptest::collection::vec(edit, 0..4)).prop_map(|(mut bytes, edits)| {
        for (at, length, piece) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, piece);
        }
        bytes
    })
}

const WORDS: &[&str] = &[
    "\"act\":{},",
    "null",
    "\"none\"",
    "\"at+jwt\"",
    "1e99",
    "\\u0000",
    "&audience=",
    "%00",
    "+",
    "\"tether\"",
    "[",
    "{",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn tokens(bytes in changed("oauth_token")) {
        fuzzed::any_token(&bytes);
    }

    #[test]
    fn forms(bytes in changed("oauth_form")) {
        fuzzed::any_form(&bytes);
    }
}

/// The seeds are what they are meant to be: else the changes of them would all be refused for another reason.
#[test]
fn the_seeds_are_taken() {
    let taken: Vec<(bool, bool)> = seeds("oauth_token").iter().map(|seed| fuzzed::any_token(seed)).collect();
    assert!(taken.contains(&(true, false)) && taken.contains(&(false, true)), "{taken:?}");
    let requests = seeds("oauth_form").into_iter().filter(|seed| {
        let form = tether_oauth::Form::parse(seed);
        form.is_ok_and(|form| tether_oauth::ExchangeRequest::parse(&form).is_ok())
    });
    assert_eq!(requests.count(), 1);
}
