//! Disks that are full or cannot be written, and files of the stack that are not what they should be.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot be set up fails, and one that is skipped says so"
)]

mod common;

#[path = "disk/broken.rs"]
mod broken;
#[path = "disk/full.rs"]
mod full;
#[path = "disk/mount.rs"]
mod mount;
