//! One agent logs in with a certificate that names it and its human.

use tether_testhost::Suite;
use tether_tests::Scene;

type Result = anyhow::Result<()>;

#[test]
fn a_command_runs_in_the_session() -> Result {
    let mut scene = Scene::new(Suite::Bookworm)?;
    let (draft, agent) = scene.session()?;
    let ran = agent
        .run("id -un; whoami; pwd; touch /tmp/x ~/y && echo wrote; touch /etc/x; cat /proc/self/cgroup | tail -1")?;
    println!("{ran:#?}\n{}", scene.host.journal("tether-agentd")?);
    println!("{}", scene.host.journal("ssh")?);
    assert_eq!(ran.code, 0, "{ran:?}");
    let gone = scene.wait_gone(draft.grant.session.as_str())?;
    println!("gone after {gone:?}");
    println!("{}", scene.host.sh(&format!("tether session show {}; tether doctor || true", draft.grant.session))?);
    Ok(())
}
