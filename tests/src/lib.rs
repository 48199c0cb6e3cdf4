//! What the end-to-end tests, the demo and the benches share: a host with Tether installed from its own
//! package, a central that issues with the real issuing half, an agent with the real `ssh`.
#![forbid(unsafe_code)]

pub mod agent;
pub mod central;
pub mod draft;
pub mod scene;
pub mod trail;

pub use agent::Agent;
pub use central::Central;
pub use draft::Draft;
pub use scene::Scene;
