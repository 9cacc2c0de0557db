//! The two hidden verbs that `up` starts: the supervisor, and the first moment of each service.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::Answer;
use crate::exit::Exit;
use crate::http::{self, Http};
use crate::supervisor::{keeper, shim};

/// Keeps the services of a stack until it is told to stop.
pub fn supervise(run: &Path) -> Result<Answer> {
    // A session of its own: the end of the terminal, and Ctrl-C in it, do not reach the services.
    let _ = rustix::process::setsid();
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stopped))
            .context("cannot watch for signals")?;
    }
    signal_hook::flag::register(SIGHUP, Arc::default()).context("cannot watch for signals")?;
    let http: Arc<dyn Http> = Arc::new(http::real::Real::default());
    keeper::keep(run, &http, &stopped)?;
    Answer::new(&json!({}), String::new(), Exit::DONE)
}

/// Becomes a service; returns only when that fails.
pub fn become_service(
    run: &Path,
    name: &str,
    (program, args): (&PathBuf, &[String]),
) -> Result<Answer> {
    shim::become_service(run, name, program, args)?;
    Answer::new(&json!({}), String::new(), Exit::DONE)
}
