//! What a person sees of a session: as a tree, as data, as a page; and what is found.
#![allow(missing_docs)]

mod common;
#[path = "common/golden.rs"]
mod golden;
#[path = "common/trail.rs"]
mod trail;

use common::{Ran, ran};
use golden::golden;
use serde_json::{Value, json};
use std::process::Command;
use tempfile::TempDir;
use tether_audit::{Event, Ids, Known, Outcome, Parent};
use trail::{S1, S2, World, Writer, believable, root_text, told};

struct Scene(TempDir);

impl Scene {
    fn new(world: &World) -> Self {
        let folder = tempfile::tempdir().unwrap();
        world.export(&folder.path().join("export"));
        std::fs::create_dir(folder.path().join("recordings")).unwrap();
        std::fs::write(folder.path().join("recordings/r-5be2.cast"), trail::cast()).unwrap();
        Self(folder)
    }

    fn run(&self, words: &[&str], columns: &str) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tether"));
        command.args(words).args(["--from", "export", "--root", &root_text()]).env("COLUMNS", columns);
        ran(command.current_dir(self.0.path()).output().unwrap())
    }

    fn page(&self, session: &str) -> String {
        let done = self.run(&["session", "show", session, "--html", "page.html", "--recordings", "recordings"], "80");
        assert_eq!(done.code, 0, "{done:?}");
        std::fs::read_to_string(self.0.path().join("page.html")).unwrap()
    }
}

#[test]
fn the_story_as_a_tree() {
    let scene = Scene::new(&believable());
    for (session, columns, name) in
        [(S1, "80", "show-80.txt"), (S1, "120", "show-120.txt"), (S2, "80", "show-revoked.txt")]
    {
        let done = scene.run(&["session", "show", session], columns);
        assert_eq!((done.code, done.err.as_str()), (0, ""));
        let columns: usize = columns.parse().unwrap();
        assert!(done.out.lines().all(|line| line.chars().count() <= columns), "{}", done.out);
        golden(name, &done.out);
    }
    let some = scene.run(&["session", "show", "s-"], "80");
    assert!(some.code == 1 && some.err.contains("more than one session begins with"), "{some:?}");
    assert_eq!(scene.run(&["session", "show", "none"], "80").code, 1);
    let mut nowhere = Command::new(env!("CARGO_BIN_EXE_tether"));
    nowhere.args(["session", "show", S1, "--from", "nowhere"]).current_dir(scene.0.path());
    let nowhere = ran(nowhere.output().unwrap());
    assert_eq!((nowhere.code, nowhere.err.as_str()), (1, "tether: nowhere is not here\n"));
}

#[test]
fn a_chain_that_does_not_hold_says_so_with_the_story() {
    let mut world = believable();
    world.web.segments[1].1[2] = world.web.segments[1].1[2].replace("-tnp", "-tnq");
    let scene = Scene::new(&world);
    let done = scene.run(&["session", "show", S1], "100");
    assert_eq!(done.code, 3);
    assert!(done.out.contains("✗ web-01 does NOT hold") && done.out.contains("record 9: CHANGED"), "{}", done.out);
    assert!(!done.out.contains("-tnq"), "what comes after is not shown: {}", done.out);
}

#[test]
fn no_text_of_an_agent_reaches_the_terminal_as_it_is() {
    let mut world = believable();
    let hostile = "\u{1b}]0;x\u{7}\u{1b}[2J\u{202e}\r\n\u{9b}31m";
    world.web.write(told("sudo.command", S1, None, json!({"argv": [hostile, hostile], "why": hostile})));
    world.web.write(told(hostile, S1, None, json!({"x": [hostile], "host": hostile})));
    let scene = Scene::new(&world);
    for words in [&["session", "show", S1][..], &["audit", "search", "--session", S1], &["audit", "verify-none"]] {
        let done = scene.run(words, "100");
        let shown = format!("{}{}", done.out, done.err);
        let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!shown.contains(bad), "{shown:?}");
    }
}

/// What a host that lies has in its own chain.
fn lie(liar: &mut Writer, event: &str, session: &str, parent: Option<Parent>, about: Value) {
    let id = |text: &str| Known::Id(text.to_owned());
    let ids =
        Ids { human: id("mallory@example.org"), agent: id("innocent"), session: id(session), ..Ids::unknown("a lie") };
    let Value::Object(details) = about else { panic!("details are an object") };
    let (event, code) = (event.to_owned(), String::new());
    let event = Event { event, outcome: Outcome::Allowed, code, ids, parent, details };
    let next = liar.chain.next(event, liar.now_us).unwrap();
    liar.chain.commit(&next);
    liar.segments[0].1.push(next.line);
}

/// Any enrolled host could make another's session somebody else's: who is named first, by which sign-in, how a command
/// ended, and that it is over; and by one record keep it from being shown at all.
#[test]
fn a_host_says_nothing_of_another_hosts_session() {
    let scene = Scene::new(&believable());
    let honest = scene.run(&["session", "show", S2], "100");
    let mut liar = Writer::new("app-01", Some([9; 32]));
    liar.now_us = trail::BEGIN_US - 60_000_000;
    let about = json!({"host": "app-01", "team": "nobody", "bundle": "all", "issuer": "https://evil.example.org"});
    lie(&mut liar, "token.issued", S2, None, about.clone());
    lie(&mut liar, "grant.sent", S2, None, about.clone());
    lie(&mut liar, "session.reserved", S2, None, about);
    lie(&mut liar, "session.removed", S2, None, json!({"found": [], "checked": []}));
    let command = Parent::record("db-01", 3);
    lie(&mut liar, "sudo.ended", S2, Some(command), json!({"status": 77 << 8}));
    lie(&mut liar, "session.reserved", &format!("{S2}-x"), None, json!({}));
    let at = scene.0.path().join("export/hosts/app-01");
    liar.put(&at);
    std::fs::write(at.join("start.json"), trail::start([9; 32])).unwrap();
    let done = scene.run(&["session", "show", S2], "100");
    assert_eq!(done.code, 0, "{done:?}");
    let (heading, _) = honest.out.split_once("(UTC)").unwrap();
    assert!(
        done.out.starts_with(heading.trim_end_matches(|c: char| c.is_ascii_digit() || "- ".contains(c))),
        "{}",
        done.out
    );
    let told = "told by app-01, who has nothing to say of this";
    assert_eq!(done.out.matches(told).count(), 5, "{}", done.out);
    assert!(done.out.contains("exit 0"), "the true end stays with its command: {}", done.out);
    let page = scene.page(S2);
    let header = page.split_once("</header>").unwrap().0;
    assert!(header.contains("alice@example.org") && !header.contains("mallory"), "{header}");
    assert_eq!(page.matches(told).count(), 5);
    let story = scene.run(&["--json", "session", "show", S2], "80").json();
    let strange = story["records"].as_array().unwrap().iter().filter(|one| one["strange"] == true).count();
    assert_eq!(strange, 5);
}

#[test]
fn the_story_as_data() {
    let scene = Scene::new(&believable());
    let story = scene.run(&["--json", "session", "show", S2], "80").json();
    assert_eq!(
        (&story["session"], &story["checked"]["holds"], &story["checked"]["by"]),
        (&json!(S2), &json!(true), &json!("files"))
    );
    let under = |id: &str| {
        let records = story["records"].as_array().unwrap();
        records.iter().find(|record| record["id"] == id).map(|record| record["under"].clone()).unwrap()
    };
    assert_eq!(under("central#5"), Value::Null);
    assert_eq!((under("central#6"), under("db-01#1")), (json!("central#5"), json!("central#6")));
    assert_eq!((under("db-01#2"), under("db-01#4")), (json!("central#7"), json!("db-01#3")));
    let marks = story["checked"]["chains"].as_array().unwrap();
    let of_db = marks.iter().find(|chain| chain["chain"] == "db-01").unwrap();
    assert_eq!(of_db["countersigned"]["number"], 4);
}

#[test]
fn searches() {
    let scene = Scene::new(&believable());
    let ids = |words: &[&str]| -> Vec<String> {
        let mut all = vec!["--json", "audit", "search"];
        all.extend(words);
        let done = scene.run(&all, "80");
        assert_eq!(done.code, 0, "{done:?}");
        let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
        done.out.lines().map(id).collect()
    };
    assert_eq!(ids(&["--outcome", "refused"]), ["web-01#7"]);
    assert_eq!(ids(&["--code", "bundle."]), ["web-01#7"]);
    assert_eq!(ids(&["--program", "cat"]), ["web-01#7"]);
    assert_eq!(ids(&["--host", "db-01", "--event", "token.issued"]), ["central#5"]);
    assert_eq!(ids(&["--session", S2, "--event", "session.revoked"]), ["central#8"]);
    assert_eq!(ids(&["--human", "alice@example.org", "--agent", "triage", "--limit", "2"]), ["central#2", "central#3"]);
    assert_eq!(ids(&["--human", "bob@example.org"]), [""; 0]);
    assert_eq!(ids(&["--since", "2026-11-28 10:01:33", "--event", "session.removed"]), ["web-01#16"]);
    assert_eq!(ids(&["--until", "2026-11-28T10:00:01Z"]), ["central#1", "web-01#1"]);
    assert_eq!(scene.run(&["audit", "search", "--since", "yesterday"], "80").code, 2);
    let table = scene.run(&["audit", "search", "--outcome", "refused"], "80").out;
    assert!(
        table.contains("✗ alice@example.org") && table.contains("sudo cat /etc/shadow  [bundle.arguments]  web-01#7"),
        "{table}"
    );
}

/// Nothing that an agent wrote is markup or script, and the page's own policy lets nothing else run or load.
#[test]
fn the_page_lets_nothing_in() {
    let mut world = believable();
    let hostile = "</script><img src=x onerror=alert(1)>\"'&<!--";
    world.web.write(told("sudo.command", S1, None, json!({"argv": [hostile], "why": hostile, "recording": hostile})));
    world.web.write(told(hostile, S1, None, json!({"x": hostile})));
    let page = Scene::new(&world).page(S1);
    assert!(!page.contains("<img") && !page.contains("onerror=alert(1)>"), "markup got in");
    assert_eq!((page.matches("<script").count(), page.matches("</script>").count()), (2, 2));
    assert!(!page.contains("http-equiv=\"refresh\"") && !page.contains("unsafe-inline") && !page.contains(" style="));
    let plain = Scene::new(&believable()).page(S1);
    for loads in [" src=", "url(", "@import", "fetch(", "innerHTML", "eval(", "href=\"http"] {
        assert!(!plain.contains(loads), "{loads}");
    }
    let policy = page.split("Content-Security-Policy\" content=\"").nth(1).unwrap().split('"').next().unwrap();
    let between = |open: &str, close: &str| page.rsplit_once(open).unwrap().1.split(close).next().unwrap().to_owned();
    for text in [between("<script>", "</script>"), between("<style>", "</style>")] {
        use base64ct::{Base64, Encoding};
        use sha2::{Digest, Sha256};
        assert!(policy.contains(&format!("'sha256-{}'", Base64::encode_string(&Sha256::digest(text.as_bytes())))));
    }
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
    assert!(page.contains("data-cast=\"0\"") && page.contains("scanning 100%"), "the recording");
    assert!(page.contains("\\u003c/script\\u003e"), "its bytes are data");
}

/// With a browser at hand (`TETHER_BROWSER`, or chromium) it is opened in one: the script runs under the policy, the
/// filters filter, the player shows the last picture, and no script of an agent's does anything.
#[test]
fn the_page_in_a_browser() {
    let browser = std::env::var("TETHER_BROWSER").unwrap_or_else(|_| "chromium".to_owned());
    if Command::new(&browser).arg("--version").output().is_err() {
        eprintln!("no browser is here");
        return;
    }
    let scene = Scene::new(&believable());
    let page = scene.page(S1);
    // The test's own script is let in by its digest and by nothing else.
    let probe = "addEventListener('load',()=>{const q=(s)=>document.querySelectorAll(s);q('[data-show=refused]')[0].click();\
        const hidden=q('.tree li.off').length,all=q('.tree li').length;\
        document.title=['filters',hidden<all&&hidden>0,'rows',q('.screen > div').length,'screen',q('.screen')[0].textContent.includes('scanning 100%'),\
        'images',q('img').length].join(' ')})";
    use base64ct::{Base64, Encoding};
    use sha2::{Digest, Sha256};
    let digest = format!("script-src 'sha256-{}' ", Base64::encode_string(&Sha256::digest(probe.as_bytes())));
    let probed =
        page.replacen("script-src ", &digest, 1).replacen("</body>", &format!("<script>{probe}</script></body>"), 1);
    let at = scene.0.path().join("probed.html");
    std::fs::write(&at, probed).unwrap();
    let profile = format!("--user-data-dir={}", scene.0.path().join("profile").display());
    let words = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom", &profile];
    let done = Command::new(&browser).args(words).arg(format!("file://{}", at.display())).output().unwrap();
    let dom = String::from_utf8_lossy(&done.stdout);
    assert!(
        dom.contains("<title>filters true rows 24 screen true images 0</title>"),
        "{dom:.300}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// A recording of pipes, as a host keeps it.
fn recorded(text: &str) -> Vec<u8> {
    use tether_recording::{Header, Kind, Stream, frame_head};
    let header = Header {
        name: "exec-9".into(),
        session: S1.into(),
        host: "web-01".into(),
        kind: Kind::Exec,
        command: json!("ls /srv"),
        started_us: 1_795_860_000_000_000,
        columns: 0,
        rows: 0,
    };
    let mut file = header.encode().unwrap();
    for (stream, data) in [(Stream::Output, text.as_bytes()), (Stream::End, &0_i32.to_le_bytes())] {
        file.extend(frame_head(7000, stream, u32::try_from(data.len()).unwrap()));
        file.extend(data);
    }
    file
}

#[test]
fn a_page_from_files_shows_only_recordings_that_are_what_the_chain_says() {
    let good = recorded("first line\nsecond line\n");
    let mut world = believable();
    let mut pieces = tether_recording::Pieces::new();
    pieces.take(&good, |_| ());
    let begun = json!({"recording": "exec-9", "kind": "exec", "command": "ls /srv"});
    let ended =
        json!({"recording": "exec-9", "bytes": good.len(), "sha256": pieces.digest(), "regular": true, "status": 0});
    world.web.write(told("recording.started", S1, None, begun));
    world.web.write(told("recording.ended", S1, None, ended));
    let scene = Scene::new(&world);
    // In the export's own folder, so that it need not be named.
    let folder = scene.0.path().join("export/recordings").join(S1);
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("exec-9.rec");
    let show = |more: &[&str]| {
        let done = scene.run(&[&["session", "show", S1, "--html", "page.html"], more].concat(), "80");
        (done, std::fs::read_to_string(scene.0.path().join("page.html")).unwrap())
    };
    std::fs::write(&file, &good).unwrap();
    let (done, page) = show(&[]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(page.contains("<figcaption>exec-9 <b>ls /srv</b></figcaption>"), "{page}");
    // One row below the other, each from the first column on; and no more rows than it has.
    assert!(page.contains(r#"[0,[["first line"]]],[1,[["second line"]]]"#) && page.contains(r#""rows":2"#), "{page}");
    let mut changed = good.clone();
    let at = good.windows(6).position(|part| part == b"second").unwrap();
    changed[at] ^= 1;
    let more = [good.as_slice(), &frame_of_more()].concat();
    for (bytes, why) in
        [(changed, "differs from byte 0"), (more, "more bytes than at its end"), (Vec::new(), "differs")]
    {
        std::fs::write(&file, bytes).unwrap();
        let (done, page) = show(&[]);
        assert!(done.code == 3 && done.err.contains(why), "{why}: {done:?}");
        assert!(!page.contains("<figure"), "{why}");
    }
    std::fs::remove_file(&file).unwrap();
    let (done, _) = show(&["--recordings", "export/recordings"]);
    assert!(done.code == 3 && done.err.contains("exec-9 is not in export/recordings"), "{done:?}");
    let nowhere = scene.run(&["session", "show", S1, "--html", "page.html", "--recordings", "nowhere"], "80");
    assert!(nowhere.code == 1 && nowhere.err.contains("nowhere is no folder"), "{nowhere:?}");
}

fn frame_of_more() -> Vec<u8> {
    let mut frame = tether_recording::frame_head(8000, tether_recording::Stream::Output, 1).to_vec();
    frame.push(b'x');
    frame
}

/// `tether … | head`: no panic, no word, and never 0, since nobody saw the end.
#[test]
fn a_reader_that_goes_ends_it_quietly() {
    let scene = Scene::new(&believable());
    for words in [
        &["session", "show", S1][..],
        &["--json", "session", "show", S1],
        &["audit", "search"],
        &["audit", "export", "--format", "ocsf"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_tether"));
        command.args(words).args(["--from", "export"]).current_dir(scene.0.path()).stdout(writer);
        let done = command.stderr(std::process::Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!((done.status.code(), String::from_utf8(done.stderr).unwrap().as_str()), (Some(1), ""), "{words:?}");
    }
}
