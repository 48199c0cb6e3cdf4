//! Hosts of a fleet without hosts: each a real `tether-courier` as a user of its own, with the folders that it knows
//! mounted where it looks for them, and the folder of its inbox where our reader looks.

use super::Admin;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tether_centrallink::wire::{EnrolRequest, EnrolToken, Enrolled, NewHost, NewHostToken};
use tether_centrallink::{Caller, Central, Credential, random};
use tether_identity::HostId;
use tether_oauth::issue::PrivateKey;
use tether_statement::{Position, PublicKey, ResumeRequest, TrustedKeys};

/// The couriers' users are from here on: the kernel counts inotify instances by user, and root's are few.
const FIRST_UID: u32 = 200_000;

/// One host of the fleet.
pub(super) struct Place {
    pub(super) host: HostId,
    pub(super) folder: PathBuf,
    pub(super) keys: TrustedKeys,
    pub(super) report: ResumeRequest,
    uid: u32,
}

impl Place {
    /// Admits a host, enrols it as `tether enroll` does, and writes what the courier needs.
    pub(super) fn enrol(admin: &Admin, central: &Central, token: &str, folder: &Path, number: u32) -> Result<Self> {
        let host: HostId = format!("fleet-{number:05}").parse()?;
        let wanted = NewHost { host: host.clone(), address: None, labels: vec!["role=web".to_owned()] };
        let made: NewHostToken = central.post("/v1/admin/hosts", &wanted, Credential::Bearer(token))?;
        let made = EnrolToken::parse(&made.token).context("no enrolment token")?;
        let seed = random::seed()?;
        let key = PrivateKey::from_seed(&seed)?;
        let caller = Credential::Key(Caller { key: &key, token: None });
        let enrolled: Enrolled =
            central.post("/v1/host/enrol", &EnrolRequest { secret: made.secret.clone(), audit: None }, caller)?;
        ensure!(enrolled.host == host, "enrolled as {}", enrolled.host);
        let root: PublicKey = made.root.parse().context("the root's key")?;
        let keys = TrustedKeys::verify(&enrolled.keys, &[(made.root_kid, root)].into())?;
        let report = ResumeRequest {
            host: host.clone(),
            nonce: random::name(32)?,
            boot_id: "fleet".to_owned(),
            position: Position::start(),
            uid_mark: 0,
        };
        let folder = folder.join(host.as_str());
        let place = Self { host, folder, keys, report, uid: FIRST_UID + number };
        place.write(admin, &made.authority, &seed)?;
        Ok(place)
    }

    fn write(&self, admin: &Admin, authority: &str, seed: &[u8; 32]) -> Result<()> {
        let own = |path: &Path| chown(path, Some(self.uid), Some(self.uid));
        for name in ["etc", "key", "run", "inbox"] {
            fs::create_dir_all(self.folder.join(name))?;
            own(&self.folder.join(name))?;
        }
        fs::write(self.folder.join("etc/courier.toml"), format!("central = \"{}\"\n", admin.url))?;
        fs::write(self.folder.join("etc/central-authority.pem"), authority)?;
        let key = self.folder.join("key/key");
        fs::write(&key, seed)?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        own(&key)?;
        self.tell()
    }

    /// Reports, as agentd does: beside, and renamed.
    pub(super) fn tell(&self) -> Result<()> {
        let (beside, path) = (self.folder.join("run/.new"), self.folder.join("run/resume-request.json"));
        fs::write(&beside, serde_json::to_vec(&self.report)?)?;
        Ok(fs::rename(&beside, &path)?)
    }

    pub(super) fn inbox(&self) -> PathBuf {
        self.folder.join("inbox")
    }

    /// Starts its courier. It dies with the thread that called this.
    pub(super) fn start(&self, courier: &Path, log: &Path) -> Result<Child> {
        let mut bwrap = Command::new("bwrap");
        bwrap.args([
            "--die-with-parent",
            // With a first process of its own, which root's signal reaches: the kernel forgets the courier's own wish to
            // die with its parent when setpriv changes its user.
            "--unshare-pid",
            "--cap-add",
            "CAP_SETUID",
            "--cap-add",
            "CAP_SETGID",
            "--ro-bind",
            "/usr",
            "/usr",
        ]);
        for name in ["bin", "lib", "lib64"] {
            bwrap.args(["--symlink", &format!("usr/{name}"), &format!("/{name}")]);
        }
        // Folders on the way that bwrap made by itself would be root's alone.
        for folder in ["/etc", "/run", "/var", "/var/lib", "/var/spool", "/var/spool/tether"] {
            bwrap.args(["--perms", "0755", "--dir", folder]);
        }
        for (flag, name, at) in [
            ("--ro-bind", "etc", "/etc/tether"),
            ("--ro-bind", "key", "/var/lib/tether-courier"),
            ("--ro-bind", "run", "/run/tether"),
            ("--bind", "inbox", "/var/spool/tether/inbox"),
        ] {
            bwrap.arg(flag).arg(self.folder.join(name)).arg(at);
        }
        bwrap.args(["--dev", "/dev"]).arg("--ro-bind").arg(courier).arg("/courier");
        let uid = self.uid.to_string();
        bwrap.args(["/usr/bin/setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups", "--pdeathsig", "KILL"]);
        bwrap.args(["/courier", "run"]).stdin(Stdio::null()).stdout(Stdio::null());
        let log = fs::File::options().create(true).append(true).open(log)?;
        bwrap.stderr(log).spawn().context("bwrap")
    }
}
