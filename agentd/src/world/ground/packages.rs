//! What the package manager brought: its lists of files (dpkg(1), `info/*.list`).

use super::look::Candidate;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Folders of the root that are links into /usr on hosts whose packages still say the old names.
const MERGED: [&[u8]; 6] = [b"/bin/", b"/sbin/", b"/lib/", b"/lib32/", b"/lib64/", b"/libx32/"];

/// For each candidate, whether a package brought it and nobody wrote to it since: then its contents are in an archive
/// that everybody has.
pub fn brought(candidates: &[Candidate], lists: &Path) -> Vec<bool> {
    let mut brought = vec![false; candidates.len()];
    if candidates.is_empty() {
        return brought;
    }
    let by_path: HashMap<&[u8], usize> =
        candidates.iter().enumerate().map(|(index, one)| (one.path.as_slice(), index)).collect();
    let files = fs::read_dir(lists).into_iter().flatten().flatten().map(|entry| entry.path());
    for file in files.filter(|path| path.extension().is_some_and(|extension| extension == "list")) {
        let (Ok(about), Ok(text)) = (fs::metadata(&file), fs::read(&file)) else { continue };
        for line in text.split(|byte| *byte == b'\n') {
            let found = by_path.get(line).or_else(|| by_path.get(merged(line)?.as_slice()));
            if let Some((index, one)) = found.and_then(|index| Some((*index, candidates.get(*index)?)))
                && one.modified.is_none_or(|modified| modified <= about.mtime())
                && let Some(brought) = brought.get_mut(index)
            {
                *brought = true;
            }
        }
    }
    brought
}

fn merged(line: &[u8]) -> Option<Vec<u8>> {
    MERGED.iter().any(|folder| line.starts_with(folder)).then(|| [b"/usr", line].concat())
}
