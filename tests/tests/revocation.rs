//! Taking back, by each of the seven targets, on live sessions: what falls under it ends, what does not goes on.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::BufRead;
use std::process::Child;
use tether_testhost::{Host, Suite};
use tether_tests::agent::{Agent, Connection};
use tether_tests::central::now;
use tether_tests::on_both_suites;
use tether_tests::provider::{ALICE, BOB};
use tether_tests::realm::{Opened, POLICIES, Realm};
use tether_tests::scene::SHIPPED_BUNDLE;

on_both_suites!(
    each_target_ends_what_falls_under_it,
    a_host_enrols_once,
    central_killed_forgets_nothing,
    directories_and_signals_end_what_runs
);

/// The second agent may do the same.
const SECOND_AGENT: &str = r#"
@id("patch-on-web") @bundle("triage") @minutes("30")
permit (principal == Agent::"patch", action == Action::"connect", resource)
when { context.human in Group::"analysts" && resource.labels.contains("role=web") && context.multi_factor };
"#;

/// A rule for a command that runs until it is ended.
const ANY_SCRIPT: &str = "
[[rule]]
id = 'any-script'
program = '/usr/bin/dash'
arguments = 'any'
";

/// A session that is in use.
struct Live<'a> {
    opened: Opened,
    connection: Connection<'a>,
    running: Child,
}

impl<'a> Live<'a> {
    fn new((opened, agent): (Opened, &'a Agent)) -> Result<Self> {
        let connection = agent.connect()?;
        let mut running = connection.start("echo started; exec sleep 1000")?;
        let mut line = String::new();
        std::io::BufReader::new(running.stdout.as_mut().context("no stdout")?).read_line(&mut line)?;
        ensure!(line == "started\n", "{line:?}");
        Ok(Self { opened, connection, running })
    }

    fn ends(mut self, realm: &Realm, host: &Host) -> Result<()> {
        realm.wait_gone(host, &self.opened.session)?;
        self.running.wait()?;
        ensure!(self.connection.run("true")?.code != 0, "the connection is still there");
        Ok(())
    }

    fn goes_on(&self) -> Result<()> {
        let ran = self.connection.run("echo here")?;
        ensure!(ran.out == "here\n", "a session that does not fall under it ended: {ran:?}");
        Ok(())
    }
}

fn each_target_ends_what_falls_under_it(suite: Suite) -> Result<()> {
    let mut realm = Realm::with_hosts(suite, &["web-01", "web-02"])?;
    std::fs::write(realm.central.path("policies.cedar"), format!("{POLICIES}{SECOND_AGENT}"))?;
    realm.central.kill();
    realm.central.serve_again()?;
    realm.register_agent("patch")?;
    let (alice, bob) = (realm.provider.sign_in(&ALICE)?, realm.provider.sign_in(&BOB)?);
    let [one, two] = realm.hosts.as_slice() else { anyhow::bail!("two hosts") };

    let (opened, kept) = realm.open(two, &bob)?;
    let bystander = Live::new((opened, &kept))?;

    for target in ["session", "delegation", "cert"] {
        let (opened, agent) = realm.open(one, &alice)?;
        let live = Live::new((opened.clone(), &agent))?;
        let id = match target {
            "session" => opened.session.clone(),
            "delegation" => member(&realm, &opened, "/id")?,
            _ => member(&realm, &opened, "/issued/serial")?,
        };
        realm.central.administer(&["revoke", target, &id])?;
        live.ends(&realm, one)?;
        ensure!(agent.run("true")?.code != 0, "{target}: the certificate still lets it in");
        bystander.goes_on()?;
    }

    let (opened, agent) = realm.open(one, &alice)?;
    let live = Live::new((opened, &agent))?;
    realm.central.administer(&["revoke", "pair", "triage", "alice@example.org"])?;
    live.ends(&realm, one)?;
    bystander.goes_on()?;
    refused(&realm, "triage", "web-01", &alice, "pair.revoked")?;
    let (ran, _) = realm.try_open_as("patch", "web-01", &alice)?;
    ensure!(ran.code == 0, "another agent for the same human is another pair: {ran:?}");

    after_this_second();
    let fresh = realm.provider.sign_in(&ALICE)?;
    let (opened, agent) = realm.open(one, &fresh)?;
    let live = Live::new((opened, &agent))?;
    realm.central.administer(&["revoke", "human", "alice@example.org"])?;
    live.ends(&realm, one)?;
    bystander.goes_on()?;
    refused(&realm, "triage", "web-01", &fresh, "human.revoked")?;
    refused(&realm, "patch", "web-01", &fresh, "human.revoked")?;
    after_this_second();
    let fresh = realm.provider.sign_in(&ALICE)?;

    let (opened, agent) = realm.open(one, &fresh)?;
    let live = Live::new((opened.clone(), &agent))?;
    realm.central.administer(&["revoke", "host", "web-01"])?;
    live.ends(&realm, one)?;
    bystander.goes_on()?;
    refused(&realm, "triage", "web-01", &fresh, "host.inactive")?;

    let (ran, _) = realm.try_open_as("patch", "web-02", &bob)?;
    ensure!(ran.code == 0, "{ran:?}");
    realm.central.administer(&["revoke", "agent", "triage"])?;
    bystander.ends(&realm, two)?;
    refused(&realm, "triage", "web-02", &bob, "actor.unknown")?;
    // Reactivating revives nothing that was issued before.
    realm.central.administer(&["agents", "activate", "triage"])?;
    ensure!(kept.run("true")?.code != 0, "the old certificate is good again");
    let (ran, _) = realm.try_open("web-02", &bob)?;
    ensure!(ran.code == 0, "{ran:?}");
    let (ran, _) = realm.try_open_as("patch", "web-02", &bob)?;
    ensure!(ran.code == 0, "another agent was touched: {ran:?}");
    Ok(())
}

/// An enrolment token is for one host, once; a courier has its own host's feed and no other.
fn a_host_enrols_once(suite: Suite) -> Result<()> {
    let realm = Realm::with_hosts(suite, &["web-01", "web-02"])?;
    let [one, two] = realm.hosts.as_slice() else { anyhow::bail!("two hosts") };
    let token = realm.admit(one, "role=web")?;
    let again = |host: &Host, token: &str| -> Result<_> {
        let url = realm.central.url();
        Ok(host.exec(&["tether", "enroll", "--central", &url, "--token", token, "--again"])?)
    };
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let done = again(one, &token)?;
    ensure!(done.status.success(), "{}", said(&done));
    let used = again(two, &token)?;
    ensure!(!used.status.success() && said(&used).contains("[enrol.used]"), "{}", said(&used));
    let unknown = again(two, "tether1-AAAA")?;
    ensure!(!unknown.status.success() && said(&unknown).contains("not an enrolment token"), "{}", said(&unknown));
    // The refused host is still who it was: a session on it can be had.
    let token = realm.provider.sign_in(&ALICE)?;
    let (_, agent) = realm.open(two, &token)?;
    ensure!(agent.run("echo in")?.out == "in\n", "the second host lost its enrolment");
    let codes: Vec<String> = realm.central.trail()?.into_iter().map(|link| link.event.code).collect();
    ensure!(codes.iter().any(|code| code == "enrol.used"), "{codes:?}");
    Ok(())
}

/// A power cut between any two requests: what was acknowledged is there, live sessions go on, revocations reach.
fn central_killed_forgets_nothing(suite: Suite) -> Result<()> {
    let mut realm = Realm::new(suite)?;
    let token = realm.provider.sign_in(&ALICE)?;
    let (opened, agent) = realm.open(realm.host()?, &token)?;
    let live = Live::new((opened.clone(), &agent))?;
    let before = realm.central.trail()?.len();
    realm.central.kill();
    let (ran, _) = realm.try_open("web-01", &token)?;
    ensure!(ran.code != 0, "nobody issues while central is down");
    live.goes_on()?;
    realm.central.serve_again()?;
    ensure!(realm.central.trail()?.len() > before, "records were lost");
    let sessions = realm.central.administer(&["sessions"])?;
    let known = sessions["sessions"].as_array().is_some_and(|all| all.iter().any(|s| s["session"] == opened.session));
    ensure!(known, "{sessions}");
    realm.central.administer(&["revoke", "session", &opened.session])?;
    realm.central.kill();
    realm.central.serve_again()?;
    live.ends(&realm, realm.host()?)?;
    let (_, agent) = realm.open(realm.host()?, &token)?;
    ensure!(agent.run("echo in")?.out == "in\n", "the courier did not come back");
    let copy = realm.central.path("copy.db");
    realm.central.command(&["backup", &copy.display().to_string()])?;
    ensure!(copy.exists(), "no backup");
    Ok(())
}

/// SCIM and Shared Signals go the way of every revocation: what runs ends, under sudo too, and bystanders go on.
fn directories_and_signals_end_what_runs(suite: Suite) -> Result<()> {
    let realm = Realm::new(suite)?;
    realm.publish(&format!("{}{ANY_SCRIPT}", SHIPPED_BUNDLE.replace("version = 1\n", "version = 2\n")))?;
    let issuer = realm.provider.issuer();
    let host = realm.host()?;
    realm.wait(host, "the bundle", |status| {
        status.bundles.iter().any(|bundle| bundle.version == Some(2) && bundle.state == "usable")
    })?;
    let (opened, kept) = realm.open(host, &realm.provider.sign_in(&BOB)?)?;
    let bystander = Live::new((opened, &kept))?;

    let directory = realm.central.directory("okta", &issuer)?;
    let new = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": ALICE.email});
    let user = realm.central.scim(&directory, "POST", "/Users", &new)?;
    let path = format!("/Users/{}", user["id"].as_str().context("no id")?);
    let set_active = |active: &str| {
        let operation = json!({"op": "Replace", "path": "active", "value": active});
        let schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
        realm.central.scim(&directory, "PATCH", &path, &json!({"schemas": [schema], "Operations": [operation]}))
    };
    let token = realm.provider.sign_in(&ALICE)?;
    ends_with_its_command(&realm, &token, "SCIM", || set_active("False").map(drop))?;
    bystander.goes_on()?;
    let during = realm.provider.sign_in(&ALICE)?;
    refused(&realm, "triage", "web-01", &during, "human.inactive")?;
    set_active("True")?;
    refused(&realm, "triage", "web-01", &during, "human.revoked")?;

    after_this_second();
    let token = realm.provider.sign_in(&ALICE)?;
    let event = realm.provider.event(&json!({
        "iss": issuer, "aud": realm.central.url(), "iat": now(), "jti": "event-1",
        "sub_id": {"format": "complex", "user": {"format": "iss_sub", "iss": issuer, "sub": ALICE.sub}},
        "events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {"event_timestamp": now()}},
    }))?;
    ends_with_its_command(&realm, &token, "CAEP", || {
        let (status, answer) = realm.central.push(&event)?;
        ensure!(status == 202 && answer.is_empty(), "{status} {answer}");
        Ok(())
    })?;
    bystander.goes_on()?;
    refused(&realm, "triage", "web-01", &token, "human.revoked")?;
    // The provider's sign-in is no event, though the same key has signed it.
    let (status, answer) = realm.central.push(&token)?;
    ensure!(status == 400 && answer.contains("set.typ"), "{status} {answer}");
    Ok(())
}

/// A session with a shell that waits and a command under sudo that does not end by itself.
fn ends_with_its_command(realm: &Realm, token: &str, what: &str, end: impl FnOnce() -> Result<()>) -> Result<()> {
    let host = realm.host()?;
    let (opened, agent) = realm.open(host, token)?;
    let live = Live::new((opened, &agent))?;
    let mut command = live.connection.start("sudo dash -c 'echo started; exec sleep 1234'")?;
    let mut line = String::new();
    std::io::BufReader::new(command.stdout.as_mut().context("no stdout")?).read_line(&mut line)?;
    ensure!(line == "started\n", "{what}: nothing runs under sudo: {line:?}");
    ensure!(host.sh("pgrep -c -f '^sleep 1234'")?.trim() == "1", "{what}: it does not run");
    let begun = std::time::Instant::now();
    end()?;
    command.wait()?;
    eprintln!("{what}: from the request to the end of the command's ssh: {} ms", begun.elapsed().as_millis());
    live.ends(realm, host)?;
    ensure!(host.sh("pgrep -c -f '^sleep 1234' || true")?.trim() == "0", "{what}: the command runs on");
    ensure!(agent.run("true")?.code != 0, "{what}: the certificate still lets it in");
    Ok(())
}

fn refused(realm: &Realm, agent: &str, host: &str, token: &str, code: &str) -> Result<()> {
    let (ran, _) = realm.try_open_as(agent, host, token)?;
    ensure!(ran.code == 1 && ran.err.contains(&format!("[{code}]")), "wanted {code}: {ran:?}");
    Ok(())
}

fn member(realm: &Realm, opened: &Opened, pointer: &str) -> Result<String> {
    let sessions = realm.central.administer(&["sessions"])?;
    let all = sessions["sessions"].as_array().context("no sessions")?;
    let one = all.iter().find(|one| one["session"] == opened.session).context("not listed")?;
    Ok(match one.pointer(pointer).context("no such member")? {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

/// Sign-ins are known to the second: the next one has to be in a later one.
fn after_this_second() {
    let then = now();
    while now() == then {
        std::thread::yield_now();
    }
}
