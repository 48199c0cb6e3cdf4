//! The fuzz targets' bodies on their seeds and on changes of them: the short form, in every run of the tests.

mod fuzzed;
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

use proptest::prelude::*;
use seeds::{changed, seeds};

const WORDS: &[&str] = &[
    "\"act\":{},",
    "\"act\":{\"sub\":\"triage\"},",
    "\"aud\":\"central\",",
    "\"cid\":\"triage\",",
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
    fn tokens(bytes in changed("oauth_token", WORDS)) {
        fuzzed::any_token(&bytes);
    }

    #[test]
    fn forms(bytes in changed("oauth_form", WORDS)) {
        fuzzed::any_form(&bytes);
    }
}

/// The seeds are what they are meant to be: else the changes of them would all be refused for another reason.
#[test]
fn the_seeds_are_taken() {
    let taken: Vec<fuzzed::Taken> = seeds("oauth_token").iter().map(|seed| fuzzed::any_token(seed)).collect();
    let any = |is: fn(&fuzzed::Taken) -> bool| taken.iter().any(is);
    assert!(any(|one| one.subject) && any(|one| one.actor) && any(|one| one.delegated), "{taken:?}");
    seeds("oauth_form").iter().for_each(|seed| fuzzed::any_form(seed));
    let requests = seeds("oauth_form").into_iter().filter(|seed| {
        let form = tether_oauth::Form::parse(seed);
        form.is_ok_and(|form| tether_oauth::ExchangeRequest::parse(&form).is_ok())
    });
    assert_eq!(requests.count(), 2);
}
