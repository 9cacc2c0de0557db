//! Measures one Linux host and serves what it found to Prometheus.
//!
//! Data flows one way: [`host`] and [`clock`] are the only places that ask the machine something, the functions in
//! [`collector`] turn the answers into families of [`exposition`], [`gather`] runs them under a deadline and
//! [`server`] hands the text out.

pub mod cli;
pub mod clock;
pub mod collector;
pub mod data_dir;
pub mod exposition;
pub mod gather;
pub mod health;
pub mod host;
pub mod lines;
pub mod log;
pub mod patience;
pub mod run;
pub mod scope;
pub mod server;
pub mod visitors;
