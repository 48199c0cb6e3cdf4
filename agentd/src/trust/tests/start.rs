use super::*;

#[test]
fn nothing_is_taken_before_central_answered_this_start() {
    let (statement, at) = Feed::new().say(&grant(), START);
    let mut bare = restored(Kept::default());
    assert_eq!(code(bare.take_resume(&resume(NONCE, &Position::start(), 0, START))), "keys.none");
    let mut trust = asking();
    assert_eq!(code(trust.take_statement(&statement)), "feed.not_resumed");
    assert_eq!(code(trust.take_head(&head(&at, START), after(1))), "feed.not_resumed");
    assert_eq!((age(&trust, 5), trust.silence(after(5)).as_secs()), (None, 5));
    assert_eq!(trust.time(after(5)), None);
    assert_eq!(trust.take_resume(&resume(NONCE, &Position::start(), 0, START)).unwrap(), 70_000);
    assert_eq!(code(trust.take_statement(&statement)), "taken");
}

#[test]
fn an_answer_to_another_start_is_refused() {
    let mut trust = asking();
    for nonce in ["", "another start", "this star", "this start "] {
        assert_eq!(code(trust.take_resume(&resume(nonce, &Position::start(), 0, START))), "resume.other_start");
    }
    assert_eq!(age(&trust, 1), None);
}

#[test]
fn an_answer_signed_by_another_role_or_for_another_host_is_refused() {
    let mut trust = asking();
    let value = json!({"host": "web-02", "nonce": NONCE, "position": Position::start(), "seen": 0, "uid_mark": 0, "time": START});
    let other_host = signing("feed").sign(Typ::Resume, &value).unwrap();
    let other_role = signing("grant").sign(Typ::Resume, &value).unwrap();
    assert_eq!(code(trust.take_resume(&other_host)), "feed.other_host");
    assert_eq!(code(trust.take_resume(&other_role)), "feed.unknown_key");
}

#[test]
fn time_never_goes_back_across_a_restart() {
    let mut trust = resumed(&Position::start());
    assert!(trust.take_head(&head(&Position::start(), START + 100), after(100)).unwrap());
    let kept = trust.keep();
    assert_eq!(kept.floor, START + 100);
    let mut again = restored(kept);
    let early = resume(NONCE, &Position::start(), 0, START + 99);
    assert_eq!(code(again.take_resume(&early)), "feed.before_floor");
    assert_eq!(code(again.take_resume(&resume(NONCE, &Position::start(), 0, START + 100))), "taken");
}

#[test]
fn grants_that_a_put_back_disk_reads_again_are_void_and_revocations_are_not_lost() {
    let mut feed = Feed::new();
    let (first, _) = feed.say(&grant(), START);
    let (second, _) = feed.say(&revocation(2), START);
    let mut trust = resumed(&Position::start());
    let snapshot = trust.keep();
    assert!(!trust.take_statement(&first).unwrap().replayed);
    assert!(!trust.take_statement(&second).unwrap().replayed);
    let (third, at) = feed.say(&grant(), START + 5);

    let mut put_back = restored(snapshot);
    put_back.take_resume(&resume(NONCE, &at, 2, START + 10)).unwrap();
    assert_eq!(age(&put_back, 1), None, "nothing is fresh until all was read");
    assert!(put_back.take_statement(&first).unwrap().replayed);
    let revoked = put_back.take_statement(&second).unwrap();
    assert_eq!((revoked.replayed, revoked.body), (true, revocation(2)));
    assert!(!put_back.take_statement(&third).unwrap().replayed, "central never saw it read");
    assert_eq!(age(&put_back, 1), Some(1));
}

#[test]
fn a_central_that_knows_less_or_something_else_is_another_feed() {
    let (text, at) = Feed::new().say(&grant(), START);
    let mut trust = resumed(&Position::start());
    trust.take_statement(&text).unwrap();
    let kept = trust.keep();
    let mut again = restored(kept.clone());
    assert_eq!(code(again.take_resume(&resume(NONCE, &Position::start(), 0, START + 1))), "feed.fork");
    let other = Position { number: 1, hash: "another".to_owned() };
    assert_eq!(code(again.take_resume(&resume(NONCE, &other, 0, START + 1))), "feed.fork");
    assert_eq!(age(&again, 1), None);
    assert_eq!(code(again.take_resume(&resume(NONCE, &at, 1, START + 1))), "taken");
}

#[test]
fn what_is_kept_reads_back_and_asks_from_there() {
    let (text, at) = Feed::new().say(&grant(), START);
    let mut trust = resumed(&at);
    trust.take_statement(&text).unwrap();
    let kept = trust.keep();
    let read: Kept = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
    assert_eq!(read, kept);
    let request = restored(read).resume_request("boot", 70_001);
    assert_eq!((request.position, request.uid_mark), (at, 70_001));
}

#[test]
fn keys_that_the_roots_did_not_sign_are_forgotten_at_start() {
    let mut forged = asking().keep();
    forged.keys = Some(signing("feed").sign(Typ::Keys, &key_set(9, "bundle")).unwrap());
    let mut trust = restored(forged);
    assert!(trust.any_key_set().is_none());
    assert!(trust.take_keys(&keys(3)).unwrap());
}

#[test]
fn an_older_key_set_is_never_taken_after_a_newer_one() {
    let mut trust = asking();
    assert!(!trust.take_keys(&keys(3)).unwrap(), "the same again is no news");
    assert_eq!(code(trust.take_keys(&keys(2))), "keys.old");
    let another = signing("root").sign(Typ::Keys, &key_set(3, "other-bundle-key")).unwrap();
    assert_eq!(code(trust.take_keys(&another)), "keys.old", "the same version with other keys");
    let mut again = restored(trust.keep());
    assert_eq!(code(again.take_keys(&keys(2))), "keys.old", "not after a restart either");
    assert!(again.take_keys(&keys(4)).unwrap());
    let unsigned = signing("feed").sign(Typ::Keys, &key_set(5, "bundle")).unwrap();
    assert_eq!(code(again.take_keys(&unsigned)), "keys.unknown_key");
}

#[test]
fn a_second_answer_to_the_same_start_moves_nothing() {
    let mut trust = resumed(&Position::start());
    let later = resume(NONCE, &Position::start(), 9, START + 3000);
    assert_eq!(code(trust.take_resume(&later)), "taken");
    assert_eq!(trust.time(after(3000)), Some(START + 3000));
    let (statement, at) = Feed::new().say(&grant(), START);
    assert!(!trust.take_statement(&statement).unwrap().replayed);
    trust.take_head(&head(&at, START + 3010), after(3010)).unwrap();
    assert_eq!(code(trust.take_resume(&resume(NONCE, &Position::start(), 0, START))), "taken");
    assert_eq!(age(&trust, 3010), Some(0));
}
