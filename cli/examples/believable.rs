//! Writes a believable trail to a folder, to look at: `cargo run -p tether --example believable FOLDER`.
#![allow(missing_docs)]

#[path = "../tests/common/trail.rs"]
mod trail;

fn main() {
    let folder = std::path::PathBuf::from(std::env::args().nth(1).expect("a folder"));
    let world = trail::believable();
    world.export(&folder.join("export"));
    world.on_host(&folder);
    std::fs::create_dir_all(folder.join("recordings")).unwrap();
    std::fs::write(folder.join("recordings/r-5be2.cast"), trail::cast()).unwrap();
    println!("--root {}", trail::root_text());
}
