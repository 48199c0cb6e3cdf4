//! What sudo calls. sudo_plugin(5) is the contract; sudo keeps it, and every SAFETY comment below rests on
//! it: arrays end in NULL, places for results are valid, and sudo calls from one thread.
//!
//! The structs are `static mut` because sudo writes into them, and we do.

mod audit;
mod io;
mod policy;

use crate::agent::Agent;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use audit::tether_audit;
pub use io::tether_io;
pub use policy::tether_policy;

/// The agent's side of this sudo. One thread, so it is never contended.
fn agent() -> MutexGuard<'static, Agent> {
    static AGENT: Mutex<Agent> = Mutex::new(Agent::new());
    AGENT.lock().unwrap_or_else(PoisonError::into_inner)
}
