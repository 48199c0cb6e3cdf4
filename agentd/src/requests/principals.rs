//! The gate before authentication. Anybody who has a copy of a certificate reaches it, without its key, as
//! often as they like: so it has no side effect, and its refusals are counted rather than recorded each.

use crate::host::Host;
use serde_json::json;
use tether_audit::Ids;
use tether_hostlink::{PrincipalsQuery, Refusal, Reply};

impl Host {
    pub(super) fn principals(&mut self, query: &PrincipalsQuery) -> Result<Reply, Refusal> {
        match self.principals_of(query) {
            Ok(principals) => Ok(Reply::Principals { principals }),
            Err((code, text)) => {
                self.count_refused(&query.account, code, &text);
                Err(Refusal::new(code, text))
            }
        }
    }

    fn principals_of(&self, query: &PrincipalsQuery) -> Result<Vec<String>, (&'static str, String)> {
        let session = self.by_account(&query.account);
        let session = session.ok_or(("grant.none", format!("no session is reserved for {}", query.account)))?;
        let grant = &session.grant;
        if query.key_id != grant.session.as_str() {
            return Err(("grant.key_id", "the certificate's key id is not this account's session".to_owned()));
        }
        if query.ca != grant.ca {
            return Err(("grant.ca", "another CA signed the certificate than the grant says".to_owned()));
        }
        if query.serial != grant.serial.to_string() {
            return Err(("grant.serial", "the certificate's serial is not the grant's".to_owned()));
        }
        if query.key != grant.key {
            return Err(("grant.key", "the certificate's key is not the grant's".to_owned()));
        }
        Ok(vec![grant.principal.to_string()])
    }

    fn count_refused(&mut self, account: &str, code: &str, why: &str) {
        // An account that does not exist is the caller's invention: all of them are one kind.
        let known = self.by_account(account).is_some();
        let account = if known { account } else { "(unknown)" };
        let ids = self.by_account(account).map_or_else(|| Ids::unknown("before authentication"), crate::host::ids_of);
        let about = json!({"gate": "principals", "account": account, "why": why});
        self.record_counted("login.refused", account, code, ids, about);
    }
}
