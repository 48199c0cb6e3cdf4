#![no_main]

use libfuzzer_sys::fuzz_target;
use tether_fuzz::{NOW, token_key, trusted};
use tether_statement::{Delegation, FeedStatement, Head, Position, Resume};

fuzz_target!(|data: &[u8]| {
    let host = "web-01".parse().unwrap();
    let verify = |token: &str| Delegation::verify(token, trusted(), &host, NOW, 3600, 30);
    if let Some(at) = data.iter().position(|byte| *byte == b'\n') {
        let token = token_key().sign_parts(&data[..at], &data[at + 1..]).unwrap();
        if let Ok(delegation) = verify(&token) {
            assert!(delegation.human.is_in("@example.org"));
            assert!(!delegation.agent.as_str().is_empty() && !delegation.instance.as_str().is_empty());
            assert!(NOW < delegation.expires_at && delegation.expires_at <= NOW + 3600 + 30);
        }
    } else if let Ok(text) = std::str::from_utf8(data) {
        let _ = verify(text);
        assert!(FeedStatement::verify(text, trusted(), &host, &Position::start()).is_err());
        assert!(Head::verify(text, trusted(), &host).is_err());
        assert!(Resume::verify(text, trusted(), &host).is_err());
    }
});
