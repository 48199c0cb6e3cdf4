//! People on a host who have nothing to do with agents: their keys, passwords and rules, and what they do all day.

use crate::agent::{Ran, write_private};
use anyhow::{Context, Result, ensure};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tether_sshcert::issue::KeyPair;
use tether_testhost::{Host, Lab};

/// bob may do everything without a password, carol with hers; root has a password.
const SET_UP: &str = r#"
for who in bob carol; do
    useradd -m -s /bin/bash $who; echo $who:right$who | chpasswd
    install -d -m 700 -o $who -g $who /home/$who/.ssh; install -m 600 -o $who -g $who /root/people.pub /home/$who/.ssh/authorized_keys
done
echo root:rightroot | chpasswd
printf 'bob ALL=(ALL:ALL) NOPASSWD: ALL\ncarol ALL=(ALL:ALL) ALL\n' > /root/people; install -m 440 /root/people /etc/sudoers.d/people
echo '@reboot bob id -un > /home/bob/cron.new && mv /home/bob/cron.new /home/bob/cron' > /etc/cron.d/people
rm /root/people /root/people.pub
"#;

/// How often each deed is timed; the median counts.
const ROUNDS: usize = 3;

/// bob and carol, and how to be them.
pub struct People {
    folder: tempfile::TempDir,
    lab: Lab,
    address: String,
}

/// What a person does, how often, and how long the median took.
pub type Times = Vec<(&'static str, Duration)>;

impl People {
    /// Makes them on a host.
    pub fn new(lab: &Lab, host: &Host) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let key = KeyPair::from_seed(crate::central::seed()?);
        write_private(&folder.path().join("key").display().to_string(), &key.private_file()?)?;
        host.write_file("/root/people.pub", key.public_line()? + "\n", 0o644)?;
        host.sh(SET_UP)?;
        Ok(Self { folder, lab: lab.clone(), address: host.address().to_string() })
    }

    /// `ssh` as one of them, to be given a command.
    pub fn client(&self, who: &str) -> Result<Command> {
        let mut ssh = self.lab.client_command("ssh")?;
        ssh.args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"]);
        ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]);
        ssh.args(["-o", "ConnectTimeout=20", "-i"]).arg(self.folder.path().join("key"));
        ssh.arg(format!("{who}@{}", self.address)).stdin(Stdio::null());
        Ok(ssh)
    }

    /// Runs one command over a connection of its own.
    pub fn ssh(&self, who: &str, command: &str) -> Result<Ran> {
        Ok(self.client(who)?.arg(command).output().context("ssh")?.into())
    }

    /// A day: every deed must succeed; `sudo` may be left out where the plugin's file is what is broken.
    pub fn day(&self, host: &Host) -> Result<Times> {
        let mut times = self.times(host)?;
        let start = Instant::now();
        cron(host).context("cron")?;
        times.push(("cron", start.elapsed()));
        Ok(times)
    }

    /// The same without the job of cron.
    pub fn times(&self, host: &Host) -> Result<Times> {
        let ssh = |who: &str, command: &str| {
            let ran = self.ssh(who, command)?;
            ensure!(ran.code == 0, "{command}: {ran:?}");
            Ok(ran.out)
        };
        Ok(vec![
            ("ssh", timed(|| said(&ssh("bob", "id -un")?, "bob\n"))?),
            ("sudo", timed(|| said(&ssh("bob", "sudo -n id -u")?, "0\n"))?),
            ("sudo, password", timed(|| said(&ssh("carol", "echo rightcarol | sudo -k -S -p '' id -u")?, "0\n"))?),
            ("su to bob", timed(|| said(&host.sh("su - bob -c 'id -un'")?, "bob\n"))?),
            ("su to root", timed(|| said(&su_to_root(host)?, "0\n"))?),
            ("look-ups", timed(|| said(&host.sh(LOOK_UPS)?, "bob 1000\ncarol 1001\nbob\n"))?),
        ])
    }
}

/// People, groups, and names and ids that nobody has, in the range of agents too.
const LOOK_UPS: &str = "getent passwd bob carol | awk -F: '{ print $1, $3 }'; getent group bob | cut -d: -f1
    getent passwd nobody-there ag-nobodythere 70000; getent group nobody-there ag-nobodythere 70000; true";

fn timed(deed: impl Fn() -> Result<()>) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        deed()?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times[ROUNDS / 2])
}

fn said(is: &str, expected: &str) -> Result<()> {
    ensure!(is == expected, "{is:?} instead of {expected:?}");
    Ok(())
}

fn su_to_root(host: &Host) -> Result<String> {
    let output = host.command("su").args(&["-c", "id -u", "root"]).user("bob").stdin("rightroot\n").output()?;
    let ran = Ran::from(output);
    ensure!(ran.code == 0, "su: {ran:?}");
    Ok(ran.out)
}

/// A job at cron's own start; cron notes in a file that it had its first start.
fn cron(host: &Host) -> Result<()> {
    host.sh("rm -f /run/crond.reboot /home/bob/cron; systemctl restart cron")?;
    let start = Instant::now();
    while host.exec(&["test", "-e", "/home/bob/cron"])?.status.code() != Some(0) {
        ensure!(start.elapsed() < Duration::from_secs(10), "the job did not run:\n{}", host.journal("cron")?);
        std::thread::sleep(Duration::from_millis(20));
    }
    said(&host.sh("cat /home/bob/cron")?, "bob\n")
}

/// Whether nobody waited: not for seconds, and not for a part of one. Noise is the machine's.
pub fn as_fast(before: &Times, now: &Times) -> Result<()> {
    for ((deed, before), (_, now)) in before.iter().zip(now) {
        let most = before.mul_f64(1.5) + Duration::from_millis(300);
        ensure!(now <= &most, "{deed} took {now:?}, before {before:?}");
    }
    Ok(())
}
