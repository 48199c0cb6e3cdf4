use super::*;
use std::cell::RefCell;

fn bytes(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn agent() -> Agent {
    let mut agent = Agent::new();
    agent.submitted(&bytes(&["-n"]));
    agent.opened(
        &bytes(&["progname=sudo"]),
        &bytes(&["user=ag-a", "cwd=/tmp", "tty=/dev/pts/1"]),
        bytes(&["TERM=vt100"]),
        false,
    );
    agent
}

fn descriptors() -> Vec<OwnedFd> {
    (0..4).map(|_| std::fs::File::open("/dev/null").unwrap().into()).collect()
}

type Asking = dyn FnOnce(&Request, Deadline) -> Result<Answer, LinkError>;

fn never(_: &Request, _: Deadline) -> Result<Answer, LinkError> {
    unreachable!("agentd must not be asked")
}

/// A refusal is reported for the record; nothing is decided.
fn reported(request: &Request, _: Deadline) -> Result<Answer, LinkError> {
    assert!(matches!(request, Request::Report { .. }), "agentd was asked {request:?}");
    Err(LinkError::TimedOut)
}

fn replies(reply: Reply) -> impl Asks {
    move |_: &Request, _: Deadline| Ok(Answer { reply, descriptors: Vec::new() })
}

/// Two lines that differ in one byte that is not UTF-8 are refused and have two records.
#[test]
fn what_is_not_text_is_refused_and_its_bytes_are_told() {
    let told = |word: &[u8]| {
        let told = RefCell::new(None);
        let argv = vec![b"ls".to_vec(), word.to_vec()];
        let refused = agent().check(argv, &[], |request: &Request, _: Deadline| {
            told.replace(Some(serde_json::to_string(request).unwrap()));
            Err(LinkError::TimedOut)
        });
        assert_eq!(refused.err().map(|refusal| refusal.code).as_deref(), Some("sudo.not_utf8"));
        told.take().unwrap()
    };
    assert!(told(b"a\xff").contains("\"61ff\""));
    assert_ne!(told(b"a\xff"), told(b"a\xfe"));
}

#[test]
fn what_agentd_allows_is_run_by_the_launcher_and_its_end_is_told() {
    let mut agent = agent();
    let asked = RefCell::new(None);
    let run = agent.check(bytes(&["cat", "/etc/hosts"]), &[], |request: &Request, _: Deadline| {
        asked.replace(Some(request.clone()));
        Ok(Answer {
            reply: Reply::Plan { plan: "p1".into(), output_limit: 100, recorder: Recorder::Nobody },
            descriptors: descriptors(),
        })
    });
    let line = CommandLine {
        argv: vec!["cat".into(), "/etc/hosts".into()],
        cwd: "/tmp".into(),
        tty: Some("/dev/pts/1".into()),
        terminal: None,
    };
    assert_eq!(asked.take(), Some(Request::Decide(line)));
    assert!(run.unwrap().info.contains(&"command=/usr/libexec/tether/tether-confine".to_owned()));
    agent.closed(256, 0, |request: &Request, _: Deadline| {
        asked.replace(Some(request.clone()));
        Err(LinkError::TimedOut)
    });
    assert_eq!(asked.take(), Some(Request::Ended { plan: "p1".into(), status: 256 }));
    agent.closed(0, 0, never);
}

#[test]
fn a_launcher_that_did_not_start_ends_with_126() {
    let mut agent = agent();
    let plan = |_: &Request, _: Deadline| {
        Ok(Answer {
            reply: Reply::Plan { plan: "p".into(), output_limit: 100, recorder: Recorder::Nobody },
            descriptors: descriptors(),
        })
    };
    agent.check(bytes(&["cat"]), &[], plan).unwrap();
    agent.closed(0, libc::ENOENT, |request: &Request, _: Deadline| {
        assert_eq!(*request, Request::Ended { plan: "p".into(), status: 126 << 8 });
        Err(LinkError::TimedOut)
    });
}

#[test]
fn no_answer_and_a_wrong_answer_are_refusals() {
    let refused = Reply::Refused(Refusal::new("bundle.no_rule", "no"));
    let cases: Vec<(Box<Asking>, &str)> = vec![
        (Box::new(|_, _| Err(LinkError::TimedOut)), "agentd.unreachable"),
        (Box::new(|_, _| Err(LinkError::TooLong(1))), "sudo.too_long"),
        (Box::new(replies(refused)), "bundle.no_rule"),
        (Box::new(replies(Reply::Done)), "internal"),
        (
            Box::new(replies(Reply::Plan { plan: "p".into(), output_limit: 100, recorder: Recorder::Nobody })),
            "internal",
        ), // no descriptors
    ];
    for (ask, code) in cases {
        let mut agent = agent();
        assert_eq!(agent.check(bytes(&["cat"]), &[], ask).unwrap_err().code, code);
        agent.closed(0, 0, never);
    }
}

#[test]
fn agentd_is_not_asked_about_what_is_not_for_agents() {
    let code = |result: Result<Run, Refusal>| result.unwrap_err().code;
    assert_eq!(code(agent().check(bytes(&["cat"]), &bytes(&["A=b"]), never)), options::CODE);
    let mut other = agent();
    other.submitted(&bytes(&["-u", "bob"]));
    assert_eq!(code(other.check(bytes(&["cat"]), &[], reported)), options::CODE);
    let mut edit = agent();
    edit.opened(&bytes(&["progname=sudoedit", "sudoedit=true"]), &[], Vec::new(), false);
    assert_eq!(code(edit.check(bytes(&["sudoedit", "/etc/hosts"]), &[], reported)), options::CODE);
    assert_eq!(code(agent().check(vec![vec![0xff]], &[], reported)), "sudo.not_utf8");
}

/// sudo.conf with the policy line only, or the audit line only.
#[test]
fn a_missing_line_in_sudo_conf_refuses() {
    let mut no_audit = Agent::new();
    no_audit.opened(&[], &[], Vec::new(), false);
    assert_eq!(no_audit.check(bytes(&["cat"]), &[], reported).unwrap_err().code, "sudo.not_set_up");
    let mut no_policy = Agent::new();
    no_policy.submitted(&[]);
    assert_eq!(no_policy.check(bytes(&["cat"]), &[], reported).unwrap_err().code, "sudo.not_set_up");
}

#[test]
fn a_list_shows_the_bundle_or_its_lines_for_one_program() {
    let commands = || {
        let commands = vec!["/usr/bin/cat PATH".into(), "/usr/bin/ss -tlnp".into()];
        let rules = serde_json::json!({"rules": ["x"]});
        replies(Reply::Commands { bundle: "read 3".into(), commands, left_out: 0, rules })
    };
    let whole = agent().list(Vec::new(), false, false, commands()).unwrap();
    assert_eq!(whole, "You may run, by bundle read 3:\n    /usr/bin/cat PATH\n    /usr/bin/ss -tlnp\n");
    for program in ["ss", "/usr/bin/ss"] {
        assert!(
            agent()
                .list(bytes(&[program, "-x"]), false, false, commands())
                .unwrap()
                .ends_with(":\n    /usr/bin/ss -tlnp\n")
        );
    }
    assert_eq!(agent().list(bytes(&["s"]), false, false, commands()).unwrap_err().code, "bundle.no_rule");
    assert_eq!(agent().list(Vec::new(), false, true, never).unwrap_err().code, options::CODE);
    let data = agent().list(Vec::new(), true, false, commands()).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&data).unwrap()["rules"][0], "x");
}

#[test]
fn what_is_printed_beyond_the_limit_is_told_once() {
    let told = std::cell::Cell::new(0);
    let tell = |request: &Request, _: Deadline| {
        assert!(matches!(request, Request::Exceeded { plan } if plan == "p1"));
        told.set(told.get() + 1);
        Ok(Answer { reply: Reply::Done, descriptors: Vec::new() })
    };
    let mut agent = agent();
    let plan = |_: &Request, _: Deadline| {
        Ok(Answer {
            reply: Reply::Plan { plan: "p1".into(), output_limit: 100, recorder: Recorder::Nobody },
            descriptors: descriptors(),
        })
    };
    agent.check(bytes(&["cat", "/etc/hosts"]), &[], plan).unwrap();
    for (bytes, so_far) in [(60, 0), (40, 0), (0, 0), (1, 1), (1, 1)] {
        agent.printed(bytes, tell);
        assert_eq!(told.get(), so_far);
    }
}

/// An agent at a terminal, with a recording that leads to `path`.
fn recorded(path: &str) -> Agent {
    let mut agent = agent();
    let user = bytes(&["cwd=/tmp", "tty=/dev/pts/1", "lines=24", "cols=80"]);
    agent.opened(&bytes(&["progname=sudo"]), &user, Vec::new(), true);
    let asked = |request: &Request, _: Deadline| {
        assert!(matches!(request, Request::Decide(CommandLine { terminal: Some([80, 24]), .. })), "{request:?}");
        let mut descriptors = descriptors();
        descriptors.push(std::fs::File::options().append(true).open(path).unwrap().into());
        let reply = Reply::Plan { plan: "p1".into(), output_limit: 100, recorder: Recorder::Sudo };
        Ok(Answer { reply, descriptors })
    };
    let run = agent.check(bytes(&["cat"]), &[], asked).unwrap();
    assert_eq!(run.argv[1].matches(',').count(), 3, "the launcher gets the recording too: {:?}", run.argv);
    agent
}

#[test]
fn what_a_terminal_shows_is_written_down_and_the_end_too() {
    let path = std::env::temp_dir().join(format!("tether-agent-{}", std::process::id()));
    std::fs::write(&path, "").unwrap();
    let mut agent = recorded(path.to_str().unwrap());
    agent.shown(b"\xffa\0", never);
    agent.resized(132, 50, never);
    agent.closed(256, 0, |_: &Request, _: Deadline| Err(LinkError::TimedOut));
    let whole = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let rest = |at: usize| &whole[at..];
    assert!(rest(16).starts_with(b"\xffa\0"));
    assert!(rest(19 + 16).starts_with(&[132, 0, 50, 0]));
    assert!(rest(19 + 20 + 16) == 256_i32.to_le_bytes());
}

#[test]
fn what_cannot_be_written_down_is_told_once_and_nothing_more_is_written() {
    let told = std::cell::Cell::new(0);
    let tell = |request: &Request, _: Deadline| {
        assert!(matches!(request, Request::Unrecorded { plan } if plan == "p1"));
        told.set(told.get() + 1);
        Ok(Answer { reply: Reply::Done, descriptors: Vec::new() })
    };
    let mut agent = recorded("/dev/full");
    for _ in 0..3 {
        agent.shown(b"x", tell);
    }
    assert_eq!(told.get(), 1);
}

#[test]
fn a_recording_without_a_terminal_of_sudos_is_nothing_that_was_asked() {
    let mut agent = agent();
    let plan = |_: &Request, _: Deadline| {
        let reply = Reply::Plan { plan: "p1".into(), output_limit: 100, recorder: Recorder::Sudo };
        Ok(Answer { reply, descriptors: descriptors() })
    };
    assert_eq!(agent.check(bytes(&["cat"]), &[], plan).unwrap_err().code, "internal");
}
