//! `cargo xtask bench central` and `bench revocation`: with the released central and courier, a real provider and real
//! hosts.

use anyhow::Result;
use tether_testhost::{Image, Suite};
use tether_tests::bench::{Bench, Released, Row, central as of_central, revocation as of_revocation};

use crate::run::{self, cargo, say, target};
use crate::{deb, setup};

/// What is built: central, couriers, and what sets load on them.
const RELEASED: [&str; 12] = [
    "build",
    "--release",
    "--locked",
    "--package=tether-central",
    "--package=tether-courier",
    "--package=tether-tests",
    "--bin",
    "tether-central",
    "--bin",
    "tether-courier",
    "--bin",
    "test-load",
];

pub(crate) fn central(suite: Suite, quick: bool, tell: &mut dyn FnMut(&Row)) -> Result<Bench> {
    let size = if quick {
        of_central::Size { exchanges: 100, grants: 10, feeds: 500 }
    } else {
        of_central::Size { exchanges: 2_000, grants: 200, feeds: 10_000 }
    };
    with_released(suite, |released| of_central::bench(suite, released, size, tell))
}

pub(crate) fn revocation(suite: Suite, quick: bool, tell: &mut dyn FnMut(&Row)) -> Result<Bench> {
    with_released(suite, |released| of_revocation::bench(suite, released, fleet_size(quick), tell))
}

/// The row `fleet` of [`revocation`] alone.
pub(crate) fn fleet(suite: Suite, quick: bool, tell: &mut dyn FnMut(&Row)) -> Result<Bench> {
    with_released(suite, |released| of_revocation::fleet_alone(suite, released, fleet_size(quick), tell))
}

fn fleet_size(quick: bool) -> of_revocation::Size {
    if quick {
        of_revocation::Size { rounds: 10, couriers: 50 }
    } else {
        of_revocation::Size { rounds: 1_000, couriers: 1_000 }
    }
}

/// Gives `measure` what was released.
pub(crate) fn with_released<T>(suite: Suite, measure: impl FnOnce(&Released<'_>) -> Result<T>) -> Result<T> {
    setup::provider()?;
    let package = deb::package()?;
    say("building central, couriers and their load");
    run::run(&mut cargo(&RELEASED))?;
    run::run(&mut cargo(&["build", "--locked", "--package=tether-tests", "--bins"]))?;
    Image::ensure(suite, &mut |line| say(line))?;
    say("measuring, which takes minutes, and with `revocation` half an hour");
    measure(&Released::in_folder(&package, &target().join("release"))?)
}
