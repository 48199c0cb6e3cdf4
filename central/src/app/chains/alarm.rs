//! Trouble of a host's chain: on record once, and over when the host is heard again. Silence is trouble, too.

use super::read::Bad;
use crate::app::{App, Failed};
use crate::audit::{self, Record};
use crate::clock;
use crate::store::{Act, HostChain, Trouble, TroubleKind};
use serde_json::json;
use tether_audit::Ids;
use tether_identity::HostId;

/// The most bytes that are kept aside for one host.
pub(super) const EVIDENCE_MAX: u64 = 1024 * 1024;
/// How many alarms of one host's chain end with its next head, until it is enrolled anew: each makes two records of ours.
const ALARMS_MAX: u64 = 256;

impl App {
    /// A signed head came: whatever was missing is here. Two pasts stay two.
    pub(super) fn hears_again(&self, act: &mut dyn Act, host: &HostId, chain: &mut HostChain) -> Result<(), Failed> {
        let heals = chain.alarms < ALARMS_MAX;
        let healed = chain.trouble.take_if(|trouble| heals && trouble.kind != TroubleKind::Forked);
        let silent = chain.silent.take();
        let over = chain.over.take();
        for (state, since) in healed
            .map(|trouble| (trouble.kind.as_str(), trouble.since))
            .into_iter()
            .chain(silent.map(|since| ("silent", since)))
            .chain(over.map(|since| ("over", since)))
        {
            let about = json!({"host": host.as_str(), "state": state, "since": since});
            self.write(act, &Record::done("audit.recovered", Ids::unknown("of a host"), about))?;
        }
        Ok(())
    }

    /// The host is in trouble: on record unless it was so before.
    pub(super) fn raise(
        &self,
        act: &mut dyn Act,
        host: &HostId,
        chain: &mut HostChain,
        bad: &Bad,
        aside: &str,
        now: u64,
    ) -> Result<(), Failed> {
        let known = chain.trouble.as_ref().map(|trouble| (trouble.kind, trouble.number));
        // Of one kind the first bad record counts; a fork hides no other, and nothing hides a fork.
        let news = known.is_none_or(|(kind, number)| bad.kind > kind || (bad.kind == kind && bad.number > number))
            && known.is_none_or(|(kind, _)| kind != TroubleKind::Forked);
        // A host that breaks its chain again and again is in trouble, and writes no more of ours.
        let often = chain.alarms >= ALARMS_MAX && known.is_some_and(|(kind, _)| kind == bad.kind);
        if !news || often {
            return Ok(());
        }
        chain.alarms += 1;
        let room = usize::try_from(EVIDENCE_MAX.saturating_sub(chain.evidence)).unwrap_or_default();
        let kept = audit::first_of(aside, room);
        if !kept.is_empty() {
            act.put_evidence(host, chain.generation, now, kept)?;
            chain.evidence += kept.len() as u64;
        }
        chain.trouble = Some(Trouble {
            kind: bad.kind,
            since: now,
            code: bad.code.to_owned(),
            number: bad.number,
            why: bad.why.clone(),
        });
        let about = json!({
            "host": host.as_str(), "state": bad.kind.as_str(), "number": bad.number, "generation": chain.generation,
            "why": bad.why, "kept_aside": kept.len(),
        });
        self.write(act, &Record::refused("audit.alarm", bad.code, Ids::unknown("of a host"), about))?;
        self.metrics.count_alarm(bad.kind.as_str());
        Ok(())
    }

    /// Puts on record which hosts have become silent. Asked once in a while.
    pub fn look_for_silence(&self) -> Result<(), Failed> {
        let limit = self.settings.audit.silent_seconds;
        let quiet: Vec<HostId> = self.look(|act| {
            let now = clock::now();
            let is_quiet = |chain: &HostChain| chain.silent.is_none() && self.unheard(chain, now) > limit;
            let chains = act.host_chains()?.into_iter().filter(|(_, chain)| is_quiet(chain));
            let mut quiet = Vec::new();
            for (host, _) in chains {
                if act.host(&host)?.is_some_and(|host| host.active && host.key.is_some()) {
                    quiet.push(host);
                }
            }
            Ok(quiet)
        })?;
        for host in quiet {
            self.act(|act| {
                let now = clock::now();
                let Some(mut chain) = act.host_chain(&host)? else { return Ok(()) };
                if chain.silent.is_some() || self.unheard(&chain, now) <= limit {
                    return Ok(());
                }
                chain.silent = Some(now);
                act.put_host_chain(&host, &chain)?;
                let about = json!({
                    "host": host.as_str(), "state": "silent", "number": chain.reached.number, "heard": chain.heard,
                });
                self.write(act, &Record::refused("audit.alarm", "audit.silent", Ids::unknown("of a host"), about))?;
                self.metrics.count_alarm("silent");
                Ok(())
            })?;
        }
        Ok(())
    }

    /// For how long no head came while we were there to hear it.
    pub(super) fn unheard(&self, chain: &HostChain, now: u64) -> u64 {
        now.saturating_sub(chain.heard.max(self.begun.load(std::sync::atomic::Ordering::Relaxed)))
    }
}
