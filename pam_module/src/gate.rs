//! What each phase decides.

use crate::caller;
use crate::enter;
use crate::filter;
use std::os::fd::OwnedFd;
use tether_accountfile::{AccountFile, FILE_MAX};
use tether_hostlink::{Answer, LinkError, OpenRequest, Refusal, Reply, Request, Word, codes, paths};
use tether_sshcert::SessionCertificate;

/// The only service by which an agent may come in.
const SERVICE: &str = "sshd";
/// As much of a certificate as is sent: more than any that is accepted.
const CERTIFICATE_MAX: usize = 56 * 1024;
const PREFIX: &str = "ag-";
const READ_ONLY_SUFFIX: &str = "-ro";

/// What a phase says to libpam.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to do with us.
    Ignore,
    /// An agent that may go on.
    Success,
    /// An agent that may not, and why.
    Deny(Refusal),
}

/// What libpam knows about this transaction.
pub trait Transaction {
    /// The login name.
    fn user(&self) -> Option<String>;
    /// The service's name.
    fn service(&self) -> Option<String>;
    /// The client's address.
    fn rhost(&self) -> Option<String>;
    /// A variable of PAM's own environment.
    fn variable(&self, name: &str) -> Option<String>;
    /// What an earlier phase kept.
    fn kept(&self) -> Option<&Kept>;
    /// Keeps something for later phases; `false` if that fails.
    fn keep(&self, kept: Kept) -> bool;
}

/// Carried from phase to phase within one connection.
#[derive(Debug, Default)]
pub struct Kept {
    /// The process in which the account gate was passed: sshd's monitor.
    pub monitor: u32,
    /// The session's namespaces, once it is bound.
    pub namespaces: Option<[OwnedFd; 3]>,
}

/// How agentd is asked; replaced in tests.
pub type Ask = fn(&Request) -> Result<Answer, LinkError>;

/// Passwords and the like: an agent has none, anywhere; and it may ask for nobody else's.
pub fn authenticate(transaction: &impl Transaction, ask: Ask) -> Verdict {
    match whose(transaction) {
        Whose::Human => Verdict::Ignore,
        Whose::AskedByAgent => Verdict::Deny(reported(transaction, ask)),
        Whose::Agent(_) => deny("pam.no_password", "an agent logs in with a certificate and nothing else"),
    }
}

/// The account gate: grant and freshness.
pub fn account(transaction: &impl Transaction, ask: Ask) -> Verdict {
    let account = match whose(transaction) {
        Whose::Human => return Verdict::Ignore,
        Whose::AskedByAgent => return Verdict::Deny(reported(transaction, ask)),
        Whose::Agent(account) => account,
    };
    if let Some(refusal) = wrong_door(transaction, &account) {
        return Verdict::Deny(refusal);
    }
    let request = Request::Account { account, rhost: transaction.rhost() };
    match done(ask(&request)) {
        Ok(()) if transaction.keep(Kept { monitor: std::process::id(), namespaces: None }) => Verdict::Success,
        Ok(()) => deny(codes::INTERNAL, "libpam cannot keep this module's data"),
        Err(refusal) => Verdict::Deny(refusal),
    }
}

/// The session gate: certificate, delegation and grant, and the binding.
pub fn open_session(transaction: &impl Transaction, ask: Ask) -> Verdict {
    let account = match whose_login(transaction) {
        Whose::Human => return Verdict::Ignore,
        Whose::AskedByAgent => return Verdict::Deny(asked_by_agent()),
        Whose::Agent(account) => account,
    };
    if let Some(refusal) = wrong_door(transaction, &account) {
        return Verdict::Deny(refusal);
    }
    match bind(transaction, account, ask) {
        Ok(()) => Verdict::Success,
        Err(refusal) => Verdict::Deny(refusal),
    }
}

/// The end is agentd's to see; this is a hint.
pub fn close_session(transaction: &impl Transaction, ask: Ask) -> Verdict {
    match whose_login(transaction) {
        Whose::Agent(account) => {
            let _ = ask(&Request::Close { account });
            Verdict::Success
        }
        Whose::Human | Whose::AskedByAgent => Verdict::Ignore,
    }
}

/// Called in the monitor, before the session is bound, and once more in the child that becomes the user's.
/// sshd ignores an error here, so for the child a refusal has to mean its end: the caller sees to that.
pub fn establish(transaction: &impl Transaction, ask: Ask) -> Verdict {
    let Whose::Agent(account) = whose_login(transaction) else { return Verdict::Ignore };
    let Some(kept) = transaction.kept() else {
        return deny("pam.no_account_gate", "this connection passed no account gate");
    };
    if kept.monitor == std::process::id() {
        return Verdict::Success;
    }
    let Some(namespaces) = &kept.namespaces else {
        return deny("session.not_bound", "this connection is bound to no session");
    };
    if let Err(refusal) = done(ask(&Request::Enter { account })) {
        return Verdict::Deny(refusal);
    }
    if let Err(error) = enter::enter(namespaces) {
        return deny("session.namespaces", &error.to_string());
    }
    match filter::put_on() {
        Ok(()) => Verdict::Success,
        Err(error) => deny("session.filter", &error.to_string()),
    }
}

fn bind(transaction: &impl Transaction, account: String, ask: Ask) -> Result<(), Refusal> {
    let certificate = certificate_of(transaction)?;
    // Looked at before the exchange, told after it: agentd's refusal is the one that is recorded.
    let identities = check_identities(&certificate, &account);
    let connection = transaction.variable("SSH_CONNECTION").unwrap_or_default();
    let answer = ask(&Request::Open(OpenRequest { account, certificate, connection })).map_err(unreachable)?;
    match answer.reply {
        Reply::Opened { .. } => {}
        Reply::Refused(refusal) => return Err(refusal),
        _ => return Err(Refusal::new(codes::INTERNAL, "agentd gave another answer than was asked for")),
    }
    identities?;
    let namespaces: [OwnedFd; 3] = answer
        .descriptors
        .try_into()
        .map_err(|_| Refusal::new(codes::INTERNAL, "agentd did not send the session's three namespaces"))?;
    enter::check(&namespaces).map_err(|error| Refusal::new("session.namespaces", error.to_string()))?;
    let kept = Kept { monitor: std::process::id(), namespaces: Some(namespaces) };
    if transaction.keep(kept) {
        Ok(())
    } else {
        Err(Refusal::new(codes::INTERNAL, "libpam cannot keep this module's data"))
    }
}

/// sshd puts the credential that authenticated into PAM's environment: `publickey TYPE BASE64`.
fn certificate_of(transaction: &impl Transaction) -> Result<String, Refusal> {
    let credential = transaction.variable("SSH_AUTH_INFO_0").unwrap_or_default();
    let mut lines = credential.lines().filter_map(|line| line.strip_prefix("publickey "));
    let line = lines.next().filter(|line| line.split(' ').next().is_some_and(|kind| kind.contains("-cert-")));
    // One that no session has, and that no frame could carry, goes cut: agentd then refuses it, on record.
    line.map(|line| line.chars().take(CERTIFICATE_MAX).collect())
        .ok_or_else(|| Refusal::new("certificate.none", "sshd did not authenticate this connection by a certificate"))
}

/// Both identities must stand in the certificate, spelled as in the account file.
fn check_identities(line: &str, account: &str) -> Result<(), Refusal> {
    let certificate = SessionCertificate::read(line).map_err(|error| Refusal::new(error.code(), error.to_string()))?;
    let file = account_file(account).ok_or_else(|| Refusal::new("grant.none", "the account has no account file"))?;
    let has = |text: &str| certificate.principals().iter().any(|principal| principal == text);
    let named = file.principal.as_deref().is_some_and(has);
    if has(account) && named && certificate.session.as_str() == file.session {
        return Ok(());
    }
    Err(Refusal::new("grant.principal", "the certificate does not name this account and its workload principal"))
}

fn account_file(account: &str) -> Option<AccountFile> {
    use std::io::Read;
    let file = std::fs::File::open(format!("{}/name/{account}", paths::ACCOUNTS)).ok()?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX as u64 + 1).read_to_end(&mut bytes).ok()?;
    AccountFile::read(&bytes).filter(|file| file.name == account)
}

/// Whether a transaction has to do with an agent at all: what goes wrong in any other is nobody's loss.
pub fn concerns_an_agent(transaction: &impl Transaction) -> bool {
    !matches!(whose(transaction), Whose::Human)
}

/// Whether it is an agent's login by sshd.
pub fn is_agents_login(transaction: &impl Transaction) -> bool {
    matches!(named(transaction), Whose::Agent(_)) && transaction.service().as_deref() == Some(SERVICE)
}

/// Whom a transaction is about.
enum Whose {
    Human,
    Agent(String),
    AskedByAgent,
}

fn whose(transaction: &impl Transaction) -> Whose {
    if caller::is_agent() { Whose::AskedByAgent } else { named(transaction) }
}

/// The same after the account gate of sshd, where "who logged in" has become the agent that logs in.
fn whose_login(transaction: &impl Transaction) -> Whose {
    match named(transaction) {
        Whose::Agent(_) if caller::is_inside_session() => Whose::AskedByAgent,
        Whose::Agent(account) if transaction.service().as_deref() == Some(SERVICE) => Whose::Agent(account),
        _ => whose(transaction),
    }
}

fn named(transaction: &impl Transaction) -> Whose {
    match transaction.user() {
        Some(user) if user.starts_with(PREFIX) => Whose::Agent(user),
        _ => Whose::Human,
    }
}

fn wrong_door(transaction: &impl Transaction, account: &str) -> Option<Refusal> {
    if transaction.service().as_deref() != Some(SERVICE) {
        return Some(Refusal::new("pam.service", "an agent comes in by sshd and by nothing else"));
    }
    let plain = account.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !plain || account.len() > 32 || account.ends_with(READ_ONLY_SUFFIX) {
        return Some(Refusal::new("account.never_logs_in", "this account never logs in"));
    }
    None
}

/// The refusal, put on record if agentd can be reached.
fn reported(transaction: &impl Transaction, ask: Ask) -> Refusal {
    let refusal = asked_by_agent();
    let known = [transaction.service(), transaction.user()].into_iter().flatten();
    let argv = known.map(|text| Word::from(text.into_bytes())).collect();
    let _ = ask(&Request::Report { refusal: refusal.clone(), argv });
    refusal
}

fn asked_by_agent() -> Refusal {
    Refusal::new("pam.asked_by_agent", "an agent may not become anybody else").hint("`sudo -l` lists what it may run")
}

fn deny(code: &str, text: &str) -> Verdict {
    Verdict::Deny(Refusal::new(code, text))
}

fn done(answer: Result<Answer, LinkError>) -> Result<(), Refusal> {
    match answer.map_err(unreachable)?.reply {
        Reply::Done => Ok(()),
        Reply::Refused(refusal) => Err(refusal),
        _ => Err(Refusal::new(codes::INTERNAL, "agentd gave another answer than was asked for")),
    }
}

fn unreachable(error: LinkError) -> Refusal {
    Refusal::new(codes::UNREACHABLE, error.to_string())
}
