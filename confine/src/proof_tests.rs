use super::*;
use tether_hostlink::{Confinement, Plan};

const STATUS: &str = "Name:\tx\nUid:\t65537\t65537\t65537\t65537\nGid:\t65537\t65537\t65537\t65537\nGroups:\t \n\
    Threads:\t1\nCapInh:\t0000000400000004\nCapPrm:\t0000000400000004\nCapEff:\t0000000400000004\n\
    CapBnd:\t0000000400000004\nCapAmb:\t0000000400000004\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n";

fn expected() -> Vec<(&'static str, String)> {
    let plan = Plan {
        plan: "p".into(),
        session: "0123456789abcdef0123456789abcdef".parse().unwrap(),
        program: "/usr/bin/true".into(),
        device: 1,
        inode: 2,
        argv: vec!["true".into()],
        environment: vec![],
        uid: 65537,
        deadline_boottime_ms: 0,
        output_limit: 1,
        terminals: true,
        recorder: tether_hostlink::Recorder::Nobody,
        confinement: Confinement::read_only(),
    };
    let who = Who::of(&plan);
    let after = After { who: &who, layers: Layers::new(), dbus: false, net: false, writes: &[] };
    after.expected(&Before { shadow: true, filters: 2 })
}

fn differing(status: &str) -> Option<String> {
    Status(status.to_owned()).differing(&expected())
}

#[test]
fn what_was_meant_passes() {
    assert_eq!(differing(STATUS), None);
}

#[test]
fn any_other_line_is_found() {
    for (from, to) in [
        ("65537\nGid", "0\nGid"),
        ("Gid:\t65537", "Gid:\t0"),
        ("Groups:\t ", "Groups:\t4 "),
        ("CapInh:\t0000000400000004", "CapInh:\t0000000000000004"),
        ("CapPrm:\t0000000400000004", "CapPrm:\t0000000400000006"),
        ("CapEff:\t0000000400000004", "CapEff:\t000001ffffffffff"),
        ("CapBnd:\t0000000400000004", "CapBnd:\t000001ffffffffff"),
        ("CapAmb:\t0000000400000004", "CapAmb:\t0000000000000000"),
        ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
        ("Seccomp:\t2", "Seccomp:\t0"),
        ("filters:\t3", "filters:\t2"),
        ("Threads:\t1", "Threads:\t2"),
        ("Threads:\t1\n", ""),
    ] {
        let changed = STATUS.replacen(from, to, 1);
        assert_ne!(changed, STATUS);
        assert!(differing(&changed).is_some(), "{from} to {to}");
    }
}

#[test]
fn a_mount_that_is_open_is_found() {
    let mount = |point: &str, options: &str| Mount {
        id: 1,
        parent: 0,
        device: "8:1".into(),
        root: "/".into(),
        point: point.into(),
        options: options.into(),
        kind: "ext4".into(),
    };
    let locked = [mount("/", "ro,nosuid,nodev"), mount("/dev", "ro,nosuid,noexec"), mount(SCRATCH, "rw,nosuid,nodev")];
    assert_eq!(open_mount(&locked, &[]), None);
    for (point, options) in
        [("/x", "rw,nosuid,nodev"), ("/x", "ro,nodev"), ("/x", "ro,nosuid"), ("/dev/x", "rw,nosuid")]
    {
        let open = [mount("/", "ro,nosuid,nodev"), mount(point, options)];
        assert_eq!(open_mount(&open, &[]), Some(&open[1]), "{point} {options}");
    }
    let written = [mount("/srv/x", "rw,nosuid,nodev")];
    assert_eq!(open_mount(&written, &["/srv/x".into()]), None);
}

#[test]
fn another_failure_than_the_layers_own_proves_nothing() {
    assert_eq!(refused("x", Err(Errno::ACCESS), Errno::ACCESS), Ok(()));
    assert!(refused("x", Err(Errno::NOENT), Errno::ACCESS).is_err());
    assert!(refused("x", Ok(()), Errno::ACCESS).is_err());
}
