//! The gates with a transaction and an agentd of the test's own.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::gate::{self, Kept, Transaction, Verdict};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use tether_hostlink::{Answer, LinkError, Refusal, Reply, Request};

#[derive(Default)]
struct Fake {
    user: &'static str,
    service: &'static str,
    variables: BTreeMap<&'static str, &'static str>,
    kept: OnceCell<Kept>,
}

impl Transaction for Fake {
    fn user(&self) -> Option<String> {
        Some(self.user.to_owned())
    }
    fn service(&self) -> Option<String> {
        Some(self.service.to_owned())
    }
    fn rhost(&self) -> Option<String> {
        None
    }
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|text| (*text).to_owned())
    }
    fn kept(&self) -> Option<&Kept> {
        self.kept.get()
    }
    fn keep(&self, kept: Kept) -> bool {
        self.kept.set(kept).is_ok()
    }
}

fn login(user: &'static str) -> Fake {
    Fake { user, service: "sshd", ..Fake::default() }
}

fn yes(_: &Request) -> Result<Answer, LinkError> {
    Ok(Answer { reply: Reply::Done, descriptors: Vec::new() })
}

fn dead(_: &Request) -> Result<Answer, LinkError> {
    Err(LinkError::TimedOut)
}

fn never(request: &Request) -> Result<Answer, LinkError> {
    panic!("agentd was asked {request:?}")
}

fn code(verdict: Verdict) -> String {
    match verdict {
        Verdict::Deny(Refusal { code, .. }) => code,
        other => format!("{other:?}"),
    }
}

#[test]
fn a_human_is_ignored_and_agentd_never_asked() {
    for user in ["root", "alice", "agnes", ""] {
        let human = login(user);
        assert_eq!(gate::authenticate(&human, never), Verdict::Ignore);
        assert_eq!(gate::account(&human, never), Verdict::Ignore);
        assert_eq!(gate::open_session(&human, never), Verdict::Ignore);
        assert_eq!(gate::establish(&human, never), Verdict::Ignore);
        assert_eq!(gate::close_session(&human, never), Verdict::Ignore);
    }
}

#[test]
fn only_an_agents_login_by_sshd_may_end_its_process() {
    assert!(gate::is_agents_login(&login("ag-a")) && gate::concerns_an_agent(&login("ag-a")));
    for other in [login("alice"), Fake { service: "dovecot", ..login("ag-a") }, Fake { service: "su", ..login("root") }]
    {
        assert!(!gate::is_agents_login(&other), "{} by {}", other.user, other.service);
    }
    assert!(!gate::concerns_an_agent(&login("alice")));
}

#[test]
fn an_agent_passes_the_account_gate_by_agentds_word_only() {
    assert_eq!(gate::account(&login("ag-a"), yes), Verdict::Success);
    assert_eq!(code(gate::account(&login("ag-a"), dead)), "agentd.unreachable");
    assert_eq!(code(gate::authenticate(&login("ag-a"), never)), "pam.no_password");
}

#[test]
fn other_doors_and_accounts_that_never_log_in_are_shut_without_asking() {
    for service in ["su", "sudo", "cron", "systemd-user", "login", ""] {
        assert_eq!(code(gate::account(&Fake { service, ..login("ag-a") }, never)), "pam.service", "{service}");
    }
    for user in ["ag-a-ro", "ag-../x", "ag-A"] {
        assert_eq!(code(gate::account(&login(user), never)), "account.never_logs_in", "{user}");
    }
}

#[test]
fn without_a_certificate_no_session_opens() {
    for line in ["", "password", "publickey ssh-ed25519 AAAA", "publickey"] {
        let mut agent = login("ag-a");
        agent.variables.insert("SSH_AUTH_INFO_0", line);
        assert_eq!(code(gate::open_session(&agent, never)), "certificate.none", "{line:?}");
    }
}

#[test]
fn a_certificate_that_this_module_cannot_read_is_refused_whatever_agentd_says() {
    let opened = |_: &Request| {
        let session = "0123456789abcdef".parse().unwrap();
        Ok(Answer { reply: Reply::Opened { session }, descriptors: Vec::new() })
    };
    let mut agent = login("ag-a");
    agent.variables.insert("SSH_AUTH_INFO_0", "publickey ssh-ed25519-cert-v01@openssh.com AAAA");
    assert_eq!(code(gate::open_session(&agent, opened)), "certificate.malformed");
}

#[test]
fn credentials_are_established_only_after_the_gates() {
    assert_eq!(code(gate::establish(&login("ag-a"), never)), "pam.no_account_gate");
    let monitor = login("ag-a");
    assert_eq!(gate::account(&monitor, yes), Verdict::Success);
    assert_eq!(gate::establish(&monitor, never), Verdict::Success, "the monitor itself enters nothing");
    let child = login("ag-a");
    assert!(child.keep(Kept { monitor: 1, namespaces: None }));
    assert_eq!(code(gate::establish(&child, never)), "session.not_bound");
}
