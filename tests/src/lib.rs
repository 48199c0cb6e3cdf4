//! What the end-to-end tests, the demo and the benches share: a host with Tether installed from its own
//! package, a central that issues with the real issuing half, an agent with the real `ssh`.
#![forbid(unsafe_code)]

pub mod agent;
pub mod attacker;
pub mod battery;
pub mod bench;
pub mod central;
pub mod chain;
pub mod channels;
pub mod courier;
pub mod demo;
pub mod document;
pub mod door;
pub mod draft;
pub mod evidence;
pub mod forger;
pub mod glewlwyd;
pub mod gtfobins;
pub mod load;
pub mod more;
pub mod papers;
pub mod payloads;
pub mod people;
pub mod power;
pub mod programs;
pub mod provider;
pub mod realm;
pub mod recorder;
pub mod recordings;
pub mod scene;
pub mod snapshot;
pub mod steps;
pub mod trail;
pub mod useful;
pub mod whose;

pub use agent::Agent;
pub use central::Central;
pub use draft::Draft;
pub use people::People;
pub use scene::Scene;
pub use trail::Trail;

/// Makes a test of each function for bookworm and one for trixie.
#[macro_export]
macro_rules! on_both_suites {
    ($($name:ident),+ $(,)?) => {
        mod bookworm {
            $(#[test] fn $name() -> anyhow::Result<()> { super::$name(tether_testhost::Suite::Bookworm) })+
        }
        mod trixie {
            $(#[test] fn $name() -> anyhow::Result<()> { super::$name(tether_testhost::Suite::Trixie) })+
        }
    };
}

/// The same where programs are alike on both suites and a test takes long: trixie only with `TETHER_TEST_LONG`.
#[macro_export]
macro_rules! on_bookworm_and_trixie_if_long {
    ($($name:ident),+ $(,)?) => {
        mod bookworm {
            $(#[test] fn $name() -> anyhow::Result<()> { super::$name(tether_testhost::Suite::Bookworm) })+
        }
        mod trixie {
            $(#[test] fn $name() -> anyhow::Result<()> {
                if std::env::var_os("TETHER_TEST_LONG").is_none() {
                    eprintln!("skipped: TETHER_TEST_LONG is not set");
                    return Ok(());
                }
                super::$name(tether_testhost::Suite::Trixie)
            })+
        }
    };
}
