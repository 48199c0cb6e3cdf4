//! What central has of recordings.

use super::*;

fn recording(host: &str, session: &str, name: &str, bytes: u64, taken: u64) -> Recording {
    Recording {
        host: host_id(host),
        session: session.parse().unwrap(),
        name: name.to_owned(),
        bytes,
        taken,
        receipt: None,
        aside: None,
        removed: None,
    }
}

const ONE: &str = "0123456789abcdef";
const TWO: &str = "1123456789abcdef";

pub(super) fn recordings_are_counted_and_found(made: Made) {
    let aside = Aside { offset: 0, sha256: "x".to_owned(), time: 3, file: None };
    let first = recording("web-01", ONE, "sudo-1", 100, 10);
    let second = Recording { aside: Some(aside), ..recording("web-01", TWO, "sudo-1", 20, 30) };
    let third = recording("web-02", TWO, "sudo-2", 3, 20);
    for one in [&first, &second, &third] {
        write(&made, |act| act.put_recording(one));
    }
    let bytes = |host: Option<&str>| {
        let host = host.map(host_id);
        let used = look(&*made.store, |act| -> Result<_, StoreError> { act.recordings_use(host.as_ref()) }).unwrap();
        (used.host, used.total)
    };
    assert_eq!((bytes(Some("web-01")), bytes(Some("web-02"))), ((120, 123), (3, 123)));
    assert_eq!((bytes(Some("web-03")), bytes(None)), ((0, 123), (0, 123)));
    // Written again it counts once; and less, if it has less.
    let grown = Recording { bytes: 150, ..first.clone() };
    write(&made, |act| act.put_recording(&grown));
    assert_eq!(bytes(Some("web-01")), (170, 173));
    let gone = Recording { bytes: 0, removed: Some(9), ..grown };
    write(&made, |act| act.put_recording(&gone));
    assert_eq!(bytes(Some("web-01")), (20, 23));
    look(&*made.store, |act| -> Result<(), StoreError> {
        assert_eq!(act.recording(&gone.session, "sudo-1")?, Some(gone.clone()));
        assert_eq!(act.recording(&gone.session, "sudo-2")?, None);
        assert_eq!(act.recordings(&second.session)?, [second.clone(), third.clone()]);
        assert_eq!(act.all_recordings(None, 9)?, [second.clone(), third.clone()], "what is gone is not here");
        assert_eq!(act.all_recordings(Some((TWO, "sudo-1")), 9)?, std::slice::from_ref(&third));
        assert_eq!(act.old_recordings(30, 9)?, std::slice::from_ref(&third));
        assert_eq!(act.old_recordings(31, 9)?, [third.clone(), second.clone()], "the oldest first");
        assert_eq!(act.old_recordings(31, 1)?, std::slice::from_ref(&third));
        let (one, two) = (act.recordings_of_host(&host_id("web-01"))?, act.recordings_of_host(&host_id("web-02"))?);
        assert_eq!((one, two), (OfHost { bytes: 20, differ: 1 }, OfHost { bytes: 3, differ: 0 }));
        Ok(())
    })
    .unwrap();
    // Whole it differs no more.
    let healed = Recording { receipt: Some("word".to_owned()), ..second };
    write(&made, |act| act.put_recording(&healed));
    let differ = look(&*made.store, |act| -> Result<_, StoreError> { act.recordings_of_host(&host_id("web-01")) });
    assert_eq!(differ.unwrap().differ, 0);
}
