//! A question and its answer over a real socket, and what a hostile or dead other side may do.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};
use tether_hostlink::{Connection, Deadline, LinkError, Refusal, Reply, Request, ask_at};

fn soon() -> Deadline {
    Deadline::after(Duration::from_millis(300))
}

fn listener() -> (tempfile::TempDir, String, UnixListener) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s").to_str().unwrap().to_owned();
    let listener = UnixListener::bind(&path).unwrap();
    (folder, path, listener)
}

/// Serves one connection with raw bytes.
fn answering_with(bytes: Vec<u8>) -> (tempfile::TempDir, String) {
    let (folder, path, listener) = listener();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(&bytes);
        thread::park_timeout(Duration::from_secs(2));
    });
    (folder, path)
}

#[test]
fn a_question_is_answered_with_descriptors() {
    let (_folder, path, listener) = listener();
    let server = thread::spawn(move || {
        let connection = Connection::accept(&listener).unwrap();
        assert_eq!(connection.peer.pid, std::process::id());
        let question = connection.question(soon()).unwrap();
        let file = std::fs::File::open("/etc/hostname").unwrap();
        connection.answer(&Reply::Done, &[file.as_fd(), file.as_fd()], soon()).unwrap();
        question
    });
    let question = Request::Enter { account: "ag-a".into() };
    let answer = ask_at(&path, &question, soon()).unwrap();
    assert_eq!(answer.reply, Reply::Done);
    assert_eq!(answer.descriptors.len(), 2);
    assert_eq!(server.join().unwrap(), question);
}

#[test]
fn nobody_there_is_an_error_at_once() {
    let start = Instant::now();
    let error = ask_at("/nonexistent/s", &Request::Status { after: None }, soon()).unwrap_err();
    assert!(matches!(error, LinkError::Unreachable { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_millis(100));
}

#[test]
fn a_silent_server_costs_one_deadline() {
    let (_folder, path) = answering_with(vec![1, 0]);
    let start = Instant::now();
    assert!(matches!(ask_at(&path, &Request::Status { after: None }, soon()), Err(LinkError::TimedOut)));
    assert!(start.elapsed() < Duration::from_millis(900));
}

#[test]
fn hostile_answers_are_errors() {
    let frame = |version: u8, length: u32, body: &[u8]| {
        let mut bytes = vec![version];
        bytes.extend(length.to_be_bytes());
        bytes.extend(body);
        bytes
    };
    let cases = [
        (frame(2, 2, b"{}"), "version"),
        (frame(1, u32::MAX, b""), "length"),
        (frame(1, 2, b"{}"), "no answer"),
        (frame(1, 2, b"\xff\xff"), "not UTF-8"),
        (frame(1, 18, b"{\"answer\":\"other\"}"), "unknown answer"),
    ];
    for (bytes, what) in cases {
        let (_folder, path) = answering_with(bytes);
        let error = ask_at(&path, &Request::Status { after: None }, soon()).unwrap_err();
        let refused = matches!(error, LinkError::Version(2) | LinkError::TooLong(_) | LinkError::Malformed(_));
        assert!(refused, "{what}: {error}");
    }
}

/// The wire form is a promise to modules that long-lived processes have mapped: it may grow, not change.
#[test]
fn the_wire_form_stays() {
    let refused = Reply::Refused(Refusal::new("bundle.no_rule", "no"));
    let text = r#"{"answer":"refused","code":"bundle.no_rule","text":"no","hint":null}"#;
    assert_eq!(serde_json::to_string(&refused).unwrap(), text);
    let enter = Request::Enter { account: "ag-a".into() };
    assert_eq!(serde_json::to_string(&enter).unwrap(), r#"{"ask":"enter","account":"ag-a"}"#);
}

#[test]
fn descriptors_go_with_a_question_only_where_they_are_wanted() {
    for wanted in [true, false] {
        let (_folder, path, listener) = listener();
        let server = thread::spawn(move || {
            let connection = Connection::accept(&listener).unwrap();
            let lent = if wanted {
                connection.question_with(soon()).unwrap().1
            } else {
                connection.question(soon()).unwrap();
                Vec::new()
            };
            for descriptor in lent {
                assert!(rustix::io::fcntl_getfd(&descriptor).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
                std::fs::File::from(descriptor).write_all(b"lent").unwrap();
            }
            connection.answer(&Reply::Ran { status: 7 << 8, cut: None }, &[], soon()).unwrap();
        });
        let (reader, writer) = std::io::pipe().unwrap();
        let question = Request::Run { argv: vec!["ss".into(), "-tn".into()] };
        let link = tether_hostlink::Link::open_at(&path).unwrap();
        let answer = link.ask_with(&question, &[writer.as_fd()], soon(), Deadline::never()).unwrap();
        drop(writer);
        assert_eq!(answer.reply, Reply::Ran { status: 7 << 8, cut: None });
        server.join().unwrap();
        // What was not wanted the kernel closed: nobody holds the pipe any more, and nothing was written.
        assert_eq!(std::io::read_to_string(reader).unwrap(), if wanted { "lent" } else { "" });
    }
}

#[test]
fn without_a_deadline_an_end_is_still_an_end() {
    let (_folder, path) = answering_with(vec![]);
    let (_other, silent, listener) = listener();
    let link = tether_hostlink::Link::open_at(&silent).unwrap();
    drop(listener);
    let run = Request::Run { argv: vec![] };
    assert!(link.ask_with(&run, &[], soon(), Deadline::never()).is_err());
    assert!(matches!(ask_at(&path, &run, soon()), Err(LinkError::TimedOut)), "the control: with one it is waited for");
}
