//! Stands up, proves, loads and removes a complete monitoring stack.

pub mod cli;
pub mod command;
pub mod target;
pub mod phase;
pub mod verify;
pub mod supervisor;
pub mod resolve;
pub mod render;
pub mod topology;
pub mod config;
pub mod component;
pub mod asset;
pub mod layout;
pub mod secret;
pub mod workdir;
pub mod tail;
pub mod process;
pub mod exec;
pub mod http;
pub mod report;
pub mod error;
pub mod exit;
