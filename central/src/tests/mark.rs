//! How far a host's uids may have gone: a courier may lie about that, to a bound.

use super::world::{HOST, World};
use serde_json::json;
use tether_accountfile::{UID_FIRST, UID_LAST};
use tether_statement::{Position, ResumeRequest};

fn report(world: &World, uid_mark: u32) -> Result<(), String> {
    let host = HOST.parse().unwrap();
    let position = world.read(|act| act.position(&host));
    let position = if position.number == 0 { Position::start() } else { position };
    let report =
        ResumeRequest { host: host.clone(), nonce: "n".repeat(22), boot_id: "b".to_owned(), position, uid_mark };
    world.app.reports(&[(host, report)]).remove(0).map(drop).map_err(|refusal| refusal.code)
}

#[test]
fn a_mark_is_bounded_by_what_was_granted() {
    let world = World::new();
    let margin = 2 * 512;
    let most = UID_FIRST - 1 + margin;
    assert_eq!(report(&world, UID_FIRST - 1), Ok(()), "a new host's");
    assert_eq!(report(&world, most + 1), Err("report.uid_mark".to_owned()));
    assert_eq!(report(&world, UID_LAST), Err("report.uid_mark".to_owned()));
    assert_eq!(report(&world, u32::MAX), Err("report.uid_mark".to_owned()));
    assert_eq!(world.read(|act| act.seen(&HOST.parse().unwrap())).uid_mark, UID_FIRST - 1, "it is not remembered");
    // As high as it may be. From there lies do not climb: what counts is what was granted, not what was said last.
    assert_eq!(report(&world, most), Ok(()));
    assert_eq!(report(&world, most + 2), Err("report.uid_mark".to_owned()));
    world.grant(&world.exchange("alice@example.org", 0).unwrap());
    assert_eq!(report(&world, most + 2), Ok(()));
    assert_eq!(report(&world, most + 4), Err("report.uid_mark".to_owned()));
    assert_eq!(report(&world, UID_FIRST - 1), Ok(()), "a disk that was put back says less");
    assert_eq!(world.read(|act| act.seen(&HOST.parse().unwrap())).uid_mark, most + 2);
    let refused = world.trail("report.refused");
    assert_eq!(refused.len(), 5);
    assert_eq!(refused[1].event.details["uid_mark"], UID_LAST);
}

/// A host whose ledger is of before: an admin looks at it and accepts what it says.
#[test]
fn an_admin_accepts_a_mark() {
    let world = World::new();
    let carol = format!("Bearer {}", world.admin_token(&world.claims("carol@example.org", &["admins"], 5)));
    let accept = |mark: u32| {
        let body = json!({"host": HOST, "mark": mark}).to_string();
        let got = world.ask("POST", "/v1/admin/hosts/mark", &[("authorization", &carol)], Some(body.as_bytes()));
        got.body["tether_code"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(report(&world, 80_001), Err("report.uid_mark".to_owned()));
    assert_eq!(accept(80_001), "");
    assert_eq!(report(&world, 80_001), Ok(()));
    assert_eq!(report(&world, 80_001 + 1024), Ok(()));
    assert_eq!(report(&world, 80_001 + 1026), Err("report.uid_mark".to_owned()));
    for wrong in [70_000, UID_LAST + 1, 0] {
        assert_eq!(accept(wrong), "host.mark", "{wrong}");
    }
    assert_eq!(accept(UID_LAST), "");
    assert_eq!(report(&world, UID_LAST), Ok(()), "after the wrap it stays there");
    assert_eq!(world.trail("host.mark_accepted").len(), 2);
}
