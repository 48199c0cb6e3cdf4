//! What every store does with the log.

use super::{JKT, Made, host_id, read, write};
use crate::store::{Found, HostChain, NewEntry, Place, Search, StoreError, Trouble, TroubleKind, act};
use tether_audit::Reached;
use tether_centrallink::wire::ChainStart;

fn entry<'a>(chain: &'a str, number: u64, found: &'a Found, line: &'a str) -> NewEntry<'a> {
    NewEntry { chain, generation: 0, number, hash: "h", found, line }
}

pub(super) fn the_log_only_grows(made: Made) {
    let found = Found::default();
    assert_eq!(read(&made, |act| act.log_end()), 0);
    write(&made, |act| {
        assert_eq!(act.append_entry(&entry("web-01", 1, &found, "a"))?, 0, "places begin at 0");
        assert_eq!(act.append_entry(&entry("web-02", 1, &found, "b"))?, 1);
        act.append_audit(1, "h1", "not a record")
    });
    // An act that is given up leaves no gap.
    let given_up: Result<(), StoreError> = act(&*made.store, |act| {
        act.append_entry(&entry("web-01", 2, &found, "lost"))?;
        Err(StoreError::Database("given up".to_owned()))
    });
    assert!(given_up.is_err());
    let twice: Result<(), StoreError> =
        act(&*made.store, |act| act.append_entry(&entry("web-01", 1, &found, "other")).map(drop));
    assert!(twice.is_err(), "a number of a chain has one record");
    let again = NewEntry { generation: 1, ..entry("web-01", 1, &found, "anew") };
    write(&made, |act| act.append_entry(&again).map(|at| assert_eq!(at, 3)));
    read(&made, |act| {
        let lines: Vec<(u64, String)> = act.entries(1, 2)?.into_iter().map(|entry| (entry.index, entry.line)).collect();
        assert_eq!(lines, [(1, "b".to_owned()), (2, "not a record".to_owned())]);
        assert_eq!((act.log_end()?, act.audit_end()?), (4, (1, "h1".to_owned())));
        assert_eq!(act.record_hash("web-01", 0, 1)?.as_deref(), Some("h"));
        assert_eq!(act.record_hash("web-01", 0, 2)?, None);
        Ok(())
    });
}

pub(super) fn a_chain_reads_back_in_its_order(made: Made) {
    let found = Found::default();
    let place = |number, marks| Place { number, marks };
    write(&made, |act| {
        act.append_mark("web-01", 0, place(0, 0), true, "head 0")?;
        act.append_entry(&entry("web-01", 1, &found, "one"))?;
        act.append_entry(&entry("web-01", 2, &found, "two"))?;
        act.append_mark("web-01", 0, place(2, 0), true, "head 2")?;
        act.append_mark("web-01", 0, place(2, 1), false, "countersigned")?;
        act.append_entry(&entry("web-01", 3, &found, "three"))?;
        act.append_entry(&entry("web-02", 1, &found, "another's")).map(drop)
    });
    let lines = |after: Place, most: usize| -> Vec<String> {
        read(&made, |act| act.lines("web-01", 0, after, most)).into_iter().map(|(_, line)| line).collect()
    };
    assert_eq!(lines(place(0, 0), 99), ["head 0", "one", "two", "head 2", "countersigned", "three"]);
    assert_eq!(lines(place(0, 1), 2), ["one", "two"]);
    assert_eq!(lines(place(2, 1), 99), ["countersigned", "three"]);
    assert_eq!(lines(place(2, 0), 1), ["head 2"]);
    assert_eq!(lines(place(3, 0), 9), Vec::<String>::new());
    read(&made, |act| {
        let numbers: Vec<Option<u64>> =
            act.lines("web-01", 0, place(2, 0), 9)?.into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [None, None, Some(3)]);
        assert_eq!(act.head_before("web-01", 0, place(2, 0))?.as_deref(), Some("head 0"));
        assert_eq!(act.head_before("web-01", 0, place(3, 0))?.as_deref(), Some("head 2"), "no countersignature");
        assert_eq!(act.head_before("web-01", 0, place(0, 0))?, None);
        Ok(())
    });
}

pub(super) fn records_are_found_by_everything(made: Made) {
    let some = |text: &str| Some(text.to_owned());
    let one = Found {
        session: some("s-1"),
        human: some("alice@example.org"),
        agent: some("triage"),
        host: some("web-01"),
        program: some("/usr/bin/id"),
        event: "sudo.command".to_owned(),
        outcome: "allowed".to_owned(),
        time_us: 7_000_000,
    };
    let two = Found { session: None, program: None, outcome: "refused".to_owned(), time_us: 9_500_000, ..one.clone() };
    write(&made, |act| {
        for number in 1..=4 {
            let found = if number % 2 == 1 { &one } else { &two };
            act.append_entry(&entry("web-01", number, found, "line"))?;
        }
        Ok(())
    });
    let numbers = |search: Search| -> Vec<u64> {
        read(&made, |act| act.search(&search, 9)).lines.iter().map(|entry| entry.number).collect()
    };
    let all = Search::default();
    assert_eq!(numbers(all.clone()), [1, 2, 3, 4]);
    assert_eq!(numbers(Search { session: some("s-1"), ..all.clone() }), [1, 3]);
    assert_eq!(
        numbers(Search { human: some("alice@example.org"), agent: some("triage"), ..all.clone() }),
        [1, 2, 3, 4]
    );
    assert_eq!(numbers(Search { human: some("alice@example.org' OR 1=1 --"), ..all.clone() }), [0; 0]);
    assert_eq!(numbers(Search { program: some("/usr/bin/id"), ..all.clone() }), [1, 3]);
    assert_eq!(numbers(Search { outcome: some("refused"), host: some("web-01"), ..all.clone() }), [2, 4]);
    assert_eq!(numbers(Search { event: some("x"), ..all.clone() }), [0; 0]);
    assert_eq!(numbers(Search { from: Some(8), to: Some(10), ..all.clone() }), [2, 4]);
    assert_eq!(numbers(Search { to: Some(7), ..all.clone() }), [0; 0]);
    assert_eq!(numbers(Search { after: 2, ..all.clone() }), [3, 4]);
    let page = read(&made, |act| act.search(&all, 3));
    assert_eq!((page.lines.len(), page.next), (3, Some(3)));
    assert_eq!(read(&made, |act| act.search(&Search { after: 3, ..all.clone() }, 3)).next, None);
}

pub(super) fn the_rest_of_the_log_reads_back(made: Made) {
    let start = ChainStart { number: 0, hash: String::new(), key: 0, public: JKT.to_owned() };
    let trouble = Trouble {
        kind: TroubleKind::Forked,
        since: 5,
        code: "audit.forked".to_owned(),
        number: 3,
        why: "why".to_owned(),
    };
    let chain = HostChain {
        generation: 2,
        start: Some(start),
        reached: Reached { number: 4, hash: "h".to_owned(), ..Reached::default() },
        marks: 1,
        heard: 9,
        countersignature: Some("jws".to_owned()),
        trouble: Some(trouble),
        silent: Some(8),
        evidence: 7,
        gaps: 1,
        alarms: 3,
        damaged: None,
        day: 20_000,
        bytes: 10,
        over: Some(6),
    };
    write(&made, |act| {
        act.put_host_chain(&host_id("web-01"), &HostChain::default())?;
        act.put_host_chain(&host_id("web-01"), &chain)?;
        act.put_evidence(&host_id("web-01"), 1, 5, "lines")?;
        act.put_tile(0, 3, &[1; 32])?;
        act.put_tile(0, 3, &[1; 64])?;
        act.put_checkpoint("log", 3, "three")?;
        act.put_checkpoint("log", 10, "ten")?;
        act.put_checkpoint("another", 11, "eleven")?;
        act.put_key_set(1, "one")?;
        act.put_key_set(2, "two")?;
        act.put_key_set(1, "another one")
    });
    let twice: Result<(), StoreError> = act(&*made.store, |act| act.put_checkpoint("log", 10, "other"));
    assert!(twice.is_err(), "a size has one checkpoint");
    read(&made, |act| {
        assert_eq!(act.host_chain(&host_id("web-01"))?.as_ref(), Some(&chain));
        assert_eq!(act.host_chain(&host_id("web-02"))?, None);
        assert_eq!(act.host_chains()?, [(host_id("web-01"), chain.clone())]);
        assert_eq!(act.evidence()?, [("web-01".to_owned(), 1, 5, "lines".to_owned())]);
        assert_eq!(act.tile(0, 3)?, Some(vec![1; 64]));
        assert_eq!((act.tile(1, 3)?, act.tile(0, 4)?), (None, None));
        assert_eq!(act.checkpoint("log")?, Some((10, "ten".to_owned())));
        assert_eq!(act.checkpoint("none")?, None);
        assert_eq!(act.key_sets()?, [(1, "one".to_owned()), (2, "two".to_owned())], "the first one stays");
        Ok(())
    });
}
