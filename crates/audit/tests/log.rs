//! The log's tree and its forms: published answers, and a definition that is too simple to be wrong.

use proptest::prelude::*;
use std::collections::BTreeMap;
use tether_audit::log::*;

/// RFC 6962, 2.1, word for word.
fn mth(entries: &[Vec<u8>]) -> Hash {
    match entries {
        [] => empty_root(),
        [one] => leaf_hash(one),
        more => {
            let k = (more.len() - 1).next_power_of_two();
            let k = if k >= more.len() { k / 2 } else { k };
            node_hash(&mth(&more[..k]), &mth(&more[k..]))
        }
    }
}

/// RFC 6962, 2.1.1.
fn path(index: usize, entries: &[Vec<u8>]) -> Vec<Hash> {
    if entries.len() == 1 {
        return Vec::new();
    }
    let k = (1..entries.len()).rev().find(|k| k.is_power_of_two()).unwrap();
    let (left, right) = entries.split_at(k);
    let (mut proof, other) =
        if index < k { (path(index, left), mth(right)) } else { (path(index - k, right), mth(left)) };
    proof.push(other);
    proof
}

/// RFC 6962, 2.1.2.
fn proof(old: usize, entries: &[Vec<u8>]) -> Vec<Hash> {
    fn sub(old: usize, entries: &[Vec<u8>], whole: bool) -> Vec<Hash> {
        if old == entries.len() {
            return if whole { Vec::new() } else { vec![mth(entries)] };
        }
        let k = (1..entries.len()).rev().find(|k| k.is_power_of_two()).unwrap();
        let (left, right) = entries.split_at(k);
        let (mut proof, other) =
            if old <= k { (sub(old, left, whole), mth(right)) } else { (sub(old - k, right, false), mth(left)) };
        proof.push(other);
        proof
    }
    sub(old, entries, true)
}

#[derive(Default)]
struct Kept(BTreeMap<(u8, u64), Vec<Hash>>);

impl Kept {
    fn of(entries: &[Vec<u8>]) -> Self {
        let (mut kept, mut edge) = (Self::default(), Edge::default());
        kept.0.extend(edge.append(entries.iter().map(Vec::as_slice)));
        kept
    }
}

impl Tiles for Kept {
    fn tile(&self, tile: TileId) -> Option<Vec<Hash>> {
        self.0.get(&(tile.level(), tile.index())).cloned()
    }
}

fn entries(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| format!("entry {number}").into_bytes()).collect()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// The entries and roots that implementations of Certificate Transparency are tested with.
#[test]
fn published_roots() {
    let entries: Vec<Vec<u8>> =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
            .map(hex)
            .to_vec();
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    for (size, wanted) in roots.iter().enumerate() {
        let kept = Kept::of(&entries[..size]);
        assert_eq!(root(&kept, size as u64).unwrap().to_vec(), hex(wanted), "{size}");
        assert_eq!(Edge::of(&kept, size as u64).unwrap().root().to_vec(), hex(wanted), "{size}");
    }
}

/// Every proof of every tree up to 70 entries is the RFC's, holds, and holds for nothing else.
#[test]
fn proofs_are_the_definitions() {
    let all = entries(70);
    let kept = Kept::of(&all);
    for size in 1..=all.len() {
        let whole = mth(&all[..size]);
        for index in 0..size {
            let made = inclusion_proof(&kept, index as u64, size as u64).unwrap();
            assert_eq!(made, path(index, &all[..size]), "{index} in {size}");
            let leaf = leaf_hash(&all[index]);
            let holds = |leaf: &Hash, at: usize, size: usize, path: &[Hash]| {
                verify_inclusion(leaf, at as u64, size as u64, path, &whole).is_ok()
            };
            assert!(holds(&leaf, index, size, &made));
            assert!(!holds(&leaf_hash(b"another"), index, size, &made));
            assert!(!holds(&leaf, index + 1, size, &made) || size == 1);
            assert!(made.is_empty() || !holds(&leaf, index, size, &made[1..]));
            assert!(!holds(&leaf, index, size, &[made.as_slice(), &[leaf]].concat()));
        }
        for old in 0..=size {
            let made = consistency_proof(&kept, old as u64, size as u64).unwrap();
            let wanted = if old == 0 { Vec::new() } else { proof(old, &all[..size]) };
            assert_eq!(made, wanted, "{old} in {size}");
            let before = mth(&all[..old]);
            let holds = |before: &Hash, path: &[Hash]| {
                verify_consistency((old as u64, before), (size as u64, &whole), path).is_ok()
            };
            assert!(holds(&before, &made), "{old} in {size}");
            assert!(!holds(&leaf_hash(b"another"), &made), "{old} in {size}");
            assert!(!holds(&before, &[made.as_slice(), &[before]].concat()));
            assert!(made.is_empty() || !holds(&before, &made[1..]));
        }
    }
    assert!(inclusion_proof(&kept, 5, 5).is_err() && consistency_proof(&kept, 6, 5).is_err());
}

/// Over three levels of tiles, which a few entries do not reach.
#[test]
fn a_large_tree() {
    let all = entries(70_000);
    let kept = Kept::of(&all);
    let size = all.len() as u64;
    assert_eq!(root(&kept, size).unwrap(), mth(&all));
    assert_eq!(kept.0.keys().filter(|(level, _)| *level == 2).count(), 1, "a tile of the third level");
    for index in [0, 255, 256, 65_535, 65_536, size - 1] {
        let made = inclusion_proof(&kept, index, size).unwrap();
        verify_inclusion(&leaf_hash(&all[index as usize]), index, size, &made, &mth(&all)).unwrap();
    }
    for old in [1, 256, 65_536, 65_537, 69_999] {
        let made = consistency_proof(&kept, old, size).unwrap();
        verify_consistency((old, &mth(&all[..old as usize])), (size, &mth(&all)), &made).unwrap();
    }
    let mut cut = kept;
    cut.0.remove(&(1, 0));
    assert!(matches!(root(&cut, size), Ok(_) | Err(TreeError::Missing(_))));
    assert!(matches!(inclusion_proof(&cut, 3, size), Err(TreeError::Missing(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// However it grows, it is the same tree; and a tile that was there only has more at its end.
    #[test]
    fn it_grows_the_same(steps in proptest::collection::vec(0usize..400, 1..8)) {
        let all = entries(steps.iter().sum());
        let (mut kept, mut done) = (Kept::default(), 0);
        for step in steps {
            let mut edge = Edge::of(&kept, done as u64).unwrap();
            for (place, hashes) in edge.append(all[done..done + step].iter().map(Vec::as_slice)) {
                let before = kept.0.insert(place, hashes.clone()).unwrap_or_default();
                prop_assert!(hashes.starts_with(&before));
            }
            done += step;
            prop_assert_eq!(edge.root(), mth(&all[..done]));
            prop_assert_eq!(edge, Edge::of(&kept, done as u64).unwrap());
        }
        prop_assert_eq!(root(&kept, done as u64).unwrap(), mth(&all));
    }

    #[test]
    fn paths_have_one_spelling(level in 0u8..64, index: u64, width in 1u64..=256) {
        let tile = TileId::new(level, index, width).unwrap();
        prop_assert_eq!(tile.to_string().parse::<Resource>(), Ok(Resource::Tile(tile)));
        let entries = Resource::Entries(TileId::new(0, index, width).unwrap());
        prop_assert_eq!(entries.to_string().parse::<Resource>(), Ok(entries));
    }

    #[test]
    fn any_text_is_no_note(text in any::<String>()) {
        let key = NoteSigner::new("log", &[1; 32]).unwrap().public();
        prop_assert!(Checkpoint::verify(&text, &key).is_err());
        prop_assert!(text.parse::<NoteKey>().is_err());
    }

    #[test]
    fn bundles_read_back(entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20)) {
        let bytes = bundle(entries.iter().map(Vec::as_slice)).unwrap();
        prop_assert_eq!(bundle_entries(&bytes).unwrap(), entries.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        if let Ok(entries) = bundle_entries(&bytes) {
            prop_assert_eq!(bundle(entries), Some(bytes));
        }
    }
}

#[test]
fn paths() {
    let tile = |level, index, width| Resource::Tile(TileId::new(level, index, width).unwrap());
    for (text, wanted) in [
        ("checkpoint", Resource::Checkpoint),
        ("tile/0/000", tile(0, 0, 256)),
        ("tile/0/x001/234", tile(0, 1234, 256)),
        ("tile/0/x001/x234/067", tile(0, 1_234_067, 256)),
        ("tile/3/005.p/17", tile(3, 5, 17)),
        ("tile/entries/x001/234.p/255", Resource::Entries(TileId::new(0, 1234, 255).unwrap())),
    ] {
        assert_eq!(text.parse::<Resource>(), Ok(wanted), "{text}");
        assert_eq!(wanted.to_string(), text);
    }
    for wrong in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/1",
        "tile/0/0000",
        "tile/0/001/234",
        "tile/0/x000/001",
        "tile/0/x001",
        "tile/64/000",
        "tile/00/000",
        "tile/+1/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/data/000",
        "tile/entries",
        "/checkpoint",
        "checkpoint/",
        "tile/0/../000",
        "tile/-1/000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/000.p/1.p/1",
    ] {
        assert_eq!(wrong.parse::<Resource>(), Err(NoPath), "{wrong}");
    }
    assert_eq!(bundle([vec![0; ENTRY_MAX + 1].as_slice()]), None);
    assert!(bundle_entries(&[0, 2, 1]).is_err() && bundle_entries(&[0]).is_err());
}

/// Published with the form's first implementation, as an example.
#[test]
fn a_published_note() {
    let seed: [u8; 32] = base64("gQoUAtUUbI2E8kQzMPVAgOv5juF9nHT2JS/F1ccoMXM=").try_into().unwrap();
    let signer = NoteSigner::new("PeterNeumann", &seed).unwrap();
    assert_eq!(signer.public().to_string(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
    let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    let signed = signer.sign(text).unwrap();
    let wanted = format!(
        "{text}\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    );
    assert_eq!(signed, wanted);
    assert_eq!(SignedNote::parse(&signed).unwrap().verify(&signer.public()), Ok(text));
}

fn base64(text: &str) -> Vec<u8> {
    use base64ct::{Base64, Encoding};
    Base64::decode_vec(text).unwrap()
}

#[test]
fn checkpoints() {
    let signer = NoteSigner::new("central.example.org/log", &[7; 32]).unwrap();
    let other = NoteSigner::new("central.example.org/log", &[8; 32]).unwrap();
    let one = Checkpoint { origin: "central.example.org/log".to_owned(), size: 3, root: mth(&entries(3)) };
    let signed = one.sign(&signer).unwrap();
    let key: NoteKey = signer.public().to_string().parse().unwrap();
    assert_eq!(Checkpoint::verify(&signed, &key), Ok(one.clone()));
    assert!(matches!(Checkpoint::verify(&signed, &other.public()), Err(NoCheckpoint::Note(NoteError::Unsigned(_)))));
    let forged = signed.replace("\n3\n", "\n4\n");
    assert!(matches!(Checkpoint::verify(&forged, &key), Err(NoCheckpoint::Note(NoteError::Forged(_)))));
    // Another's signature beside ours, as of a witness, changes nothing.
    let witness = NoteSigner::new("witness", &[9; 32]).unwrap().sign(&one.text()).unwrap();
    let both = format!("{signed}{}", witness.rsplit("\n\n").next().unwrap());
    assert_eq!(Checkpoint::verify(&both, &key), Ok(one.clone()));
    assert!(Checkpoint { origin: "another".to_owned(), ..one.clone() }.sign(&signer).is_none());
    let root = &one.text()[one.text().find("3\n").unwrap() + 2..];
    for wrong in [
        String::new(),
        format!("\n3\n{root}"),
        format!("o\n03\n{root}"),
        format!("o\n+3\n{root}"),
        "o\n3\nAAAA\n".to_owned(),
        format!("o\n3\n{root}\n"),
        format!("o\n3\n{}", root.trim_end()),
        format!("o\n3 \n{root}"),
        "o\n3\n".to_owned(),
    ] {
        assert_eq!(Checkpoint::parse(&wrong), Err(NoCheckpoint::Malformed), "{wrong:?}");
    }
    assert!(Checkpoint::parse(&format!("o\n3\n{root}an extension\n")).is_ok());
    for name in ["", "a b", "a+b", "a\n"] {
        assert!(NoteSigner::new(name, &[1; 32]).is_none(), "{name:?}");
    }
    for wrong in ["log", "log+00000000+AR", &key.to_string().replace('+', " "), &format!("{key} ")] {
        assert!(wrong.parse::<NoteKey>().is_err(), "{wrong}");
    }
    assert!(signer.sign("no newline").is_none() && signer.sign("a\tb\n").is_none());
}
