//! `tether audit verify --recordings`: files of recordings held against what the chain says of them.
#![allow(missing_docs)]

mod common;
#[path = "common/trail.rs"]
mod trail;

use common::ran;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use tether_recording::{PIECE, Pieces};
use trail::{S1, S2, WEB_SEED, Writer, start, told};

/// A chain, and the recordings that it names.
struct Shelf {
    folder: TempDir,
    writer: Writer,
}

/// Bytes that differ everywhere.
fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(step).collect()
}

const LONG: usize = 3 * 1024 * 1024 + 517;

impl Shelf {
    /// A long one, a short one, one of another session, one that still goes on.
    fn new() -> Self {
        let mut shelf = Self { folder: tempfile::tempdir().unwrap(), writer: Writer::new("web-01", Some(WEB_SEED)) };
        shelf.record(S1, "exec-1", &noise(LONG, 1), Some(true));
        shelf.record(S1, "sudo-1", &noise(900, 2), Some(true));
        shelf.record(S2, "exec-1", &noise(900, 3), Some(false));
        shelf.record(S2, "tty-1", &noise(LONG, 4), None);
        shelf.writer.head();
        shelf
    }

    /// Puts a recording on the shelf and on record: ended, cut, or not ended yet.
    fn record(&mut self, session: &str, name: &str, bytes: &[u8], regular: Option<bool>) {
        std::fs::create_dir_all(self.path(session, "x").parent().unwrap()).unwrap();
        std::fs::write(self.path(session, name), bytes).unwrap();
        self.writer.write(told("recording.started", session, None, json!({"recording": name, "kind": "exec"})));
        let (mut pieces, mut all) = (Pieces::new(), Vec::new());
        pieces.take(bytes, |piece| all.push(piece));
        all.extend(pieces.flush().filter(|_| regular.is_some()));
        let pieces_of = |all: &[tether_recording::Piece]| -> Value {
            all.iter().map(|one| json!({"offset": one.offset, "length": one.length, "sha256": one.sha256})).collect()
        };
        if all.len() > 1 {
            for part in [&all[..1], &all[1..]] {
                let about = json!({"recording": name, "pieces": pieces_of(part)});
                self.writer.write(told("recording.chunk", session, None, about));
            }
        }
        if let Some(regular) = regular {
            let about = json!({"recording": name, "bytes": bytes.len(), "sha256": pieces.digest(), "regular": regular});
            self.writer.write(told("recording.ended", session, None, about));
        }
    }

    fn path(&self, session: &str, name: &str) -> PathBuf {
        self.folder.path().join("recordings").join(session).join(format!("{name}.rec"))
    }

    fn change(&self, session: &str, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.path(session, name);
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    }

    fn verify(&self) -> Value {
        let chain = self.folder.path().join("audit");
        self.writer.put(&chain);
        std::fs::write(chain.join("start.json"), start(WEB_SEED)).unwrap();
        let mut tether = Command::new(env!("CARGO_BIN_EXE_tether"));
        tether.args(["--json", "audit", "verify", "--dir"]).arg(chain);
        tether.arg("--recordings").arg(self.folder.path().join("recordings"));
        let done = ran(tether.output().unwrap());
        let answer = done.json();
        assert_eq!(done.code, if answer["holds"] == true { 0 } else { 3 }, "{done:?}");
        answer
    }

    /// The only finding: session, recording, record, offset.
    fn found(&self) -> (String, String, u64, Option<u64>) {
        let answer = self.verify();
        let all = answer["recordings"]["findings"].as_array().unwrap();
        assert_eq!((all.len(), &answer["holds"]), (1, &json!(false)), "{answer:#}");
        assert_eq!((&all[0]["what"], &all[0]["chain"]), (&json!("recording"), &json!("web-01")));
        let text = |name: &str| all[0][name].as_str().unwrap_or_default().to_owned();
        (text("session"), text("recording"), all[0]["number"].as_u64().unwrap(), all[0]["offset"].as_u64())
    }
}

fn is(found: &(String, String, u64, Option<u64>), session: &str, name: &str, number: u64, offset: Option<u64>) {
    assert_eq!((found.0.as_str(), found.1.as_str(), found.2, found.3), (session, name, number, offset));
}

#[test]
fn untouched_they_are_what_was_recorded() {
    let shelf = Shelf::new();
    let answer = shelf.verify();
    let held = json!({"whole": 3, "open": 1, "removed": 0, "unknown": 0, "findings": []});
    assert_eq!((&answer["holds"], &answer["recordings"]), (&json!(true), &held), "{answer:#}");
    // Who does not ask for it reads none of them.
    std::fs::remove_dir_all(shelf.folder.path().join("recordings")).unwrap();
    let dir = shelf.folder.path().join("audit");
    let done = ran(Command::new(env!("CARGO_BIN_EXE_tether"))
        .args(["--json", "audit", "verify", "--dir"])
        .arg(&dir)
        .output()
        .unwrap());
    assert_eq!((done.code, &done.json()["recordings"]), (0, &Value::Null));
}

#[test]
fn the_first_bad_piece_is_named() {
    for (at, offset, number) in [(17, 0, 2), (PIECE as usize, PIECE, 3), (LONG - 1, 3 * PIECE, 3)] {
        let shelf = Shelf::new();
        shelf.change(S1, "exec-1", |bytes| bytes[at] ^= 1);
        is(&shelf.found(), S1, "exec-1", number, Some(offset));
    }
    // Of several the first; of one that has no pieces on record, all of it.
    let shelf = Shelf::new();
    shelf.change(S1, "exec-1", |bytes| (bytes[2 * PIECE as usize] ^= 1, bytes[LONG - 1] ^= 1).0);
    is(&shelf.found(), S1, "exec-1", 3, Some(2 * PIECE));
    let shelf = Shelf::new();
    shelf.change(S1, "sudo-1", |bytes| bytes[899] ^= 1);
    is(&shelf.found(), S1, "sudo-1", 6, Some(0));
}

#[test]
fn one_that_is_cut_longer_swapped_or_gone_is_named() {
    let shelf = Shelf::new();
    shelf.change(S1, "exec-1", |bytes| bytes.truncate(2 * PIECE as usize));
    is(&shelf.found(), S1, "exec-1", 3, Some(2 * PIECE));
    let shelf = Shelf::new();
    shelf.change(S1, "sudo-1", |bytes| bytes.truncate(899));
    is(&shelf.found(), S1, "sudo-1", 6, Some(0));
    let shelf = Shelf::new();
    shelf.change(S1, "sudo-1", |bytes| bytes.push(1));
    is(&shelf.found(), S1, "sudo-1", 6, Some(900));
    let shelf = Shelf::new();
    std::fs::copy(shelf.path(S2, "exec-1"), shelf.path(S1, "sudo-1")).unwrap();
    is(&shelf.found(), S1, "sudo-1", 6, Some(0));
    let shelf = Shelf::new();
    std::fs::remove_file(shelf.path(S1, "exec-1")).unwrap();
    is(&shelf.found(), S1, "exec-1", 4, None);
    // A link is nothing that agentd has written, whatever it points to.
    let shelf = Shelf::new();
    let (link, aside) = (shelf.path(S1, "sudo-1"), shelf.folder.path().join("aside"));
    std::fs::rename(&link, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &link).unwrap();
    is(&shelf.found(), S1, "sudo-1", 6, None);
    // Two that were swapped are two findings.
    let shelf = Shelf::new();
    std::fs::rename(shelf.path(S1, "sudo-1"), shelf.folder.path().join("aside")).unwrap();
    std::fs::rename(shelf.path(S2, "exec-1"), shelf.path(S1, "sudo-1")).unwrap();
    std::fs::rename(shelf.folder.path().join("aside"), shelf.path(S2, "exec-1")).unwrap();
    assert_eq!(shelf.verify()["recordings"]["findings"].as_array().unwrap().len(), 2);
}

#[test]
fn of_one_that_goes_on_the_pieces_on_record_are_held() {
    let shelf = Shelf::new();
    // Behind the last whole piece nothing is on record yet.
    shelf.change(S2, "tty-1", |bytes| bytes[LONG - 1] ^= 1);
    assert_eq!(shelf.verify()["recordings"]["open"], 1);
    shelf.change(S2, "tty-1", |bytes| bytes[PIECE as usize + 5] ^= 1);
    is(&shelf.found(), S2, "tty-1", 11, Some(PIECE));
    let shelf = Shelf::new();
    shelf.change(S2, "tty-1", |bytes| bytes.truncate(2 * PIECE as usize));
    is(&shelf.found(), S2, "tty-1", 11, Some(2 * PIECE));
    // What lies behind the end of one that was cut is nobody's word.
    let shelf = Shelf::new();
    shelf.change(S2, "exec-1", |bytes| bytes.push(1));
    assert_eq!(shelf.verify()["holds"], true);
}

#[test]
fn what_the_host_has_removed_is_no_finding_and_what_nobody_recorded_is_counted() {
    let mut shelf = Shelf::new();
    shelf.writer.write(told("recording.removed", S1, None, json!({"recording": "exec-1", "bytes": LONG, "days": 30})));
    std::fs::remove_file(shelf.path(S1, "exec-1")).unwrap();
    std::fs::write(shelf.path(S1, "exec-9"), "planted").unwrap();
    let answer = shelf.verify();
    let held = json!({"whole": 2, "open": 1, "removed": 1, "unknown": 1, "findings": []});
    assert_eq!(answer["recordings"], held, "{answer:#}");
    // A name that is a path leads nowhere.
    shelf.writer.write(told("recording.started", S1, None, json!({"recording": "../../etc/passwd", "kind": "exec"})));
    is(&shelf.found(), S1, "../../etc/passwd", 13, None);
}

#[test]
fn a_person_reads_which_one_and_where() {
    let shelf = Shelf::new();
    shelf.change(S1, "exec-1", |bytes| bytes[PIECE as usize] ^= 1);
    shelf.verify();
    let mut tether = Command::new(env!("CARGO_BIN_EXE_tether"));
    tether.args(["audit", "verify", "--dir"]).arg(shelf.folder.path().join("audit"));
    tether.arg("--recordings").arg(shelf.folder.path().join("recordings"));
    let done = ran(tether.output().unwrap());
    assert_eq!(done.code, 3);
    for words in [
        "web-01 record 3: RECORDING\n",
        "recording exec-1 of session s-4f1c9a7e20: the piece from byte 1048576 to 2097152 is not the one that was recorded\n",
        "✗ 2 recordings are what was recorded; 1 without an end on record",
    ] {
        assert!(done.out.contains(words), "{words:?} is not in {}", done.out);
    }
}

/// A chain that was written anew to fit a forged recording: central's copy says what it was.
#[test]
fn centrals_copy_holds_a_recording_against_a_chain_that_was_made_to_fit() {
    let mut shelf = Shelf::new();
    let export = shelf.folder.path().join("export");
    shelf.writer.put(&export.join("hosts/web-01"));
    std::fs::write(export.join("hosts/web-01/start.json"), start(WEB_SEED)).unwrap();
    let mut forged = Shelf::new();
    forged.writer = Writer::new("web-01", Some(WEB_SEED));
    forged.record(S1, "exec-1", &noise(LONG, 77), Some(true));
    std::fs::copy(forged.path(S1, "exec-1"), shelf.path(S1, "exec-1")).unwrap();
    std::mem::swap(&mut shelf.writer, &mut forged.writer);
    assert_eq!(shelf.verify()["recordings"]["findings"], json!([]), "control: the forged chain agrees");
    let mut tether = Command::new(env!("CARGO_BIN_EXE_tether"));
    tether.args(["--json", "audit", "verify", "--dir"]).arg(shelf.folder.path().join("audit"));
    tether.arg("--export").arg(&export).arg("--recordings").arg(shelf.folder.path().join("recordings"));
    let answer = ran(tether.output().unwrap()).json();
    let finding = &answer["recordings"]["findings"][0];
    assert_eq!((&finding["recording"], &finding["offset"]), (&json!("exec-1"), &json!(0)), "{answer:#}");
}

impl Shelf {
    /// Held against an export, in which central says that both sessions were on `web-01`, and another host lies.
    fn in_export(&self, liar: &Writer) -> Value {
        let export = self.folder.path().join("export");
        let mut central = Writer::new("central", None);
        for session in [S1, S2] {
            central.write(told("token.issued", session, None, json!({"host": "web-01"})));
        }
        central.put(&export.join("central"));
        for (writer, seed) in [(&self.writer, WEB_SEED), (liar, [9; 32])] {
            let at = export.join("hosts").join(&writer.name);
            writer.put(&at);
            std::fs::write(at.join("start.json"), start(seed)).unwrap();
        }
        let mut tether = Command::new(env!("CARGO_BIN_EXE_tether"));
        tether.args(["--json", "audit", "verify", "--export"]).arg(&export);
        tether.arg("--recordings").arg(self.folder.path().join("recordings"));
        ran(tether.output().unwrap()).json()
    }
}

/// One record of another host's had it that a recording was removed, and then nobody looked whether it is what it was.
#[test]
fn another_hosts_word_excuses_no_recording() {
    let shelf = Shelf::new();
    shelf.change(S1, "exec-1", |bytes| bytes[5] ^= 1);
    let mut liar = Writer::new("web-02", Some([9; 32]));
    liar.write(told("agentd.started", "none", None, json!({})));
    let found = |answer: &Value| -> Vec<(String, String, Option<u64>)> {
        let all = answer["recordings"]["findings"].as_array().unwrap().iter();
        let text = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
        all.map(|one| (text(one, "chain"), text(one, "recording"), one["offset"].as_u64())).collect()
    };
    let control = shelf.in_export(&liar);
    assert_eq!(found(&control), [("web-01".into(), "exec-1".into(), Some(0))], "{control:#}");
    liar.write(told("recording.removed", S1, None, json!({"recording": "exec-1"})));
    let answer = shelf.in_export(&liar);
    let of_both = [("web-01".into(), "exec-1".into(), Some(0)), ("web-02".into(), "exec-1".into(), None)];
    assert_eq!(found(&answer), of_both, "{answer:#}");
    let why = answer["recordings"]["findings"][1]["why"].as_str().unwrap().to_owned();
    assert!(why.contains("web-02 tells of it, and the session was on web-01"), "{why}");
}

/// Central has it longer than the host: its copy is held against what the host had on record.
#[test]
fn what_the_host_has_removed_is_held_against_its_record_where_it_still_is() {
    let mut shelf = Shelf::new();
    shelf.writer.write(told("recording.removed", S1, None, json!({"recording": "exec-1", "bytes": LONG, "days": 30})));
    let answer = shelf.verify();
    assert_eq!(answer["recordings"], json!({"whole": 3, "open": 1, "removed": 0, "unknown": 0, "findings": []}));
    shelf.change(S1, "exec-1", |bytes| bytes[PIECE as usize] ^= 1);
    is(&shelf.found(), S1, "exec-1", 3, Some(PIECE));
}
