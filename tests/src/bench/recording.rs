//! What recording costs: a long output through a recorded sudo, beside stock sudo that logs it to the same disk, and
//! beside stock sudo that does not.

use super::pair::Pair;
use super::{Bench, Beside, Figures, Row};
use anyhow::{Result, ensure};
use std::path::Path;
use std::time::Instant;
use tether_testhost::{Host, Suite};

const ROUNDS: usize = 3;
const BUNDLE: &str = "name = 'triage'\nversion = 9\n[read]\ntrees = ['/srv']\n\
    [[rule]]\nid = 'cat'\nprogram = '/usr/bin/cat'\narguments = 'any'\n";
const SETTINGS: &str = "\n[recording]\ncommand_mib = 4096\nsession_mib = 65536\nhost_mib = 65536\n";
const LOGGED: &str = "Defaults log_output\nDefaults maxseq=4\n";

/// `record 1GiB`, or of 64 MiB if `quick`.
pub fn recording(suite: Suite, package: &Path, quick: bool, tell: &mut dyn FnMut(&Row)) -> Result<Bench> {
    let mut pair = Pair::new(suite, package)?;
    let mib = if quick { 64 } else { 1024 };
    prepare(&mut pair, mib)?;
    let (_, agent) = pair.scene.session()?;
    let connection = agent.connect()?;
    let (mut ours, mut logged, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let ran = connection.run("sudo cat /srv/text | wc -c")?;
        ensure!(ran.out.trim() == (mib << 20).to_string(), "{ran:?}");
        flush(&pair.scene.host, "/var/lib/tether/recordings")?;
        ours.push(begun.elapsed().as_secs_f64() * 1e3);
        pair.scene.host.sh("rm -f /var/lib/tether/recordings/*/*.rec; sync")?;
        pair.stock.write_file("/etc/sudoers.d/logged", LOGGED, 0o440)?;
        logged.push(stock(&pair.stock, mib)?);
        pair.stock.sh("rm -rf /var/log/sudo-io /etc/sudoers.d/logged; sync")?;
        plain.push(stock(&pair.stock, mib)?);
    }
    let row = |name: &'static str, samples: Vec<f64>, target| Row {
        case: if quick { "record 64MiB".to_owned() } else { "record 1GiB".to_owned() },
        unit: "ms",
        ours: Figures::of(ours.clone()),
        beside: Some(Beside { name, figures: Figures::of(samples) }),
        target,
    };
    let rows = vec![
        row("stock sudo, log_output to the same disk", logged, "no slower"),
        row("stock sudo, nothing logged", plain, "no target"),
    ];
    rows.iter().for_each(tell);
    Ok(Bench { bench: "recording", rows })
}

/// The same incompressible text on both hosts, and limits that let it pass.
fn prepare(pair: &mut Pair, mib: u64) -> Result<()> {
    let make = format!("head -c {} /dev/urandom | base64 -w 100 | head -c {} > /srv/text; sync", mib << 20, mib << 20);
    pair.scene.host.sh(&make)?;
    pair.stock.sh(&make)?;
    let settings = format!(
        "cat >> /etc/tether/host.toml <<'E'{SETTINGS}E\necho 'command_output_mib = 4096' >> /etc/tether/ceiling.toml"
    );
    pair.scene.host.sh(&settings)?;
    pair.scene.restart_agentd()?;
    pair.scene.publish(BUNDLE)
}

/// In milliseconds, with what was logged on stable storage.
fn stock(host: &Host, mib: u64) -> Result<f64> {
    let begun = Instant::now();
    let said = host.sh("runuser -u carol -- sh -c 'sudo cat /srv/text | wc -c'")?;
    ensure!(said.trim() == (mib << 20).to_string(), "{said}");
    flush(host, "/var/log")?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

fn flush(host: &Host, folder: &str) -> Result<()> {
    host.sh(&format!("find {folder} -type f -exec sync {{}} +"))?;
    Ok(())
}
