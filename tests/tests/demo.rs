//! The story that `cargo xtask demo` tells, and what its `--json` promises to programs.

use anyhow::ensure;
use tether_testhost::Suite;
use tether_tests::{demo, on_both_suites};

on_both_suites!(the_story_comes_out_well);

fn the_story_comes_out_well(suite: Suite) -> anyhow::Result<()> {
    let mut told = 0;
    let story = demo::run(suite, &mut |_, _| told += 1)?;
    let json = serde_json::to_value(&story)?;
    ensure!(json["ok"] == true && told == story.steps.len() && told >= 10, "{json}");
    ensure!(json["steps"][0]["name"].is_string() && json["steps"][0]["milliseconds"].is_u64(), "{json}");
    let events = json["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(events.iter().filter(|event| event["code"] == "bundle.no_rule").count() == 4, "{json}");
    for event in events {
        for id in ["human", "agent", "instance", "delegation", "session"] {
            ensure!(event["ids"][id].is_string(), "{event}");
        }
    }
    ensure!(
        story.trail.contains("REFUSED  sudo.command      sudo cat /etc/shadow  [bundle.no_rule]"),
        "{}",
        story.trail
    );
    Ok(())
}
