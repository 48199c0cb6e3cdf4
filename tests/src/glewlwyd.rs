//! A second, independent OpenID provider: glewlwyd, as Debian ships it, on a host of its own.

use crate::provider::{make_certificate, node, program};
use anyhow::{Context, Result, ensure};
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use tether_testhost::{Host, HostSpec, Image, Lab, Suite};

/// Its packages; its database is one file.
const PACKAGES: &str = "glewlwyd,dbconfig-sqlite3,sqlite3";
/// Where it answers.
const PORT: u16 = 4594;
/// The one who signs in there.
pub const FRANK: &str = "frank@example.org";

/// Two ID tokens of one sign-in.
#[derive(Debug)]
pub struct Tokens {
    /// The browser that has the session has exchanged the code.
    pub whole: String,
    /// A client without the session's cookie has.
    pub without_session: String,
}

/// A running provider.
pub struct Glewlwyd {
    host: Host,
    lab: Lab,
    folder: tempfile::TempDir,
    key: KeyPair,
}

impl Glewlwyd {
    /// Boots its host, and makes a client and a user.
    pub fn start(lab: &Lab, suite: Suite) -> Result<Self> {
        let image = Image::ensure_with(suite, PACKAGES, &mut |line| eprintln!("{line}"))?;
        let host = lab.boot(HostSpec::new("idp", &image))?;
        host.wait_ready(Duration::from_secs(60))?;
        let folder = tempfile::tempdir()?;
        make_certificate(folder.path(), &host.address().to_string())?;
        let provider = Self { host, lab: lab.clone(), folder, key: KeyPair::generate_for(&PKCS_RSA_SHA256)? };
        provider.serve()?;
        provider.drive("make", true)?;
        Ok(provider)
    }

    fn serve(&self) -> Result<()> {
        let host = &self.host;
        host.sh("mkdir -m 0700 /root/idp && sqlite3 /root/idp/db < /usr/share/dbconfig-common/data/glewlwyd/install/sqlite3")?;
        for name in ["key.pem", "certificate.pem"] {
            host.copy_in(self.folder.path().join(name), format!("/root/idp/{name}"), 0o600)?;
        }
        host.write_file("/root/idp/settings", settings(&host.address().to_string()), 0o600)?;
        host.sh("systemd-run --unit=idp glewlwyd --config-file=/root/idp/settings")?;
        host.wait_port(PORT, Duration::from_secs(20)).with_context(|| host.journal("idp").unwrap_or_default())
    }

    fn url(&self) -> String {
        format!("https://{}:{PORT}", self.host.address())
    }

    /// Its `iss`.
    pub fn issuer(&self) -> String {
        format!("{}/api/oidc", self.url())
    }

    /// The authority that signed its TLS certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Signs Frank in, with password and one-time code.
    pub fn sign_in(&self) -> Result<Tokens> {
        let printed = self.drive("sign_in", true)?;
        let (whole, without_session) = printed.split_once('\n').context("it printed no two tokens")?;
        Ok(Tokens { whole: whole.to_owned(), without_session: without_session.to_owned() })
    }

    /// Tries with a password only.
    pub fn sign_in_without_code(&self) -> Result<()> {
        self.drive("sign_in", false).map(drop)
    }

    fn drive(&self, what: &str, with_code: bool) -> Result<String> {
        let about = json!({
            "url": self.url(), "client": crate::provider::CLIENT, "password": "correct horse",
            "user": {"name": "frank", "email": FRANK, "groups": ["analysts"]}, "secret": "battery staple of frank",
            "with_code": with_code,
            "key": self.key.serialize_pem(), "public": self.key.public_key_pem(),
        });
        let path = self.folder.path().join("about.json");
        std::fs::write(&path, about.to_string())?;
        let folder = program()?;
        let mut command = self.lab.client_command(&node(&folder))?;
        command.arg(folder.join("glewlwyd.mjs")).arg(what).arg(&path).env("NODE_EXTRA_CA_CERTS", self.authority());
        let output = command.output().context("glewlwyd.mjs")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

fn settings(address: &str) -> String {
    format!(
        "port = {PORT}\nexternal_url = \"https://{address}:{PORT}\"\nlogin_url = \"login.html\"\napi_prefix = \"api\"\n\
         static_files_path = \"/usr/share/glewlwyd/webapp/\"\nlog_mode = \"console\"\nlog_level = \"WARNING\"\n\
         cookie_domain = \"{address}\"\ncookie_secure = 1\nsession_key = \"GLEWLWYD2_SESSION_ID\"\n\
         admin_session_authentication = \"cookie\"\nprofile_session_authentication = \"cookie\"\n\
         login_api_enabled = true\nadmin_scope = \"g_admin\"\nprofile_scope = \"g_profile\"\n\
         user_module_path = \"/usr/lib/glewlwyd/user\"\nclient_module_path = \"/usr/lib/glewlwyd/client\"\n\
         user_auth_scheme_module_path = \"/usr/lib/glewlwyd/scheme\"\nplugin_module_path = \"/usr/lib/glewlwyd/plugin\"\n\
         use_secure_connection = true\nsecure_connection_key_file = \"/root/idp/key.pem\"\n\
         secure_connection_pem_file = \"/root/idp/certificate.pem\"\nhash_algorithm = \"SHA512\"\n\
         database = {{ type = \"sqlite3\" path = \"/root/idp/db\" }};\n"
    )
}
