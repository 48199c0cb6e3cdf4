//! Many sessions at once, of two agents for two humans on two hosts: each record is of the session whose command,
//! account, uid or token it tells of, and no other's.

use anyhow::{Context, Result, bail, ensure};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tether_testhost::{Host, Suite};
use tether_tests::agent::{Connection, Ran};
use tether_tests::central::random_name;
use tether_tests::evidence::{CHAIN, RECORDINGS, copy_out, export, roots, verify, wait_shipped};
use tether_tests::provider::{ALICE, BOB, Person};
use tether_tests::realm::{POLICIES, Realm};
use tether_tests::whose::{self, Told, Truth};

const WIDE: &str = r#"
name = "triage"
version = 7
[[rule]]
id = "say"
program = "/usr/bin/echo"
arguments = "any"
[[rule]]
id = "shell"
program = "/usr/bin/dash"
arguments = "any"
[[rule]]
id = "who"
program = "/usr/bin/id"
arguments = ["-u"]
"#;
/// How many sessions are worked on at a time.
const LANES: usize = 4;
/// A sign-in is used for so long.
const FRESH: Duration = Duration::from_secs(240);
const AGENTS: [&str; 2] = ["triage", "patch"];
const PEOPLE: [&Person; 2] = [&ALICE, &BOB];

#[test]
fn a_thousand_sessions_and_each_record_is_whose_it_says() -> Result<()> {
    let long = std::env::var_os("TETHER_TEST_LONG").is_some();
    let realm = many(Suite::Bookworm)?;
    let truths = work(&realm, if long { 1000 } else { 24 })?;
    held(&realm, &truths)
}

#[test]
fn on_trixie_too() -> Result<()> {
    let realm = many(Suite::Trixie)?;
    let truths = work(&realm, 8)?;
    held(&realm, &truths)
}

/// Two hosts, and a policy for each agent.
fn many(suite: Suite) -> Result<Realm> {
    let mut realm = Realm::with_hosts(suite, &["web-01", "web-02"])?;
    let patch = POLICIES.replace("analysts-on-web", "patch-on-web").replace("Agent::\"triage\"", "Agent::\"patch\"");
    let (patch, _) = patch.split_once("@id(\"admins\")").context("the policies have changed")?;
    std::fs::write(realm.central.path("policies.cedar"), format!("{POLICIES}{patch}"))?;
    realm.central.serve_with(|settings| settings.replace("per_pair = 8", "per_pair = 2000"))?;
    realm.central.wait_listening()?;
    realm.register_agent("patch")?;
    realm.publish(WIDE)?;
    for host in &realm.hosts {
        realm.wait(host, "the bundle", |status| {
            status.bundles.iter().any(|bundle| bundle.version == Some(7) && bundle.state == "usable")
        })?;
    }
    Ok(realm)
}

/// Who has signed in, and when.
struct Desk<'r> {
    realm: &'r Realm,
    tokens: Mutex<BTreeMap<&'static str, (String, Instant)>>,
}

impl Desk<'_> {
    fn token(&self, person: &Person) -> Result<String> {
        let mut tokens = self.tokens.lock().map_err(|_| anyhow::anyhow!("a lane panicked"))?;
        if let Some((token, at)) = tokens.get(person.email).filter(|(_, at)| at.elapsed() < FRESH) {
            let _ = at;
            return Ok(token.clone());
        }
        let token = self.realm.provider.sign_in(person)?;
        tokens.insert(person.email, (token.clone(), Instant::now()));
        Ok(token)
    }
}

/// So many sessions, several at a time, each of another pair and host than the one before.
fn work(realm: &Realm, count: usize) -> Result<Vec<Truth>> {
    let begun = Instant::now();
    let desk = Desk { realm, tokens: Mutex::new(BTreeMap::new()) };
    let (next, truths) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let lane = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::SeqCst);
            if number >= count {
                return Ok(());
            }
            let truth = session(&desk, number).with_context(|| format!("session {number}"));
            if truth.is_err() {
                next.store(count, Ordering::SeqCst);
            }
            truths.lock().map_err(|_| anyhow::anyhow!("a lane panicked"))?.push(truth?);
        }
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().try_for_each(|lane| lane.join().map_err(|_| anyhow::anyhow!("a lane panicked"))?)
    })?;
    let truths = truths.into_inner()?;
    for host in &realm.hosts {
        realm.wait(host, "the sessions' end", |status| status.sessions.is_empty())?;
    }
    let took = begun.elapsed();
    eprintln!("{count} sessions, {LANES} at a time: {took:?}, {:?} each", took / u32::try_from(count)?);
    Ok(truths)
}

/// One session: what it was, from everywhere but a chain.
fn session(desk: &Desk<'_>, number: usize) -> Result<Truth> {
    let realm = desk.realm;
    let (person, agent) = (PEOPLE[number % 2], AGENTS[number / 2 % 2]);
    let host = &realm.hosts[number / 4 % 2];
    let instance = format!("run-{number}-{}", random_name(6)?);
    let (ran, _) = realm.try_open_by(agent, &instance, host.name(), &desk.token(person)?)?;
    let (opened, client) = realm.opened(host, &ran)?;
    let mark = format!("mk{}", random_name(12)?);
    let connection = client.connect()?;
    let said = act(&connection, &mark)?;
    let uids: Vec<u32> = said.lines().filter_map(|line| line.parse().ok()).collect();
    let [login, command] = uids.as_slice() else { bail!("id -u said {said:?}") };
    connection.close();
    Ok(Truth {
        host: host.name().to_owned(),
        human: person.email.to_owned(),
        agent: agent.to_owned(),
        instance,
        delegation: claim(&std::fs::read_to_string(&opened.token)?, "jti")?,
        session: opened.session,
        account: opened.account,
        uids: [*login, *command],
        mark,
    })
}

/// A claim of a token, read as anybody can.
fn claim(token: &str, name: &str) -> Result<String> {
    let body = token.trim().split('.').nth(1).context("no JWT")?;
    let bytes = Base64UrlUnpadded::decode_vec(body).map_err(|error| anyhow::anyhow!("no JWT: {error}"))?;
    let claims: Value = serde_json::from_slice(&bytes)?;
    Ok(claims[name].as_str().with_context(|| format!("no {name} in {claims}"))?.to_owned())
}

/// Endings of the mark in commands that ran, each once.
const RAN: [&str; 8] = ["plain", "run", "setsid", "fork", "beside", "script", "inner", "nested"];

/// Three channels at once, with what shells do: children in the background, sessions of their own, two forks, scripts of
/// scripts, a command that tries to start commands itself. What the first one said.
fn act(connection: &Connection<'_>, mark: &str) -> Result<String> {
    let plain = format!(
        "id -u; sudo id -u; sudo echo {mark}.plain >&2; tether run echo {mark}.run >&2; sudo cat /etc/shadow {mark}.refused >&2; true"
    );
    let children = format!(
        "setsid -f sh -c 'sudo echo {mark}.setsid; : > $HOME/setsid'; \
         ( ( sudo echo {mark}.fork; : > $HOME/fork ) & ); tether run echo {mark}.beside & wait; \
         until test -e $HOME/setsid && test -e $HOME/fork; do sleep 0.05; done"
    );
    let nested = format!(
        "echo 'sudo echo {mark}.script & tether run echo {mark}.inner; wait' > inner.sh; \
         echo 'sh ./inner.sh' > outer.sh; env bash -c 'nohup sh ./outer.sh & wait'; \
         sudo dash -c 'echo {mark}.nested; tether run echo {mark}.stopped; sudo echo {mark}.stopped'; true"
    );
    let others = [connection.start(&children)?, connection.start(&nested)?];
    let said = connection.run(&plain)?;
    for child in others {
        let ran = Ran::from(child.wait_with_output()?);
        // Only the command that tries to start commands itself has something to complain of.
        let refused = ran.err.contains("tether: ") && !ran.err.contains("sudo: ");
        ensure!(ran.code == 0 && !refused, "{ran:?}");
    }
    ensure!(said.code == 0 && said.err.contains("[bundle.no_rule]"), "{said:?}");
    Ok(said.out)
}

/// The three chains, from central's export and from the hosts' own files.
fn held(realm: &Realm, truths: &[Truth]) -> Result<()> {
    for host in &realm.hosts {
        wait_shipped(realm, host)?;
    }
    let folder = tempfile::tempdir()?;
    let exported = export(realm, folder.path().join("export"))?;
    let central = whose::read("central", &exported.join("central"))?;
    let (mut theirs, mut ours) = (central.clone(), central);
    for host in &realm.hosts {
        let copy = folder.path().join(host.name());
        copy_out(host, CHAIN, &copy)?;
        theirs.extend(whose::read(host.name(), &exported.join("hosts").join(host.name()))?);
        ours.extend(whose::read(host.name(), &copy)?);
    }
    ensure!(theirs.len() == ours.len(), "central has {} records, the hosts {}", theirs.len(), ours.len());
    ensure!(theirs.iter().zip(&ours).all(|(one, other)| one.record == other.record), "they differ");
    whose::check(truths, &theirs).context("central's export")?;
    whose::check(truths, &ours).context("the hosts' files")?;
    let mut of: BTreeMap<&str, Vec<&Told>> = BTreeMap::new();
    for told in &ours {
        of.entry(told.session().unwrap_or_default()).or_default().push(told);
    }
    for truth in truths {
        let own = of.get(truth.session.as_str()).context("no record")?;
        complete(truth, own).with_context(|| format!("session {}", truth.session))?;
    }
    eprintln!("{} records of {} sessions", ours.len(), truths.len());
    let (path, trust) = (exported.display().to_string(), roots(realm.host()?)?);
    let mut words = vec!["--export", &path];
    words.extend(trust.iter().flat_map(|root| ["--root", root.as_str()]));
    let (code, said) = verify(&words)?;
    ensure!(code == 0, "{said:#}");
    realm.hosts.iter().try_for_each(|host| recordings(host, truths))?;
    swapped(truths, &ours)?;
    looked_up(realm, truths, &ours)
}

/// Everything that happened is there, once.
fn complete(truth: &Truth, all: &[&Told]) -> Result<()> {
    let of = |event: &str, outcome: &str, word: &str| {
        let is_it = |told: &&&Told| {
            told.event() == event
                && told.record["outcome"] == outcome
                && told.record["details"]["argv"].to_string().contains(word)
        };
        all.iter().filter(is_it).count()
    };
    for ending in RAN {
        let word = format!("{}.{ending}", truth.mark);
        for event in ["sudo.command", "sudo.ended"] {
            let count = of(event, "allowed", &word);
            ensure!(count == 1, "{event} {word}: {count} records");
        }
    }
    let word = format!("{}.refused", truth.mark);
    ensure!(of("sudo.command", "refused", &word) == 1, "{word} was not refused once");
    let once = |event: &str| all.iter().filter(|told| told.event() == event).count();
    for event in [
        "token.issued",
        "grant.sent",
        "certificate.issued",
        "session.reserved",
        "login.bound",
        "session.ending",
        "session.removed",
    ] {
        ensure!(once(event) == 1, "{event}: {} records", once(event));
    }
    ensure!(once("recording.started") == once("recording.ended"), "a recording has no end on record");
    ensure!(once("recording.started") >= 3 + RAN.len(), "only {} recordings", once("recording.started"));
    Ok(())
}

/// What a session's recordings show has its own marks and nobody else's.
fn recordings(host: &Host, truths: &[Truth]) -> Result<()> {
    let found = host.sh(&format!("cd {RECORDINGS}; grep -raoE 'mk[a-z2-7]{{12}}[.](plain|nested)' . | sort -u"))?;
    let mut seen = 0;
    for line in found.lines() {
        let (path, word) = line.rsplit_once(':').context("grep")?;
        let session = path.trim_start_matches("./").split('/').next().unwrap_or_default();
        let truth = truths.iter().find(|truth| truth.session == session).with_context(|| path.to_owned())?;
        ensure!(word.starts_with(&truth.mark), "{path} has {word}, and its mark is {}", truth.mark);
        seen += 1;
    }
    let here = truths.iter().filter(|truth| truth.host == host.name()).count();
    ensure!(seen >= 2 * here, "{seen} marks in the recordings of {here} sessions");
    Ok(())
}

/// The control: with one record's ids changed, of whatever event, the witness finds it.
fn swapped(truths: &[Truth], all: &[Told]) -> Result<()> {
    // A part tells as much as all of them, and sooner.
    let truths = truths.get(..8).unwrap_or(truths);
    let is_known = |told: &&Told| told.session().is_none_or(|id| truths.iter().any(|truth| truth.session == id));
    let mut all: Vec<Told> = all.iter().filter(is_known).cloned().collect();
    let all = &mut all;
    ensure!(whose::wrong(truths, all).is_empty(), "a part does not hold by itself");
    let mut kinds: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (at, told) in all.iter().enumerate().filter(|(_, told)| told.session().is_some()) {
        kinds.insert((told.event().to_owned(), told.record["outcome"].to_string()), at);
    }
    ensure!(kinds.len() >= 12, "{kinds:?}");
    for ((event, _), at) in &kinds {
        let (own, chain) = (all[*at].session().context("a session")?.to_owned(), all[*at].chain.clone());
        let other = truths.iter().find(|truth| truth.session != own && truth.host != chain);
        let on_same = truths.iter().find(|truth| truth.session != own && truth.host == chain);
        for truth in [other, on_same].into_iter().flatten() {
            let ids = json!({
                "human": truth.human, "agent": truth.agent, "instance": truth.instance,
                "delegation": truth.delegation, "session": truth.session,
            });
            found(truths, all, *at, &format!("all ids of {event}"), |record| record["ids"] = ids)?;
        }
        for id in ["human", "agent", "instance", "delegation", "session"] {
            let stranger = |record: &mut Value| record["ids"][id] = json!("somebody@example.org");
            found(truths, all, *at, &format!("{id} of {event}"), stranger)?;
            let nobody = |record: &mut Value| record["ids"][id] = json!({"id": null, "why": "of the host"});
            found(truths, all, *at, &format!("no {id} of {event}"), nobody)?;
        }
    }
    let command = all.iter().position(|told| told.event() == "sudo.command").context("no command")?;
    let own = all[command].session().context("a session")?.to_owned();
    let other = truths.iter().find(|truth| truth.session != own).context("one session")?;
    found(truths, all, command, "another's mark", |record| record["details"]["cwd"] = json!(other.mark))?;
    found(truths, all, command, "another's account", |record| {
        record["details"]["cwd"] = json!(format!("/home/{}-ro/x", other.account));
    })?;
    let cause = all.iter().position(|told| told.event() == "login.bound" && told.session() != Some(&own));
    let cause = all[cause.context("one login")?].name();
    found(truths, all, command, "another's cause", |record| record["parent"] = json!(cause))?;
    found(truths, all, command, "no cause", |record| record["parent"] = Value::Null)?;
    found(truths, all, command, "a cause that is nowhere", |record| record["parent"] = json!("web-01#99999999"))
}

fn found(truths: &[Truth], all: &mut [Told], at: usize, what: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
    let before = all[at].record.clone();
    change(&mut all[at].record);
    ensure!(all[at].record != before, "the control has changed nothing: {what}");
    ensure!(!whose::wrong(truths, all).is_empty(), "the witness does not see {what}: {}", all[at].record);
    all[at].record = before;
    Ok(())
}

/// What people look things up with says the same: one session as a tree, a search, a recording played.
fn looked_up(realm: &Realm, truths: &[Truth], all: &[Told]) -> Result<()> {
    let truth = truths.first().context("no session")?;
    let host = realm.hosts.iter().find(|host| host.name() == truth.host).context("no host")?;
    let own: Vec<&Told> = all.iter().filter(|told| told.session() == Some(&truth.session)).collect();

    // From central, by an admin: all chains.
    let story = realm.central.administer(&["session", "show", &truth.session])?;
    let told = story["records"].as_array().context("no records")?;
    let names =
        |told: &[Value]| told.iter().map(|one| one["id"].to_string()).collect::<std::collections::BTreeSet<_>>();
    let wanted: std::collections::BTreeSet<String> = own.iter().map(|told| json!(told.name()).to_string()).collect();
    ensure!(names(told) == wanted, "{:?}\n{wanted:?}", names(told));
    let roots: Vec<_> = told.iter().filter(|one| one["under"].is_null()).collect();
    ensure!(roots.len() == 1 && roots[0]["record"]["event"] == "token.issued", "{roots:?}");
    // On the host, as root: its own chain, checked with the key set that agentd has.
    let shown = host.exec(&["tether", "--json", "session", "show", &truth.session])?;
    let near: Value = serde_json::from_slice(&shown.stdout)?;
    let count = own.iter().filter(|told| told.chain == truth.host).count();
    ensure!(near["records"].as_array().map(Vec::len) == Some(count), "{count} records, not {near}");
    ensure!(near["checked"]["holds"] == true, "{}", near["checked"]);
    let text = String::from_utf8(host.exec(&["tether", "session", "show", &truth.session])?.stdout)?;
    for words in [&truth.human, &truth.account, &format!("{}.setsid", truth.mark), "REFUSED [bundle.no_rule]"] {
        ensure!(text.contains(words), "{words} is not in\n{text}");
    }

    // Searched for by each of what a person knows.
    let search = |words: &[&str]| -> Result<Vec<Value>> {
        let ran = realm.central.admin(&[&["audit", "search"], words].concat())?;
        ensure!(ran.code == 0, "{words:?}: {ran:?}");
        Ok(ran.out.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    };
    let refused = search(&["--session", &truth.session, "--event", "sudo.command", "--outcome", "refused"])?;
    ensure!(refused.iter().any(|one| one["record"]["code"] == "bundle.no_rule"), "{refused:?}");
    let by_all = |told: &&Told| {
        let ids = &told.record["ids"];
        ids["human"] == truth.human && ids["agent"] == truth.agent && told.chain == truth.host
    };
    let found = search(&["--human", &truth.human, "--agent", &truth.agent, "--host", &truth.host])?;
    let here = all.iter().filter(by_all).count();
    ensure!(
        found.iter().filter(|one| one["chain"] == truth.host.as_str()).count() == here,
        "{} not {here}",
        found.len()
    );
    ensure!(found.iter().all(|one| one["record"]["ids"]["human"] == truth.human), "another human's");

    // And played: byte for byte what the command has said.
    let command = own
        .iter()
        .find(|told| told.event() == "sudo.command" && told.record["details"]["argv"].to_string().contains(".plain"));
    let name = command.and_then(|told| told.record["details"]["recording"].as_str()).context("no recording")?;
    let played = host.exec(&["tether", "session", "play", &truth.session, name, "--raw"])?;
    ensure!(played.stdout == format!("{}.plain\n", truth.mark).as_bytes(), "{played:?}");
    let cast = String::from_utf8(host.exec(&["tether", "session", "play", &truth.session, name, "--cast"])?.stdout)?;
    ensure!(cast.starts_with("{\"version\"") && cast.contains(&truth.mark), "{cast}");
    let list = host.exec(&["tether", "--json", "session", "play", &truth.session])?;
    let list: Value = serde_json::from_slice(&list.stdout)?;
    let recorded = own.iter().filter(|told| told.event() == "recording.started").count();
    ensure!(list.as_array().map(Vec::len) == Some(recorded), "{recorded} recordings, not {list}");
    let whole = host.exec(&["tether", "--json", "audit", "verify", "--recordings"])?;
    let whole: Value = serde_json::from_slice(&whole.stdout)?;
    ensure!(whole["holds"] == true && whole["recordings"]["findings"] == json!([]), "{whole:#}");
    ensure!(whole["recordings"]["whole"].as_u64() >= Some(recorded as u64), "{}", whole["recordings"]);
    ensure!(!whole["chains"][0]["countersigned"].is_null(), "its key set is not found: {whole:#}");
    Ok(())
}
