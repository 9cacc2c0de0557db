//! Ctrl-C, SIGTERM, a closed terminal, and two users at once.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot be set up fails, and one that is skipped says so"
)]

mod common;

#[path = "interrupt/signal.rs"]
mod signal;
#[path = "interrupt/terminal.rs"]
mod terminal;
#[path = "interrupt/together.rs"]
mod together;
