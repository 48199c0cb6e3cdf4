//! What a bundle's commands may read.

use super::{Lint, Severity};
use std::path::Path;

pub fn look(lint: &mut Lint<'_>) {
    let read = lint.loaded.bundle.read.clone();
    for path in read.trees.iter().chain(&read.named) {
        if let Some(reason) = tether_never::is_never(Path::new(path)) {
            let text = format!("read {path}: no command may, whatever a bundle says: {}", reason.text);
            lint.whole(Severity::Warning, "lint.never", text);
        }
    }
    for path in &read.named {
        let others: Vec<&String> = read.trees.iter().filter(|tree| Path::new(path).starts_with(tree)).collect();
        if !tether_never::is_listed(Path::new(path)) && !others.is_empty() {
            let text = format!("named {path} lies in a tree already, where naming it gives nothing more");
            lint.whole(Severity::Note, "lint.named", text);
        }
    }
    for (at, path) in read.trees.iter().enumerate() {
        let above =
            read.trees.iter().enumerate().find(|(other, tree)| *other != at && Path::new(path).starts_with(tree));
        if let Some((_, above)) = above.filter(|(other, tree)| *tree != path || *other < at) {
            lint.whole(Severity::Note, "lint.tree", format!("read {path} lies in {above} already"));
        }
        if matches!(path.as_str(), "/home" | "/root" | "/srv" | "/mnt" | "/media" | "/var") {
            let text = format!("read {path}: people's and services' own files, less the never-list only");
            lint.whole(Severity::Warning, "lint.tree_wide", text);
        }
    }
}
