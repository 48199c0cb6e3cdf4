use super::*;

#[test]
fn heads_keep_the_feed_fresh_and_silence_makes_it_age() {
    let mut trust = resumed(&Position::start());
    assert_eq!(age(&trust, 0), Some(0));
    assert_eq!(age(&trust, 50), Some(50));
    assert!(trust.take_head(&head(&Position::start(), START + 50), after(50)).unwrap());
    assert_eq!(age(&trust, 50), Some(0));
    assert_eq!(age(&trust, 111), Some(61));
}

#[test]
fn a_head_that_a_courier_held_back_looks_as_old_as_it_is() {
    let mut trust = resumed(&Position::start());
    assert!(trust.take_head(&head(&Position::start(), START + 10), after(300)).unwrap());
    assert_eq!(age(&trust, 300), Some(290));
}

#[test]
fn an_older_head_is_no_news() {
    let mut trust = resumed(&Position::start());
    assert!(trust.take_head(&head(&Position::start(), START + 50), after(50)).unwrap());
    for time in [START, START + 49, START + 50] {
        assert!(!trust.take_head(&head(&Position::start(), time), after(51)).unwrap());
    }
    assert_eq!(age(&trust, 51), Some(1));
}

#[test]
fn withheld_statements_make_the_feed_age_though_heads_come() {
    let mut feed = Feed::new();
    let (first, _) = feed.say(&revocation(1), START + 5);
    let (second, at) = feed.say(&revocation(2), START + 6);
    let mut trust = resumed(&Position::start());
    for time in (10..=100).step_by(10) {
        assert!(trust.take_head(&head(&at, START + time), after(time)).unwrap());
        assert_eq!(age(&trust, time), Some(time), "no head counts whose statements are missing");
    }
    assert_eq!(code(trust.take_statement(&second)), "feed.gap");
    assert_eq!(code(trust.take_statement(&first)), "taken");
    assert_eq!(age(&trust, 100), Some(100), "one is missing still");
    assert_eq!(code(trust.take_statement(&second)), "taken");
    assert_eq!(age(&trust, 100), Some(0));
}

#[test]
fn a_head_of_another_feed_is_a_fork() {
    let (text, at) = Feed::new().say(&revocation(1), START + 100);
    let mut trust = resumed(&Position::start());
    trust.take_statement(&text).unwrap();
    let other = Position { number: 1, hash: "another".to_owned() };
    assert_eq!(code(trust.take_head(&head(&other, START + 101), after(101))), "feed.fork");
    assert_eq!(code(trust.take_head(&head(&Position::start(), START + 101), after(101))), "feed.fork");
    assert_eq!(age(&trust, 101), Some(101));
    assert_eq!(code(trust.take_head(&head(&at, START + 101), after(101))), "taken");
}

#[test]
fn a_statement_dated_ahead_does_not_excuse_heads_that_leave_it_out() {
    let (forged, _) = Feed::new().say(&grant(), START + 100_000);
    let mut trust = resumed(&Position::start());
    trust.take_statement(&forged).unwrap();
    assert_eq!(code(trust.take_head(&head(&Position::start(), START + 20), after(20))), "feed.fork");
}

#[test]
fn a_statement_that_is_not_the_one_a_head_names_is_a_fork() {
    let (_, promised) = Feed::new().say(&revocation(1), START + 5);
    let (forged, _) = Feed::new().say(&grant(), START + 5);
    let mut trust = resumed(&Position::start());
    trust.take_head(&head(&promised, START + 10), after(10)).unwrap();
    assert_eq!(code(trust.take_statement(&forged)), "feed.fork");
    assert_eq!(trust.position(), &Position::start(), "the feed does not move");
    assert_eq!(age(&trust, 10), Some(10));
}

#[test]
fn heads_signed_with_expired_keys_keep_nothing_fresh() {
    let mut trust = resumed(&Position::start());
    assert!(trust.keys(after(9_999)).is_ok() && trust.keys(after(10_000)).is_err());
    assert!(trust.take_head(&head(&Position::start(), START + 9_990), after(9_990)).unwrap());
    assert_eq!(code(trust.take_head(&head(&Position::start(), START + 10_000), after(10_000))), "keys.none");
    assert_eq!(age(&trust, 10_010), Some(20));
    let (statement, _) = Feed::new().say(&revocation(1), START + 10_000);
    assert_eq!(code(trust.take_statement(&statement)), "taken", "what is taken back is taken back");
    let mut again = restored(trust.keep());
    assert_eq!(code(again.take_resume(&resume(NONCE, trust.position(), 1, START + 10_001))), "keys.none");
}

#[test]
fn a_head_that_was_signed_before_the_last_statement_is_no_fork() {
    let mut feed = Feed::new();
    let (first, at_first) = feed.say(&revocation(1), START + 3);
    let (second, _) = feed.say(&revocation(2), START + 12);
    let mut trust = resumed(&Position::start());
    trust.take_statement(&first).unwrap();
    trust.take_statement(&second).unwrap();
    assert!(trust.take_head(&head(&at_first, START + 10), after(12)).unwrap());
    assert_eq!(age(&trust, 12), Some(2), "all that it names was read");
    assert_eq!(
        code(trust.take_head(&head(&at_first, START + 13), after(13))),
        "feed.fork",
        "it should know the second"
    );
    let other = Position { number: 1, hash: "another".to_owned() };
    assert_eq!(code(trust.take_head(&head(&other, START + 11), after(13))), "feed.fork");
}
