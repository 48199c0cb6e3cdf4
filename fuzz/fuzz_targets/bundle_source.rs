#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(bundle) = tether_bundle::source::compile(text) {
        let _ = bundle.commands();
        assert_eq!(bundle.clone().check(), Ok(bundle));
    }
});
