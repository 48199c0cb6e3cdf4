//! Stock OpenSSH on a host: a certificate login from the machine's own ssh client, and a package as a layer.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tether_testhost::{Host, HostSpec, Image, Lab, Result, Suite};

const READY: Duration = Duration::from_secs(60);

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A key pair and, signed by the CA, a certificate for `principal`.
fn make_certificate(folder: &Path, principal: &str) {
    for key in ["ca", "user"] {
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(key)));
    }
    let mut sign = Command::new("ssh-keygen");
    sign.args(["-q", "-I", "session-1", "-n", principal, "-V", "-1m:+5m", "-s"]).arg(folder.join("ca"));
    run(sign.arg(folder.join("user.pub")));
}

fn ssh(lab: &Lab, host: &Host, user: &str, folder: &Path) -> Result<Command> {
    let mut ssh = lab.client_command("ssh")?;
    ssh.args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
    ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]);
    ssh.arg("-i").arg(folder.join("user")).arg(format!("{user}@{}", host.address()));
    Ok(ssh)
}

#[test]
fn a_certificate_logs_in_through_stock_sshd() -> Result<()> {
    for suite in Suite::ALL {
        let folder = tempfile::tempdir().expect("a folder");
        make_certificate(folder.path(), "deployer");
        let image = Image::ensure(suite, &mut |line| eprintln!("{line}"))?;
        let lab = Lab::new()?;
        let host = lab.boot(HostSpec::new("web1", &image))?;
        host.wait_ready(READY)?;
        host.sh("useradd --create-home --shell /bin/bash deployer && useradd --create-home other")?;
        host.copy_in(folder.path().join("ca.pub"), "/etc/ssh/ca.pub", 0o644)?;
        host.write_file("/etc/ssh/sshd_config.d/ca.conf", "TrustedUserCAKeys /etc/ssh/ca.pub\n", 0o644)?;
        // A reload returns before sshd listens again; a restart does not.
        host.sh("sshd -t && systemctl restart ssh")?;

        let answer = run(ssh(&lab, &host, "deployer", folder.path())?.arg("id -un; hostname; echo $SSH_CONNECTION"));
        assert_eq!(
            answer,
            format!("deployer\nweb1\n{} {} {} 22\n", lab.client_address(), client_port(&answer), host.address())
        );
        let session =
            run(ssh(&lab, &host, "deployer", folder.path())?.arg("cat /proc/self/loginuid; loginctl --no-legend"));
        assert!(session.starts_with("1000") && session.contains("deployer"), "no login session: {session}");
        assert!(host.sshd_journal()?.contains("ID session-1 (serial 0) CA ED25519"));
        let refused = ssh(&lab, &host, "other", folder.path())?.arg("true").output().expect("ssh runs");
        assert_eq!(refused.status.code(), Some(255));
    }
    Ok(())
}

fn client_port(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn a_package_is_a_layer_with_its_service() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let deb = make_package(folder.path());
    let image = Image::ensure(Suite::Bookworm, &mut |line| eprintln!("{line}"))?;
    let layered = image.with_deb(&deb)?;
    assert_eq!(layered.with_deb(&deb)?.lower().len(), image.lower().len() + 2);
    assert_eq!(image.with_deb(&deb)?.lower(), layered.lower());
    let lab = Lab::new()?;
    let host = lab.boot(HostSpec::new("with", &layered))?;
    host.wait_ready(READY)?;
    assert_eq!(host.sh("cat /usr/share/probe; systemctl is-active probe")?, "42\nactive\n");
    assert_eq!(host.sh("ls /usr/sbin/policy-rc.d /var/cache/layer.deb 2>/dev/null || true")?, "");
    // The same package installed live.
    let bare = lab.boot(HostSpec::new("live", &image))?;
    bare.wait_ready(READY)?;
    bare.copy_in(&deb, "/root/probe.deb", 0o644)?;
    bare.sh("dpkg -i /root/probe.deb")?;
    assert_eq!(bare.sh("cat /usr/share/probe; systemctl is-active probe")?, "42\nactive\n");
    Ok(())
}

fn make_package(folder: &Path) -> std::path::PathBuf {
    let tree = folder.join("tree");
    let file = |path: &str, text: &str| {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    file("usr/share/probe", "42\n");
    let unit =
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
    file("lib/systemd/system/probe.service", unit);
    file(
        "DEBIAN/control",
        "Package: probe\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: a probe\n",
    );
    file("DEBIAN/postinst", "#!/bin/sh\nset -e\nsystemctl enable probe.service\ninvoke-rc.d probe start\n");
    run(Command::new("chmod").arg("755").arg(tree.join("DEBIAN/postinst")));
    let deb = folder.join("probe.deb");
    // The same bytes every time, so that the cache holds one layer of it.
    run(Command::new("dpkg-deb")
        .env("SOURCE_DATE_EPOCH", "0")
        .args(["--root-owner-group", "--build"])
        .arg(&tree)
        .arg(&deb));
    deb
}
