//! What a rule gives, less what the host's admin does not allow: the launcher's orders.

use crate::config::Ceiling;
use crate::world::people;
use crate::world::reach::{Reached, below};
use std::path::Path;
use tether_bundle::{Bundle, Grant, Mode, PathArgument, Rule};
use tether_hostlink::{Confinement, DESCRIPTORS_MAX, Identity, Refusal};

/// How many path arguments one command may have: one message carries so many descriptors, four are the plan's own,
/// one is the recording, and six more are the runner's under `tether run`.
const PATHS_MAX: usize = DESCRIPTORS_MAX - 11;

/// The orders, and the descriptors of path arguments that go with them.
pub struct Orders {
    /// For the plan.
    pub confinement: Confinement,
    /// One for each path argument that leads to something.
    pub arguments: Vec<Reached>,
}

/// Puts together what a command may do. `cwd` is where it starts.
pub fn orders(
    bundle: &Bundle,
    rule: &Rule,
    paths: &[PathArgument],
    cwd: &str,
    ceiling: &Ceiling,
) -> Result<Orders, Refusal> {
    check_ceiling(rule, ceiling)?;
    let arguments = reach_all(paths)?;
    let (identity, writes, stdin) = match &rule.run.mode {
        Mode::ReadOnly => (Identity::ReadOnly, Vec::new(), true),
        Mode::Write { run_as, paths, stdin } => (account(run_as)?, paths.clone(), *stdin),
    };
    let net = rule.run.grants.iter().find_map(|grant| match grant {
        Grant::Net(destinations) => Some(destinations.clone()),
        Grant::ProcLinks | Grant::Dbus => None,
    });
    let confinement = Confinement {
        identity,
        trees: within(&bundle.read.trees, ceiling.read.as_deref()),
        named: within(&bundle.read.named, ceiling.read.as_deref()),
        writes,
        stdin,
        proc_links: rule.run.grants.contains(&Grant::ProcLinks),
        dbus: rule.run.grants.contains(&Grant::Dbus),
        net: net.unwrap_or_default(),
        cwd: cwd.to_owned(),
        arguments: u32::try_from(arguments.len()).unwrap_or(u32::MAX),
        ground: Vec::new(),
    };
    Ok(Orders { confinement, arguments })
}

fn check_ceiling(rule: &Rule, ceiling: &Ceiling) -> Result<(), Refusal> {
    let refuse = |code: &str, what: &str| {
        let text = format!("the rule {:?} {what}, which this host's ceiling does not allow", rule.id);
        Err(Refusal::new(code, text).hint("only the host's admin can change it: /etc/tether/ceiling.toml"))
    };
    if matches!(rule.run.mode, Mode::Write { .. }) && !ceiling.write_rules {
        return refuse("ceiling.write_rules", "writes");
    }
    let listed = |grant: &Grant| ceiling.grants.iter().any(|allowed| allowed == grant.name());
    match rule.run.grants.iter().find(|grant| !listed(grant)) {
        Some(grant) => refuse("ceiling.grants", &format!("needs the grant {}", grant.name())),
        None => Ok(()),
    }
}

fn account(name: &str) -> Result<Identity, Refusal> {
    let person = people::find(name).ok_or_else(|| {
        Refusal::new("bundle.no_account", format!("the rule runs as {name}, and this host has no such local account"))
    })?;
    Ok(Identity::RunAs { uid: person.uid, gid: person.gid, groups: person.groups })
}

/// The parts of `wanted` that lie in `most`: whole, or cut down to what `most` names below them.
fn within(wanted: &[String], most: Option<&[String]>) -> Vec<String> {
    let Some(most) = most else { return wanted.to_vec() };
    let mut kept: Vec<String> = Vec::new();
    for path in wanted {
        if most.iter().any(|limit| Path::new(path).starts_with(limit)) {
            kept.push(path.clone());
        } else {
            kept.extend(most.iter().filter(|limit| Path::new(limit).starts_with(path)).cloned());
        }
    }
    kept.sort();
    kept.dedup();
    kept
}

fn reach_all(paths: &[PathArgument]) -> Result<Vec<Reached>, Refusal> {
    let reached = paths.iter().map(reach).collect::<Result<Vec<_>, _>>()?;
    // What is not there is the command's own business to say.
    let reached: Vec<Reached> = reached.into_iter().flatten().collect();
    if reached.len() > PATHS_MAX {
        return Err(Refusal::new(
            "bundle.paths",
            format!("{} paths in one command, at most {PATHS_MAX}", reached.len()),
        )
        .hint("name a folder, or run the command several times"));
    }
    Ok(reached)
}

fn reach(argument: &PathArgument) -> Result<Option<Reached>, Refusal> {
    below(&argument.under, &argument.path).map_err(|errno| {
        let text = format!("{} leads out of {}, or cannot be opened: {errno}", argument.path, argument.under);
        Refusal::new("bundle.path", text).hint("give the real path of what you want to see")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn a_ceiling_cuts_trees_down() {
        let wanted = list(&["/etc", "/var/log/nginx", "/srv"]);
        assert_eq!(within(&wanted, None), wanted);
        let most = list(&["/etc/nginx", "/var/log"]);
        assert_eq!(within(&wanted, Some(&most)), list(&["/etc/nginx", "/var/log/nginx"]));
        assert_eq!(within(&wanted, Some(&list(&["/va"]))), list(&[]), "a name is not its beginning");
        assert_eq!(within(&wanted, Some(&[])), list(&[]));
    }

    fn rule(mode: Mode, grants: Vec<Grant>) -> Rule {
        let source = "name='t'\nversion=1\n[[rule]]\nid='a'\nprogram='/usr/bin/ss'\narguments='any'";
        let mut rule = tether_bundle::source::compile(source).unwrap().rules.remove(0);
        rule.run.mode = mode;
        rule.run.grants = grants;
        rule
    }

    #[test]
    fn what_the_ceiling_does_not_allow_is_refused_whatever_the_bundle_says() {
        let write = || Mode::Write { run_as: "root".into(), paths: vec!["/etc/motd".into()], stdin: false };
        let code = |rule: &Rule, ceiling: &Ceiling| check_ceiling(rule, ceiling).map_err(|refusal| refusal.code);
        let ceiling = Ceiling::default();
        assert_eq!(code(&rule(Mode::ReadOnly, vec![Grant::ProcLinks]), &ceiling), Ok(()));
        assert_eq!(code(&rule(write(), vec![]), &ceiling), Err("ceiling.write_rules".into()));
        let ceiling = Ceiling { write_rules: true, grants: vec!["dbus".into()], ..ceiling };
        assert_eq!(code(&rule(write(), vec![Grant::Dbus]), &ceiling), Ok(()));
        assert_eq!(code(&rule(Mode::ReadOnly, vec![Grant::ProcLinks]), &ceiling), Err("ceiling.grants".into()));
    }

    #[test]
    fn an_account_that_is_not_there_runs_nothing() {
        assert_eq!(account("no-such-account").unwrap_err().code, "bundle.no_account");
        assert_eq!(account("root").unwrap(), Identity::RunAs { uid: 0, gid: 0, groups: vec![] });
    }
}
