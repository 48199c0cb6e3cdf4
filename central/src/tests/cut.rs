//! What a revocation cuts off, where the provider's clock is ahead of ours.

use super::world::{World, next_second};
use crate::app::Admin;
use crate::clock;
use tether_centrallink::wire::Target;

const ALICE: &str = "alice@example.org";

/// A sign-in of now, as a provider dates it whose clock is ahead.
fn signed_in(world: &World, ahead: u64) -> String {
    let mut claims = world.claims(ALICE, &["analysts"], 0);
    let now = clock::now() + ahead;
    (claims["iat"], claims["auth_time"], claims["exp"]) = (now.into(), now.into(), (now + 300).into());
    world.id_token(&claims)
}

fn revoke(world: &World, target: &Target) {
    world.app.revoke(&Admin { name: "carol".to_owned() }, target).unwrap();
}

#[test]
fn a_sign_in_dated_ahead_does_not_outlive_a_revocation() {
    for target in [
        Target::Human(ALICE.parse().unwrap()),
        Target::Pair { agent: "triage".parse().unwrap(), human: ALICE.parse().unwrap() },
    ] {
        let world = World::new();
        let code = if matches!(target, Target::Human(_)) { "human.revoked" } else { "pair.revoked" };
        let (used, held) = (signed_in(&world, 20), signed_in(&world, 20));
        world.exchange_token(&used).unwrap();
        revoke(&world, &target);
        for token in [&used, &held] {
            assert_eq!(world.exchange_token(token), Err(code.to_owned()));
        }
        // It goes by what was seen of that provider: as good a date that lies behind by now is no better.
        next_second();
        assert_eq!(world.exchange(ALICE, 0), Err(code.to_owned()));
        // Another sign-in, of after the revocation by that clock, is good.
        assert!(world.exchange_token(&signed_in(&world, 21)).is_ok());
    }
}

#[test]
fn a_provider_that_was_never_ahead_has_no_wait() {
    let world = World::new();
    world.exchange(ALICE, 0).unwrap();
    revoke(&world, &Target::Human(ALICE.parse().unwrap()));
    assert_eq!(world.exchange(ALICE, 0), Err("human.revoked".to_owned()));
    next_second();
    assert!(world.exchange(ALICE, 0).is_ok());
}

#[test]
fn a_sign_in_is_not_of_the_future() {
    let world = World::new();
    let at = |auth: u64| {
        let mut claims = world.claims(ALICE, &["analysts"], 0);
        claims["iat"] = (clock::now() + 25).into();
        claims["auth_time"] = (clock::now() + auth).into();
        world.exchange_token(&world.id_token(&claims))
    };
    assert_eq!(at(50), Err("subject.auth_time".to_owned()));
    assert!(at(20).is_ok());
}
