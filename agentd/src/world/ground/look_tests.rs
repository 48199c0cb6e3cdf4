use super::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

/// A folder of programs, and the package manager's lists.
struct Host {
    _folder: tempfile::TempDir,
    root: String,
    lists: PathBuf,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let (root, lists) = (base.join("programs"), base.join("lists"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&lists).unwrap();
        Self { _folder: folder, root: root.to_str().unwrap().to_owned(), lists }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    fn write(&self, name: &str, mode: u32) {
        let path = self.path(name);
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    /// As if a package had just been unpacked.
    fn package(&self, names: &[&str]) {
        let lines: Vec<String> = names.iter().map(|name| self.path(name) + "\n").collect();
        fs::write(self.lists.join("some.list"), lines.concat()).unwrap();
    }

    fn look(&self) -> Looked {
        look(&[&self.root, "/no/such/folder"], &self.lists).unwrap()
    }

    fn closed(&self) -> Vec<String> {
        let mut ground = self.look().ground;
        assert_eq!(ground.len(), 1);
        let mut closed = ground.remove(0).closed;
        closed.sort();
        closed
    }
}

#[test]
fn what_others_cannot_read_and_what_is_on_the_list_stays_out() {
    let host = Host::new();
    for (name, mode) in [
        ("bin/tool", 0o755),
        ("bin/only-root", 0o750),
        ("app/server.key", 0o644),
        ("app/deep/er/notes", 0o600),
        ("app/notes", 0o644),
        ("home/.ssh/id_ed25519", 0o644),
        ("shut/notes", 0o644),
        ("shut/deeper/notes", 0o644),
    ] {
        host.write(name, mode);
    }
    fs::set_permissions(host.path("shut"), Permissions::from_mode(0o750)).unwrap();
    symlink("server.key", host.path("app/link")).unwrap();
    let expected = ["app/deep/er/notes", "app/server.key", "bin/only-root", "home/.ssh/id_ed25519", "shut"];
    assert_eq!(host.closed(), expected);
}

#[test]
fn what_a_package_brought_is_public_until_somebody_writes_to_it() {
    let host = Host::new();
    host.write("tests/server.key", 0o644);
    host.write("rules.d/10-rule", 0o644);
    fs::set_permissions(host.path("rules.d"), Permissions::from_mode(0o700)).unwrap();
    // A company's own package may bring its keys: it is public only if everybody may read it.
    host.write("acme/server.key", 0o600);
    host.write("acme/db.conf", 0o640);
    assert_eq!(host.closed(), ["acme/db.conf", "acme/server.key", "rules.d", "tests/server.key"]);
    host.package(&["tests/server.key", "rules.d", "rules.d/10-rule", "acme", "acme/server.key", "acme/db.conf"]);
    let private = ["acme/db.conf", "acme/server.key", "rules.d"];
    assert_eq!(host.closed(), private);
    let key = fs::File::options().write(true).open(host.path("tests/server.key")).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    key.set_modified(later).unwrap();
    assert_eq!(host.closed(), [&private[..], &["tests/server.key"]].concat());
}

#[test]
fn a_name_that_is_no_text_closes_its_folder() {
    use std::os::unix::ffi::OsStrExt;
    let host = Host::new();
    host.write("app/notes", 0o644);
    let odd = Path::new(&host.path("app")).join(std::ffi::OsStr::from_bytes(b"\xff.key"));
    fs::write(odd, "x").unwrap();
    assert_eq!(host.closed(), ["app"]);
}

#[test]
fn every_change_that_could_show_something_is_told_at_once() {
    let host = Host::new();
    host.write("a/b/notes", 0o644);
    host.write("../elsewhere", 0o644);
    fs::create_dir(host.path("../folder")).unwrap();
    let has_changed = |act: &dyn Fn()| {
        let looked = host.look();
        let changed = || {
            let none = Timespec { tv_sec: 0, tv_nsec: 0 };
            poll(&mut [PollFd::new(&looked.changes, PollFlags::IN)], Some(&none)).unwrap() == 1
        };
        assert!(!changed());
        act();
        changed()
    };
    assert!(!has_changed(&|| drop(fs::read(host.path("a/b/notes")).unwrap())));
    assert!(!has_changed(&|| fs::write(host.path("a/b/notes"), "longer").unwrap()));
    host.write("a/c/public.key", 0o644);
    host.package(&["a/c/public.key"]);
    assert!(has_changed(&|| fs::write(host.path("a/c/public.key"), "a real one").unwrap()));
    assert!(has_changed(&|| host.write("a/b/new", 0o644)));
    assert!(has_changed(&|| fs::set_permissions(host.path("a/b/notes"), Permissions::from_mode(0o600)).unwrap()));
    assert!(has_changed(&|| fs::set_permissions(host.path("a"), Permissions::from_mode(0o755)).unwrap()));
    assert!(has_changed(&|| fs::rename(host.path("../elsewhere"), host.path("a/moved")).unwrap()));
    assert!(has_changed(&|| fs::rename(host.path("../folder"), host.path("a/folder")).unwrap()));
    assert!(has_changed(&|| fs::hard_link(host.path("a/moved"), host.path("a/folder/linked")).unwrap()));
    assert!(has_changed(&|| {
        fs::rename(&host.root, host.path("../old")).unwrap();
        fs::create_dir(&host.root).unwrap();
    }));
}

#[test]
fn it_leaves_root_half_of_its_watches() {
    let host = Host::new();
    host.write("a/b/notes", 0o644);
    let look = |watches| look_with(&[&host.root], Path::new(&host.lists), watches);
    assert!(look(3).is_ok(), "the root and two folders");
    assert!(matches!(look(2), Err(Trouble::TooMany(why)) if why.contains("max_user_watches")));
}
