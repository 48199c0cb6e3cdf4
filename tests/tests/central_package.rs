//! Central's own package on a real host: nothing starts before it was made, systemd runs it with no right to anything
//! but its store, policies are read anew, and what it keeps outlives all but a purge.

use anyhow::{Context, ensure};
use std::time::{Duration, Instant};
use tether_testhost::{Host, HostSpec, Image, Lab, Suite};
use tether_tests::agent::Ran;
use tether_tests::on_both_suites;
use tether_tests::scene::central_package;

type Result = anyhow::Result<()>;

on_both_suites!(from_installation_to_purge);

/// The most that systemd-analyze may find to say against the unit; 10 is a service without any bounds.
const EXPOSURE_MAX: f64 = 1.5;
/// What the tests permit.
const POLICIES: &str =
    "@id(\"admins\") permit (principal in Group::\"admins\", action == Action::\"administer\", resource);\n";

fn from_installation_to_purge(suite: Suite) -> Result {
    let image = Image::ensure(suite, &mut |line| eprintln!("{line}"))?;
    let lab = Lab::new()?;
    let host = lab.boot(HostSpec::new("central", &image))?;
    host.wait_ready(Duration::from_secs(60))?;
    host.copy_in(&central_package()?, "/root/central.deb", 0o644)?;

    let said = done(&host, "dpkg -i /root/central.deb")?;
    ensure!(said.out.contains("tether-central init"), "it says what to do: {said:?}");
    assert_eq!(host.sh("systemctl is-active tether-central; true")?, "inactive\n");
    ensure!(try_sh(&host, "tether-central check")?.code == 1, "there is nothing to check");

    make(&host)?;
    is_central(&host)?;
    is_bounded(&host)?;
    policies_are_read_anew(&host)?;
    it_ends_and_begins_well(&host)?;

    // A broken central does not start, and says why; it does not try for ever.
    host.sh("cp /var/lib/tether-central/policies.cedar /root/good; echo 'permit (' > /var/lib/tether-central/policies.cedar")?;
    ensure!(try_sh(&host, "systemctl restart tether-central")?.code != 0, "it started with broken policies");
    ensure!(host.journal("tether-central")?.contains("WRONG policies.cedar"), "{}", host.journal("tether-central")?);
    host.sh("cat /root/good > /var/lib/tether-central/policies.cedar; systemctl reset-failed tether-central; systemctl start tether-central")?;
    is_central(&host)?;

    let records = records(&host)?;
    done(&host, "dpkg -r tether-central")?;
    assert_eq!(host.sh("pgrep -c tether-central; true")?, "0\n");
    done(&host, "dpkg -i /root/central.deb")?;
    is_central(&host)?;
    ensure!(self::records(&host)? > records, "the chain goes on");
    done(&host, "dpkg -P tether-central")?;
    host.sh(
        "test ! -e /var/lib/tether-central && ! getent passwd tether-central && ! test -e /usr/bin/tether-central",
    )?;
    Ok(())
}

fn try_sh(host: &Host, text: &str) -> anyhow::Result<Ran> {
    Ok(host.exec(&["/bin/sh", "-c", text])?.into())
}

fn done(host: &Host, text: &str) -> anyhow::Result<Ran> {
    let ran = try_sh(host, &format!("export DEBIAN_FRONTEND=noninteractive; {text}"))?;
    ensure!(ran.code == 0, "{text}: {ran:?}");
    Ok(ran)
}

/// As an admin does: init as root, the offline keys taken away, policies, start.
fn make(host: &Host) -> Result {
    let url = format!("https://{}:8443", host.address());
    let made = done(host, &format!("tether-central init --url {url} --namespace @example.org"))?;
    ensure!(made.out.contains("break-glass-"), "{made:?}");
    let owners = "cd /var/lib/tether-central; stat -c '%U %a %n' . keys keys/ca.json tls/key.pem central.db central.toml offline offline/root.json";
    assert_eq!(
        host.sh(owners)?,
        "tether-central 700 .\ntether-central 700 keys\ntether-central 600 keys/ca.json\ntether-central 600 tls/key.pem\n\
         tether-central 644 central.db\ntether-central 644 central.toml\nroot 700 offline\nroot 600 offline/root.json\n"
    );
    let checked = done(host, "tether-central check")?;
    ensure!(checked.out.contains("WARN") && checked.out.contains("offline"), "{checked:?}");
    host.sh("mv /var/lib/tether-central/offline /root/offline")?;
    ensure!(!done(host, "tether-central check")?.out.contains("WARN"), "all is well now");
    let policies = POLICIES;
    host.write_file("/root/policies", policies, 0o644)?;
    host.sh("cat /root/policies > /var/lib/tether-central/policies.cedar && systemctl start tether-central")?;
    Ok(())
}

/// It answers over TLS to whoever trusts its authority, and metrics are to be had on the loopback alone.
fn is_central(host: &Host) -> Result {
    let address = host.address();
    let asked = format!(
        "python3 -c \"import ssl, urllib.request as u; \
         c = ssl.create_default_context(cafile='/var/lib/tether-central/tls/authority.pem'); \
         print(u.urlopen('https://{address}:8443/healthz', context=c).read().decode()); \
         print(u.urlopen('http://127.0.0.1:9464/metrics').read().decode())\""
    );
    let answered = done(host, &asked)?;
    ensure!(answered.out.starts_with("{\"status\":\"ok\"}\n"), "{answered:?}");
    ensure!(answered.out.contains("\ntether_policies_current 1\n"), "{answered:?}");
    ensure!(try_sh(host, &format!("nc -z {address} 9464"))?.code != 0, "metrics are open to the network");
    Ok(())
}

fn is_bounded(host: &Host) -> Result {
    let about = host.sh("systemd-analyze security --no-pager tether-central.service | tail -1")?;
    let score = about.split_whitespace().find_map(|word| word.parse::<f64>().ok());
    let score = score.with_context(|| format!("no score: {about:?}"))?;
    eprintln!("systemd-analyze security: {score}");
    ensure!(score <= EXPOSURE_MAX, "{about}");
    let pid = host.sh("systemctl show -P MainPID tether-central")?;
    let status = host.sh(&format!("cat /proc/{}/status", pid.trim()))?;
    ensure!(status.contains("CapBnd:\t0000000000000000") && status.contains("NoNewPrivs:\t1"), "{status}");
    // Not even its own policies: only the store may be written. The same place is writable for its user without the unit.
    let inside = format!("nsenter -t {} -m -S $(id -u tether-central) -G $(id -g tether-central)", pid.trim());
    let file = "/var/lib/tether-central/policies.cedar";
    ensure!(try_sh(host, &format!("{inside} sh -c 'echo >> {file}'"))?.code != 0, "it can write its policies");
    ensure!(try_sh(host, &format!("{inside} sh -c 'echo > /etc/own'"))?.code != 0, "it can write /etc");
    done(host, &format!("{inside} sh -c 'echo > /var/lib/tether-central/own && rm /var/lib/tether-central/own'"))?;
    Ok(())
}

fn policies_are_read_anew(host: &Host) -> Result {
    let other = "@id(\"auditors\") permit (principal in Group::\"auditors\", action == Action::\"audit\", resource);";
    host.sh(&format!("echo '{other}' >> /var/lib/tether-central/policies.cedar; systemctl reload tether-central"))?;
    wait(host, "policies.loaded", 2)?;
    host.sh("echo 'permit (' >> /var/lib/tether-central/policies.cedar")?;
    ensure!(try_sh(host, "systemctl reload tether-central")?.code != 0, "whoever reloads a bad file is told");
    wait(host, "policies.refused", 1)?;
    let metrics =
        "python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:9464/metrics').read().decode())\"";
    ensure!(done(host, metrics)?.out.contains("\ntether_policies_current 0\n"), "the metric says so");
    ensure!(host.journal("tether-central")?.contains("NOT RELOADED [policies.refused]"), "the log says so");
    host.sh("cat /root/policies > /var/lib/tether-central/policies.cedar; systemctl reload tether-central")?;
    wait(host, "policies.loaded", 3)
}

/// Waits until there are so many records of an event.
fn wait(host: &Host, event: &str, count: usize) -> Result {
    let begun = Instant::now();
    loop {
        let found = host.sh(&format!("tether-central audit 2>/dev/null | grep -c '\"{event}\"'; true"))?;
        if found.trim() == count.to_string() {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < Duration::from_secs(15),
            "{event}: {found} of {count}\n{}",
            host.journal("tether-central")?
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn records(host: &Host) -> anyhow::Result<usize> {
    Ok(host.sh("tether-central audit 2>/dev/null | wc -l")?.trim().parse()?)
}

/// Told to stop it ends well and leaves a store that is whole; killed it comes back by itself. All that was, is.
fn it_ends_and_begins_well(host: &Host) -> Result {
    let before = records(host)?;
    host.sh("systemctl stop tether-central")?;
    assert_eq!(host.sh("systemctl show -P Result tether-central")?, "success\n");
    assert_eq!(host.sh("ls /var/lib/tether-central | grep -c 'central.db-'; true")?, "0\n", "the log was written back");
    wait(host, "central.stopped", 1)?;
    host.sh("systemctl start tether-central")?;
    is_central(host)?;
    host.sh("systemctl kill -s KILL tether-central")?;
    let begun = Instant::now();
    while host.sh("systemctl show -P NRestarts tether-central")?.trim() == "0" || is_central(host).is_err() {
        ensure!(begun.elapsed() < Duration::from_secs(20), "it does not come back");
        std::thread::sleep(Duration::from_millis(20));
    }
    ensure!(records(host)? > before + 1, "the chain went on");
    Ok(())
}
