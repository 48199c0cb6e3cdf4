//! What is written is read, in any parts; what was not written by a recorder is never more than an error.

use proptest::prelude::*;
use tether_recording::{Broken, Cast, Header, Kind, MAGIC, PIECE, Pieces, Reader, Stream, frame_head, resize};

fn header() -> Header {
    Header {
        name: "sudo-1".into(),
        session: "0123456789abcdef".into(),
        host: "web-01".into(),
        kind: Kind::Sudo,
        command: serde_json::json!(["cat", "/etc/motd"]),
        started_us: 1_800_000_000_000_000,
        columns: 0,
        rows: 0,
    }
}

fn file(frames: &[(u64, Stream, Vec<u8>)]) -> Vec<u8> {
    let mut file = header().encode().unwrap();
    for (micros, stream, data) in frames {
        file.extend(frame_head(*micros, *stream, u32::try_from(data.len()).unwrap()));
        file.extend(data);
    }
    file
}

type Frames = Vec<(u64, Stream, Vec<u8>)>;

fn read(parts: &[&[u8]]) -> (Reader, Frames, Result<(), Broken>) {
    let (mut reader, mut frames) = (Reader::new(), Vec::new());
    let result = parts
        .iter()
        .try_for_each(|part| reader.take(part, |frame| frames.push((frame.micros, frame.stream, frame.data.to_vec()))));
    (reader, frames, result)
}

fn cast(frames: &[(u64, Stream, Vec<u8>)]) -> String {
    let (mut cast, mut out) = (Cast::new(), Cast::header(&header()));
    for (micros, stream, data) in frames {
        cast.frame(&tether_recording::Frame { micros: *micros, stream: *stream, data }, &mut out);
    }
    cast.finish(&mut out);
    out
}

#[test]
fn a_cast_of_characters_in_two_frames_resizes_and_bytes_that_are_none() {
    let frames = [
        (0, Stream::Output, b"a\xc3".to_vec()),
        (1_500_000, Stream::Output, b"\xa9\r\n".to_vec()),
        (1_500_001, Stream::Resize, resize(132, 50).to_vec()),
        (2_000_000, Stream::Output, b"\xff\x1b[1m".to_vec()),
        (3_000_000, Stream::Gap, b"1 MiB too fast".to_vec()),
        (4_000_000, Stream::Output, b"\xe2\x82".to_vec()),
        (4_000_000, Stream::End, 0_i32.to_le_bytes().to_vec()),
    ];
    let wanted = concat!(
        r#"{"version":2,"width":80,"height":24,"timestamp":1800000000,"title":"sudo sudo-1 on web-01, session 0123456789abcdef"}"#,
        "\n[0.000000,\"o\",\"a\"]\n[1.500000,\"o\",\"é\\r\\n\"]\n[1.500001,\"r\",\"132x50\"]\n",
        "[2.000000,\"o\",\"\u{fffd}\\u001b[1m\"]\n[3.000000,\"m\",\"gap: 1 MiB too fast\"]\n",
        "[4.000000,\"o\",\"\u{fffd}\"]\n",
    );
    assert_eq!(cast(&frames), wanted);
}

#[test]
fn a_cast_of_pipes_has_lines_as_a_terminal_shows_them() {
    let frames: [(u64, Stream, &[u8]); 3] =
        [(0, Stream::Output, b"one\ntwo\r"), (1, Stream::Error, b"\n\nthree\r\n"), (2, Stream::Output, b"\n")];
    let said = |header: &Header| {
        let (mut cast, mut out) = (Cast::of(header), String::new());
        for (micros, stream, data) in frames {
            cast.frame(&tether_recording::Frame { micros, stream, data }, &mut out);
        }
        out
    };
    let pipes = Header { columns: 0, rows: 0, ..header() };
    let wanted = concat!(
        "[0.000000,\"o\",\"one\\r\\ntwo\\r\"]\n[0.000001,\"o\",\"\\n\\r\\nthree\\r\\n\"]\n",
        "[0.000002,\"o\",\"\\r\\n\"]\n"
    );
    assert_eq!(said(&pipes), wanted);
    // A terminal's bytes are what it showed.
    let terminal = Header { columns: 80, rows: 24, ..header() };
    assert!(said(&terminal).starts_with("[0.000000,\"o\",\"one\\ntwo\\r\"]\n"));
}

#[test]
fn what_no_recorder_writes_is_found() {
    let good = file(&[(5, Stream::Output, b"x".to_vec())]);
    let end = good.len() - 17;
    assert_eq!(read(&[&good]).2, Ok(()), "control");
    assert_eq!(read(&[b"tether-recordinX"]).2, Err(Broken::Magic));
    assert!(matches!(read(&[MAGIC, b"{}\n"]).2, Err(Broken::Header(_))));
    assert!(matches!(read(&[MAGIC, &[b' '; 70_000]]).2, Err(Broken::Header(_))));
    for (at, byte) in [(end + 8, 0), (end + 8, 6), (end + 9, 1), (end + 15, 0x7f)] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert_eq!(read(&[&bad]).2, Err(Broken::Frame(end as u64)), "byte {at} = {byte}");
    }
    let back = file(&[(5, Stream::Output, b"x".to_vec()), (4, Stream::Output, b"y".to_vec())]);
    assert!(matches!(read(&[&back]).2, Err(Broken::Frame(_))), "time does not run back");
    let after = file(&[(5, Stream::End, vec![]), (5, Stream::Output, b"y".to_vec())]);
    assert!(matches!(read(&[&after]).2, Err(Broken::AfterEnd(_))));
    let (reader, frames, result) = read(&[&good[..good.len() - 1]]);
    assert_eq!((frames.len(), result, reader.torn(), reader.has_ended()), (0, Ok(()), 16, false));
}

fn frames() -> impl Strategy<Value = Frames> {
    let data = (any::<bool>(), proptest::collection::vec(any::<u8>(), 1..300), 0u64..1000);
    proptest::collection::vec(data, 0..20).prop_map(|all| {
        let mut micros = 0;
        all.into_iter()
            .map(|(out, data, later)| {
                micros += later;
                (micros, if out { Stream::Output } else { Stream::Error }, data)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn any_parts_give_the_same_frames(written in frames(), cuts in proptest::collection::vec(0usize..5000, 0..8)) {
        let file = file(&written);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (file.len() + 1)).collect();
        cuts.extend([0, file.len()]);
        cuts.sort_unstable();
        let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &file[pair[0]..pair[1]]).collect();
        let (reader, found, result) = read(&parts);
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(found, written);
        prop_assert_eq!(reader.header(), Some(&header()));
    }

    /// However the bytes are cut into frames, the text is that of all of them.
    #[test]
    fn a_cast_is_the_text_of_all_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400), size in 1usize..9) {
        let cut: Vec<_> = bytes.chunks(size).map(|part| (0, Stream::Output, part.to_vec())).collect();
        let text: String = cast(&cut).lines().skip(1).map(|line| {
            serde_json::from_str::<(f64, String, String)>(line).unwrap().2
        }).collect();
        prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_bytes_are_read_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), with in any::<bool>()) {
        if with {
            bytes = [file(&[]), bytes].concat();
        }
        let _ = read(&[&bytes]);
    }

    #[test]
    fn pieces_cover_all_and_are_the_same_in_any_parts(parts in proptest::collection::vec(0usize..900_000, 0..6)) {
        let (mut pieces, mut found) = (Pieces::new(), Vec::new());
        let bytes: Vec<u8> = (0..parts.iter().sum()).map(|at: usize| (at % 251) as u8).collect();
        let mut rest = bytes.as_slice();
        for part in parts {
            let (now, later) = rest.split_at(part);
            pieces.take(now, |piece| found.push(piece));
            rest = later;
        }
        found.extend(pieces.flush());
        let mut whole = Vec::new();
        Pieces::new().take(&bytes, |piece| whole.push(piece));
        prop_assert_eq!(&found[..whole.len()], &whole[..]);
        prop_assert!(found.iter().rev().skip(1).all(|piece| piece.length == PIECE));
        prop_assert_eq!(found.iter().map(|piece| piece.length).sum::<u64>(), bytes.len() as u64);
    }
}
