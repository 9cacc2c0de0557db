//! Killing monstack, its supervisor and its services at any instant: `up` converges, `down` empties.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot be set up fails, and one that is skipped says so"
)]

mod common;

#[path = "chaos/kill.rs"]
mod kill;
#[path = "chaos/services.rs"]
mod services;
#[path = "chaos/supervisor.rs"]
mod supervisor;
