//! Where a host's chain begins: what it commits to when it enrols.

use super::reached_at;
use crate::app::{App, Failed};
use crate::audit::Record;
use crate::store::{Act, HostChain};
use serde_json::json;
use tether_audit::Ids;
use tether_centrallink::wire::ChainStart;
use tether_identity::HostId;
use tether_oauth::{Refusal, Standard};

impl App {
    /// A host enrols: its chain begins as it commits to, or goes on if it is the same one.
    pub(in crate::app) fn begin_chain(
        &self,
        act: &mut dyn Act,
        host: &HostId,
        start: Option<ChainStart>,
        now: u64,
    ) -> Result<(), Failed> {
        let known = act.host_chain(host)?;
        if start.as_ref().is_some_and(|start| !is_start(start)) {
            let why = "the start of the chain is none: a hash and a key are 43 letters of base64url";
            return Err(Refusal::new(Standard::InvalidRequest, "audit.start", why).into());
        }
        let is_well = |chain: &HostChain| chain.trouble.is_none() && chain.damaged.is_none();
        let goes_on = |chain: &HostChain| is_well(chain) && chain.start == start;
        if start.is_none() && known.is_none() || known.as_ref().is_some_and(goes_on) {
            return Ok(());
        }
        let chain = HostChain {
            generation: known.map_or(0, |known| known.generation + 1),
            reached: reached_at(start.as_ref()),
            start,
            heard: now,
            ..HostChain::default()
        };
        let about = json!({
            "host": host.as_str(), "generation": chain.generation, "anchored": chain.start.is_some(),
            "number": chain.reached.number, "public": chain.start.as_ref().map(|start| start.public.clone()),
        });
        act.put_host_chain(host, &chain)?;
        self.write(act, &Record::done("audit.begun", Ids::unknown("a host enrols"), about))?;
        Ok(())
    }
}

fn is_start(start: &ChainStart) -> bool {
    let letters = |text: &str| {
        text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    letters(&start.public) && (if start.number == 0 { start.hash.is_empty() } else { letters(&start.hash) })
}
