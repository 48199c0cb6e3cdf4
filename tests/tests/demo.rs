//! The story that `cargo xtask demo` tells, and what its `--json` promises to programs.

use anyhow::{Context, ensure};
use tether::linked::linked;
use tether_testhost::Suite;
use tether_tests::demo::{self, Kept, Told};
use tether_tests::evidence::verify;
use tether_tests::on_both_suites;

on_both_suites!(the_story_comes_out_well);

fn the_story_comes_out_well(suite: Suite) -> anyhow::Result<()> {
    let (mut begun, mut done) = (0, 0);
    let folder = tempfile::tempdir()?;
    let story = demo::run(suite, Some(folder.path()), &mut |told| match told {
        Told::Begun(_) => begun += 1,
        Told::Done(..) => done += 1,
    })?;
    let kept = story.kept.as_ref().context("nothing was kept")?;
    an_auditor_looks_at(kept)?;
    let json = serde_json::to_value(&story)?;
    ensure!(json["ok"] == true && begun == done && done == story.steps.len() && done >= 15, "{json}");
    ensure!(json["steps"][0]["name"].is_string() && json["steps"][0]["milliseconds"].is_u64(), "{json}");
    let events = json["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(events.iter().filter(|event| event["code"] == "bundle.no_rule").count() == 4, "{json}");
    for event in events {
        // An exchange that is refused makes no session: the record says so instead.
        let known = if event["code"] == "human.revoked" { 3 } else { 5 };
        for id in &["human", "agent", "instance", "delegation", "session"][..known] {
            ensure!(event["ids"][id].is_string(), "{event}");
        }
    }
    let trail = linked(&story.events, false);
    for (place, told) in [
        ("central  #1", "  ok     token.issued        bundle triage on web-01, by policy analysts-on-web\n"),
        ("web-01   #1", "REFUSED  sudo.command        sudo cat /etc/shadow  [bundle.no_rule]\n"),
        ("central  #2", "  ok     session.revoked     human revoked by carol@example.org\n"),
        ("web-02   #2", "  ok     session.removed     nothing is left in "),
        ("central  - ", "REFUSED  token.refused       "),
    ] {
        ensure!(trail.contains(&format!("{place}  {told}")), "{place} {told:?} is not in\n{trail}");
    }
    Ok(())
}

/// What `--keep` leaves is enough: both copies of a chain hold, and every recording is what was recorded.
fn an_auditor_looks_at(kept: &Kept) -> anyhow::Result<()> {
    let path = |name: &str| kept.folder.join(name).display().to_string();
    let root = kept.roots.first().context("no root")?;
    let export = path("export");
    for (more, recordings) in [
        (vec!["--recordings".to_owned(), path("export/recordings")], 10),
        (vec!["--dir".to_owned(), path("web-01/audit"), "--recordings".to_owned(), path("web-01/recordings")], 9),
    ] {
        let mut words = vec!["--export", &export, "--root", root];
        words.extend(more.iter().map(String::as_str));
        let (code, found) = verify(&words)?;
        ensure!(code == 0 && found["recordings"]["whole"] == recordings, "{found:#}");
    }
    Ok(())
}
