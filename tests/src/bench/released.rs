//! Released programs, and a realm of them whose files lie on a real file system.

use crate::load::Admin;
use crate::programs::Programs;
use crate::realm::{Central, Realm, Stage};
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};
use tether_testhost::{Storage, Suite};

/// Any agent of alice's may go to any host with the label.
const POLICIES: &str = r#"
@id("analysts-on-web") @bundle("triage") @minutes("60")
permit (principal, action == Action::"connect", resource)
when { context.human in Group::"analysts" && resource.labels.contains("role=web") && context.multi_factor };
"#;

/// What `cargo build --release` has made.
#[derive(Debug)]
pub struct Released<'p> {
    /// The package for hosts.
    pub package: &'p Path,
    /// `tether-central`.
    pub central: PathBuf,
    /// `tether-courier`.
    pub courier: PathBuf,
    /// `test-load`.
    pub load: PathBuf,
}

impl<'p> Released<'p> {
    /// In a folder of cargo's.
    pub fn in_folder(package: &'p Path, folder: &Path) -> Result<Self> {
        let at = |name: &str| folder.join(name);
        let found =
            Self { package, central: at("tether-central"), courier: at("tether-courier"), load: at("test-load") };
        for path in [&found.central, &found.courier, &found.load] {
            ensure!(path.exists(), "{} is not built", path.display());
        }
        Ok(found)
    }

    /// Hosts, enrolled, with a released central that has no limit of sessions.
    pub fn realm(&self, suite: Suite, hosts: &[&str]) -> Result<Realm> {
        let programs = Programs::of_tests()?.with_central(&self.central);
        let stage = Stage { package: self.package, programs, storage: Storage::Disk, central: "" };
        let mut realm = Realm::start(suite, hosts, &stage)?;
        realm.central.kill();
        let (settings, policies) = (realm.central.path("central.toml"), realm.central.path("policies.cedar"));
        let text = std::fs::read_to_string(&settings)?.replace("per_pair = 8\n", "per_pair = 1000000\n");
        std::fs::write(&settings, text)?;
        std::fs::write(&policies, POLICIES)?;
        realm.central.serve()?;
        realm.enrol_all()?;
        Ok(realm)
    }
}

impl Admin {
    /// The break-glass way in.
    pub fn of(central: &Central) -> Self {
        Self { url: central.url(), authority: central.authority(), token: central.path("admin.token") }
    }
}
