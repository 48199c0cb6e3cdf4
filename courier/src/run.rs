//! Carrying: one thread for what central pushes, one for what agentd reports, one for its chain and one for recordings.
//! Each begins anew when it fails, later each time, and not all hosts at the same moment.

use crate::audit::{FOLDER, Segments, Shipper, Step};
use crate::inbox::Inbox;
use crate::recordings;
use crate::report::{Folder, Reports};
use crate::settings::{INBOX, REPORT_FILE, load};
use anyhow::{Context, Result, bail};
use base64ct::{Base64UrlUnpadded, Encoding};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tether_centrallink::wire::{Reported, Taken};
use tether_centrallink::{Caller, Central, Credential, Event, random};
use tether_oauth::issue::PrivateKey;
use tether_statement::{ResumeRequest, Typ};

/// Central signs a head every ten seconds; after that long without one the connection is taken for dead.
const SILENCE: Duration = Duration::from_secs(30);
/// How often agentd's report is sent although it says nothing new.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// How long a report may wait that nobody waits for: a revocation reaches a whole fleet at once, and central has more
/// to do then than to hear a thousand couriers on a thousand new connections.
const AT_LEISURE: Duration = Duration::from_secs(3);
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// For how long lines of the chain are gathered before they go.
const GATHER: Duration = Duration::from_millis(100);
/// The longest rest after a piece of a recording.
const REST_MAX: Duration = Duration::from_secs(5);
/// What lasted that long was no failure to begin with: the next pause is short again.
const LASTED: Duration = Duration::from_secs(5);

pub(crate) fn run() -> Result<()> {
    let (central, key) = load()?;
    let inbox = Inbox::new(Path::new(INBOX));
    inbox.tidy();
    notify_ready();
    let urgent = AtomicU64::new(0);
    std::thread::scope(|threads| {
        threads.spawn(|| again("the feed", || carry_feed(&central, &key, &inbox, &urgent)));
        threads.spawn(|| again("the report", || carry_reports(&central, &key, &inbox, &urgent)));
        threads.spawn(|| {
            // What it knows of its segments outlives a try.
            let mut shipper = Shipper::new(Segments::new(Path::new(FOLDER)));
            again("the audit chain", || carry_audit(&central, &key, &inbox, &mut shipper));
        });
        threads.spawn(|| again("recordings", || carry_recordings(&central, &key, &inbox)));
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

/// `urgent` is the last statement that somebody waits for.
fn carry_feed(central: &Central, key: &PrivateKey, inbox: &Inbox, urgent: &AtomicU64) -> Result<()> {
    let after = Reports::open(Path::new(REPORT_FILE))
        .with_context(|| format!("{REPORT_FILE}; does tether-agentd run?"))?
        .now()
        .with_context(|| format!("{REPORT_FILE}; does tether-agentd run?"))?
        .position
        .number;
    let path = format!("/v1/host/feed?after={after}");
    let mut events = central.events(&path, Caller { key, token: None }, SILENCE)?;
    while let Some(event) = events.next_event()? {
        if event.name == "statement" && is_waited_for(&event.data) {
            urgent.fetch_max(event.id.parse().unwrap_or(u64::MAX), Ordering::SeqCst);
        }
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

/// Whoever is to have a certificate waits until the host has read its grant. What cannot be read is hurried.
fn is_waited_for(statement: &str) -> bool {
    let header = statement.split('.').next().unwrap_or_default();
    let header = Base64UrlUnpadded::decode_vec(header).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let typ = header.as_ref().and_then(|header: &serde_json::Value| header.get("typ")?.as_str());
    typ != Some(Typ::Revocation.as_str())
}

/// Whether a report that says something new may wait: the same question as before, and nobody waits for what was read.
fn may_wait(report: &ResumeRequest, sent: Option<&ResumeRequest>, urgent: u64) -> bool {
    sent.is_some_and(|sent| sent.nonce == report.nonce && urgent <= sent.position.number)
}

/// agentd's question, and how far it has read: central waits for it before it hands out a certificate.
fn carry_reports(central: &Central, key: &PrivateKey, inbox: &Inbox, urgent: &AtomicU64) -> Result<()> {
    let reports = Reports::open(Path::new(REPORT_FILE)).with_context(|| REPORT_FILE.to_owned())?;
    let mut sent: Option<ResumeRequest> = None;
    // Until when a report waits.
    let mut leisure: Option<Instant> = None;
    let mut answered = String::new();
    let mut at = Instant::now();
    loop {
        let report = reports.now();
        if let Some(report) = report.filter(|report| sent.as_ref() != Some(report) || at.elapsed() >= REPORT_EVERY) {
            if may_wait(&report, sent.as_ref(), urgent.load(Ordering::SeqCst)) {
                let until = *leisure.get_or_insert_with(|| Instant::now() + jittered(AT_LEISURE));
                if let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                    // A grant that is read meanwhile changes the file, and is not held up.
                    reports.wait(left)?;
                    continue;
                }
            }
            leisure = None;
            let credential = Credential::Key(Caller { key, token: None });
            let reported: Reported = central.post("/v1/host/report", &report, credential)?;
            // One question has one answer; another one would only be read for nothing. But for once in a while: agentd may
            // have met an older one under its name at that moment, and shut agents out until it has this one.
            if answered != report.nonce || sent.as_ref() == Some(&report) {
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
fn carry_audit(central: &Central, key: &PrivateKey, inbox: &Inbox, shipper: &mut Shipper) -> Result<()> {
    let Ok(news) = Folder::open(Path::new(FOLDER), true) else {
        std::thread::sleep(PAUSE_MAX);
        return Ok(());
    };
    shipper.begin_anew();
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

/// What agentd recorded. It has all the time there is: after each piece the line is left to others for as long as it was
/// taken.
fn carry_recordings(central: &Central, key: &PrivateKey, inbox: &Inbox) -> Result<()> {
    let folder = Path::new(recordings::FOLDER);
    if !folder.is_dir() {
        std::thread::sleep(PAUSE_MAX);
        return Ok(());
    }
    let mut shipper = recordings::Shipper::new(folder);
    loop {
        let mut send = |ask: &recordings::Ask<'_>| {
            let begun = Instant::now();
            let bytes = ask.piece.map(|(_, bytes)| bytes).unwrap_or_default();
            let sent = central.put_bytes(&ask.path(), bytes, Credential::Key(Caller { key, token: None }));
            std::thread::sleep(begun.elapsed().min(REST_MAX));
            sent
        };
        let mut place = |(session, name): &recordings::Key, receipt: &str| inbox.put_receipt(session, name, receipt);
        std::thread::sleep(shipper.round(Instant::now(), &mut send, &mut place)?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tether_statement::Position;

    fn statement(header: &str) -> String {
        format!("{}.e30.c2ln", Base64UrlUnpadded::encode_string(header.as_bytes()))
    }

    fn report(nonce: &str, number: u64) -> ResumeRequest {
        let position = Position { number, hash: String::new() };
        ResumeRequest {
            host: "web-01".parse().unwrap(),
            nonce: nonce.to_owned(),
            boot_id: "b".to_owned(),
            position,
            uid_mark: 0,
        }
    }

    #[test]
    fn only_revocations_are_reported_at_leisure() {
        let header = |typ: Typ| statement(&format!("{{\"typ\":\"{}\"}}", typ.as_str()));
        assert!(!is_waited_for(&header(Typ::Revocation)));
        assert!(is_waited_for(&header(Typ::Grant)));
        for unread in ["", "a.b.c", &statement("{}"), &statement("no JSON")] {
            assert!(is_waited_for(unread), "{unread:?}");
        }
    }

    #[test]
    fn who_is_waited_for_does_not_wait() {
        let sent = report("n", 7);
        assert!(may_wait(&report("n", 8), Some(&sent), 7), "a revocation was read");
        assert!(!may_wait(&report("n", 8), Some(&sent), 8), "a grant was");
        assert!(!may_wait(&report("n", 9), Some(&sent), 8), "and a revocation after it");
        assert!(!may_wait(&report("o", 7), Some(&sent), 0), "agentd has begun anew");
        assert!(!may_wait(&report("n", 7), None, 0), "nothing was sent yet");
    }
}
