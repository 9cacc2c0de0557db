//! Ctrl-C, SIGTERM, a closed terminal, and two users at once.

mod common;

#[path = "interrupt/signal.rs"]
mod signal;
#[path = "interrupt/terminal.rs"]
mod terminal;
#[path = "interrupt/together.rs"]
mod together;
