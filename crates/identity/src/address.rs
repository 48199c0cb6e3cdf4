//! Where a host is reached: it ends up in a command line that somebody may run.

use crate::Malformed;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A host name (RFC 1123, and `_`, which some networks have) or an IP address, and nothing else: no port, no user, no
/// option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(String);

impl Address {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for Address {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.parse::<IpAddr>().is_ok() || is_host_name(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(Malformed::new("address", text, "it is a host name or an IP address, without a port"))
    }
}

fn is_host_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_only() {
        for good in ["web-01", "web_01.example.org", "192.0.2.7", "2001:db8::7", "a", &"a".repeat(63)] {
            assert_eq!(good.parse::<Address>().unwrap().as_str(), good);
        }
        let long = format!("{}a", "a.".repeat(127));
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-oProxyCommand=id",
            "a-",
            "a;id",
            "a b",
            "$(id)",
            "`id`",
            "a\nb",
            "a|b",
            "a&b",
            "a'b",
            "host:22",
            "[2001:db8::7]:22",
            "root@a",
            "ä.example.org",
            &"a".repeat(64),
            &long,
            "2001:db8::7%eth0",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
    }
}
