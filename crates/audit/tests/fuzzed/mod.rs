//! What must hold for any input. The fuzz target and the ordinary tests run this same body.

use tether_audit::log::*;

/// Bytes as each thing that the log's readers are given. How many of them they are.
pub fn any_log(data: &[u8]) -> usize {
    let mut found = 0;
    if let Ok(entries) = bundle_entries(data) {
        assert_eq!(bundle(entries).as_deref(), Some(data), "a bundle has one spelling");
        found += 1;
    }
    any_proof(data);
    let Ok(text) = std::str::from_utf8(data) else { return found };
    if let Ok(resource) = text.parse::<Resource>() {
        assert_eq!(resource.to_string(), text);
        found += 1;
    }
    if let Ok(key) = text.parse::<NoteKey>() {
        assert_eq!(key.to_string(), text);
        found += 1;
    }
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert!(text.starts_with(&checkpoint.text()), "the first three lines have one spelling");
        found += 1;
    }
    if let Ok(note) = SignedNote::parse(text) {
        assert!(text.starts_with(&note.text));
        let (ours, other) = (signer(7).public(), signer(8).public());
        assert!(note.verify(&other).is_err(), "who has signed nothing");
        if note.verify(&ours).is_ok() {
            assert!(signer(7).sign(&note.text).is_some_and(|again| again.starts_with(&note.text)));
        }
        found += 1;
    }
    found
}

pub fn signer(seed: u8) -> NoteSigner {
    NoteSigner::new("log", &[seed; 32]).unwrap()
}

/// Places, then hashes of a proof: one that holds for a leaf holds for no other, and leads to one root.
fn any_proof(data: &[u8]) {
    let Some((&[index, size, old], rest)) = data.split_first_chunk::<3>() else { return };
    let (hashes, _) = rest.as_chunks::<32>();
    let (index, size, old) = (u64::from(index), u64::from(size), u64::from(old));
    let [first, second, path @ ..] = hashes else { return };
    let holds = verify_inclusion(first, index, size, path, second).is_ok();
    assert!(!holds || first == second || verify_inclusion(second, index, size, path, second).is_err());
    let holds = verify_consistency((old, first), (size, second), path).is_ok();
    assert!(!holds || old <= size);
    assert!(!holds || old != size || (first == second && path.is_empty()));
}
