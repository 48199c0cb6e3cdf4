#![no_main]

use libfuzzer_sys::fuzz_target;
use tether_oauth::parse_json;
use tether_scim::{AGENT, Filter, NewAgent, NewUser, Page, Patch, USER};

fuzz_target!(|data: &[u8]| {
    if let Ok(body) = parse_json(data) {
        if let Ok(user) = NewUser::parse(&body) {
            assert!(!user.user_name.is_empty() && user.user_name.len() <= 256);
        }
        if let Ok(agent) = NewAgent::parse(&body) {
            assert!(agent.key.is_object() && !agent.name.is_empty());
        }
        for kind in [&USER, &AGENT] {
            if let Ok(patch) = Patch::parse(&body, kind) {
                assert!(patch.texts.values().flatten().all(|text| !text.is_empty() && text.len() <= 256));
                // Who names `active` plainly is understood.
                let operations = body["Operations"].as_array().map(Vec::as_slice).unwrap_or_default();
                if operations.iter().any(|one| one["path"] == "active") {
                    assert!(patch.active.is_some());
                }
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Filter::parse(text, &USER);
        let _ = Filter::parse(text, &AGENT);
        if let Ok(page) = Page::parse(Some(text), Some(text)) {
            assert!(page.start >= 1 && page.count <= tether_scim::PAGE_MAX);
        }
    }
});
