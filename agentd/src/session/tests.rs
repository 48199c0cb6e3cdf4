//! Properties that hold for every sequence of inputs.

use super::*;
use proptest::prelude::*;
use tether_identity::AccountPair;
use tether_statement::Grant;

fn session(connections: u32) -> Session {
    let grant = serde_json::json!({
        "session": "0123456789abcdef", "principal": "tether://t/a/h@example.org", "instance": "i-1",
        "account": "ag-a", "delegation": "j", "issuer": "https://idp", "jkt": "A".repeat(43), "key": "SHA256:x",
        "serial": 1, "ca": "SHA256:y", "not_before": 0, "expires_at": 10, "connections": connections,
        "source_addresses": [], "bundle": "b", "auth_time": 0, "amr": ["mfa"]
    });
    let grant: Grant = serde_json::from_value(grant).unwrap();
    let uids = AccountPair { login: 65536, read_only: 65537 };
    Session {
        grant,
        uids,
        boot: "b".into(),
        since: 0,
        until_boottime_ms: 10_000,
        world: None,
        causes: Causes::default(),
        phase: Phase::Reserved,
    }
}

fn monitor(pid: u32) -> Monitor {
    Monitor { pid, start: 1, connection: String::new(), record: None }
}

fn inputs() -> impl Strategy<Value = Input> {
    prop_oneof![
        (1u32..5).prop_map(|pid| Input::Bind(monitor(pid))),
        (1u32..5).prop_map(Input::MonitorGone),
        Just(Input::End(Reason::Revoked)),
        Just(Input::End(Reason::Expired)),
        Just(Input::TornDown),
    ]
}

fn rank(phase: &Phase) -> u8 {
    match phase {
        Phase::Reserved => 0,
        Phase::Open { .. } => 1,
        Phase::Closing { .. } => 2,
        Phase::Gone { .. } => 3,
    }
}

proptest! {
    #[test]
    fn life_goes_one_way(sequence in proptest::collection::vec(inputs(), 0..30), connections in 1u32..4) {
        let mut session = session(connections);
        let (mut torn, mut forgotten) = (0, 0);
        for input in sequence {
            let before = session.clone();
            let result = session.step(input.clone());
            prop_assert!(rank(&session.phase) >= rank(&before.phase), "{input:?} led back");
            prop_assert!(session.monitors().len() <= connections as usize);
            if let Phase::Open { monitors } = &session.phase {
                prop_assert!(!monitors.is_empty(), "an open session has a connection");
            }
            match result {
                Err(_) => prop_assert_eq!(&session, &before, "a refusal changes nothing"),
                Ok(effects) => {
                    torn += effects.iter().filter(|e| matches!(e, Effect::TearDown { .. })).count();
                    forgotten += effects.iter().filter(|e| **e == Effect::Forget).count();
                    let removed = effects.iter().position(|e| *e == Effect::RemoveAccount);
                    let tear = effects.iter().position(|e| matches!(e, Effect::TearDown { .. }));
                    prop_assert_eq!(removed.is_some(), tear.is_some());
                    prop_assert!(removed <= tear, "the account goes before its processes");
                }
            }
            let ended = rank(&before.phase) >= 2;
            if ended {
                prop_assert!(!matches!(input, Input::Bind(_)) || session == before, "nothing binds to an end");
            }
        }
        prop_assert!(torn <= 1 && forgotten <= torn);
        prop_assert_eq!(torn == 1, rank(&session.phase) >= 2);
    }

    #[test]
    fn it_reads_back_from_disk(sequence in proptest::collection::vec(inputs(), 0..10)) {
        let mut session = session(2);
        for input in sequence {
            let _ = session.step(input);
        }
        let text = serde_json::to_string(&session).unwrap();
        prop_assert_eq!(serde_json::from_str::<Session>(&text).unwrap(), session);
    }
}

#[test]
fn the_second_connection_is_refused_when_one_is_allowed() {
    let mut session = session(1);
    session.step(Input::Bind(monitor(1))).unwrap();
    assert_eq!(session.step(Input::Bind(monitor(2))), Err(Refused::AlreadyBound(1)));
    let effects = session.step(Input::MonitorGone(1)).unwrap();
    assert_eq!(effects.len(), 2);
    assert_eq!(session.step(Input::Bind(monitor(3))), Err(Refused::Ended), "one jti is used once");
}
