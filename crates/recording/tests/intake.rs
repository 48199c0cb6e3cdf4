//! What recorders hand in is taken in parts, and only what a recorder sends.

use proptest::prelude::*;
use tether_recording::{INTAKE_MAX, Intake, Rejected, Stream, frame_head};

fn frame(stream: Stream, data: &[u8]) -> Vec<u8> {
    [frame_head(7, stream, u32::try_from(data.len()).unwrap()).as_slice(), data].concat()
}

fn all_of(intake: &mut Intake, bytes: &[u8]) -> Result<Vec<(Stream, Vec<u8>)>, Rejected> {
    let mut frames = Vec::new();
    intake.take(bytes, |stream, data| frames.push((stream, data.to_vec())))?;
    Ok(frames)
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut(
        data in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..20),
        cut in 1_usize..400,
    ) {
        let sent: Vec<u8> = data.iter().flat_map(|data| frame(Stream::Output, data)).collect();
        let mut intake = Intake::new();
        let mut got = Vec::new();
        for part in sent.chunks(cut) {
            got.extend(all_of(&mut intake, part).unwrap());
        }
        let expected: Vec<_> = data.into_iter().map(|data| (Stream::Output, data)).collect();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = all_of(&mut Intake::new(), &bytes);
    }
}

#[test]
fn what_no_recorder_sends_is_rejected() {
    let of = |bytes: &[u8]| all_of(&mut Intake::new(), bytes);
    assert!(of(&frame(Stream::Output, &vec![0; INTAKE_MAX])).is_ok(), "the control");
    assert_eq!(of(&frame_head(0, Stream::Output, INTAKE_MAX as u32 + 1)), Err(Rejected::Frame), "at its head already");
    assert_eq!(of(&frame(Stream::Gap, b"all is well")), Err(Rejected::Frame));
    assert_eq!(of(&frame(Stream::Resize, b"123")), Err(Rejected::Frame));
    assert_eq!(of(&[0xff; 16]), Err(Rejected::Frame));
    let mut intake = Intake::new();
    assert_eq!(all_of(&mut intake, &frame(Stream::End, &[])), Ok(vec![(Stream::End, vec![])]));
    assert!(intake.has_ended());
    assert_eq!(all_of(&mut intake, b"x"), Err(Rejected::AfterEnd));
}
