//! What every store has to do. A new store gets a line in `suite!`, and no rule of its own.

mod log;
mod recordings;

use super::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Runs every rule on a new, empty store.
macro_rules! suite {
    ($($name:ident: $make:expr;)+) => {
        $(mod $name {
            use super::*;
            #[test] fn an_act_stands_whole_or_not_at_all() { super::an_act_stands_whole_or_not_at_all($make) }
            #[test] fn records_read_back() { super::records_read_back($make) }
            #[test] fn humans_are_found_by_everything() { super::humans_are_found_by_everything($make) }
            #[test] fn directories_tokens_read_back() { super::directories_tokens_read_back($make) }
            #[test] fn a_key_has_one_host() { super::a_key_has_one_host($make) }
            #[test] fn a_thing_is_spent_once() { super::a_thing_is_spent_once($make) }
            #[test] fn a_feed_has_no_gaps_and_no_second_statement() { super::a_feed_has_no_gaps_and_no_second_statement($make) }
            #[test] fn delegations_are_found_by_everything() { super::delegations_are_found_by_everything($make) }
            #[test] fn acts_of_many_threads_come_one_after_another() { super::acts_of_many_threads_come_one_after_another($make) }
            #[test] fn a_look_waits_for_no_act() { super::a_look_waits_for_no_act($make) }
            #[test] fn a_backup_is_a_store() { super::a_backup_is_a_store($make) }
            #[test] fn the_log_only_grows() { super::log::the_log_only_grows($make) }
            #[test] fn a_chain_reads_back_in_its_order() { super::log::a_chain_reads_back_in_its_order($make) }
            #[test] fn records_are_found_by_everything() { super::log::records_are_found_by_everything($make) }
            #[test] fn the_rest_of_the_log_reads_back() { super::log::the_rest_of_the_log_reads_back($make) }
            #[test] fn recordings_are_counted_and_found() { super::recordings::recordings_are_counted_and_found($make) }
        })+
    };
}

suite! {
    sqlite: {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&folder.path().join("store.db")).unwrap();
        Made { store: Arc::new(store), folder }
    };
}

struct Made {
    store: Arc<dyn Store>,
    folder: tempfile::TempDir,
}

fn host_id(text: &str) -> HostId {
    text.parse().unwrap()
}

fn host(id: &str, jkt: Option<&str>) -> Host {
    Host {
        id: host_id(id),
        address: Some("10.0.0.1".to_owned()),
        labels: BTreeSet::from(["role=web".to_owned()]),
        key: jkt.map(|jkt| HostKey { jkt: jkt.parse().unwrap() }),
        active: true,
        enrolled_at: 7,
        revoked_at: 0,
    }
}

const JKT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

fn delegation(number: u64, agent: &str, human: &str, host: &str) -> Delegation {
    Delegation {
        id: format!("jti-{number}").parse().unwrap(),
        session: format!("session{number:09}").parse().unwrap(),
        human: human.parse().unwrap(),
        agent: agent.parse().unwrap(),
        instance: "run-7".parse().unwrap(),
        team: "secops".parse().unwrap(),
        generation: 0,
        host: host_id(host),
        bundle: "triage".parse().unwrap(),
        policies: vec!["p".to_owned()],
        jkt: JKT.parse().unwrap(),
        issued_at: 100 + number,
        expires_at: 200 + number,
        auth_time: 90,
        amr: vec!["pwd".to_owned()],
        issuer: "https://idp".to_owned(),
        evidence: "e".to_owned(),
        issued: None,
        revoked: None,
    }
}

fn write(made: &Made, mut work: impl FnMut(&mut dyn Act) -> Result<(), StoreError>) {
    act(&*made.store, |act| work(act)).unwrap();
}

fn read<T>(made: &Made, mut work: impl FnMut(&dyn Act) -> Result<T, StoreError>) -> T {
    look(&*made.store, |act| work(act)).unwrap()
}

fn an_act_stands_whole_or_not_at_all(made: Made) {
    let failed: Result<(), StoreError> = act(&*made.store, |act| {
        act.set_meta("a", "1")?;
        act.put_host(&host("web-01", None))?;
        act.append_audit(1, "h", "line")?;
        Err(StoreError::Database("given up".to_owned()))
    });
    assert!(failed.is_err());
    assert_eq!(read(&made, |act| act.meta("a")), None);
    assert_eq!(read(&made, |act| act.hosts()), []);
    assert_eq!(read(&made, |act| act.audit_end()), (0, String::new()));
    write(&made, |act| {
        act.set_meta("a", "1")?;
        assert_eq!(act.meta("a")?.as_deref(), Some("1"), "an act sees what it wrote");
        act.set_meta("a", "2")
    });
    assert_eq!(read(&made, |act| act.meta("a")).as_deref(), Some("2"));
}

fn records_read_back(made: Made) {
    let agent = Agent {
        name: "triage".parse().unwrap(),
        team: "secops".parse().unwrap(),
        owner: "carol".to_owned(),
        key: serde_json::json!({"kty": "OKP"}),
        active: true,
        generation: 3,
        since: 5,
        void_until: 4,
        held: true,
        deleted: true,
    };
    let human = Human {
        name: "alice@example.org".parse().unwrap(),
        id: "h-1".to_owned(),
        external_id: Some("e-1".to_owned()),
        provisioned: Provisioned::Yes,
        issuer: "https://idp".to_owned(),
        sub: "u".to_owned(),
        groups: BTreeSet::from(["g".to_owned()]),
        active: false,
        signed_in_after: 9,
        seen: 10,
    };
    let pair = Pair { agent: agent.name.clone(), human: human.name.clone(), signed_in_after: 4 };
    let seen = Seen { number: 5, uid_mark: 65_540, time: 6, granted: 2, accepted_mark: 65_536, accepted_at: 1 };
    let enrolment = Enrolment {
        hash: "h".to_owned(),
        host: host_id("web-01"),
        address: None,
        labels: BTreeSet::new(),
        expires_at: 8,
        used: false,
    };
    let bundle = BundleText {
        name: "triage".parse().unwrap(),
        version: 2,
        sha256: "s".to_owned(),
        text: "t".to_owned(),
        confirmation: None,
        confirmed_at: 0,
    };
    write(&made, |act| {
        act.put_agent(&agent)?;
        act.put_human(&human)?;
        act.put_pair(&pair)?;
        act.put_host(&host("web-01", Some(JKT)))?;
        act.put_seen(&host_id("web-01"), &seen)?;
        act.put_enrolment(&enrolment)?;
        act.put_bundle(&bundle)?;
        act.append_audit(1, "h1", "line 1")?;
        act.append_audit(2, "h2", "line 2")
    });
    read(&made, |act| {
        assert_eq!(act.agent(&agent.name)?.as_ref(), Some(&agent));
        assert_eq!(act.agents()?, std::slice::from_ref(&agent));
        assert_eq!(act.human(&human.name)?.as_ref(), Some(&human));
        assert_eq!(act.humans()?, std::slice::from_ref(&human));
        assert_eq!(act.pair(&agent.name, &human.name)?.as_ref(), Some(&pair));
        assert_eq!(act.pair(&agent.name, &"bob@example.org".parse().unwrap())?, None);
        assert_eq!(act.host(&host_id("web-01"))?, Some(host("web-01", Some(JKT))));
        assert_eq!(act.seen(&host_id("web-01"))?, seen);
        assert_eq!(act.seen(&host_id("web-02"))?, Seen::default());
        assert_eq!(act.enrolment("h")?.as_ref(), Some(&enrolment));
        assert_eq!(act.enrolment("x")?, None);
        assert_eq!(act.bundles()?, std::slice::from_ref(&bundle));
        assert_eq!(act.audit_end()?, (2, "h2".to_owned()));
        assert_eq!(act.audit(1, 10)?, ["line 2"]);
        assert_eq!(act.audit(0, 1)?, ["line 1"]);
        Ok(())
    });
    let again: Result<(), StoreError> = act(&*made.store, |act| act.append_audit(2, "x", "another line"));
    assert!(again.is_err(), "a number has one record");
}

fn human(name: &str, id: &str) -> Human {
    Human {
        name: name.parse().unwrap(),
        id: id.to_owned(),
        external_id: None,
        provisioned: Provisioned::No,
        issuer: String::new(),
        sub: String::new(),
        groups: BTreeSet::new(),
        active: true,
        signed_in_after: 0,
        seen: 1,
    }
}

fn humans_are_found_by_everything(made: Made) {
    let alice = Human {
        external_id: Some("e-1".to_owned()),
        issuer: "https://idp".to_owned(),
        sub: "u-1".to_owned(),
        ..human("alice@example.org", "h-1")
    };
    let earlier = Human { sub: "u-0".to_owned(), ..alice.clone() };
    let large = human("Alice@Example.org", "h-2");
    let accented = human("\u{c9}va@example.org", "h-3");
    write(&made, |act| {
        act.put_human(&human("alice@example.org", "h-0"))?;
        act.put_human(&large)?;
        act.put_human(&accented)?;
        act.put_human(&earlier)?;
        act.put_human(&alice)?;
        act.set_void_until("https://idp", "u-1", 5)?;
        act.set_void_until("https://idp", "u-1", 7)
    });
    read(&made, |act| {
        assert_eq!(act.human_of_id("h-1")?.as_ref(), Some(&alice));
        assert_eq!(act.human_of_id("h-0")?, None, "the newest id holds");
        assert_eq!(act.humans_of_external("e-1")?, std::slice::from_ref(&alice));
        assert_eq!(act.humans_of_external("e-2")?, []);
        assert_eq!(act.humans_of_sub("https://idp", "u-1")?, std::slice::from_ref(&alice));
        assert_eq!(act.humans_of_sub("https://idp", "u-0")?, std::slice::from_ref(&alice), "by an earlier one, too");
        assert_eq!(act.humans_of_sub("https://other", "u-1")?, []);
        assert_eq!(act.humans_alike(&"ALICE@example.org".parse().unwrap())?, [large.clone(), alice.clone()]);
        assert_eq!(act.humans_alike(&"\u{e9}va@example.org".parse().unwrap())?, std::slice::from_ref(&accented));
        assert_eq!(act.humans_alike(&"bob@example.org".parse().unwrap())?, []);
        assert_eq!(act.void_until("https://idp", "u-1")?, 7);
        assert_eq!(act.void_until("https://idp", "u-2")?, 0);
        Ok(())
    });
    let taken: Result<(), StoreError> = act(&*made.store, |act| act.put_human(&human("bob@example.org", "h-1")));
    assert!(taken.is_err(), "an id is one human's");
    assert_eq!(read(&made, |act| act.human_of_id("h-1")), Some(alice), "who keeps it");
}

fn directories_tokens_read_back(made: Made) {
    let token = |name: &str, hash: &str| ScimToken {
        name: name.to_owned(),
        hash: hash.to_owned(),
        issuer: "https://idp".to_owned(),
        agents: false,
        since: 3,
        revoked: None,
    };
    let revoked = ScimToken { revoked: Some(9), ..token("okta", "a") };
    write(&made, |act| {
        act.put_scim_token(&token("okta", "a"))?;
        act.put_scim_token(&revoked)?;
        act.put_scim_token(&token("okta", "b"))?;
        act.put_scim_token(&token("entra", "c"))
    });
    read(&made, |act| {
        assert_eq!(act.scim_token("a")?.as_ref(), Some(&revoked));
        assert_eq!(act.scim_token("x")?, None);
        assert_eq!(act.scim_tokens()?, [token("entra", "c"), revoked.clone(), token("okta", "b")]);
        Ok(())
    });
}

fn a_key_has_one_host(made: Made) {
    write(&made, |act| act.put_host(&host("web-01", Some(JKT))));
    assert_eq!(read(&made, |act| act.host_of_key(&JKT.parse().unwrap())).unwrap().id, host_id("web-01"));
    let second: Result<(), StoreError> = act(&*made.store, |act| act.put_host(&host("web-02", Some(JKT))));
    assert!(second.is_err());
    assert!(read(&made, |act| act.host(&host_id("web-01"))).is_some(), "the first one keeps it");
    write(&made, |act| act.put_host(&host("web-01", None)));
    assert_eq!(read(&made, |act| act.host_of_key(&JKT.parse().unwrap())), None);
}

fn a_thing_is_spent_once(made: Made) {
    let spend = |kind: &str, id: &str, until: u64, now: u64| -> bool {
        let done: Result<bool, StoreError> = act(&*made.store, |act| act.spend(kind, id, until, now));
        done.unwrap()
    };
    assert!(spend("assertion", "a", 100, 50));
    assert!(!spend("assertion", "a", 200, 60));
    assert!(spend("other", "a", 100, 60), "kinds are apart");
    assert!(!spend("assertion", "a", 200, 100), "until then, and at that very time");
    assert!(spend("assertion", "a", 200, 101), "then nothing that is checked takes it any more");
}

fn a_feed_has_no_gaps_and_no_second_statement(made: Made) {
    let (one, two) = (host_id("web-01"), host_id("web-02"));
    assert_eq!(read(&made, |act| act.position(&one)), Position::start());
    write(&made, |act| {
        for number in 1..=5 {
            let text = format!("statement {number}");
            act.append(&one, &Position::after(number, &text), &text)?;
        }
        act.append(&two, &Position::after(1, "another"), "another")
    });
    read(&made, |act| {
        assert_eq!(act.position(&one)?, Position::after(5, "statement 5"));
        let numbers: Vec<u64> = act.statements(&one, 2, 2)?.into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [3, 4]);
        assert_eq!(act.statements(&two, 0, 9)?, [(1, "another".to_owned())]);
        assert_eq!(act.hash_at(&one, 3)?, Some(tether_statement::digest("statement 3")));
        assert_eq!(act.hash_at(&one, 6)?, None);
        Ok(())
    });
    write(&made, |act| act.replace_statement(&one, 3, "the third"));
    assert_eq!(read(&made, |act| act.statements(&one, 2, 1)), [(3, "the third".to_owned())]);
    assert_eq!(read(&made, |act| act.statements(&two, 0, 9)), [(1, "another".to_owned())]);
    let none: Result<(), StoreError> = act(&*made.store, |act| act.replace_statement(&two, 2, "none"));
    assert!(none.is_err(), "only what is there is replaced");
    let again: Result<(), StoreError> =
        act(&*made.store, |act| act.append(&one, &Position::after(5, "other"), "other"));
    assert!(again.is_err(), "a number has one statement");
}

fn delegations_are_found_by_everything(made: Made) {
    let mut third = delegation(3, "triage", "bob@example.org", "web-02");
    third.revoked = Some((150, "why".to_owned()));
    write(&made, |act| {
        act.put_delegation(&delegation(1, "triage", "alice@example.org", "web-01"))?;
        act.put_delegation(&delegation(2, "patch", "alice@example.org", "web-02"))?;
        act.put_delegation(&third)
    });
    let ids = |which: Which| -> Vec<String> {
        read(&made, |act| act.delegations(&which, 10)).iter().map(|one| one.id.to_string()).collect()
    };
    assert_eq!(ids(Which::default()), ["jti-3", "jti-2", "jti-1"], "newest first");
    assert_eq!(ids(Which { agent: Some("triage".parse().unwrap()), ..Which::default() }), ["jti-3", "jti-1"]);
    assert_eq!(
        ids(Which { human: Some("alice@example.org".parse().unwrap()), ..Which::default() }),
        ["jti-2", "jti-1"]
    );
    assert_eq!(ids(Which { host: Some(host_id("web-02")), ..Which::default() }), ["jti-3", "jti-2"]);
    assert_eq!(ids(Which { live_at: Some(201), ..Which::default() }), ["jti-2"], "not over, not revoked");
    let issued = Issued { serial: u64::MAX, account: "ag-a".parse().unwrap(), statement: 4, certificate: None };
    let changed = Delegation { issued: Some(issued), ..delegation(1, "triage", "alice@example.org", "web-01") };
    write(&made, |act| act.put_delegation(&changed));
    assert_eq!(read(&made, |act| act.delegation_of_serial(u64::MAX)).as_ref(), Some(&changed));
    assert_eq!(read(&made, |act| act.delegation_of(&changed.session)).as_ref(), Some(&changed));
    assert_eq!(read(&made, |act| act.delegation(&changed.id)).as_ref(), Some(&changed));
    assert_eq!(read(&made, |act| act.delegation_of_serial(1)), None);
}

fn acts_of_many_threads_come_one_after_another(made: Made) {
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..25 {
                    write(&made, |act| {
                        let count: u64 = act.meta("count")?.map_or(0, |text| text.parse().unwrap());
                        act.set_meta("count", &(count + 1).to_string())
                    });
                }
            });
        }
    });
    assert_eq!(read(&made, |act| act.meta("count")).as_deref(), Some("100"));
}

/// And an act for no look: each is in the middle of its work while the other is done.
fn a_look_waits_for_no_act(made: Made) {
    let value = |store: &dyn Store| look(store, |act| -> Result<_, StoreError> { act.meta("a") }).unwrap();
    let set = |store: &dyn Store, text: &str| {
        act(store, |act| -> Result<(), StoreError> { act.set_meta("a", text) }).unwrap();
    };
    let aside = |work: Box<dyn FnOnce() + Send>| {
        let (done, is_done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            work();
            done.send(()).unwrap();
        });
        is_done.recv_timeout(std::time::Duration::from_secs(60)).expect("it waits");
    };
    set(&*made.store, "1");
    act(&*made.store, |act| -> Result<(), StoreError> {
        act.set_meta("a", "2")?;
        let store = Arc::clone(&made.store);
        aside(Box::new(move || assert_eq!(value(&*store).as_deref(), Some("1"), "what stood before")));
        Ok(())
    })
    .unwrap();
    assert_eq!(value(&*made.store).as_deref(), Some("2"));
    look(&*made.store, |act| -> Result<(), StoreError> {
        assert_eq!(act.meta("a")?.as_deref(), Some("2"));
        let store = Arc::clone(&made.store);
        aside(Box::new(move || set(&*store, "3")));
        assert_eq!(act.meta("a")?.as_deref(), Some("2"), "one look is of one moment");
        Ok(())
    })
    .unwrap();
    assert_eq!(value(&*made.store).as_deref(), Some("3"));
}

fn a_backup_is_a_store(made: Made) {
    write(&made, |act| act.set_meta("a", "1"));
    let copy = made.folder.path().join("copy.db");
    made.store.back_up(&copy).unwrap();
    write(&made, |act| act.set_meta("a", "2"));
    let copy = Sqlite::open_to_read(&copy).unwrap();
    assert_eq!(copy.check().unwrap(), "ok");
    let kept: Result<Option<String>, StoreError> = look(&copy, |act| act.meta("a"));
    assert_eq!(kept.unwrap().as_deref(), Some("1"));
}
