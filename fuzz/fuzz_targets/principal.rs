#![no_main]

use libfuzzer_sys::fuzz_target;
use tether_identity::{AccountName, DelegationId, HostId, Human, Name, Principal, SessionId, Thumbprint};

fuzz_target!(|text: &str| {
    if let Ok(principal) = text.parse::<Principal>() {
        assert_eq!(principal.to_string(), text);
    }
    if let Ok(human) = text.parse::<Human>() {
        assert_eq!(human.as_str(), text);
        let _ = human.is_in("@example.org");
    }
    if let Ok(account) = text.parse::<AccountName>() {
        assert!(account.read_only().len() <= 32);
        assert!(account.read_only().parse::<AccountName>().is_err());
    }
    let _ = (text.parse::<Name>(), text.parse::<SessionId>(), text.parse::<HostId>());
    let _ = (text.parse::<DelegationId>(), text.parse::<Thumbprint>());
});
