//! Killing monstack, its supervisor and its services at any instant: `up` converges, `down` empties.

mod common;

#[path = "chaos/kill.rs"]
mod kill;
#[path = "chaos/services.rs"]
mod services;
#[path = "chaos/supervisor.rs"]
mod supervisor;
