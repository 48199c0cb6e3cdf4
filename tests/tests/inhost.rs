//! Inside other programs: look-ups under any circumstances, hostile account files, and an agentd that lies.
//! The host program lives, people log in, and the answer is closed.

use anyhow::{Context, ensure};
use std::time::{Duration, Instant};
use tether_testhost::Suite;
use tether_tests::agent::Ran;
use tether_tests::{Draft, People, Scene, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(
    look_ups_under_any_circumstances,
    a_hostile_account_file_is_no_account,
    an_agentd_that_lies_lets_nobody_in,
    an_agentd_that_lies_gives_no_root,
    who_is_not_root_is_not_believed,
);

/// `look NAME UID`: the same account found through glibc whatever the program does to itself. Says "ok".
const LOOK: &str = r#"
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#undef NDEBUG
static char *name; static uid_t uid;
static void check(int line, int good) { if (!good) { dprintf(2, "line %d, errno %d\n", line, errno); _exit(9); } }
#define must(what) check(__LINE__, (what))
static void found(void) {
    struct passwd *p = getpwnam(name);
    must(p && p->pw_uid == uid && !strcmp(p->pw_name, name));
    must((p = getpwuid(uid)) && !strcmp(p->pw_name, name));
    struct group *g = getgrnam(name);
    must(g && g->gr_gid == uid && !g->gr_mem[0]);
    must(getgrgid(uid) != NULL && getpwnam("ag-nobodythere") == NULL && getpwnam("bin") != NULL);
    gid_t groups[64]; int n = 64;
    must(getgrouplist(name, uid, groups, &n) == 1 && groups[0] == uid);
}
static void tiny(void) {
    struct passwd p, *pr; struct group g, *gr; char *buffer = malloc(5000);
    int refused = 0;
    for (size_t size = 0; size < 400; size++) {
        memset(buffer, 0x5a, 5000);
        int a = getpwnam_r(name, &p, buffer, size, &pr);
        must(a == 0 ? pr == &p : (a == ERANGE && pr == NULL)); refused += a == ERANGE;
        for (size_t i = size; i < 5000; i++) must(buffer[i] == 0x5a);
        int b = getpwuid_r(uid, &p, buffer, size, &pr); must(a == b);
        a = getgrnam_r(name, &g, buffer, size, &gr); must(a == 0 ? gr == &g : (a == ERANGE && gr == NULL));
        b = getgrgid_r(uid, &g, buffer, size, &gr); must(a == b);
        for (size_t i = size; i < 5000; i++) must(buffer[i] == 0x5a);
        if (a == 0) must(((unsigned long)g.gr_mem) % sizeof(char *) == 0);
    }
    must(refused > 20 && refused < 400);
    free(buffer);
}
static void *threaded(void *unused) {
    char buffer[1024]; struct passwd p, *pr; struct group g, *gr;
    for (int i = 0; i < 200; i++) {
        must(getpwnam_r(name, &p, buffer, sizeof buffer, &pr) == 0 && pr && pr->pw_uid == uid);
        must(getgrgid_r(uid, &g, buffer, sizeof buffer, &gr) == 0 && gr && !strcmp(gr->gr_name, name));
        must(getpwuid_r(uid + 2, &p, buffer, sizeof buffer, &pr) == 0 && !pr);
    }
    return unused;
}
static void forked(void (*deed)(void)) {
    pid_t child = fork(); int status;
    if (!child) { deed(); _exit(0); }
    must(waitpid(child, &status, 0) == child && status == 0);
}
static void closed(void) {
    close_range(0, ~0U, 0); found();
    must(open("/dev/null", O_RDONLY) == 0); /* nothing was left open */
    close(0); must(open("/dev/null", O_RDWR) == 0 && dup(0) == 1 && dup(0) == 2);
}
static void no_descriptors(void) {
    struct rlimit none = {0, 4096}, some = {64, 4096};
    char buffer[1024]; struct passwd p, *pr;
    must(setrlimit(RLIMIT_NOFILE, &none) == 0);
    int code = getpwnam_r(name, &p, buffer, sizeof buffer, &pr); must(pr == NULL && (code == EMFILE || code == 0 || code == EAGAIN || code == ENOENT));
    must(setrlimit(RLIMIT_NOFILE, &some) == 0);
    found();
}
static void little_memory(void) {
    struct rlimit little = {256 << 20, 256 << 20};
    must(setrlimit(RLIMIT_AS, &little) == 0); found();
}
static void caught(int unused) { (void)unused; }
static void interrupted(void) {
    struct sigaction act = {0}; act.sa_handler = caught; sigaction(SIGALRM, &act, NULL); ualarm(200, 200);
    for (int i = 0; i < 500; i++) found();
    ualarm(0, 0);
}
static void nobody(void) { must(setgid(65534) == 0 && setuid(65534) == 0); found(); tiny(); }
static void fresh_then_closed(void) { close_range(0, ~0U, 0); found(); }
int main(int argc, char **argv) {
    if (argc < 3) return 2;
    name = argv[1]; uid = atoi(argv[2]);
    if (argc > 3) { fresh_then_closed(); return 0; } /* the very first look-up, and no descriptor is open */
    found(); tiny(); forked(found); forked(closed); forked(no_descriptors); forked(little_memory); forked(interrupted); forked(nobody);
    pthread_t threads[16];
    for (int i = 0; i < 16; i++) must(pthread_create(&threads[i], NULL, threaded, NULL) == 0);
    for (int i = 0; i < 20; i++) forked(found); /* forked while others look up */
    for (int i = 0; i < 16; i++) must(pthread_join(threads[i], NULL) == 0);
    found();
    puts("ok");
    return 0;
}
"#;

fn look_ups_under_any_circumstances(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (draft, _) = scene.session()?;
    let uid = scene.status()?.sessions[0].uid;
    scene.host.write_file("/root/look.c", LOOK, 0o644)?;
    scene.host.sh("gcc -O1 -o /usr/local/bin/look /root/look.c -pthread")?;
    let look = format!("timeout 60 /usr/local/bin/look {} {uid}", draft.login);
    ensure!(scene.host.sh(&look)? == "ok\n", "a look-up went wrong");
    scene.host.sh(&format!("{look} at-once"))?;
    // agentd has no part in it.
    scene.host.sh("systemctl kill -s STOP tether-agentd")?;
    ensure!(scene.host.sh(&look)? == "ok\n", "a look-up went wrong while agentd hung");
    scene.host.sh("systemctl kill -s CONT tether-agentd")?;
    // Programs that load the name service in their own ways.
    let text = format!(
        "id {0}; python3 -c 'import pwd; print(pwd.getpwnam(\"{0}\").pw_uid)'; find / -maxdepth 0 -user {0}; ls -ld /",
        draft.login
    );
    ensure!(scene.host.sh(&text)?.contains(&format!("\n{uid}\n")), "python does not find it");
    Ok(())
}

fn a_hostile_account_file_is_no_account(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let people = People::new(&scene.lab, &scene.host)?;
    let (draft, agent) = scene.session()?;
    let good = format!("/run/tether/accounts/name/{}", draft.login);
    let text = String::from_utf8(scene.host.read_file(&good)?)?;
    let evil =
        text.replace(&draft.login, "ag-evil").replace(&format!("uid={}", scene.status()?.sessions[0].uid), "uid=99999");
    scene.host.write_file("/root/evil", &evil, 0o644)?;
    let put = "put() { rm -rf /run/tether/accounts/name/ag-evil; cp /root/evil /run/tether/accounts/name/ag-evil; chmod 644 /run/tether/accounts/name/ag-evil; }; cd /run/tether/accounts/name; put; ";
    let getent = || -> anyhow::Result<(Ran, Duration)> {
        let start = Instant::now();
        let ran = Ran::from(scene.host.exec(&["timeout", "5", "getent", "passwd", "ag-evil"])?);
        Ok((ran, start.elapsed()))
    };
    scene.host.sh(put)?;
    let (ran, _) = getent()?;
    ensure!(ran.code == 0 && ran.out.starts_with("ag-evil:*:99999:"), "the good one is not found: {ran:?}");
    let cases = [
        ("a symlink to a good one", "mv ag-evil /root/moved; ln -s /root/moved ag-evil"),
        ("a symlink to nowhere", "rm ag-evil; ln -s nowhere ag-evil"),
        ("a symlink to itself", "rm ag-evil; ln -s ag-evil ag-evil"),
        ("a FIFO", "rm ag-evil; mkfifo ag-evil"),
        ("a socket", "rm ag-evil; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"ag-evil\")'"),
        ("a folder", "rm ag-evil; mkdir ag-evil"),
        ("somebody else's", "chown nobody ag-evil"),
        ("writable for its group", "chmod 664 ag-evil"),
        ("writable for all", "chmod 646 ag-evil"),
        ("huge", "truncate -s 1T ag-evil"),
        ("too long", "head -c 5000 /dev/zero | tr '\\0' 'x' >> ag-evil"),
        ("empty", ": > ag-evil"),
        ("cut", "truncate -s -1 ag-evil"),
        ("binary", "head -c 300 /dev/urandom > ag-evil"),
        ("root's uid", "sed -i s/^uid=.*/uid=0/ ag-evil"),
        ("a person's uid", "sed -i s/^uid=.*/uid=1000/ ag-evil"),
        ("a uid above the range", "sed -i s/^uid=.*/uid=100000/ ag-evil"),
        ("a negative uid", "sed -i s/^uid=.*/uid=-1/ ag-evil"),
        ("another name", "sed -i s/^name=.*/name=ag-other/ ag-evil"),
        ("root's name", "sed -i s/^name=.*/name=root/ ag-evil"),
        ("a second passwd line in a field", "printf 'x:0:0::/:/bin/sh\\n' >> ag-evil"),
        ("a colon in a field", "sed -i 's/^gecos=.*/gecos=a:b/' ag-evil"),
        ("another version", "sed -i '1s/.*/tether-account 2/' ag-evil"),
    ];
    for (what, change) in cases {
        scene.host.sh(&format!("{put}{change}"))?;
        let (ran, took) = getent()?;
        ensure!(ran.code == 2 && ran.out.is_empty() && ran.err.is_empty(), "{what}: {ran:?}");
        ensure!(took < Duration::from_secs(2), "{what}: it took {took:?}");
        ensure!(people.ssh("bob", "id -un")?.out == "bob\n", "{what}: bob cannot log in");
    }
    scene
        .host
        .sh("rm -rf /run/tether/accounts/name/ag-evil /run/tether/accounts/uid; mkfifo /run/tether/accounts/uid")?;
    ensure!(
        scene.host.exec(&["timeout", "5", "getent", "passwd", "99999"])?.status.code() == Some(2),
        "a FIFO as folder"
    );
    people.day(&scene.host)?;
    scene.host.sh("rm /run/tether/accounts/uid")?;
    // What is no session's goes at agentd's next start, and what is a session's comes back.
    scene.host.sh(put)?;
    scene.restart_agentd()?;
    let ran = Ran::from(scene.host.exec(&["getent", "passwd", "ag-evil"])?);
    ensure!(ran.code == 2, "an account of no session stays: {ran:?}");
    ensure!(agent.run("id -un")?.out == format!("{}\n", draft.login), "the session's own account did not come back");
    Ok(())
}

/// `fake.py MODE SESSION PRINCIPAL UID`: answers on agentd's sockets, the principals command truly and all else by MODE.
/// What has the uid UID serves root's socket.
const FAKE: &str = r#"
import array, ctypes, json, os, socket, struct, sys, threading, time
mode, session, principal, uid = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
libc = ctypes.CDLL(None)
def frame(message): text = json.dumps(message).encode(); return b"\x01" + struct.pack(">I", len(text)) + text
def new_namespaces():
    pipe = os.pipe()
    child = os.fork()
    if child == 0:
        libc.unshare(0x00020000 | 0x08000000 | 0x40000000); os.write(pipe[1], b"x"); time.sleep(3600)
    os.read(pipe[0], 1)
    return [os.open(f"/proc/{child}/ns/{kind}", os.O_RDONLY) for kind in ("mnt", "ipc", "net")]
null = lambda n: [os.open("/dev/null", os.O_RDWR) for _ in range(n)]
own = lambda: [os.open(f"/proc/1/ns/{kind}", os.O_RDONLY) for kind in ("mnt", "ipc", "net")]
opened, done = {"answer": "opened", "session": session}, {"answer": "done"}
def answer(question):
    """bytes and descriptors"""
    ask = question["ask"]
    if mode == "silence": return b"", []
    if mode == "hang": time.sleep(30); return b"", []
    if mode == "half a header": return b"\x01\x00", []
    if mode == "half a frame": return frame(done)[:-3], []
    if mode == "half a frame, and wait": return None, []
    if mode == "a huge length": return b"\x01\xff\xff\xff\xff" + b"x" * 1000, []
    if mode == "another version": return b"\x02" + frame(done)[1:], []
    if mode == "no JSON": return b"\x01" + struct.pack(">I", 4) + b"done", []
    if mode == "deep JSON": return b"\x01" + struct.pack(">I", 60000) + b"[" * 60000, []
    if mode == "no UTF-8": return b"\x01" + struct.pack(">I", 4) + b"\xff\xfe\x00\x80", []
    if mode == "an unknown answer": return frame({"answer": "welcome"}), []
    if mode == "done to everything": return frame(done), []
    if mode == "opened to everything": return frame(opened), null(3)
    if mode == "a status": return frame({"answer": "commands", "bundle": "x", "commands": []}), []
    if mode.startswith("plan"):
        return frame({"answer": "plan", "plan": "x"}), {"plan": [], "plan, null": null(4), "plan, own": own() + null(1)}[mode]
    if ask != "open": return frame(done), []
    if mode == "opened without descriptors": return frame(opened), []
    if mode == "opened with null": return frame(opened), null(3)
    if mode == "opened with four": return frame(opened), own() + null(1)
    if mode == "opened with the host's own": return frame(opened), own()
    if mode == "opened in another order": return frame(opened), new_namespaces()[::-1]
    if mode == "opened, unbound": return frame(opened), new_namespaces()
    raise SystemExit(mode)
def serve(listener, answer):
    while True:
        link, _ = listener.accept()
        threading.Thread(target=one, args=(link, answer), daemon=True).start()
def one(link, answer):
    head = link.recv(5, socket.MSG_WAITALL)
    if len(head) < 5: return
    question = json.loads(link.recv(struct.unpack(">I", head[1:])[0], socket.MSG_WAITALL))
    try:
        data, fds = answer(question)
        if data is None:
            link.sendall(frame(done)[:7]); time.sleep(30)
        elif data: link.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
    except OSError: pass
    with open("/run/asked", "a") as log: log.write(question["ask"] + "\n")
    link.close()
def listen(path, owner):
    try: os.unlink(path)
    except FileNotFoundError: pass
    s = socket.socket(socket.AF_UNIX); s.bind(path); os.chmod(path, 0o666 if owner else 0o600); s.listen(64)
    return s
open("/run/asked", "w").close(); os.chmod("/run/asked", 0o666)
principals = listen("/run/tether/principals.sock", 1)
os.chmod("/run/tether", 0o777)
if uid: os.setresuid(uid, uid, uid)
root = listen("/run/tether/root.sock", 0)
threading.Thread(target=serve, args=(principals, lambda q: (frame({"answer": "principals", "principals": [principal]}), []))).start()
print("ready", flush=True)
serve(root, answer)
"#;

const START_FAKE: &str = r#"
systemctl stop fake 2>/dev/null; systemctl reset-failed fake 2>/dev/null; rm -f /run/fake; chmod 755 /run/tether; rm -f /run/tether/*.sock
systemd-run --quiet --unit=fake -p StandardOutput=file:/run/fake -p KillMode=control-group python3 /root/fake.py "$MODE" "$SESSION" "$PRINCIPAL" "$SERVER_UID"
for i in $(seq 500); do grep -q ready /run/fake 2>/dev/null && exit 0; sleep 0.02; done; journalctl -q -u fake; exit 1
"#;

fn pretend(scene: &Scene, draft: &Draft, mode: &str, uid: u32) -> Result {
    scene.host.write_file("/root/fake.py", FAKE, 0o644)?;
    let (session, principal) = (draft.grant.session.as_str(), draft.grant.principal.to_string());
    let command = scene.host.command("sh").args(&["-c", START_FAKE]).env("MODE", mode).env("SESSION", session);
    let ran: Ran = command.env("PRINCIPAL", &principal).env("SERVER_UID", &uid.to_string()).output()?.into();
    ensure!(ran.code == 0, "the fake agentd: {ran:?}");
    Ok(())
}

fn stop_pretending(scene: &mut Scene) -> Result {
    scene.host.sh("systemctl stop fake; systemctl reset-failed fake 2>/dev/null; chmod 755 /run/tether; rm -f /run/tether/*.sock; systemctl start tether-agentd")?;
    scene.resume()
}

/// No process of an agent's, and no sshd that serves one.
fn nothing_runs(scene: &Scene) -> Result {
    let look = "ps -eo uid=,args= | awk '($1 >= 65536 && $1 <= 99999) || /sshd[^ ]*: ag-/' | grep -v awk; true";
    let start = Instant::now();
    loop {
        let left = scene.host.sh(look)?;
        if left.is_empty() {
            return Ok(());
        }
        ensure!(start.elapsed() < Duration::from_secs(5), "this keeps running:\n{left}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

const LIES: [&str; 19] = [
    "silence",
    "hang",
    "half a header",
    "half a frame",
    "half a frame, and wait",
    "a huge length",
    "another version",
    "no JSON",
    "deep JSON",
    "no UTF-8",
    "an unknown answer",
    "done to everything",
    "opened to everything",
    "a status",
    "opened without descriptors",
    "opened with null",
    "opened with four",
    "opened with the host's own",
    "opened in another order",
];

fn an_agentd_that_lies_lets_nobody_in(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let people = People::new(&scene.lab, &scene.host)?;
    let (draft, agent) = scene.session()?;
    scene.host.sh("systemctl stop tether-agentd")?;
    let sshd = scene.host.sh("systemctl show -p MainPID ssh")?;
    for lie in LIES.into_iter().chain(["opened, unbound"]) {
        pretend(&scene, &draft, lie, 0)?;
        let checked = (|| -> Result {
            let start = Instant::now();
            let ran = agent.run("echo in")?;
            ensure!(ran.code != 0 && !ran.out.contains("in"), "an agent came in: {ran:?}");
            ensure!(start.elapsed() < Duration::from_secs(10), "it took {:?}", start.elapsed());
            let asked = scene.host.sh("sleep 0.1; sort -u /run/asked")?;
            ensure!(
                ["hang", "half a frame, and wait"].contains(&lie) || asked.contains("account\n"),
                "nobody was lied to: {asked}"
            );
            if lie.starts_with("opened ") && lie != "opened to everything" || lie == "opened, unbound" {
                ensure!(asked.contains("open\n"), "the lie was not told: {asked}");
            }
            if lie == "opened, unbound" {
                ensure!(ran.err.contains("shell.not_bound"), "it was not the shell that refused: {ran:?}");
            }
            nothing_runs(&scene)?;
            ensure!(people.ssh("bob", "sudo -n id -u")?.out == "0\n", "bob cannot work");
            Ok(())
        })();
        checked.with_context(|| lie.to_owned())?;
    }
    ensure!(scene.host.sh("systemctl show -p MainPID ssh")? == sshd, "sshd is another");
    people.day(&scene.host)?;
    stop_pretending(&mut scene)?;
    ensure!(agent.run("echo in")?.out == "in\n", "the papers were not good");
    Ok(())
}

fn an_agentd_that_lies_gives_no_root(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let people = People::new(&scene.lab, &scene.host)?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    ensure!(connection.run("sudo uptime")?.code == 0, "the agent cannot work");
    scene.host.sh("systemctl stop tether-agentd")?;
    for lie in LIES.into_iter().chain(["plan", "plan, null", "plan, own"]) {
        pretend(&scene, &draft, lie, 0)?;
        let start = Instant::now();
        let ran = connection.run("sudo id -u")?;
        ensure!(ran.code != 0 && ran.out.is_empty(), "{lie}: {ran:?}");
        ensure!(start.elapsed() < Duration::from_secs(10), "{lie}: it took {:?}", start.elapsed());
        let list = connection.run("sudo -l")?;
        ensure!(list.code != 139 && list.code != 134, "{lie}: sudo died: {list:?}");
        ensure!(people.ssh("bob", "sudo -n id -u")?.out == "0\n", "{lie}: bob cannot work");
    }
    stop_pretending(&mut scene)?;
    ensure!(connection.run("sudo uptime")?.code == 0, "the agent cannot work any more");
    Ok(())
}

fn who_is_not_root_is_not_believed(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (draft, agent) = scene.session()?;
    let (bound, inside) = scene.session()?;
    let connection = inside.connect()?;
    scene.host.sh("systemctl stop tether-agentd")?;
    for uid in [65534, scene_uid(&scene, &bound)?] {
        pretend(&scene, &draft, "opened, unbound", uid)?;
        let ran = agent.run("echo in")?;
        ensure!(ran.code != 0 && !ran.out.contains("in"), "an agent came in: {ran:?}");
        ensure!(ran.err.contains(&format!("served by uid {uid}, not by root")), "another refusal: {ran:?}");
        let ran = connection.run("sudo id -u")?;
        ensure!(ran.code != 0 && ran.out.is_empty(), "sudo: {ran:?}");
        let ran = Ran::from(scene.host.exec(&["tether", "status"])?);
        ensure!(ran.code != 0 && ran.err.contains("not by root"), "tether: {ran:?}");
        ensure!(scene.host.sh("grep -vx principals /run/asked; true")?.is_empty(), "it was asked");
    }
    stop_pretending(&mut scene)?;
    ensure!(agent.run("echo in")?.out == "in\n", "the papers were not good");
    Ok(())
}

fn scene_uid(scene: &Scene, draft: &Draft) -> anyhow::Result<u32> {
    Ok(scene.host.sh(&format!("id -u {}", draft.login))?.trim().parse()?)
}
