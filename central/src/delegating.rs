//! `[providers.delegation]`: a provider that does the exchange itself may say who acts for whom.

use crate::config::ProviderSettings;
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tether_identity::Name;
use tether_oauth::{Algorithm, Delegating};

/// The longest life of a provider's delegation that can be set, in seconds: so long after it an agent that was
/// deactivated and activated again could still use one of before.
const MAX_SECONDS: u64 = 3600;
/// What other tokens have: one of them is never a delegation.
const TAKEN: [&str; 7] =
    ["delegation+jwt", "client-authentication+jwt", "dpop+jwt", "secevent+jwt", "logout+jwt", "id+jwt", ""];

/// What the admin wrote down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelegationSettings {
    /// The `aud` of its delegations for us: none of those that people sign in to.
    pub audiences: Vec<String>,
    /// The teams whose agents it may name.
    pub teams: Vec<Name>,
    /// Their `typ`.
    #[serde(default = "access_token")]
    pub typ: String,
    /// What they may be signed with.
    #[serde(default = "all_algorithms")]
    pub algorithms: Vec<String>,
    /// The claim that holds the human's name; the one of sign-ins if left out.
    #[serde(default)]
    pub human_claim: Option<String>,
    /// The claim that names the agent, within `act`.
    #[serde(default = "act_sub")]
    pub agent_claim: String,
    /// Claims that must agree with it where they stand; `cid` always must.
    #[serde(default = "clients")]
    pub client_claims: Vec<String>,
    /// Its names for agents and those that they are registered by; they are the same if it is empty.
    #[serde(default)]
    pub agents: BTreeMap<String, Name>,
    /// The longest that one may live, in seconds.
    #[serde(default = "five_minutes")]
    pub max_seconds: u64,
}

fn access_token() -> String {
    "at+jwt".to_owned()
}

fn all_algorithms() -> Vec<String> {
    ["RS256", "ES256", "EdDSA"].map(str::to_owned).to_vec()
}

fn act_sub() -> String {
    "act.sub".to_owned()
}

fn clients() -> Vec<String> {
    ["cid", "client_id", "azp"].map(str::to_owned).to_vec()
}

const fn five_minutes() -> u64 {
    300
}

/// How a provider's delegations are checked, and for whose agents.
#[derive(Debug, Clone)]
pub struct MayDelegate {
    /// How they look.
    pub form: Delegating,
    /// The teams whose agents it may name.
    pub teams: Vec<Name>,
}

impl MayDelegate {
    /// From a provider's settings, if they say so; those were checked.
    pub fn of(provider: &ProviderSettings) -> Option<Self> {
        let settings = provider.delegation.as_ref()?;
        let form = Delegating {
            audiences: settings.audiences.clone(),
            typ: settings.typ.clone(),
            algorithms: settings.algorithms.iter().filter_map(|name| Algorithm::parse(name)).collect(),
            human_claim: settings.human_claim.clone().unwrap_or_else(|| provider.human_claim.clone()),
            agent_member: settings.agent_member().unwrap_or_default().to_owned(),
            client_claims: settings.client_claims.clone(),
            agents: settings.agents.clone(),
            max_seconds: settings.max_seconds,
        };
        Some(Self { form, teams: settings.teams.clone() })
    }
}

impl DelegationSettings {
    /// Only the outermost `act` says who acts.
    fn agent_member(&self) -> Option<&str> {
        let member = self.agent_claim.strip_prefix("act.")?;
        (!member.is_empty() && !member.contains('.') && member != "act" && member != "iss").then_some(member)
    }

    /// Whether they can be used.
    pub fn check(&self, provider: &ProviderSettings) -> Result<()> {
        let issuer = &provider.issuer;
        ensure!(!self.audiences.is_empty(), "{issuer}: [providers.delegation] audiences is empty");
        for both in self
            .audiences
            .iter()
            .filter(|one| provider.audiences.contains(one) || provider.admin_audiences.contains(one))
        {
            ensure!(
                false,
                "{issuer}: {both:?} is an audience of sign-ins and of delegations: one could pass for the other"
            );
        }
        ensure!(!self.teams.is_empty(), "{issuer}: [providers.delegation] teams is empty: it may name nobody's agents");
        let typ = self.typ.to_ascii_lowercase();
        ensure!(!TAKEN.contains(&typ.as_str()), "{issuer}: typ {:?} is that of other tokens", self.typ);
        ensure!(!self.algorithms.is_empty(), "{issuer}: [providers.delegation] algorithms is empty");
        for name in &self.algorithms {
            ensure!(Algorithm::parse(name).is_some(), "{issuer}: {name:?} is none of RS256, ES256 and EdDSA");
        }
        ensure!(self.agent_member().is_some(), "{issuer}: agent_claim is {:?}, not act.NAME", self.agent_claim);
        ensure!(
            (1..=MAX_SECONDS).contains(&self.max_seconds),
            "{issuer}: [providers.delegation] max_seconds must be from 1 to {MAX_SECONDS}"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(delegation: &str) -> Result<ProviderSettings> {
        let text = format!(
            "issuer = \"https://idp.example.org\"\naudiences = [\"tether\"]\nadmin_audiences = [\"admin\"]\n\
             namespaces = [\"@example.org\"]\n[delegation]\n{delegation}"
        );
        let provider: ProviderSettings = toml::from_str(&text)?;
        provider.delegation.iter().try_for_each(|delegation| delegation.check(&provider))?;
        Ok(provider)
    }

    const GOOD: &str = "audiences = [\"tether-central\"]\nteams = [\"secops\"]\n";

    #[test]
    fn what_is_left_out_is_the_standard() {
        let may = MayDelegate::of(&provider(GOOD).unwrap()).unwrap();
        assert_eq!((may.form.typ.as_str(), may.form.agent_member.as_str()), ("at+jwt", "sub"));
        assert_eq!((may.form.human_claim.as_str(), may.form.max_seconds), ("email", 300));
        assert_eq!(may.form.algorithms.len(), 3);
    }

    #[test]
    fn what_could_be_mistaken_is_refused() {
        for bad in [
            "audiences = []\nteams = [\"secops\"]",
            "audiences = [\"tether\"]\nteams = [\"secops\"]",
            "audiences = [\"admin\"]\nteams = [\"secops\"]",
            "audiences = [\"tether-central\"]\nteams = []",
            "audiences = [\"tether-central\"]",
            "teams = [\"secops\"]",
        ] {
            assert!(provider(bad).is_err(), "{bad}");
        }
        for bad in [
            "typ = \"delegation+jwt\"",
            "typ = \"Delegation+JWT\"",
            "typ = \"\"",
            "algorithms = []",
            "algorithms = [\"HS256\"]",
            "algorithms = [\"none\"]",
            "agent_claim = \"sub\"",
            "agent_claim = \"act.\"",
            "agent_claim = \"act.act.sub\"",
            "agent_claim = \"act.iss\"",
            "max_seconds = 0",
            "max_seconds = 3601",
            "agents = { \"svc-1\" = \"\" }",
            "agent = \"act.sub\"",
        ] {
            assert!(provider(&format!("{GOOD}{bad}")).is_err(), "{bad}");
        }
    }
}
