//! From an account file to the C structs of passwd and group.
#![forbid(unsafe_code)]

use crate::space::{Space, TooSmall};
use libc::{group, passwd};
use tether_accountfile::AccountFile;

/// "No password fits." Not `x`: that sends pam_unix to a shadow entry, and there is none.
const NO_PASSWORD: &str = "*";

/// The account as passwd(5) has it.
pub fn as_passwd(account: &AccountFile, space: &mut Space<'_>) -> Result<passwd, TooSmall> {
    Ok(passwd {
        pw_name: space.text(&account.name)?,
        pw_passwd: space.text(NO_PASSWORD)?,
        pw_uid: account.uid,
        pw_gid: account.uid,
        pw_gecos: space.text(&account.gecos)?,
        pw_dir: space.text(&account.home)?,
        pw_shell: space.text(&account.shell)?,
    })
}

/// The account's own group: its name and number, no members.
pub fn as_group(account: &AccountFile, space: &mut Space<'_>) -> Result<group, TooSmall> {
    // The array first: glibc's buffers are aligned, so it costs no padding there.
    let gr_mem = space.no_texts()?;
    Ok(group { gr_name: space.text(&account.name)?, gr_passwd: space.text(NO_PASSWORD)?, gr_gid: account.uid, gr_mem })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::MaybeUninit;

    fn account() -> AccountFile {
        AccountFile {
            name: "ag-a".into(),
            uid: 65536,
            gecos: "an agent".into(),
            home: "/run/tether/home".into(),
            shell: "/bin/sh".into(),
            session: "0123456789abcdef".into(),
            principal: None,
        }
    }

    /// Every size of buffer at every alignment: too small is said, large enough is right.
    fn at_every_size<T>(lay: impl Fn(&mut Space<'_>) -> Result<T, TooSmall>, needed: usize, check: impl Fn(T)) {
        for start in 0..16 {
            for length in 0..needed + 32 {
                let mut memory = [MaybeUninit::new(0xa5_u8); 256];
                match lay(&mut Space::new(&mut memory[start..start + length])) {
                    Ok(laid) => {
                        assert!(length >= needed, "{length} of {needed}");
                        check(laid);
                    }
                    Err(TooSmall) => assert!(length < needed + align_of::<usize>(), "{length} of {needed}"),
                }
            }
        }
    }

    #[test]
    fn a_group_array_is_aligned_and_empty() {
        let account = account();
        at_every_size(
            |space| as_group(&account, space),
            8 + 5 + 2,
            |group| {
                assert_eq!(group.gr_mem.addr() % align_of::<usize>(), 0);
                assert_eq!(group.gr_gid, 65536);
            },
        );
    }

    #[test]
    fn passwd_fits_exactly() {
        let account = account();
        at_every_size(
            |space| as_passwd(&account, space),
            5 + 2 + 9 + 17 + 8,
            |passwd| {
                assert_eq!((passwd.pw_uid, passwd.pw_gid), (65536, 65536));
            },
        );
    }
}
