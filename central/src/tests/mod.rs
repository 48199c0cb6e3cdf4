//! Central as it runs, over TLS, beside a provider that a test speaks for: it signs whatever a test wants. The real
//! provider stands in `tests/`.

mod admin;
mod mark;
mod scim;
mod signals;
mod world;
