//! Clocks that are an hour apart: the host's own decides nothing, central's never runs back.

use anyhow::ensure;
use tether_testhost::{Storage, Suite};
use tether_tests::{Scene, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(
    a_host_whose_clock_is_behind_goes_by_centrals,
    a_host_whose_clock_is_ahead_goes_by_centrals,
    time_that_was_signed_does_not_come_back
);

const HOUR: u64 = 3600;

/// sshd goes by the host's clock, so the certificate is good for both; everything else is central's.
fn goes_by_centrals(suite: Suite, apart: i64) -> Result {
    let mut scene = Scene::at(suite, apart)?;
    let wide = |draft: &mut tether_tests::Draft| {
        draft.certificate.valid_after -= 2 * HOUR;
        draft.certificate.valid_before += 2 * HOUR;
    };
    let (_, agent) = scene.session_with(wide)?;
    let ran = agent.run("echo in")?;
    ensure!(ran.out == "in\n", "{ran:?}");
    // By the host's clock this token is good, by central's it is over, or the other way round.
    let now = scene.central.now();
    let (_, agent) = scene.session_with(|draft| {
        wide(draft);
        draft.claims["iat"] = (now - 10).into();
        draft.claims["exp"] = (now - 1).into();
        draft.claims["auth_time"] = (now - 300).into();
    })?;
    ensure!(agent.run("echo in")?.code != 0, "an expired token came in by the host's clock");
    ensure!(scene.trail()?.has_code("delegation.expired"));
    Ok(())
}

fn a_host_whose_clock_is_behind_goes_by_centrals(suite: Suite) -> Result {
    goes_by_centrals(suite, 3600)
}

fn a_host_whose_clock_is_ahead_goes_by_centrals(suite: Suite) -> Result {
    goes_by_centrals(suite, -3600)
}

fn time_that_was_signed_does_not_come_back(suite: Suite) -> Result {
    let mut scene = Scene::with(suite, Storage::Memory, "[times]\nmax_silence = 2\nmax_silence_live = 600\n")?;
    let (_, agent) = scene.session()?;
    scene.central.set_clock(-3600);
    scene.central.head(&scene.host)?;
    scene.wait("silence: a head of an hour ago is no head", |status| status.state == "stale")?;
    ensure!(agent.run("echo in")?.code == 255, "an old head admitted a login");
    // A restart does not forget what was seen signed.
    scene.host.sh("systemctl restart tether-agentd")?;
    scene.answer()?;
    scene.wait("the refusal", |_| scene.trail().is_ok_and(|trail| trail.has_code("feed.before_floor")))?;
    ensure!(scene.status()?.state == "starting", "an answer of an hour ago was taken");
    Ok(())
}
