//! Stands up, proves, loads and removes a complete monitoring stack.

// `tests/tidy.rs` lists the modules in the order of imports: each uses only those that stand below it there.
pub mod asset;
pub mod cli;
pub mod command;
pub mod component;
pub mod config;
pub mod digest;
pub mod error;
pub mod exec;
pub mod exit;
pub mod http;
pub mod layout;
pub mod phase;
pub mod process;
pub mod render;
pub mod report;
pub mod resolve;
pub mod secret;
pub mod supervisor;
pub mod tail;
pub mod target;
pub mod topology;
pub mod verify;
pub mod workdir;
