//! No text makes a parser panic; what one accepts is written with the same bytes.

use proptest::prelude::*;
use tether_identity::{
    AccountName, DelegationId, HostId, Human, Name, Prefix, Principal, Scheme, SessionId, Thumbprint,
};

fn reads_back<T: std::str::FromStr + ToString>(text: &str) -> bool {
    text.parse::<T>().is_ok_and(|value| value.to_string() != text)
}

fn all(text: &str) -> bool {
    let changed = [
        reads_back::<Principal>(text),
        reads_back::<Human>(text),
        reads_back::<Name>(text),
        reads_back::<AccountName>(text),
        reads_back::<Prefix>(text),
        reads_back::<Scheme>(text),
        reads_back::<SessionId>(text),
        reads_back::<DelegationId>(text),
        reads_back::<HostId>(text),
        reads_back::<Thumbprint>(text),
    ];
    !changed.contains(&true)
}

proptest! {
    #[test]
    fn any_text_is_refused_or_kept(text in any::<String>()) {
        prop_assert!(all(&text));
    }

    #[test]
    fn anything_like_a_principal_is_refused_or_kept(text in "[a-z]{1,8}://([a-z@.]|%[0-9A-Fa-f]{2}|/){0,40}") {
        prop_assert!(all(&text));
    }

    #[test]
    fn a_name_that_may_log_in_never_ends_like_one_that_may_not(text in "[a-z]{1,9}-[a-z0-9-]{0,30}") {
        if let Ok(account) = text.parse::<AccountName>() {
            prop_assert!(account.read_only().parse::<AccountName>().is_err());
            prop_assert!(account.read_only().len() <= tether_identity::LOGIN_NAME_MAX);
        }
    }
}
