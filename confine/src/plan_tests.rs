use super::*;
use rustix::fs::{MemfdFlags, fcntl_add_seals, memfd_create};
use std::io::Write;
use std::os::unix::fs::MetadataExt;

fn plan() -> Plan {
    Plan {
        plan: "p".into(),
        session: "0123456789abcdef0123456789abcdef".parse().unwrap(),
        program: "/usr/bin/true".into(),
        device: 1,
        inode: 2,
        argv: vec!["true".into()],
        environment: vec![],
        uid: 65537,
        deadline_boottime_ms: boottime_ms() + 2000,
        output_limit: 1 << 20,
        terminals: true,
        recorder: tether_hostlink::Recorder::Nobody,
        confinement: tether_hostlink::Confinement::read_only(),
    }
}

fn memfd(bytes: &[u8], seals: SealFlags) -> OwnedFd {
    let fd = memfd_create("plan", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    File::from(fd.try_clone().unwrap()).write_all(bytes).unwrap();
    fcntl_add_seals(&fd, seals).unwrap();
    fd
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_sealed_plan_is_read() {
    if is_root() {
        let plan = plan();
        assert_eq!(read(memfd(&serde_json::to_vec(&plan).unwrap(), SEALS)).unwrap(), plan);
    }
}

#[test]
fn what_could_still_change_is_no_plan() {
    let json = serde_json::to_vec(&plan()).unwrap();
    for missing in [SealFlags::SEAL, SealFlags::SHRINK, SealFlags::GROW, SealFlags::WRITE] {
        assert_eq!(read(memfd(&json, SEALS.difference(missing))).unwrap_err().code, CODE, "{missing:?}");
    }
    let file = tempfile::tempfile().unwrap();
    assert_eq!(read(file.into()).unwrap_err().code, CODE);
    assert_eq!(read(memfd(&vec![b' '; FRAME_MAX + 1], SEALS)).unwrap_err().code, CODE);
    assert_eq!(read(memfd(b"{}", SEALS)).unwrap_err().code, CODE);
}

#[test]
fn a_plan_for_no_agent_or_of_yesterday_is_refused() {
    for uid in [0, 1000, 65535, 100_000, u32::MAX] {
        assert_eq!(check(&Plan { uid, ..plan() }, 0).unwrap_err().code, CODE, "{uid}");
    }
    assert_eq!(check(&Plan { argv: vec![], ..plan() }, 0).unwrap_err().code, CODE);
    let plan = Plan { deadline_boottime_ms: 10, ..plan() };
    assert_eq!(check(&plan, 10), Ok(()));
    assert_eq!(check(&plan, 11).unwrap_err().code, "confine.expired");
}

#[test]
fn a_program_is_the_one_decided_about_and_roots() {
    let open = |path: &str| OwnedFd::from(File::open(path).unwrap());
    let meta = std::fs::metadata("/bin/sh").unwrap();
    let right = Plan { device: meta.dev(), inode: meta.ino(), ..plan() };
    assert_eq!(check_program(&open("/bin/sh"), &right), Ok(()));
    for wrong in [Plan { inode: right.inode + 1, ..right.clone() }, Plan { device: right.device + 1, ..right.clone() }]
    {
        assert_eq!(check_program(&open("/bin/sh"), &wrong).unwrap_err().code, "confine.program");
    }
    assert!(check_program(&open("/bin"), &right).is_err());
    let writable = tempfile::NamedTempFile::new().unwrap();
    std::fs::set_permissions(writable.path(), std::os::unix::fs::PermissionsExt::from_mode(0o775)).unwrap();
    let meta = writable.as_file().metadata().unwrap();
    let plan = Plan { device: meta.dev(), inode: meta.ino(), ..plan() };
    assert!(check_program(&writable.reopen().unwrap().into(), &plan).is_err());
}

#[test]
fn a_script_is_seen_through_a_path_descriptor_too() {
    let mut script = tempfile::NamedTempFile::new().unwrap();
    script.write_all(b"#!/bin/sh\n").unwrap();
    let path = rustix::fs::open(script.path(), OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    assert_eq!(is_script(&path), Ok(true));
    assert_eq!(is_script(&File::open("/bin/sh").unwrap().into()), Ok(false));
    assert_eq!(is_script(&tempfile::tempfile().unwrap().into()), Ok(false));
}
