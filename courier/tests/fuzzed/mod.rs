//! What must hold for any input. The fuzz target and the ordinary tests run this same body.

use tether_courier::audit::{Batch, Place, Segments};

/// The most bytes of a batch, and of the line that ends it.
const MOST: usize = 512 * 1024 + 70_001;

/// Bytes as a folder of segments, apart by 0x1e, each with its number in a line of its own before it; read from several
/// places to the end. How many lines were sent.
pub fn any_segments(data: &[u8]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    for part in data.split(|byte| *byte == 0x1e) {
        let (number, text) = part.split_at(part.iter().position(|byte| *byte == b'\n').unwrap_or(part.len()));
        let number = String::from_utf8_lossy(number).parse::<u64>().unwrap_or(1);
        std::fs::write(folder.path().join(format!("{number:020}.jsonl")), text.get(1..).unwrap_or_default()).unwrap();
    }
    let mut sent = 0;
    for number in [0, 1, 2, 7, u64::MAX] {
        for marks in [0, 1] {
            sent += walked(&mut Segments::new(folder.path()), Place { number, marks }, data);
        }
    }
    sent
}

/// Goes on from where each batch leads, and after what is bad, until there is nothing more.
fn walked(segments: &mut Segments, begin: Place, data: &[u8]) -> usize {
    let (mut at, mut sent) = (begin, 0);
    // Each turn sends a line or is the last: nobody is kept busy for ever.
    for _ in 0..data.len() + 8 {
        let batch = segments.next(at).unwrap();
        if batch.lines.is_empty() {
            let Some(after) = segments.after_gap(at).unwrap() else { return sent };
            assert!(after.lines.starts_with(b"{\"head\""), "after a gap comes a head");
            whole(&after, data);
            return sent + 1;
        }
        whole(&batch, data);
        sent += batch.lines.iter().filter(|byte| **byte == b'\n').count();
        if batch.next == at {
            return sent;
        }
        at = batch.next;
    }
    panic!("it never ends, from {begin:?}");
}

/// A batch is bounded, and holds whole lines that stand in the files.
fn whole(batch: &Batch, data: &[u8]) {
    assert!(batch.lines.ends_with(b"\n") && batch.lines.len() <= MOST, "{} bytes", batch.lines.len());
    for line in batch.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        assert!(data.windows(line.len()).any(|window| window == line), "a line that is nowhere");
    }
}
