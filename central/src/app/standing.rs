//! What metrics say of this moment.

use super::{App, Failed, fault};
use crate::metrics::HostStanding;
use tether_oauth::Refusal;

impl App {
    /// All metrics as text.
    pub fn metrics_text(&self) -> Result<String, Refusal> {
        let hosts = self.look(|act| {
            let mut standing = Vec::new();
            for host in act.hosts()?.into_iter().filter(|host| host.key.is_some()) {
                let (seen, position) = (act.seen(&host.id)?, act.position(&host.id)?);
                standing.push(HostStanding {
                    heard: seen.time,
                    behind: position.number.saturating_sub(seen.number),
                    listening: self.hub.place(&host.id).news.receiver_count() > 0,
                    chain: self.chain_standing(act.host_chain(&host.id)?.as_ref()).state,
                    host: host.id.to_string(),
                });
            }
            Ok(standing)
        });
        let hosts = hosts.map_err(|failed| match failed {
            Failed::Refused(refusal) => refusal,
            Failed::Store(error) => fault("store.failed", error),
        })?;
        let expire = self.trusted().set().expires_at;
        self.metrics.text(&hosts, expire).map_err(|error| fault("metrics.text", error))
    }
}
