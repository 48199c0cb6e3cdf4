use super::*;

fn mount(id: u64, parent: u64, device: &str, root: &str, point: &str, kind: &str) -> Mount {
    let (device, kind, options) = (device.to_owned(), kind.to_owned(), "ro".to_owned());
    Mount { id, parent, device, root: root.into(), point: point.into(), options, kind }
}

/// Whether the path can be walked to from a tree, name by name.
fn is_open(mounts: &[Mount], tree: &str, rest: &str) -> bool {
    let names = Names::new(mounts);
    let Some(mut place) = names.at(Path::new(tree)) else { return false };
    for name in rest.split('/') {
        match names.child(&place, name.as_bytes()) {
            Child::Closed => return false,
            Child::Open(child) => place = child,
        }
    }
    true
}

fn disk() -> Mount {
    mount(1, 0, "8:1", "/", "/", "ext4")
}

#[test]
fn a_bind_mount_gives_no_secret_another_name() {
    for (root, point, rest) in [
        ("/etc", "/var/x", "x/shadow"),
        ("/etc/shadow", "/var/x", "x"),
        ("/", "/var/all", "all/etc/shadow"),
        ("/etc/ssl", "/var/ssl", "ssl/private"),
    ] {
        let mounts = [disk(), mount(2, 1, "8:1", root, point, "ext4")];
        assert!(!is_open(&mounts, "/var", rest), "{root} at {point}");
        assert!(is_open(&mounts, "/var", "log/syslog"));
    }
    // The other way round: the secret's own place is a mount, and the tree is where it comes from.
    let mounts = [disk(), mount(2, 1, "8:1", "/data/e", "/etc", "ext4")];
    assert!(!is_open(&mounts, "/data", "e/shadow"));
    assert!(is_open(&mounts, "/data", "e/passwd"));
    assert!(Names::new(&mounts).at(Path::new("/data/e")).unwrap().is_listed);
}

#[test]
fn a_mount_seen_elsewhere_only_closes_what_is_above_it() {
    // /var is seen at /mnt/v too, and there /etc is mounted into it: by a rule on /var, /mnt/v/c/shadow would be read.
    let mounts = [disk(), mount(2, 1, "8:1", "/var", "/mnt/v", "ext4"), mount(3, 2, "8:1", "/etc", "/mnt/v/c", "ext4")];
    assert!(!is_open(&mounts, "/var", "c"));
    assert!(is_open(&mounts, "/var", "log"));
    assert!(!is_open(&mounts, "/mnt", "v/c/shadow"));
    assert!(is_open(&mounts, "/mnt", "v/c/passwd"));
}

#[test]
fn of_mounts_on_each_other_the_last_is_seen() {
    let mounts = [disk(), mount(2, 1, "0:9", "/", "/srv", "tmpfs"), mount(3, 2, "8:1", "/etc", "/srv", "ext4")];
    assert!(!is_open(&mounts, "/", "srv/shadow"));
    let mounts = [disk(), mount(2, 1, "8:1", "/etc", "/srv", "ext4"), mount(3, 2, "0:9", "/", "/srv", "tmpfs")];
    assert!(is_open(&mounts, "/", "srv/shadow"));
}

#[test]
fn kernel_interfaces_and_remote_file_systems_are_not_entered() {
    for kind in ["debugfs", "nfs4", "fuse.sshfs", "autofs", "proc"] {
        assert!(!is_open(&[disk(), mount(2, 1, "0:9", "/", "/srv/x", kind)], "/srv", "x/a"), "{kind}");
    }
    assert!(is_open(&[disk(), mount(2, 1, "0:9", "/", "/srv/x", "xfs")], "/srv", "x/a"));
}

#[test]
fn folders_know_what_they_are() {
    let mounts = [disk(), mount(2, 1, "0:9", "/", "/run", "tmpfs"), mount(3, 1, "0:8", "/", "/sys", "sysfs")];
    let names = Names::new(&mounts);
    let at = |path: &str| names.at(Path::new(path)).unwrap();
    assert!(
        names.is_in_parts(&at("/etc")) && names.is_in_parts(&at("/run/x")) && !names.is_in_parts(&at("/etc/cron.d"))
    );
    assert!(at("/etc/cron.d").is_listed && at("/etc/cron.d").is_plain() && !at("/var").is_listed);
    assert!(at("/sys/class").is_shallow && !at("/sys/kernel").is_plain());
    assert!(names.at(Path::new("/etc/shadow")).is_none() && names.at(Path::new("/dev")).is_none());
}

#[test]
fn on_the_way_down_a_folder_becomes_listed_or_live() {
    let mounts = [disk()];
    let names = Names::new(&mounts);
    let var = names.at(Path::new("/var")).unwrap();
    let child = |name: &str| match names.child(&var, name.as_bytes()) {
        Child::Open(child) => child,
        Child::Closed => panic!("{name} is closed"),
    };
    assert!(child("lib").is_listed && !child("log").is_listed);
    let Child::Open(spool) = names.child(&child("spool"), b"cron") else { panic!("closed") };
    assert!(!child("spool").is_listed && child("spool").is_live && spool.is_live);
}

#[test]
fn ground_is_quiet_until_something_is_mounted_there_or_from_there() {
    let is_quiet = |more: &[Mount]| {
        let mounts: Vec<Mount> = [disk()].iter().chain(more).cloned().collect();
        Names::new(&mounts).is_quiet(Path::new("/usr/lib"))
    };
    assert!(is_quiet(&[]) && is_quiet(&[mount(2, 1, "0:9", "/", "/srv", "tmpfs")]));
    for other in [
        mount(2, 1, "0:9", "/", "/usr", "tmpfs"),
        mount(2, 1, "0:9", "/", "/usr/lib", "tmpfs"),
        mount(2, 1, "0:9", "/", "/usr/lib/x", "tmpfs"),
        mount(2, 1, "8:1", "/usr/lib/x", "/etc", "ext4"),
    ] {
        assert!(!is_quiet(std::slice::from_ref(&other)), "{other:?}");
    }
    let through_another =
        [mount(2, 1, "8:1", "/usr", "/mnt", "ext4"), mount(3, 2, "8:1", "/etc", "/mnt/lib/x", "ext4")];
    assert!(!is_quiet(&through_another));
}
