//! The built module inside a C program: `host.c` loads it and calls it in the ways that have broken modules.
//!
//! The path of the account files is compiled in, so it runs in a mount namespace of its own, which takes
//! root and a C compiler; without them the test says so and does nothing.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tether_accountfile::{AccountFile, FILE_MAX};

#[test]
fn it_holds_in_a_c_program() {
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !root || Command::new("cc").arg("--version").output().is_err() {
        eprintln!("skipped: needs root and cc");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let accounts = scratch.path().join("accounts");
    lay_out(&accounts);
    let host = compile(scratch.path());
    let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/tether/accounts \
                  && mount --bind \"$1\" /run/tether/accounts && exec \"$2\" \"$3\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([&accounts, &host, &module()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.stdout == b"all held\n" && said.is_empty(), "{said}");
}

/// What glibc may call and nothing else is exported.
#[test]
fn it_exports_look_ups_only() {
    let Ok(output) = Command::new("nm").args(["-D", "--defined-only", "--format=just-symbols"]).arg(module()).output()
    else {
        eprintln!("skipped: needs nm");
        return;
    };
    let mut names: Vec<_> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
    names.sort_unstable();
    let expected = ["getgrgid_r", "getgrnam_r", "getpwnam_r", "getpwuid_r", "initgroups_dyn"];
    assert_eq!(names, expected.map(|name| format!("_nss_tether_{name}")));
}

/// cargo builds the library beside this test.
fn module() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("libnss_tether.so")
}

fn compile(folder: &Path) -> PathBuf {
    let host = folder.join("host");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/host.c");
    let status = Command::new("cc").args(["-O1", "-Wall", "-pthread", "-o"]).arg(&host).arg(source).status().unwrap();
    assert!(status.success());
    host
}

fn lay_out(accounts: &Path) {
    std::fs::create_dir_all(accounts.join("name")).unwrap();
    std::fs::create_dir_all(accounts.join("uid")).unwrap();
    let by_name = |name: &str| accounts.join("name").join(name);
    put(&by_name("ag-good"), "ag-good", 65536);
    put(&accounts.join("uid/65536"), "ag-good", 65536);
    put(&by_name("ag-mismatch"), "ag-good", 65536);
    put(&accounts.join("uid/65537"), "ag-good", 65536);
    put(&by_name("ag-human"), "ag-human", 1000);
    put(&by_name("ag-others"), "ag-others", 65538);
    chown(by_name("ag-others"), Some(1000), None).unwrap();
    put(&by_name("ag-writable"), "ag-writable", 65539);
    std::fs::set_permissions(by_name("ag-writable"), PermissionsExt::from_mode(0o666)).unwrap();
    symlink(by_name("ag-good"), by_name("ag-link")).unwrap();
    std::fs::write(by_name("ag-big"), vec![b'x'; FILE_MAX + 1]).unwrap();
    std::fs::create_dir(by_name("ag-dir")).unwrap();
    assert!(Command::new("mkfifo").arg(by_name("ag-fifo")).status().unwrap().success());
}

fn put(path: &Path, name: &str, uid: u32) {
    let account = AccountFile {
        name: name.into(),
        uid,
        gecos: "agent of a human".into(),
        home: "/run/tether/home".into(),
        shell: "/bin/sh".into(),
        session: "0123456789abcdef".into(),
        principal: None,
    };
    std::fs::write(path, account.write().unwrap()).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o644)).unwrap();
}
