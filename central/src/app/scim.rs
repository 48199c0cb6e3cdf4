//! What directories do (SCIM): provision and deprovision humans and agents. A directory is known by its token, speaks
//! for the namespaces of one provider, and for agents only if its token says so. Taking away goes the way of every
//! revocation, so live sessions end; each act is on record with the token's name.

mod agents;
mod users;

use super::host::hash;
use super::{App, Failed, fault};
use crate::audit::Record;
use crate::store::{self, Act, StoreError};
use serde_json::{Value, json};
use tether_audit::Ids;
use tether_centrallink::wire::Revoked;
use tether_identity::Human as HumanName;
use tether_scim::Problem;

/// Whose token a request came with.
#[derive(Debug, Clone)]
pub struct Directory {
    /// As it stands in records: `scim:` and the token's name.
    pub by: String,
    namespaces: Vec<String>,
    agents: bool,
}

/// Why a directory's act did not happen.
#[derive(Debug)]
enum Trouble {
    Problem(Problem),
    Failed(Failed),
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Failed> for Trouble {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Failed(Failed::Store(error))
    }
}

impl From<Trouble> for Problem {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Problem(problem) => problem,
            Trouble::Failed(Failed::Refused(refusal)) => Self::new(400, &refusal.code, refusal.description),
            Trouble::Failed(Failed::Store(error)) => {
                let refusal = fault("store.failed", error);
                Self::new(500, &refusal.code, refusal.description)
            }
        }
    }
}

/// What a directory's act came to, and which hosts have to be told.
struct Done<T> {
    value: T,
    revoked: Revoked,
}

fn not_found(what: &str) -> Problem {
    Problem::new(404, "scim.unknown", format!("there is no such {what}"))
}

impl Directory {
    /// Whether a human is of its provider. Spelled large or small: who is told apart by that alone is not two.
    fn speaks_for(&self, name: &HumanName) -> bool {
        let Ok(small) = name.as_str().to_lowercase().parse::<HumanName>() else { return false };
        self.namespaces.iter().any(|namespace| small.is_in(&namespace.to_lowercase()))
    }

    fn check_agents(&self) -> Result<(), Problem> {
        if self.agents {
            return Ok(());
        }
        Err(Problem::new(403, "scim.no_agents", "this token is about humans only: make one with --agents"))
    }
}

impl App {
    /// Whose token that is.
    pub fn directory(&self, token: Option<&str>, peer: &str) -> Result<Directory, Problem> {
        self.try_directory(token).map_err(|trouble| {
            let problem = Problem::from(trouble);
            if self.is_worth_a_record(peer) {
                self.refused_directory(&problem, json!({"peer": peer, "wanted": "to be let in"}));
            }
            problem
        })
    }

    fn try_directory(&self, token: Option<&str>) -> Result<Directory, Trouble> {
        let refuse = |why: &str| Problem::new(401, "scim.token", why);
        let token = token.ok_or_else(|| refuse("this needs a directory's bearer token"))?;
        let known = store::look(&*self.store, |act| act.scim_token(&hash(token)))?;
        let known = known.ok_or_else(|| refuse("the token is not known"))?;
        if known.revoked.is_some() {
            return Err(refuse("the token was revoked").into());
        }
        let providers = self.providers();
        let provider = providers.named(&known.issuer);
        let provider = provider.ok_or_else(|| refuse("the token's provider is not in central.toml any more"))?;
        let by = format!("scim:{}", known.name);
        Ok(Directory { by, namespaces: provider.namespaces.clone(), agents: known.agents })
    }

    /// One act of a directory: hosts are told what was taken back, a refusal is on record.
    fn directory_act<T>(
        &self,
        directory: &Directory,
        wanted: &Value,
        work: impl FnMut(&mut dyn Act) -> Result<Done<T>, Trouble>,
    ) -> Result<T, Problem> {
        match store::act(&*self.store, work) {
            Ok(done) => {
                self.tell_revoked(&done.revoked);
                Ok(done.value)
            }
            Err(trouble) => {
                let problem = Problem::from(trouble);
                self.refused_directory(&problem, json!({"by": directory.by, "wanted": wanted}));
                Err(problem)
            }
        }
    }

    fn refused_directory(&self, problem: &Problem, about: Value) {
        let mut about = about;
        if let Some(members) = about.as_object_mut() {
            members.insert("why".to_owned(), problem.detail.clone().into());
        }
        let record = Record::refused("scim.refused", &problem.code, Ids::unknown("a directory's act"), about);
        if let Err(error) = self.record(&record) {
            fault("store.failed", error);
        }
    }

    /// Where the protocol of directories begins.
    pub fn scim_base(&self) -> String {
        format!("{}/scim/v2", self.settings.url)
    }
}
