//! An AI agent with the real `ssh`: a key, a certificate, a host.

use anyhow::{Context, Result};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tether_sshcert::issue::KeyPair;
use tether_testhost::{Host, Lab};

/// The agent's side of one session.
pub struct Agent {
    folder: tempfile::TempDir,
    lab: Lab,
    arguments: Vec<String>,
    /// `USER@ADDRESS`.
    pub destination: String,
    /// The login name.
    pub account: String,
}

/// What a command printed, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code; 255 is ssh's own failure.
    pub code: i32,
    /// Its stdout.
    pub out: String,
    /// Its stderr, and ssh's.
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Agent {
    /// Writes key and certificate where ssh finds them.
    pub fn new(lab: &Lab, host: &Host, account: &str, key: &KeyPair, certificate: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        write_private(&path("key"), &key.private_file()?)?;
        std::fs::write(path("key-cert.pub"), format!("{certificate}\n"))?;
        Ok(Self::of_folder(folder, lab, host, account))
    }

    /// With key and certificate where its own tool has written them.
    pub fn with_files(lab: &Lab, host: &Host, account: &str, key: &Path, certificate: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::copy(key, folder.path().join("key"))?;
        std::fs::copy(certificate, folder.path().join("key-cert.pub"))?;
        Ok(Self::of_folder(folder, lab, host, account))
    }

    fn of_folder(folder: tempfile::TempDir, lab: &Lab, host: &Host, account: &str) -> Self {
        let path = |name: &str| folder.path().join(name).display().to_string();
        let options = [
            "BatchMode=yes".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "IdentityAgent=none".to_owned(),
            "StrictHostKeyChecking=no".to_owned(),
            "UserKnownHostsFile=/dev/null".to_owned(),
            "LogLevel=INFO".to_owned(),
            "ConnectTimeout=20".to_owned(),
            format!("IdentityFile={}", path("key")),
            format!("CertificateFile={}", path("key-cert.pub")),
        ];
        let mut arguments = vec!["-F".to_owned(), "/dev/null".to_owned()];
        arguments.extend(options.into_iter().flat_map(|option| ["-o".to_owned(), option]));
        let destination = format!("{account}@{}", host.address());
        Self { folder, lab: lab.clone(), arguments, destination, account: account.to_owned() }
    }

    /// The options that name key, certificate and nothing of the user's own settings.
    pub fn options(&self) -> &[String] {
        &self.arguments
    }

    /// Account and address, as ssh takes them.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// Has only a copy of the certificate from now on, as a thief of it has.
    pub fn lose_key(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.folder.path().join("key"))?)
    }

    /// `ssh` with the session's key and certificate, to be given more options, the destination and a command.
    pub fn client(&self, program: &str) -> Result<Command> {
        let mut command = self.lab.client_command(program)?;
        command.args(&self.arguments).stdin(Stdio::null());
        Ok(command)
    }

    /// Runs one command over a connection of its own.
    pub fn run(&self, command: &str) -> Result<Ran> {
        self.run_with(&[], command)
    }

    /// The same with more options for ssh.
    pub fn run_with(&self, options: &[&str], command: &str) -> Result<Ran> {
        let mut ssh = self.client("ssh")?;
        ssh.args(options).arg(&self.destination).arg(command);
        Ok(ssh.output().context("ssh")?.into())
    }

    /// Works at a terminal over a connection of its own, or over that of a control socket. The steps are those of
    /// `terminal_client.py`; stdout is all that was shown, byte for byte.
    pub fn at_a_terminal(&self, steps: &serde_json::Value, more: &[&str]) -> Result<Output> {
        let mut client = self.lab.client_command("/usr/bin/python3")?;
        client.args(["-c", include_str!("terminal_client.py"), &steps.to_string(), "ssh", "-t"]);
        client.args(&self.arguments).args(["-o", "LogLevel=ERROR"]).args(more).arg(&self.destination);
        client.stdin(Stdio::null()).output().context("python3")
    }

    /// Starts a command and lets it run.
    pub fn start(&self, command: &str) -> Result<Child> {
        let mut ssh = self.client("ssh")?;
        ssh.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::piped());
        ssh.arg(&self.destination).arg(command).spawn().context("ssh")
    }

    /// Offers a certificate with a client that does not look at it first. What that client said.
    pub fn offer(&self, certificate: &str) -> Result<String> {
        let path = self.folder.path().join("offered-cert.pub");
        std::fs::write(&path, format!("{certificate}\n"))?;
        let (account, address) = self.destination.split_once('@').context("no address")?;
        let mut client = self.lab.client_command("/usr/bin/python3")?;
        client.args(["-c", include_str!("send_certificate.py"), address, account]);
        let output = client.arg(self.folder.path().join("key")).arg(&path).output().context("python3")?;
        let said = Ran::from(output);
        anyhow::ensure!(said.code == 0, "{said:?}");
        Ok(said.out)
    }

    /// Opens one connection that further commands share, and keeps it open until it is dropped.
    pub fn connect(&self) -> Result<Connection<'_>> {
        let control = self.folder.path().join("control").display().to_string();
        let mut ssh = self.client("ssh")?;
        ssh.args(["-o", "ControlMaster=yes", "-o", "ControlPersist=no", "-N", "-f", "-S", &control]);
        // ssh -f returns once the connection stands; its background half keeps stderr, which must not be a pipe.
        let log = self.folder.path().join("connect.log");
        ssh.stdout(Stdio::null()).stderr(std::fs::File::create(&log)?);
        let status = ssh.arg(&self.destination).status().context("ssh")?;
        let said = std::fs::read_to_string(&log)?;
        anyhow::ensure!(status.success(), "the connection was refused: {said}");
        Ok(Connection { agent: self, control })
    }
}

/// One connection that several commands share (ssh's ControlMaster).
pub struct Connection<'a> {
    agent: &'a Agent,
    control: String,
}

impl Connection<'_> {
    /// Runs one command over it.
    pub fn run(&self, command: &str) -> Result<Ran> {
        self.run_with(&[], command)
    }

    /// The same with more options for ssh.
    pub fn run_with(&self, options: &[&str], command: &str) -> Result<Ran> {
        let mut ssh = self.agent.client("ssh")?;
        ssh.args(["-S", &self.control, "-o", "ControlMaster=no"]).args(options);
        Ok(ssh.arg(&self.agent.destination).arg(command).output().context("ssh")?.into())
    }

    /// Starts a command over it and lets it run.
    pub fn start(&self, command: &str) -> Result<Child> {
        self.start_with(&[], command)
    }

    /// The same with more options for ssh.
    pub fn start_with(&self, options: &[&str], command: &str) -> Result<Child> {
        let mut ssh = self.agent.client("ssh")?;
        ssh.args(["-S", &self.control, "-o", "ControlMaster=no"]).args(options);
        ssh.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::piped());
        ssh.arg(&self.agent.destination).arg(command).spawn().context("ssh")
    }

    /// The path of its control socket.
    pub fn control(&self) -> String {
        self.control.clone()
    }

    /// Closes it, as an agent does that is done.
    pub fn close(self) {}
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        if let Ok(mut ssh) = self.agent.client("ssh") {
            ssh.args(["-S", &self.control, "-O", "exit"]).stderr(Stdio::null());
            let _ = ssh.arg(&self.agent.destination).status();
        }
    }
}

pub(crate) fn write_private(path: &str, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
