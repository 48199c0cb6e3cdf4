//! Logins, and accounts coming and going.

use super::pair::Pair;
use super::{Beside, Figures, Row};
use crate::agent::Agent;
use anyhow::{Result, ensure};
use std::time::Instant;
use tether_sshcert::issue::{KeyPair, Request};
use tether_statement::Revocation;

/// Rounds of each side.
const ROUNDS: usize = 15;

/// `ssh HOST true`, from ssh's start to its end.
pub fn rows(pair: &mut Pair) -> Result<Vec<Row>> {
    let ca = KeyPair::from_seed(crate::central::seed()?);
    pair.stock.write_file("/etc/ssh/ca.pub", ca.public_line()?, 0o644)?;
    pair.stock.write_file("/etc/ssh/sshd_config.d/ca.conf", "TrustedUserCAKeys /etc/ssh/ca.pub\n", 0o644)?;
    pair.stock.sh("systemctl restart ssh")?;
    pair.stock.sh(&format!("for i in $(seq 1 {}); do useradd -m pool$i; done", 2 * ROUNDS + 2))?;
    let mut accounts = 1..;
    let with_systemd = compared(pair, &ca, &mut accounts)?;
    pair.stock.sh("sed -i '/pam_systemd/d' /etc/pam.d/common-session")?;
    let without = compared(pair, &ca, &mut accounts)?;
    let row = |case: &str, (ours, stock): (Vec<f64>, Vec<f64>), name, target| Row {
        case: case.to_owned(),
        unit: "us",
        ours: Figures::of(ours),
        beside: Some(Beside { name, figures: Figures::of(stock) }),
        target,
    };
    Ok(vec![
        row("login", with_systemd, "stock login, account never logged in before", "no slower"),
        row("login without pam_systemd", without, "stock login without pam_systemd", "at most +5 ms"),
    ])
}

fn compared(pair: &mut Pair, ca: &KeyPair, accounts: &mut impl Iterator<Item = i32>) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut ours, mut stock) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (draft, agent) = pair.scene.session()?;
        let took = login(&agent)?;
        pair.scene.wait_gone(draft.grant.session.as_str())?;
        let account = format!("pool{}", accounts.next().unwrap_or_default());
        let other = login(&pool_agent(pair, ca, &account)?)?;
        // The first of each warms files and caches up.
        if round > 0 {
            ours.push(took);
            stock.push(other);
        }
    }
    Ok((ours, stock))
}

fn login(agent: &Agent) -> Result<f64> {
    let start = Instant::now();
    let ran = agent.run("true")?;
    let took = start.elapsed().as_secs_f64() * 1e6;
    ensure!(ran.code == 0, "{ran:?}");
    Ok(took)
}

fn pool_agent(pair: &Pair, ca: &KeyPair, account: &str) -> Result<Agent> {
    let key = KeyPair::from_seed(crate::central::seed()?);
    let now = crate::central::now();
    let request = Request {
        key_id: account.to_owned(),
        serial: 1,
        host_certificate: false,
        principals: vec![account.to_owned()],
        valid_after: now - 60,
        valid_before: now + 3600,
        delegation: None,
        critical_options: Vec::new(),
        extensions: Vec::new(),
    };
    let certificate = ca.certify(key.public(), &request, crate::central::seed()?[..16].try_into()?)?;
    Agent::new(&pair.scene.lab, &pair.stock, account, &key, &certificate)
}

/// From the grant's arrival to the account's file, and from its revocation to the record that all is gone.
pub fn account(pair: &mut Pair) -> Result<Vec<Row>> {
    let mut ours = Vec::new();
    let root = pair.scene.host.root()?;
    for _ in 0..30 {
        let draft = crate::Draft::new(&pair.scene.central)?;
        let name = root.join("run/tether/accounts/name").join(&draft.login);
        let state = root.join("var/lib/tether/sessions").join(format!("{}.json", draft.grant.session));
        let start = Instant::now();
        pair.scene.central.say(&pair.scene.host, &tether_statement::Body::Grant(Box::new(draft.grant.clone())))?;
        wait(|| name.exists())?;
        pair.scene.central.revoke(&pair.scene.host, Revocation::Session(draft.grant.session.clone()))?;
        wait(|| !state.exists())?;
        ours.push(start.elapsed().as_secs_f64() * 1e6);
    }
    let script = "for i in $(seq 1 20); do a=$(date +%s%N); useradd -m pair$i && userdel -r pair$i 2>/dev/null; b=$(date +%s%N); echo $((b-a)); done";
    let stock = super::figures::parse(&pair.stock.sh(script)?, 1e3);
    Ok(vec![Row {
        case: "account".to_owned(),
        unit: "us",
        ours: Figures::of(ours),
        beside: Some(Beside { name: "useradd -m + userdel -r", figures: Figures::of(stock) }),
        target: "at least 20x faster",
    }])
}

fn wait(until: impl Fn() -> bool) -> Result<()> {
    let start = Instant::now();
    while !until() {
        ensure!(start.elapsed().as_secs() < 10, "agentd did not do it within 10 s");
        std::thread::yield_now();
    }
    Ok(())
}
