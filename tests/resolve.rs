//! Programs are found or fetched, checked, unpacked, and never taken when anything about them is wrong.
//!
//! Archives come from a server on loopback. Tests that need root, apt or a network name say so when they are skipped.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

#[path = "resolve/bench.rs"]
mod bench;
#[path = "resolve/download.rs"]
mod download;
#[path = "resolve/local.rs"]
mod local;
#[path = "resolve/machine.rs"]
mod machine;
#[path = "resolve/python.rs"]
mod python;
