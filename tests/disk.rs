//! Disks that are full or cannot be written, and files of the stack that are not what they should be.

mod common;

#[path = "disk/broken.rs"]
mod broken;
#[path = "disk/full.rs"]
mod full;
#[path = "disk/mount.rs"]
mod mount;
