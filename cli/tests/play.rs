//! `tether session play` with the real program on a file of the test's own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tether_recording::{FRAME_HEAD, Header, Kind, Stream, frame_head, resize};

struct Recording {
    bytes: Vec<u8>,
}

impl Recording {
    fn new() -> Self {
        let header = Header {
            name: "sudo-1".into(),
            session: "0123456789abcdef".into(),
            host: "web-01".into(),
            kind: Kind::Sudo,
            command: serde_json::json!(["cat", "x"]),
            started_us: 1_700_000_000_000_000,
            columns: 100,
            rows: 30,
        };
        Self { bytes: header.encode().unwrap() }
    }

    fn frame(mut self, micros: u64, stream: Stream, data: &[u8]) -> Self {
        self.bytes.extend(frame_head(micros, stream, u32::try_from(data.len()).unwrap()));
        self.bytes.extend(data);
        self
    }

    fn whole() -> Self {
        Self::new()
            .frame(0, Stream::Output, b"one\r\n\x1b]0;title\x07\xc3")
            .frame(200_000, Stream::Output, b"\xa4\xff\x00")
            .frame(300_000, Stream::Resize, &resize(132, 50))
            .frame(400_000, Stream::Error, b"err\r\n")
            .frame(60_400_000, Stream::Output, b"last\r\n")
            .frame(60_500_000, Stream::End, &0_i32.to_le_bytes())
    }

    fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("x.rec");
        std::fs::write(&path, &self.bytes).unwrap();
        path
    }
}

const RAW: &[u8] = b"one\r\n\x1b]0;title\x07\xc3\xa4\xff\x00err\r\nlast\r\n";

fn play(path: &Path, options: &[&str]) -> Output {
    let mut tether = Command::new(env!("CARGO_BIN_EXE_tether"));
    tether.args(["session", "play", path.to_str().unwrap()]).args(options).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn raw_is_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let ran = play(&Recording::whole().write(folder.path()), &["--raw"]);
    assert_eq!((ran.status.code(), ran.stdout.as_slice()), (Some(0), RAW));
}

#[test]
fn a_pause_is_cut_and_what_could_harm_a_terminal_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = Recording::whole().write(folder.path());
    let begun = std::time::Instant::now();
    let ran = play(&path, &["--idle-limit", "0.2", "--speed", "2"]);
    let took = begun.elapsed().as_secs_f64();
    assert!((0.2..30.0).contains(&took), "{took} s");
    assert_eq!(ran.stdout, b"one\r\n\xc3\xa4\xff\x00err\r\nlast\r\n");
}

#[test]
fn what_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut cut = Recording::whole();
    cut.bytes.truncate(cut.bytes.len() - FRAME_HEAD - 4);
    let ran = play(&cut.write(folder.path()), &["--raw"]);
    assert_eq!((ran.status.code(), ran.stdout.as_slice()), (Some(3), RAW));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("it has no end"));
    cut.bytes.extend([0xff; 40]);
    let ran = play(&cut.write(folder.path()), &["--raw"]);
    assert_eq!((ran.status.code(), ran.stdout.as_slice()), (Some(3), RAW), "what was before it is there");
    std::fs::write(folder.path().join("x.rec"), "something else").unwrap();
    assert_eq!(play(&folder.path().join("x.rec"), &["--raw"]).status.code(), Some(1));
}

/// The stock player, from PyPI into a folder of its own: only with `TETHER_TEST_LONG=1`.
#[test]
fn asciinema_plays_it() {
    if std::env::var_os("TETHER_TEST_LONG").is_none() {
        eprintln!("skipped: TETHER_TEST_LONG is not set");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = asciinema(folder.path());
    let path = Recording::whole().write(folder.path());
    let cast = folder.path().join("x.cast");
    std::fs::write(&cast, play(&path, &["--cast"]).stdout).unwrap();
    let shown = Command::new(&program).arg("cat").arg(&cast).env("LC_ALL", "C.UTF-8").output().unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    assert_eq!(String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(RAW));
    let mut player = Command::new(&program);
    player.args(["play", "--idle-time-limit", "0.1"]).arg(&cast).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    let shown = player.output().unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("last"));
    std::fs::write(&cast, "{\"version\": 9}\n").unwrap();
    assert!(!Command::new(&program).arg("play").arg(&cast).output().unwrap().status.success(), "the control");
}

fn asciinema(folder: &Path) -> PathBuf {
    let place = folder.join("python");
    let run = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(Path::new("python3"), &["-m", "venv", place.to_str().unwrap()]);
    run(&place.join("bin/pip"), &["install", "--quiet", "asciinema==2.4.0"]);
    place.join("bin/asciinema")
}
