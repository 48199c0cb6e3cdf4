//! One address that asks as fast as it can does not delay another; without the limit it does. Strangers' refusals and
//! proofs fill nothing.

use super::Served;
use super::world::World;
use crate::app::REPORT_PATH;
use crate::config::Rate;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const FLOODERS: usize = 24;
const ASKED: usize = 25;
const BURST: u32 = 40;

/// How long somebody else waits, and what the flood was answered: worked on, and held back.
struct Seen {
    median: Duration,
    /// What of the flood was worked on while the other asked: what it had to wait for.
    ahead: usize,
    worked_on: usize,
    held_back: usize,
    records: usize,
}

fn flood(rate: Rate) -> Seen {
    let served = Served::with(|settings| settings.limits.address = rate);
    let (over, worked_on, held_back) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
    let (mut median, mut ahead) = (Duration::ZERO, 0);
    served.runtime.block_on(async {
        let mut floods = Vec::new();
        for _ in 0..FLOODERS {
            let mut client = served.client("127.0.0.2").await.unwrap();
            let (over, worked_on, held_back): (_, Arc<AtomicUsize>, Arc<AtomicUsize>) =
                (Arc::clone(&over), Arc::clone(&worked_on), Arc::clone(&held_back));
            floods.push(tokio::spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    let answer = client.ask("POST", "/oauth/token").await.unwrap();
                    if answer.status == 429 {
                        assert_eq!(answer.body["tether_code"], "rate.limited");
                        assert!(answer.headers["retry-after"].parse::<u64>().unwrap() >= 1);
                        held_back.fetch_add(1, Ordering::SeqCst);
                    } else {
                        worked_on.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }));
        }
        let counted = |count: &Arc<AtomicUsize>| count.load(Ordering::SeqCst);
        // The flood is well under way, and its burst is used up and answered.
        let most = BURST as usize;
        while counted(&worked_on) < most || counted(&worked_on) + counted(&held_back) < most * 2 {
            tokio::task::yield_now().await;
        }
        let mut other = served.client("127.0.0.3").await.unwrap();
        let (mut waits, before) = (Vec::new(), counted(&worked_on));
        for _ in 0..ASKED {
            let begun = Instant::now();
            let answer = other.ask("POST", "/oauth/token").await.unwrap();
            assert_eq!((answer.status, answer.body["tether_code"].as_str()), (400, Some("proof.none")));
            waits.push(begun.elapsed());
        }
        ahead = counted(&worked_on) - before;
        over.store(true, Ordering::SeqCst);
        for flood in floods {
            flood.await.unwrap();
        }
        waits.sort();
        median = waits[ASKED / 2];
    });
    let count = |count: &Arc<AtomicUsize>| count.load(Ordering::SeqCst);
    let records = served.trail().iter().filter(|link| link.event.outcome == tether_audit::Outcome::Refused).count();
    Seen { median, ahead, worked_on: count(&worked_on), held_back: count(&held_back), records: records - ASKED }
}

#[test]
fn a_flood_by_one_delays_no_other() {
    let open = flood(Rate { burst: 0, per_minute: 0 });
    assert!(open.held_back == 0 && open.records == open.worked_on, "without a limit all of it is worked on");
    let held = flood(Rate { burst: BURST, per_minute: 1 });
    assert!(held.held_back > 0);
    let most = BURST as usize + 1;
    assert!(held.worked_on <= most && held.records <= held.worked_on + 1, "{} {}", held.worked_on, held.records);
    eprintln!(
        "another one's median wait under a flood: {:?} without the limit, {:?} with it",
        open.median, held.median
    );
    // Not times: flood and central share these cores, and whoever spins takes a part of them in either case.
    assert!(open.ahead > 5, "without a limit it waits for the flood's acts, each with its flush: {}", open.ahead);
    assert!(held.ahead <= 1, "with it there are none: {}", held.ahead);
}

#[test]
fn one_address_does_not_take_all_places() {
    let served = Served::with(|settings| settings.limits.connections_per_address = 3);
    served.runtime.block_on(async {
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(served.client("127.0.0.2").await.unwrap());
        }
        assert!(served.client("127.0.0.2").await.is_err(), "a fourth");
        assert!(served.client("127.0.0.3").await.is_ok(), "somebody else's first");
        held.pop();
        // The place is free once the server has seen the end.
        while served.client("127.0.0.2").await.is_err() {}
    });
}

#[test]
fn attempts_to_enrol_are_limited_by_themselves() {
    let served = Served::with(|settings| settings.limits.enrol = Rate { burst: 2, per_minute: 1 });
    served.runtime.block_on(async {
        let mut client = served.client("127.0.0.2").await.unwrap();
        let mut codes = Vec::new();
        for _ in 0..4 {
            codes.push(client.ask("POST", "/v1/host/enrol").await.unwrap().status);
        }
        assert_eq!(codes, [401, 401, 429, 429]);
        assert_eq!(client.ask("POST", "/oauth/token").await.unwrap().status, 400, "tokens are another matter");
        let mut other = served.client("127.0.0.3").await.unwrap();
        assert_eq!(other.ask("POST", "/v1/host/enrol").await.unwrap().status, 401);
    });
    let floods: Vec<_> = served.trail().into_iter().filter(|link| link.event.event == "rate.limited").collect();
    assert_eq!(floods.len(), 1, "one record for a flood");
    assert_eq!(floods[0].event.details["peer"], "127.0.0.2");
}

#[test]
fn a_flood_of_strangers_is_one_record() {
    let world = World::new();
    let refused = || world.trail("admin.refused").len();
    let look = || world.ask("GET", "/v1/admin/agents", &[("authorization", "Bearer nobody's")], None).status;
    assert_eq!(look(), 401);
    assert_eq!(refused(), 1, "one alone is on record");
    // However slow this machine is: until more came than the address may ask for. Then nothing is written any more.
    let limited = || world.trail("rate.limited").len();
    let mut asked = 1;
    while limited() == 0 {
        assert!(asked < 5_000, "none of {asked} was too many");
        for _ in 0..100 {
            assert_eq!(look(), 401);
        }
        asked += 100;
    }
    assert!(refused() < asked, "{} records of {asked}", refused());
    assert_eq!(limited(), 1);
}

#[test]
fn keys_that_are_no_hosts_take_no_place_among_proofs() {
    let world = World::new();
    let before = world.app.nonces.remembered();
    let refused = world.app.prove_host(Some(&world.proof(REPORT_PATH, None)), "POST", REPORT_PATH).unwrap_err();
    assert_eq!(refused.code, "host.unknown_key");
    assert_eq!(world.app.nonces.remembered(), before);
    // A key that is somebody's takes one.
    world.exchange("alice@example.org", 5).unwrap();
    assert_eq!(world.app.nonces.remembered(), before + 1);
}
