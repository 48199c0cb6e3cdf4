//! What a confined command can read, with the real launcher. Each file that must stay out is read as root first:
//! a path that nobody could read would prove nothing.

mod common;

use common::{Launch, clean_ground, own_run};
use rustix::mount::{MountFlags, mount, mount_bind};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::Command;
use tether_hostlink::Ground;

/// A copy of /etc and an empty /srv and /var/tmp of the test's own.
fn host() -> bool {
    if !own_run() {
        return false;
    }
    let tmpfs = |point: &str| mount("tmpfs", point, "tmpfs", MountFlags::empty(), None).unwrap();
    tmpfs("/mnt");
    assert!(Command::new("cp").args(["-a", "/etc", "/mnt/etc"]).status().unwrap().success());
    write("/mnt/etc/shadow", "root:SECRET:1::::::\n", 0o600);
    mount_bind("/mnt/etc", "/etc").unwrap();
    ["/srv", "/opt", "/var/tmp"].into_iter().chain(OWN_PROGRAMS).for_each(tmpfs);
    true
}

/// Folders of programs that are the test's own, and empty.
const OWN_PROGRAMS: [&str; 2] = ["/usr/local/share", "/usr/games"];

fn is_own(path: &str) -> bool {
    OWN_PROGRAMS.contains(&path)
}

fn write(path: &str, text: &str, mode: u32) {
    fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Those of the paths that a confined command can read, having made sure that root can read all.
fn readable(trees: &[&str], named: &[&str], paths: &[&str]) -> Vec<String> {
    readable_on(&clean_ground(), trees, named, paths)
}

/// The same, with what agentd knows of the folders of programs.
fn readable_on(ground: &[Ground], trees: &[&str], named: &[&str], paths: &[&str]) -> Vec<String> {
    for path in paths {
        assert!(fs::read(path).is_ok(), "root cannot read {path}");
    }
    let script = format!("for f in {}; do head -c1 $f >/dev/null 2>&1 && echo $f; done; true", paths.join(" "));
    let mut launch = Launch::shell(&script).reading(trees);
    launch.plan.confinement.ground = ground.to_vec();
    launch.plan.confinement.named = named.iter().map(|path| (*path).to_owned()).collect();
    launch.output().lines().map(str::to_owned).collect()
}

#[test]
fn trees_are_read_past_modes_and_nothing_else_is() {
    if !host() {
        return;
    }
    write("/srv/www/a/index.html", "x", 0o600);
    write("/srv/other", "x", 0o644);
    write("/var/tmp/x", "x", 0o644);
    let all = ["/srv/www/a/index.html", "/srv/other", "/var/tmp/x", "/etc/fstab.test", "/etc/passwd"];
    write("/etc/fstab.test", "x", 0o644);
    assert_eq!(readable(&["/srv/www"], &[], &all), ["/srv/www/a/index.html", "/etc/passwd"]);
    assert_eq!(readable(&[], &[], &all), ["/etc/passwd"]);
    assert_eq!(readable(&["/srv", "/etc", "/var/tmp"], &[], &all), all);
}

#[test]
fn in_listed_folders_a_file_that_others_cannot_read_must_be_named() {
    if !host() {
        return;
    }
    write("/opt/app/conf/plain", "x", 0o644);
    write("/opt/app/conf/token", "x", 0o640);
    write("/opt/app/shut/plain", "x", 0o644);
    fs::set_permissions("/opt/app/shut", fs::Permissions::from_mode(0o750)).unwrap();
    write("/etc/app/plain", "x", 0o644);
    let all = ["/opt/app/conf/plain", "/opt/app/conf/token", "/opt/app/shut/plain", "/etc/app/plain"];
    assert_eq!(readable(&["/opt", "/etc"], &[], &all), ["/opt/app/conf/plain", "/etc/app/plain"]);
    assert_eq!(readable(&["/opt", "/etc"], &["/opt/app/conf/token"], &all), [all[0], all[1], all[3]]);
    assert_eq!(readable(&[], &["/opt/app/shut"], &all), [all[2]]);
}

#[test]
fn the_never_list_holds_by_every_route() {
    if !host() {
        return;
    }
    write("/srv/chroot/etc/shadow", "x", 0o644);
    write("/srv/home/.ssh/id_ed25519", "x", 0o644);
    write("/srv/home/.ssh/authorized_keys", "x", 0o600);
    write("/srv/app/tls.key", "x", 0o644);
    write("/etc/shadow+", "x", 0o644);
    fs::hard_link("/mnt/etc/shadow", "/mnt/hard").unwrap();
    symlink("/etc/shadow", "/srv/link").unwrap();
    for (from, to) in [("/etc/shadow", "/srv/bound"), ("/etc", "/srv/b"), ("/mnt", "/srv/deep")] {
        if from == "/etc/shadow" {
            fs::write(to, "").unwrap()
        } else {
            fs::create_dir(to).unwrap()
        }
        mount_bind(from, to).unwrap();
    }
    let secrets = [
        "/etc/shadow",
        "/etc/shadow+",
        "/srv/chroot/etc/shadow",
        "/srv/home/.ssh/id_ed25519",
        "/srv/app/tls.key",
        "/mnt/hard",
        "/mnt/etc/shadow",
        "/srv/link",
        "/srv/bound",
        "/srv/b/shadow",
        "/srv/deep/hard",
        "/srv/deep/etc/shadow",
        "/proc/self/root/etc/shadow",
    ];
    let trees = ["/etc", "/srv", "/mnt", "/usr/games"];
    assert_eq!(readable(&trees, &[], &secrets), Vec::<String>::new());
    assert_eq!(readable(&trees, &["/etc/shadow", "/mnt/hard"], &secrets), Vec::<String>::new(), "naming lifts nothing");
    let beside = ["/srv/home/.ssh/authorized_keys", "/srv/b/passwd", "/srv/deep/etc/passwd", "/mnt/etc/passwd"];
    assert_eq!(readable(&trees, &[], &beside), beside);
}

/// Where nobody looked before, and what is there is granted to every command.
#[test]
fn secrets_among_programs_stay_out() {
    if !host() {
        return;
    }
    let secrets = [
        "/usr/local/share/app/tls.key",
        "/usr/local/share/home/.ssh/id_ed25519",
        "/usr/local/share/app/password",
        "/usr/local/share/shut/notes",
        "/usr/games/app/etc/shadow",
    ];
    let plain = ["/usr/local/share/app/notes", "/usr/games/fortune", "/usr/local/share/.ssh/authorized_keys"];
    for path in plain.iter().chain(&secrets) {
        write(path, "x", if path.ends_with("password") { 0o600 } else { 0o644 });
    }
    fs::set_permissions("/usr/local/share/shut", fs::Permissions::from_mode(0o750)).unwrap();
    let all: Vec<&str> = plain.into_iter().chain(secrets).collect();
    let small: Vec<Ground> = clean_ground().into_iter().filter(|folder| !is_own(&folder.path)).collect();
    assert_eq!(readable_on(&small, &[], &[], &all), plain);
    assert_eq!(readable_on(&small, &["/usr/local"], &[], &all), plain, "nor by a bundle's tree");
    assert_eq!(readable(&[], &[], &all), all, "granted unseen they are read");
    fs::set_permissions("/usr/games", fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(readable(&[], &[], &["/usr/games/fortune"]), Vec::<String>::new(), "others may not enter");
}

/// What agentd looked through is not looked through again: only what it found stays out.
#[test]
fn of_folders_that_agentd_knows_only_what_it_found_stays_out() {
    if !host() {
        return;
    }
    let all = ["/srv/x", "/usr/local/share/a/tls.key", "/usr/local/share/a/notes", "/usr/local/share/b/password"];
    all.iter().for_each(|path| write(path, "x", 0o600));
    let known = |closed: &[&str], inode: u64| {
        let about = fs::metadata("/usr/local/share").unwrap();
        let (path, closed) = ("/usr/local/share".to_owned(), closed.iter().map(|path| (*path).to_owned()).collect());
        vec![Ground { path, device: about.dev(), inode: about.ino() + inode, closed }]
    };
    let readable = |ground: Vec<Ground>| {
        let script = format!("for f in {}; do head -c1 $f >/dev/null 2>&1 && echo $f; done; true", all.join(" "));
        let others = clean_ground().into_iter().filter(|folder| !is_own(&folder.path));
        let mut launch = Launch::shell(&script);
        launch.plan.confinement.ground = ground.into_iter().chain(others).collect();
        launch.output().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(readable(known(&[], 0)), all[1..]);
    assert_eq!(readable(known(&["a/tls.key"], 0)), all[2..]);
    assert_eq!(readable(known(&["a", "b/password"], 0)), Vec::<String>::new());
    assert_eq!(readable(known(&[], 1)), Vec::<String>::new(), "another folder lies there now");
    // What came to be mounted there meanwhile is looked at.
    mount_bind("/srv", "/usr/local/share/a").unwrap();
    write("/srv/tls.key", "x", 0o644);
    write("/srv/notes", "x", 0o644);
    assert_eq!(readable(known(&[], 0)), ["/usr/local/share/a/notes", "/usr/local/share/b/password"]);
}

/// A copy of what is in /etc/shadow, under a name that says nothing.
#[test]
fn a_file_for_a_group_that_guards_secrets_stays_out() {
    if !host() {
        return;
    }
    let group = |name: &str| {
        let text = fs::read_to_string("/etc/group").unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap().to_owned();
        line.split(':').nth(2).unwrap().parse::<u32>().unwrap()
    };
    let (shadow, adm) = (group("shadow"), group("adm"));
    let all = ["/srv/log/backup.txt", "/srv/log/syslog", "/srv/log/public", "/srv/shut/x"];
    all.iter().for_each(|path| write(path, "x", 0o640));
    fs::set_permissions(all[2], fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions("/srv/shut", fs::Permissions::from_mode(0o750)).unwrap();
    for (path, group) in [(all[0], shadow), (all[1], adm), (all[2], shadow), ("/srv/shut", shadow)] {
        chown(path, None, Some(group)).unwrap();
    }
    for trees in [&["/srv"][..], &["/srv/log", "/srv/shut/x"]] {
        let expected = if trees.len() == 1 { &all[1..3] } else { &all[1..] };
        assert_eq!(readable(trees, &[], &all), expected);
    }
    assert_eq!(readable(&[], &["/srv/log/backup.txt", "/srv/log"], &all), all[1..3], "naming lifts nothing");
}

/// A key whose other name says nothing, met before the key itself: the rules made for it would hold for the key, too.
#[test]
fn another_name_of_a_key_is_the_key() {
    if !host() {
        return;
    }
    write("/srv/app/tls.key", "x", 0o644);
    write("/srv/a/beside", "x", 0o644);
    fs::hard_link("/srv/app/tls.key", "/srv/a/notes").unwrap();
    fs::hard_link("/srv/a/beside", "/srv/app/beside-too").unwrap();
    let secrets = ["/srv/app/tls.key", "/srv/a/notes"];
    assert_eq!(readable(&["/srv"], &[], &secrets), Vec::<String>::new());
    assert_eq!(readable(&["/srv/a"], &["/srv/app"], &secrets), Vec::<String>::new());
    assert_eq!(readable(&["/srv"], &[], &["/srv/a/beside", "/srv/app/beside-too"]).len(), 2, "other links are read");
}

#[test]
fn a_rename_over_a_path_makes_nothing_readable() {
    if !host() {
        return;
    }
    write("/etc/ready", "x", 0o644);
    write("/mnt/etc/app/x", "x", 0o644);
    let agentd_says_go = std::sync::mpsc::channel();
    // The host renames while the command waits: shadow over a name that was granted, and into a folder that was.
    let script = "echo ready; read go; for f in /etc/ready /etc/app/y; do head -c4 $f 2>/dev/null; done; cat /etc/ready 2>&1 | tail -c 18";
    let (reader, writer) = std::io::pipe().unwrap();
    let mut launch = Launch::shell(script).reading(&["/etc"]);
    launch.stdin = reader.into();
    let renamer = std::thread::spawn(move || {
        let () = agentd_says_go.1.recv().unwrap();
        fs::rename("/mnt/etc/shadow", "/mnt/etc/ready").unwrap();
        std::io::Write::write_all(&mut { writer }, b"go\n").unwrap();
    });
    let (output, mut reader) = std::io::pipe().unwrap().into_output();
    launch.stdout = output;
    let running = std::thread::spawn(move || launch.output());
    assert_eq!(reader.line(), "ready");
    agentd_says_go.0.send(()).unwrap();
    renamer.join().unwrap();
    running.join().unwrap();
    let rest = reader.rest();
    assert!(rest.contains("Permission denied") && !rest.contains("root"), "{rest}");
}

trait IntoOutput {
    fn into_output(self) -> (std::process::Stdio, Lines);
}

impl IntoOutput for (std::io::PipeReader, std::io::PipeWriter) {
    fn into_output(self) -> (std::process::Stdio, Lines) {
        (self.1.into(), Lines(std::io::BufReader::new(self.0)))
    }
}

struct Lines(std::io::BufReader<std::io::PipeReader>);

impl Lines {
    fn line(&mut self) -> String {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut self.0, &mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn rest(mut self) -> String {
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.0, &mut rest).unwrap();
        rest
    }
}

#[test]
fn a_fifo_is_not_drained() {
    if !host() {
        return;
    }
    for folder in ["/srv/a", "/run/a"] {
        fs::create_dir(folder).unwrap();
        write(&format!("{folder}/file"), "x", 0o600);
        assert!(Command::new("mkfifo").arg(format!("{folder}/fifo")).status().unwrap().success());
    }
    let script = "for f in /srv/a /run/a; do cat $f/file; timeout 1 cat $f/fifo 2>&1 | grep -c denied; done";
    let output = Launch::shell(script).reading(&["/srv", "/run"]).output();
    assert_eq!(output, "x1\nx1\n");
}

#[test]
fn a_path_argument_is_that_inode() {
    if !host() {
        return;
    }
    write("/srv/a", "granted\n", 0o600);
    write("/srv/folder/b", "below\n", 0o600);
    write("/srv/folder/x.key", "secret\n", 0o600);
    let mut launch = Launch::shell("cat /srv/a /srv/folder/b /srv/folder/x.key /srv/new 2>&1; mv /srv/a /srv/b 2>&1");
    write("/srv/new", "never granted\n", 0o644);
    let open = |path: &str| rustix::fs::open(path, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    launch.arguments = vec![open("/srv/a"), open("/srv/folder")];
    launch.plan.confinement.arguments = 2;
    let output = launch.output();
    assert!(
        output.starts_with("granted\nbelow\n") && !output.contains("secret") && !output.contains("never"),
        "{output}"
    );
    assert!(output.contains("Read-only file system"), "{output}");
}

#[test]
fn memory_of_others_is_closed_and_what_ps_reads_is_open() {
    if !host() {
        return;
    }
    let script = "p=$PPID; cat /proc/$p/stat >/dev/null && cat /proc/$p/cmdline >/dev/null && cat /proc/$p/status >/dev/null && \
        echo seen; for f in maps smaps environ auxv mem io; do head -c1 /proc/$p/$f >/dev/null 2>&1 && echo READ $f; done; \
        for f in exe cwd root fd/0; do readlink /proc/$p/$f >/dev/null 2>&1 && echo LINK $f; done; \
        for f in kallsyms kmsg kcore keys; do head -c1 /proc/$f 2>/dev/null; done; head -c1 /proc/self/maps >/dev/null && echo own; true";
    let mut victim = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = victim.id().to_string();
    for file in ["maps", "environ", "mem", "io", "auxv"] {
        assert!(fs::File::open(format!("/proc/{pid}/{file}")).is_ok(), "root opens {file}");
    }
    let output = Launch::shell(&script.replace("$PPID", &pid)).output();
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert_eq!(output, "seen\nown\n");
}
