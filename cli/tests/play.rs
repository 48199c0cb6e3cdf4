//! `tether session play`: what was recorded comes out, and a terminal gets no more than a picture.

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tether_recording::{Header, Kind, Stream, frame_head, resize};

const HOUR: u64 = 3_600_000_000;

/// A folder with a recording.
struct Shelf {
    folder: TempDir,
    path: PathBuf,
}

fn shelf(frames: &[(u64, Stream, &[u8])]) -> Shelf {
    let header = Header {
        name: "tty-1".into(),
        session: "0123456789abcdef".into(),
        host: "web-01".into(),
        kind: Kind::Tty,
        command: serde_json::Value::Null,
        started_us: 1_800_000_000_000_000,
        columns: 80,
        rows: 24,
    };
    let mut bytes = header.encode().unwrap();
    for (micros, stream, data) in frames {
        bytes.extend(frame_head(*micros, *stream, u32::try_from(data.len()).unwrap()));
        bytes.extend(*data);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tty-1.rec");
    std::fs::write(&path, bytes).unwrap();
    Shelf { folder, path }
}

impl Shelf {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tether"));
        command.args(["session", "play"]).args(words).arg(&self.path);
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).stdin(Stdio::null()).output().unwrap()
    }
}

const END: (u64, Stream, &[u8]) = (2 * HOUR, Stream::End, &[0; 4]);

#[test]
fn raw_is_every_byte_of_both_outputs_and_nothing_else() {
    let all: Vec<u8> = (0..=255).collect();
    let many = vec![0xfe; 1024 * 1024];
    let size = resize(132, 50);
    let shelf = shelf(&[
        (1, Stream::Output, &all),
        (2, Stream::Error, b"error\xc3"),
        (3, Stream::Resize, &size),
        (4, Stream::Gap, b"a gap"),
        (5, Stream::Output, &many),
        END,
    ]);
    let done = shelf.run(&["--raw"]);
    assert_eq!((done.status.code(), String::from_utf8_lossy(&done.stderr).as_ref()), (Some(0), ""));
    assert!(done.stdout == [all.as_slice(), b"error\xc3", &many].concat());
}

#[test]
fn a_cast_is_the_same_each_time() {
    let size = resize(132, 50);
    let shelf = shelf(&[
        (0, Stream::Output, b"caf\xc3"),
        (1_500_000, Stream::Output, b"\xa9\x1b[1m\xff"),
        (1_600_000, Stream::Resize, &size),
        (HOUR, Stream::Gap, b"1 MiB"),
        END,
    ]);
    let done = shelf.run(&["--cast"]);
    assert_eq!(done.status.code(), Some(0));
    let wanted = concat!(
        r#"{"version":2,"width":80,"height":24,"timestamp":1800000000,"title":"tty tty-1 on web-01, session 0123456789abcdef"}"#,
        "\n[0.000000,\"o\",\"caf\"]\n[1.500000,\"o\",\"é\\u001b[1m\u{fffd}\"]\n[1.600000,\"r\",\"132x50\"]\n",
        "[3600.000000,\"m\",\"gap: 1 MiB\"]\n",
    );
    assert_eq!(String::from_utf8(done.stdout).unwrap(), wanted);
    assert_eq!(shelf.run(&["--cast"]).stdout, wanted.as_bytes());
}

#[test]
fn a_recording_without_its_end_or_with_a_broken_frame_is_played_so_far_and_reported() {
    let without_end = shelf(&[(0, Stream::Output, b"so far")]);
    let whole = std::fs::read(&without_end.path).unwrap();
    let check = |name: &str, bytes: &[u8], shown: &str, said: &str| {
        std::fs::write(&without_end.path, bytes).unwrap();
        for how in ["--raw", "--cast", "--speed=1000"] {
            let done = without_end.run(&[how]);
            let error = String::from_utf8(done.stderr).unwrap();
            assert_eq!(done.status.code(), Some(3), "{name} {how}: {error}");
            assert!(error.contains(said), "{name} {how}: {error}");
            assert_eq!(String::from_utf8_lossy(&done.stdout).contains("so far"), !shown.is_empty(), "{name} {how}");
        }
    };
    check("no end", &whole, "so far", "has no end");
    check("torn", &[&whole, b"12345".as_slice()].concat(), "so far", "its last 5 bytes");
    check("less than a frame", &whole[..whole.len() - 1], "", "its last 21 bytes");
    check("broken", &[&whole, [0xff; 16].as_slice()].concat(), "so far", "there is no frame");
}

#[test]
fn what_is_no_recording_is_said_to_be_none_and_nothing_waits() {
    let shelf = shelf(&[END]);
    assert_eq!(shelf.run(&["--raw"]).status.code(), Some(0), "control");
    std::fs::write(&shelf.path, "{\"version\":2}\n").unwrap();
    let done = shelf.run(&["--raw"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8(done.stderr).unwrap().contains("is no recording"));
    let fifo = shelf.folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let done = Command::new(env!("CARGO_BIN_EXE_tether")).args(["session", "play"]).arg(&fifo).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8(done.stderr).unwrap().contains("is no file"));
}

#[test]
fn pauses_are_as_long_as_they_were_or_as_is_asked_for() {
    let shelf = shelf(&[(0, Stream::Output, b"a"), (300_000, Stream::Output, b"b"), (300_000, Stream::End, b"")]);
    let timed = |words: &[&str]| {
        let began = std::time::Instant::now();
        assert_eq!(shelf.run(words).stdout, b"ab");
        began.elapsed()
    };
    assert!(timed(&[]) >= Duration::from_millis(300));
    assert!(timed(&["--speed", "0.5"]) >= Duration::from_millis(600));
    let slow = shelf_of_hours();
    assert_eq!(slow.run(&["--idle", "0.01"]).stdout, b"onetwothree");
    assert_eq!(slow.run(&["--speed", "0"]).status.code(), Some(2));
}

fn shelf_of_hours() -> Shelf {
    shelf(&[
        (0, Stream::Output, b"one"),
        (HOUR, Stream::Output, b"t\x1b[6n\x1b]52;c;cm0=\x07wo"),
        (2 * HOUR, Stream::Output, b"three"),
        END,
    ])
}

/// `tether session play` at a terminal of its own.
struct Screen {
    keyboard: File,
    child: Child,
    shown: String,
    slave: File,
}

impl Screen {
    fn new(shelf: &Shelf, words: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = File::options().read(true).write(true).open(name).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = shelf.command(words).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Self { keyboard: File::from(master), child, shown: String::new(), slave }
    }

    /// Reads until this is shown; what never is makes the test hang, and fail by its runner's limit.
    fn wait_for(&mut self, text: &str) -> String {
        let mut part = [0; 4096];
        while !self.shown.contains(text) {
            let length = self.keyboard.read(&mut part).unwrap();
            assert!(length > 0, "{text} is never shown: {:?}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&part[..length]));
        }
        let (before, after) = self.shown.split_once(text).unwrap();
        let before = before.to_owned();
        self.shown = after.to_owned();
        before
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn modes(&self) -> LocalModes {
        tcgetattr(&self.slave).unwrap().local_modes
    }
}

#[test]
fn keys_search_go_back_and_forth_and_leave_and_the_terminal_is_as_before() {
    let shelf = shelf_of_hours();
    let mut screen = Screen::new(&shelf, &[]);
    screen.wait_for("one");
    assert!(!screen.modes().contains(LocalModes::ECHO), "control: it has the keyboard");
    screen.press("/two\r");
    screen.wait_for("\x1b[2J");
    let redrawn = screen.wait_for("paused at two");
    assert!(redrawn.contains("one") && redrawn.contains("two"), "{redrawn:?}");
    assert!(!redrawn.contains("three") && !redrawn.contains("]52") && !redrawn.contains("[6n"), "{redrawn:?}");
    screen.press("nx");
    screen.wait_for("no further two");
    // Paused: one step, whatever its time.
    screen.press(".");
    screen.wait_for("three");
    screen.press("0");
    screen.wait_for("\x1b[2J");
    screen.wait_for("one");
    screen.press("\x1b[C");
    screen.press("q");
    assert_eq!(screen.child.wait().unwrap().code(), Some(0));
    assert!(screen.modes().contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
}

#[test]
fn ctrl_c_leaves_and_raw_bytes_are_not_for_a_terminal() {
    let shelf = shelf_of_hours();
    let mut screen = Screen::new(&shelf, &["--search", "two"]);
    screen.wait_for("two");
    screen.press("\x03");
    assert_eq!(screen.child.wait().unwrap().code(), Some(0));
    assert!(screen.modes().contains(LocalModes::ECHO));
    let mut screen = Screen::new(&shelf, &["--raw"]);
    screen.wait_for("send them to a file");
    assert_eq!(screen.child.wait().unwrap().code(), Some(1));
    let mut screen = Screen::new(&shelf, &["--search", "four"]);
    screen.wait_for("it never shows four");
    assert_eq!(screen.child.wait().unwrap().code(), Some(1));
    assert!(screen.modes().contains(LocalModes::ECHO), "also after an error");
}
