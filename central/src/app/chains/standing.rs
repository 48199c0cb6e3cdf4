//! How a host's chain stands, and whether the host may have new sessions by it.

use super::OVER;
use crate::app::{App, Failed};
use crate::clock;
use crate::store::{Act, HostChain, TroubleKind};
use tether_identity::HostId;
use tether_oauth::{Refusal, Standard};

impl App {
    /// How a host's chain stands, for people.
    pub(in crate::app) fn chain_standing(&self, chain: Option<&HostChain>) -> ChainStanding {
        let Some(chain) = chain else { return ChainStanding::none() };
        let now = clock::now();
        let unheard = self.unheard(chain, now);
        let behind = now.saturating_sub(chain.reached.head_time_us / 1_000_000);
        let limit = self.settings.audit.silent_seconds;
        let never = chain.reached.head_time_us == 0;
        let (state, since) = match (&chain.trouble, chain.silent) {
            (Some(trouble), _) => (trouble.kind.as_str(), Some(trouble.since)),
            // Silent too, since nothing of it is taken.
            _ if chain.over.is_some() => ("over", chain.over),
            (None, Some(since)) => ("silent", Some(since)),
            (None, None) if unheard > limit => ("silent", Some(chain.heard)),
            (None, None) if unheard > limit / 2 || (!never && behind > limit) => ("late", Some(chain.heard)),
            (None, None) => match &chain.damaged {
                Some(damaged) => ("damaged", Some(damaged.since)),
                None => ("ok", None),
            },
        };
        let trouble = chain.trouble.as_ref().or(chain.damaged.as_ref());
        ChainStanding {
            state,
            since,
            anchored: chain.start.is_some(),
            generation: chain.generation,
            number: chain.reached.number,
            signed: chain.reached.signed,
            heard: chain.heard,
            code: trouble.map(|trouble| trouble.code.clone()).or_else(|| chain.over.map(|_| OVER.to_owned())),
            bad: trouble.map(|trouble| trouble.number),
            why: trouble.map(|trouble| trouble.why.clone()),
        }
    }

    /// Whether a host may have new sessions by how its chain stands.
    pub(in crate::app) fn check_chain(&self, act: &dyn Act, host: &HostId) -> Result<(), Failed> {
        if self.settings.audit.grants_to_forked {
            return Ok(());
        }
        let Some(chain) = act.host_chain(host)? else { return Ok(()) };
        let (code, why) = match chain.trouble.as_ref().map(|trouble| trouble.kind) {
            Some(TroubleKind::Forked) => {
                ("host.forked", "has forked; it has no new sessions until it is enrolled anew")
            }
            // Its disk was put back, or its chain was thrown away: what it now says of a session may be thrown away, too.
            Some(TroubleKind::Rewound) => ("host.rewound", "was put back; it has no new sessions until that is over"),
            Some(TroubleKind::Broken) => ("host.broken", "does not hold; it has no new sessions until it does"),
            // What it says since is signed by a key that nobody has committed to.
            None if chain.damaged.is_some() => {
                ("host.damaged", "was damaged; it has no new sessions until it is enrolled anew")
            }
            None => return Ok(()),
        };
        Err(Refusal::new(Standard::InvalidTarget, code, format!("the audit chain of {host} {why}")).into())
    }
}

/// How a host's chain stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ChainStanding {
    /// `ok`, `late`, `silent`, `over` (it has had its share of a day), `forked`, `rewound`, `broken`; `damaged`: it goes on after a gap; `none` if nothing came yet and nothing was committed to.
    pub state: &'static str,
    /// Since when, if it is not well.
    pub since: Option<u64>,
    /// Whether the host has committed to its first key when it enrolled.
    pub anchored: bool,
    /// Which of its chains this is.
    pub generation: u64,
    /// Its last record.
    pub number: u64,
    /// The last one that a signed head covers.
    pub signed: u64,
    /// When the last head came.
    pub heard: u64,
    /// The code of what is wrong.
    pub code: Option<String>,
    /// The first bad record.
    pub bad: Option<u64>,
    /// In words.
    pub why: Option<String>,
}

impl ChainStanding {
    fn none() -> Self {
        Self {
            state: "none",
            since: None,
            anchored: false,
            generation: 0,
            number: 0,
            signed: 0,
            heard: 0,
            code: None,
            bad: None,
            why: None,
        }
    }
}
