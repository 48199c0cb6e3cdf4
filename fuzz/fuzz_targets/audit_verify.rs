#![no_main]

use libfuzzer_sys::fuzz_target;
use tether_audit::verify;

fuzz_target!(|text: &str| {
    let mut seen = 0;
    if let Ok(verified) = verify(text.lines(), |_| seen += 1) {
        assert_eq!(verified.records, seen);
        if let Some(last) = text.lines().last() {
            assert!(verify(text.lines().chain([last]), |_| {}).is_err());
        }
    }
    if let Ok(value) = serde_json::from_str(text)
        && let Ok(spelled) = tether_audit::canonical(&value)
    {
        let again = serde_json::from_str(&spelled).unwrap();
        assert_eq!(tether_audit::canonical(&again).unwrap(), spelled);
    }
});
