//! Local accounts, from /etc/passwd and /etc/group themselves: agentd asks no name service, which could ask agentd.

use std::fs;

/// A local account that a write rule runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Uid.
    pub uid: u32,
    /// Gid.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// The account with that name, if the host's own files have it.
pub fn find(name: &str) -> Option<Person> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let group = fs::read_to_string("/etc/group").ok()?;
    find_in(&passwd, &group, name)
}

fn find_in(passwd: &str, group: &str, name: &str) -> Option<Person> {
    // passwd(5): name, password, uid, gid, …
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let own = fields.into_iter().find(|fields| fields.first() == Some(&name))?;
    let (uid, gid) = (own.get(2)?.parse().ok()?, own.get(3)?.parse().ok()?);
    // group(5): name, password, gid, members
    let member = |line: &&str| line.split(':').nth(3).is_some_and(|list| list.split(',').any(|other| other == name));
    let groups = group.lines().filter(member).filter_map(|line| line.split(':').nth(2)?.parse().ok());
    Some(Person { uid, gid, groups: groups.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_its_groups_and_no_others() {
        let passwd = "root:x:0:0::/root:/bin/sh\ndb:x:101:102::/var/lib/db:/bin/false\nbad:x:y:1::/:/bin/sh\n";
        let group = "root:x:0:\ndb:x:102:\nadm:x:4:db,root\nssl:x:99:dbx\n";
        assert_eq!(find_in(passwd, group, "db"), Some(Person { uid: 101, gid: 102, groups: vec![4] }));
        for name in ["d", "bad", "", "db:x"] {
            assert_eq!(find_in(passwd, group, name), None, "{name}");
        }
    }
}
