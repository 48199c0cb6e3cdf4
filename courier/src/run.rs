//! Carrying: one thread for what central pushes, one for what agentd reports. Each begins anew when it fails, later
//! each time, and not all hosts at the same moment.

use crate::audit::{FOLDER, Segments, Shipper, Step};
use crate::inbox::Inbox;
use crate::report::{Folder, Reports};
use crate::settings::{INBOX, REPORT_FILE, load};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::time::{Duration, Instant};
use tether_centrallink::wire::{Reported, Taken};
use tether_centrallink::{Caller, Central, Credential, Event, random};
use tether_oauth::issue::PrivateKey;

/// Central signs a head every ten seconds; after that long without one the connection is taken for dead.
const SILENCE: Duration = Duration::from_secs(30);
/// How often agentd's report is sent although it says nothing new.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// For how long lines of the chain are gathered before they go.
const GATHER: Duration = Duration::from_millis(100);
/// What lasted that long was no failure to begin with: the next pause is short again.
const LASTED: Duration = Duration::from_secs(5);

pub(crate) fn run() -> Result<()> {
    let (central, key) = load()?;
    let inbox = Inbox::new(Path::new(INBOX));
    notify_ready();
    std::thread::scope(|threads| {
        threads.spawn(|| again("the feed", || carry_feed(&central, &key, &inbox)));
        threads.spawn(|| again("the report", || carry_reports(&central, &key, &inbox)));
        threads.spawn(|| again("the audit chain", || carry_audit(&central, &key, &inbox, Path::new(FOLDER))));
    });
    Ok(())
}

/// sd_notify(3): one datagram. Without systemd there is nobody to tell.
fn notify_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| socket.send_to(b"READY=1", &path));
    if let Err(error) = sent {
        eprintln!("tether-courier: systemd could not be told: {error}");
    }
}

fn again(what: &str, mut carry: impl FnMut() -> Result<()>) {
    let mut pause = Duration::from_millis(200);
    loop {
        let begun = Instant::now();
        if let Err(error) = carry() {
            eprintln!("tether-courier: {what}: {error:#}");
        }
        if begun.elapsed() > LASTED {
            pause = Duration::from_millis(200);
        }
        std::thread::sleep(jittered(pause));
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Half of it to all of it.
fn jittered(pause: Duration) -> Duration {
    let random = random::seed().ok().and_then(|bytes| bytes.first().copied()).unwrap_or(255);
    pause / 2 + pause * u32::from(random) / 510
}

fn carry_feed(central: &Central, key: &PrivateKey, inbox: &Inbox) -> Result<()> {
    let after = Reports::open(Path::new(REPORT_FILE))
        .with_context(|| format!("{REPORT_FILE}; does tether-agentd run?"))?
        .now()
        .with_context(|| format!("{REPORT_FILE}; does tether-agentd run?"))?
        .position
        .number;
    let path = format!("/v1/host/feed?after={after}");
    let mut events = central.events(&path, Caller { key, token: None }, SILENCE)?;
    while let Some(event) = events.next_event()? {
        inbox.put(&file_of(&event)?, &event.data)?;
    }
    bail!("central has closed the connection")
}

fn file_of(event: &Event) -> Result<String> {
    Ok(match event.name.as_str() {
        "keys" => "keys.jws".to_owned(),
        "head" => "head.jws".to_owned(),
        "statement" => format!("feed-{}.jws", event.id.parse::<u64>().context("a statement without a number")?),
        "bundle" => format!("bundle-{}.jws", event.id),
        "confirmation" => format!("confirm-{}.jws", event.id),
        other => bail!("central sent {other:?}, which this version does not know"),
    })
}

/// agentd's question, and how far it has read: central waits for it before it hands out a certificate.
fn carry_reports(central: &Central, key: &PrivateKey, inbox: &Inbox) -> Result<()> {
    let reports = Reports::open(Path::new(REPORT_FILE)).with_context(|| REPORT_FILE.to_owned())?;
    let mut sent = None;
    let mut answered = String::new();
    let mut at = Instant::now();
    loop {
        let report = reports.now();
        if let Some(report) = report.filter(|report| sent.as_ref() != Some(report) || at.elapsed() >= REPORT_EVERY) {
            let credential = Credential::Key(Caller { key, token: None });
            let reported: Reported = central.post("/v1/host/report", &report, credential)?;
            // One question has one answer; another one would only be read for nothing.
            if answered != report.nonce {
                inbox.put("resume.jws", &reported.resume)?;
                answered.clone_from(&report.nonce);
            }
            sent = Some(report);
            at = Instant::now();
            continue;
        }
        reports.wait(REPORT_EVERY)?;
    }
}

/// agentd's chain, as far as it is signed, and central's word about it. A host whose agentd writes none yet has nothing
/// to carry.
fn carry_audit(central: &Central, key: &PrivateKey, inbox: &Inbox, folder: &Path) -> Result<()> {
    let Ok(news) = Folder::open(folder) else {
        std::thread::sleep(PAUSE_MAX);
        return Ok(());
    };
    let mut shipper = Shipper::new(Segments::new(folder));
    loop {
        let mut send = |ask: &crate::audit::Ask<'_>| -> Result<Taken> {
            let credential = Credential::Key(Caller { key, token: None });
            Ok(central.post_lines(&ask.path(), ask.lines, credential)?)
        };
        let step = shipper.step(&mut send, &mut |word| inbox.put("countersigned.jws", word))?;
        if step == Step::Done {
            news.wait(REPORT_EVERY)?;
            // A busy agentd wakes us thousands of times a second: what comes together goes together.
            std::thread::sleep(GATHER);
        }
    }
}
